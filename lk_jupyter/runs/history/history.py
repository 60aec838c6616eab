"""List the runs that you started here, joined with the bills of the cloud, newest first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.billing import ExecutionSummary
from lk_jupyter.api.states import is_final, is_run_id
from lk_jupyter.api.workloads import Workload
from lk_jupyter.code.git_commit import COMMIT_SIZE
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.machines.catalogue import cost_at
from lk_jupyter.options.history import HistoryOptions
from lk_jupyter.protocol.parts import remove_token_from_name
from lk_jupyter.runs.clock import Bill, CostIs, calculate_bill, measure_launch, measure_queue
from lk_jupyter.runs.ids import resolve
from lk_jupyter.runs.metrics.summary import is_measured, keep_summary
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.runs.package.starts import START_KEY
from lk_jupyter.runs.relay import list_members
from lk_jupyter.runs.run import Run
from lk_jupyter.text.pandas import set_float_columns
from lk_jupyter.text.secrets import mask_secrets
from lk_jupyter.text.terminal import plain_values

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Number of newest runs to read: the next number only if the list isn't full yet. None: all.
_WINDOWS = (200, 2000, None)

#: Maximum number of runs that are read from the cloud, and number of runs in a page.
_MOST, _PAGE = 10_000, 100

#: Maximum number of runs whose metrics are read for a list.
_MEASURED = 20

#: Metrics of a run that has ended so long ago do not change any more.
_SETTLED = timedelta(minutes=10)

#: Columns of a table that are left out if no run has a value.
_OCCASIONAL = ("note", "git_commit")

_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN = re.compile(r"(\d{1,6})\s*([mhdw])")


@dataclass(frozen=True)
class RunSummary:
    """Summarize a run: ``seconds`` of its code and ``cost`` in credits are None if unknown.

    ``cost_is`` is billed, estimated or at most, as in its receipt. ``queue_seconds`` and ``launch_seconds`` are the
    time until a machine accepted the run, and then until its first line. ``summary`` has figures of its metrics. The
    fields that only the journal of this machine has, such as the code, are empty for a run from elsewhere.
    """

    execution_id: str
    created_at: datetime
    state: str
    machine: str = ""
    seconds: float | None = None
    cost: Decimal | None = None
    name: str = ""
    labels: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    notebook: str = ""
    cell: str = ""
    code: str = ""
    code_hash: str = ""
    group: str = ""
    reason: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    cost_is: CostIs | None = None
    queue_seconds: float | None = None
    launch_seconds: float | None = None
    git_commit: str = ""
    note: str = ""

    @property
    def bill(self) -> Bill:
        """Time and cost of the run."""
        return Bill(self.seconds, self.cost, self.cost_is)

    def row(self) -> dict[str, Any]:
        """Return the run as a row of a table, in plain values."""
        return {
            "run": self.execution_id[:SHORT_ID],
            "started": self.created_at.replace(microsecond=0),
            "state": self.state,
            "machine": self.machine,
            "seconds": self.seconds,
            "cost": None if self.cost is None else float(self.cost),
            "cost_is": self.cost_is,
            "name": self.name,
            "labels": ", ".join(self.labels),
            "notebook": PurePath(self.notebook).name,
            "cell": self.cell,
            "code": self.code_hash[:SHORT_ID],
            "group": self.group[:SHORT_ID],
            "note": self.note,
            "git_commit": self.git_commit[:COMMIT_SIZE],
            "queue_seconds": self.queue_seconds,
            "launch_seconds": self.launch_seconds,
            **{name: value for name, value in self.summary.items() if name != START_KEY},
            "execution_id": self.execution_id,
        }


@dataclass(frozen=True)
class History:
    """List runs, newest first; ``note`` describes missing data, if any."""

    runs: Sequence[RunSummary]
    note: str = ""

    def table(self) -> Any:
        """Return the runs as a pandas DataFrame with a row for each; as a list of rows where pandas is missing."""
        rows = [run.row() for run in self.runs]
        omitted = {name for name in _OCCASIONAL if not any(row[name] for row in rows)}
        if all(run.cost_is in {None, "billed"} for run in self.runs):
            omitted.add("cost_is")
        unknown = omitted | {name for run in self.runs for name in run.summary} - {
            name for run in self.runs for name, value in run.summary.items() if value is not None
        }
        rows = [{name: value for name, value in row.items() if name not in unknown} for row in rows]
        rows = plain_values(rows)
        try:
            import pandas  # noqa: ICN001, PLC0415 (for those who ask for a table)
        except ImportError:
            return rows
        empty = [name for name in RunSummary("", datetime.now(timezone.utc), "").row() if name not in unknown]
        frame = pandas.DataFrame(rows, columns=None if rows else empty)
        frame["started"] = pandas.to_datetime(frame["started"], utc=True)
        return set_float_columns(frame, ("queue_seconds", "launch_seconds", "seconds", "cost")).set_index("run")


def history(session: Connection, options: HistoryOptions) -> History:
    """Return the runs that fit the options. Raises UsageError for a time that cannot be read."""
    since = parse_moment(options.since) if options.since else None
    cloud_runs = CloudRuns(session, since)
    for most in _WINDOWS:
        runs, horizon = _list_newest_runs(session, cloud_runs, since, most)
        fitting = [
            past for past in runs if (not horizon or past.created_at >= horizon) and _matches_options(past, options)
        ]
        if len(fitting) >= options.limit or not horizon:
            break
    return History(_add_metrics(session, fitting[: options.limit]), cloud_runs.note)


def _list_newest_runs(
    session: Connection, cloud_runs: CloudRuns, since: datetime | None, most: int | None
) -> tuple[list[RunSummary], datetime | None]:
    """Return the newest runs, and the moment before which some may be missing."""
    billed, oldest_billed = cloud_runs.newest(most)
    entries = journal().entries(since=since.timestamp() if since else None, limit=most)
    cut = most is not None and len(entries) >= most
    oldest = min((_convert_to_utc(entry.created_at) for entry in entries), default=None) if cut else None
    members = list_members()  # a relay is one row
    unmatched = {past.execution_id: past for past in billed if past.execution_id not in members}
    local_entries = [
        e for e in entries if e.execution_id and (e.execution_id in unmatched or session.speaks_to(e.base_url))
    ]
    joined = [_join_entry(entry, unmatched.pop(str(entry.execution_id), None)) for entry in local_entries]
    horizons = [moment for moment in (oldest, oldest_billed) if moment]
    runs = sorted([*joined, *unmatched.values()], key=lambda past: past.created_at, reverse=True)
    return runs, max(horizons, default=None)


class CloudRuns:
    """Read the runs of the cloud as far as needed; ``note`` is the reason if the cloud can't be read."""

    def __init__(self, session: Connection, since: datetime | None) -> None:
        self.note = ""
        self._runs: list[RunSummary] = []
        self._more = _read_cloud_runs(session, since)

    def newest(self, most: int | None) -> tuple[list[RunSummary], datetime | None]:
        """Return the newest runs, and the moment before which more runs may exist."""
        limit = _MOST if most is None else most
        try:
            self._runs += islice(self._more, max(0, limit - len(self._runs)))
        except LkError as error:
            self.note = f"This list is from the journal of this machine, so final states may be missing: {error}"
        cut = most is not None and len(self._runs) >= limit
        return self._runs, self._runs[-1].created_at if cut else None


def _add_metrics(session: Connection, runs: list[RunSummary]) -> list[RunSummary]:
    """Return the runs with figures of their metrics; the journal stores new figures for the next list."""
    missing = [past for past in runs if past.code_hash and not is_measured(past.summary) and is_final(past.state)]
    missing = missing[:_MEASURED]
    if not missing:
        return runs
    with ThreadPoolExecutor(_MEASURED) as readers:
        read = readers.map(lambda past: _read_summary(session, past), missing)
        figures = dict(zip((past.execution_id for past in missing), read, strict=True))
    return [replace(past, summary=figures.get(past.execution_id, past.summary)) for past in runs]


def _read_summary(session: Connection, past: RunSummary) -> dict[str, Any]:
    now = session.client.utc_now
    settled = now - past.created_at > _SETTLED + timedelta(seconds=past.seconds or 0)
    return keep_summary(Run(session, past.execution_id), past.seconds, settled=settled)


def parse_moment(text: str, now: datetime | None = None) -> datetime:
    """Return the moment that ``7d``, ``12h``, ``30m``, ``2w`` ago or a date means. Raises UsageError."""
    now = now or datetime.now(timezone.utc)
    if span := _SPAN.fullmatch(text.strip().lower()):
        return now - timedelta(**{_SPANS[span[2]]: int(span[1])})
    try:
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text.strip())).astimezone()  # Python 3.10 knows no Z
    except ValueError:
        raise UsageError(
            f"--since takes a duration or a date, got '{text}'. Examples: --since 7d, --since 2026-11-02"
        ) from None


def find_run(session: Connection, prefix: str) -> tuple[str, JournalEntry | None]:
    """Return the id that starts with this text, and the journal entry. Raises UsageError as ``Session.get`` does."""
    execution_id = resolve(session, prefix)
    return execution_id, journal().get(execution_id)


def _read_cloud_runs(session: Connection, since: datetime | None) -> Iterator[RunSummary]:
    client = session.client
    prices = {machine.hardware_profile: machine.price_per_hour for machine in session.machines()}
    for going_on in filter(_has_id, client.workloads.list()):
        if since is None or _find_request_time(going_on) >= since:
            yield _build_cloud_summary(going_on, Bill())
    for ended in filter(_has_id, islice(client.billing.history(limit=_PAGE).all(), _MOST)):
        if since is not None and _find_request_time(ended) < since:
            return
        yield _build_cloud_summary(ended, calculate_bill(ended, prices.get(ended.hardware_profile), at=client.now()))


def _has_id(run: ExecutionSummary | Workload) -> bool:
    return is_run_id(run.execution_id)


def _find_request_time(run: ExecutionSummary | Workload) -> datetime:
    """Return when a run was requested; a run without a date counts as new, so that every list includes it."""
    return run.known_since or datetime.now(timezone.utc)


def _build_cloud_summary(run: ExecutionSummary | Workload, bill: Bill) -> RunSummary:
    """Return a run that the cloud knows; some servers give more than the API says: name and labels."""
    extra = run.model_extra or {}
    return RunSummary(
        run.execution_id,
        _find_request_time(run),
        run.status.lower(),
        run.hardware_profile or "",
        bill.seconds,
        bill.cost,
        mask_secrets(
            getattr(run, "run_name", None) or extra.get("run_name") or remove_token_from_name(run.file_name or "")
        ),
        tuple(map(mask_secrets, getattr(run, "labels", None) or extra.get("labels") or ())),
        {key: value for key, value in (run.metadata or {}).items() if not key.startswith("lk_")},
        cost_is=bill.cost_is,
        queue_seconds=measure_queue(run) if isinstance(run, ExecutionSummary) else None,
        launch_seconds=measure_launch(run) if isinstance(run, ExecutionSummary) else None,
    )


def _join_entry(entry: JournalEntry, cloud_run: RunSummary | None) -> RunSummary:
    """Return a run of the journal, with the state, the duration and the cost that the cloud reports."""
    past = RunSummary(
        str(entry.execution_id),
        _convert_to_utc(entry.created_at),
        entry.state,
        entry.machine or "",
        entry.seconds,
        entry.cost,
        entry.title or entry.request.get("file_name") or "",
        tuple(entry.labels),
        {key: value for key, value in entry.metadata.items() if not key.startswith("lk_")},
        entry.notebook or "",
        entry.cell_id or "",
        entry.code,
        entry.code_hash,
        entry.group or "",
        entry.reason,
        entry.summary,
        "billed" if entry.cost is not None else None,
        git_commit=entry.git_commit,
        note=entry.note,
    )
    if cloud_run is None:
        return past if past.cost is not None or entry.seconds is None else _estimate_cost(past, entry)
    billed = cloud_run.cost if cloud_run.cost_is == "billed" else entry.cost
    if is_final(cloud_run.state) and (entry.going_on or entry.cost is None):
        journal().update(past.execution_id, state=cloud_run.state, seconds=cloud_run.seconds, cost=billed)
    past = replace(
        past,
        state=cloud_run.state,
        seconds=cloud_run.seconds or past.seconds,
        queue_seconds=cloud_run.queue_seconds,
        launch_seconds=cloud_run.launch_seconds,
    )
    if billed is not None:
        return replace(past, cost=billed, cost_is="billed")
    return replace(past, cost=cloud_run.cost, cost_is=cloud_run.cost_is)


def _estimate_cost(past: RunSummary, entry: JournalEntry) -> RunSummary:
    """Return a run without a known bill, with the cost of its duration."""
    cost = cost_at(entry.price_per_hour, entry.seconds or 0.0)
    return replace(past, cost=cost, cost_is=None if cost is None else "estimated")


def _convert_to_utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def _matches_options(past: RunSummary, options: HistoryOptions) -> bool:
    words = " ".join(map(str, [past.execution_id, past.name, past.machine, past.state, *past.labels, past.notebook]))
    words += " ".join(
        [
            past.code,
            past.reason,
            past.note,
            past.git_commit,
            *map(str, past.metadata),
            *map(str, past.metadata.values()),
        ]
    )
    return (
        all(word.lower() in words.lower() for word in options.text)
        and (not options.machine or options.machine.lower().removeprefix("gpu.") in past.machine.lower())
        and (not options.state or past.state == options.state.lower())
        and set(options.label) <= set(past.labels)
        and (not options.notebook or options.notebook.lower() in past.notebook.lower())
    )
