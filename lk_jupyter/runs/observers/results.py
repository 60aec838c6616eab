"""Restore the results of a run: its variables, its executed notebook, and the figures of its metrics."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.config.files import put_in_place
from lk_jupyter.errors import LkError
from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.frames import UNSIGNED, Frame
from lk_jupyter.protocol.metadata import CARRY_KEY, REQUEST_KEY
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.protocol.parts import read_part_settings
from lk_jupyter.protocol.vm_run import parse_run_key
from lk_jupyter.runs.clock import measure_duration, measure_launch, measure_wait
from lk_jupyter.runs.metrics.summary import keep_figures, keep_summary
from lk_jupyter.runs.notebooks.notebook import CELL, PART
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.outcome import STOPPED_STATES, classify_end
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.kept_packages import KIND as PACKAGES
from lk_jupyter.runs.package.kept_packages import is_complete
from lk_jupyter.runs.package.starts import START_KEY, is_compared
from lk_jupyter.runs.returned import read_changes
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.variables.payload import requested_outputs
from lk_jupyter.runs.variables.state import recall, remember, set_outputs, set_state
from lk_jupyter.text.scalars import ScalarParser, choose_score
from lk_jupyter.text.secrets import redact_bundle, redact_values
from lk_jupyter.text.units import disk_label, duration_label, moment_label, size_label

if TYPE_CHECKING:
    from lk_jupyter.vms.volumes import RunVolume


class Summary(RunObserver):
    """Store the score, the figures and the time of the start of a run at its end, in the background.

    The score is the validation measure or the loss among the printed numbers. Without ``scalars``, no score is stored.
    The time of the start is stored for a run in an image or with packages, so that both can be compared.
    """

    def __init__(self, scalars: ScalarParser | None = None, bundle: Bundle | None = None) -> None:
        self._scalars = scalars
        self._has_start = bundle is not None and is_compared(bundle)
        self._packages_seconds = 0.0

    def saw(self, frame: Frame) -> None:
        """Add the time in which the run provided its packages."""
        if frame.kind == PACKAGES:
            self._packages_seconds += float(frame.payload.get("seconds", 0.0))

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Start to read the metrics; show nothing."""
        measures = self._scalars.measures if self._scalars else {}
        name = choose_score(measures)
        score = {name: measures[name]} if name else {}
        if self._has_start and (launch := measure_launch(record)) is not None:
            score[START_KEY] = round(launch + self._packages_seconds, 2)
        threading.Thread(
            target=_save_summary,
            args=(run, measure_duration(record), score),
            name=f"lk-summary-{run.short_id}",
            daemon=True,
        ).start()
        return []


#: Source of packages → the verb of the notice.
_SOURCES = {"machine": "found on the machine", "bucket": "restored from the bucket", "installed": "installed"}


class PackagesNotice(RunObserver):
    """Report how a run got its packages, and whether the run has kept them."""

    def __init__(self) -> None:
        self._sentences: list[str] = []
        self._is_problem = False

    def saw(self, frame: Frame) -> None:
        """Add a sentence about the packages."""
        if frame.kind != PACKAGES:
            return
        payload = frame.payload
        if "parts" in payload:
            size = sum(part[0] for part in payload["parts"]) if is_complete(payload) else 0
            self._sentences += (
                [f"The packages were stored in the bucket for later runs: {size_label(size)}."] if size else []
            )
        elif payload.get("source") == "pending":  # the code starts, and waits when it imports a package
            return
        elif payload.get("source") in _SOURCES:
            verb, seconds = _SOURCES[payload["source"]], float(payload.get("seconds", 0.0))
            self._sentences.append(f"Packages {verb} in {duration_label(seconds)}.")
        else:
            self._sentences.append(f"Packages weren't kept: {redact_values(str(payload.get('problem')))}.")
            self._is_problem = True

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:  # noqa: ARG002 (as all observers)
        """Return the notice."""
        text = " ".join(self._sentences)
        return [Notice(text, *([WARNING] if self._is_problem else []))] if text else []


class VolumeReminder(RunObserver):
    """Report the volume that stays after a run on a VM, with its price."""

    def __init__(self, volume: RunVolume) -> None:
        self._volume = volume

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:  # noqa: ARG002 (as all observers)
        """Return the reminder, with the id that a new volume got."""
        from lk_jupyter.vms.facts import read_facts  # noqa: PLC0415 (few runs are on VMs)

        name = self._volume.volume_id or read_facts(parse_run_key(run.execution_id) or "").volume_id
        price = self._volume.price_label
        if not name:
            return [Notice(f"A {self._volume.label} may exist, and {price}. See your volumes: %lk_volumes", WARNING)]
        text = f"Volume {name} ({disk_label(self._volume.size_gb)}) stays with its files and {price}."
        return [Notice(f"{text} Use it again: --volume {name}. Delete it: %lk_volumes delete {name}")]


#: Seconds before the code from which the phases are reported.
PHASES_SECONDS = 10.0


class Phases(RunObserver):
    """Report the time and the cost of each phase of a run whose code didn't start soon."""

    def __init__(self) -> None:
        self._packages_seconds = 0.0

    def saw(self, frame: Frame) -> None:
        """Add the time in which the run provided its packages: reading the log again takes as long as the log is."""
        if frame.kind == PACKAGES:
            self._packages_seconds += float(frame.payload.get("seconds", 0.0))

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Return the phases if the code waited for its machine or its packages."""
        if (measure_wait(record) or 0.0) + self._packages_seconds < PHASES_SECONDS:
            return []
        return [Notice(f"Phases: {label}.")] if (label := run.timing().label) else []


def _save_summary(run: Run, seconds: float | None, score: dict[str, float]) -> None:
    with suppress(Exception):  # no metrics, no figures: the history reads them again
        if score:
            keep_figures(run.execution_id, score)
        keep_summary(run, seconds)


def _format_moment(record: ExecutionRecord) -> str:
    """Return the end of a line about variables that shows whether the run finished."""
    state = classify_end(record)
    if state in SUCCEEDED_STATES:
        return ""
    end = "was stopped" if state in STOPPED_STATES | {"timeout"} else "failed"
    return f", with the values from the moment when the run {end}"


def _build_saved_moment_notice(moment: float, record: ExecutionRecord) -> Notice:
    """Return the notice about variables of the last saved moment of a run that was killed."""
    saved = datetime.fromtimestamp(moment, timezone.utc).astimezone()
    end = record.end_time or record.job_end or record.finish_time
    age = f", {duration_label(max(0.0, end.timestamp() - moment))} before its end" if end else ""
    return Notice(
        f"The run ended before it could send its variables. You get the variables that were saved at "
        f"{moment_label(saved, '%H:%M:%S')}{age}. Later changes and files of the run are missing.",
        WARNING,
    )


class Returned(RunObserver):
    """Set the outputs of a run in a namespace; without a namespace, report that they are available.

    The local request lists the names to set. For a run that was started elsewhere, ``names`` are set. ``is_origin`` is
    whether the run changes the local objects in place, or copies.
    """

    def __init__(
        self, namespace: MutableMapping[str, Any] | None, names: Sequence[str] = (), *, is_origin: bool = True
    ) -> None:
        self._namespace = namespace
        self._is_origin = is_origin
        self._names = list(names)

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Set the variables. List the variables that were set and the missing variables."""
        if run.request_metadata is not None and CARRY_KEY in run.request_metadata:
            return self._apply_changes(run, record)
        names = self._names if run.request_metadata is None else requested_outputs(run.request_metadata)
        if not names:
            return self._list_outputs(run, record)
        if self._namespace is None:
            return [Notice(f"To set {', '.join(names)} here: %lk_attach {run.short_id}")]
        try:
            outputs = run.outputs(names=names)
        except LkError as error:
            return [Notice(f"Can't download {', '.join(names)}: {error} Try again: run.outputs()", WARNING)]
        origin = recall(str((run.request_metadata or {}).get(REQUEST_KEY)))
        after = _format_moment(record)
        return set_outputs(outputs, origin, self._namespace, after)

    def _apply_changes(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Apply the changes of the run to the local variables."""
        if self._namespace is None:
            return [Notice(f"To set the variables that the run changed: %lk_attach {run.short_id}")]
        token = str((run.request_metadata or {}).get(REQUEST_KEY))
        origin = recall(token) if self._is_origin else None
        try:
            state = read_changes(run, origin)
        except LkError as error:
            remember(token, origin)
            return [
                Notice(f"Can't download the changes of the run: {error} Try again: %lk_attach {run.short_id}", WARNING)
            ]
        after = _format_moment(record)
        if state.moment is None:
            return set_state(state, self._namespace, after)
        return [*set_state(state, self._namespace, ""), _build_saved_moment_notice(state.moment, record)]

    @staticmethod
    def _list_outputs(run: Run, record: ExecutionRecord) -> list[Notice]:
        """List the outputs of a run that was started elsewhere, and the command that downloads them."""
        offered = requested_outputs(record.metadata or {}) if run.request_metadata is None else []
        if not offered:
            return []
        how = f"%lk_attach {run.short_id} --out {','.join(offered)}"
        return [
            Notice(
                "This run was started elsewhere, so no variable was set. To set its output variables in this notebook: "
                f"{how}"
            )
        ]


class Executed(RunObserver):
    """Write the executed notebook after each cell, and report the progress."""

    def __init__(self, book: dict[str, Any], target: Path) -> None:
        self._book = copy.deepcopy(book)
        self._target = target
        self._code = [at for at, cell in enumerate(book["cells"]) if cell["cell_type"] == "code"]
        self._running: int | None = None
        self._done: set[int] = set()
        self._trouble = ""

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (the frames tell)
        """Return the number of the active cell, and of all cells."""
        if self._running is None:
            return []
        return [f"cell {self._code.index(self._running) + 1} of {len(self._code)}"]

    def saw(self, frame: Frame) -> None:
        """Record the state of a cell, and show the first line of the active cell."""
        if frame.kind == UNSIGNED and frame.payload.get("kind") == CELL:
            self._trouble = "outputs of its cells aren't signed with the key of the run"
        at = frame.payload.get("index")
        if frame.kind == CELL and frame.payload.get("state") == "metadata":
            self._book["metadata"].update(redact_values(dict(frame.payload["metadata"])))
            self._write_notebook()
        if frame.kind != CELL or at not in self._code:
            return
        if frame.payload["state"] == "running":
            self._running = at
            lines = self._book["cells"][at]["source"].splitlines()
            self.notices = [Notice(next((line for line in lines if line.strip()), "").strip()[:80])]
            return
        outputs = [redact_output(output) for output in frame.payload["outputs"]]
        self._book["cells"][at].update(outputs=outputs, execution_count=frame.payload["count"])
        self._done.add(at)
        self._write_notebook()

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:  # noqa: ARG002 (the state is enough)
        """Report the path of the notebook, and the number of executed cells."""
        self._running, self.notices = None, ()
        if self._trouble:
            return [Notice(f"Can't write the executed notebook: {self._trouble}", WARNING)]
        if not self._done:
            return []
        part = (
            f", {len(self._done)} of {len(self._code)} cells" if record.status.lower() not in SUCCEEDED_STATES else ""
        )
        return [Notice(f"Executed notebook: {self._target}{part}")]

    def _write_notebook(self) -> None:
        new = self._target.with_name(f".{self._target.name}.new")
        try:
            new.write_text(json.dumps(self._book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            put_in_place(new, self._target)
        except OSError as error:
            self._trouble = str(error)


def redact_output(output: dict[str, Any]) -> dict[str, Any]:
    """Return an output with masked secrets, for a notebook."""
    redacted: dict[str, Any] = redact_values(
        {name: _join_lines(value) for name, value in output.items() if name != "data"}
    )
    if "data" in output:
        redacted["data"] = redact_bundle({kind: _join_lines(form) for kind, form in dict(output["data"]).items()})
    return redacted


def _join_lines(text: Any) -> Any:
    """Return a list of lines as a single text, because a secret may span lines."""
    is_lines = isinstance(text, list) and text and all(isinstance(line, str) for line in text)
    return "".join(text) if is_lines and all(line.endswith("\n") for line in text[:-1]) else text


def executed_notebook_observers(run: Run | None, bundle: Bundle | None) -> Iterator[RunObserver]:
    """Yield the observer that restores the executed notebook, if the run executes a notebook."""
    entry = journal().get(run.execution_id) if run else None
    import_files: Any = bundle.request.import_files if bundle else entry and entry.request.get("import_files")
    with suppress(ValueError, KeyError, TypeError):  # the journal has no files of this run, or the run isn't a notebook
        settings = read_part_settings(import_files, PART) or {}
        yield Executed(settings["book"], Path(settings["target"]))
