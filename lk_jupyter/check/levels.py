"""A check from the first level to the last requested level."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from lk_jupyter.api._client import Client
from lk_jupyter.check import published, reading, recording, run_limit, spending
from lk_jupyter.check.findings import Report
from lk_jupyter.check.run_limit import LimitPlan
from lk_jupyter.check.spending import SpendingPlan
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.session import Session
from lk_jupyter.text.units import credits_label

#: Default limit of --spend, in credits.
MOST_CREDITS = Decimal("0.05")


@dataclass(frozen=True)
class LevelRequest:
    """Options of a check.

    ``public`` sends only requests without a key; ``spend`` adds runs and a chat, up to ``max_credits``.
    ``probe_starts`` sends starts that lack a required field, as ``spend`` does: a server that accepts such a start
    bills the run until its abort. ``record`` is the path of a recording. ``run_limit`` starts a run with this time
    limit in seconds, if ``confirm`` agrees to the question.
    """

    public: bool = False
    probe_starts: bool = False
    spend: bool = False
    max_credits: Decimal = MOST_CREDITS
    record: Path | None = None
    run_limit: int | None = None
    confirm: Callable[[str], bool] = lambda _: False


def _format_cost(cost: Decimal | None) -> str:
    return "depends" if cost is None else "free" if cost == 0 else credits_label(cost)


class Check:
    """A check of a server; ``report`` contains the findings so far, even after an interrupt."""

    def __init__(self, client: Client, session: Session | None, wish: LevelRequest) -> None:
        if wish.public and wish.spend:
            raise UsageError("--spend needs a key; --public uses none. Nothing was sent.")
        if wish.public and wish.probe_starts:
            raise UsageError("--probe-starts needs a key; --public uses none. Nothing was sent.")
        if wish.run_limit and (wish.public or session is None):
            raise UsageError("--run-limit needs a key. Nothing was sent. Sign in: %lk_login")
        if wish.spend or wish.probe_starts or wish.run_limit:
            refuse_if_read_only("spends")
        if wish.record:
            recording.require_writable_path(wish.record)
        self.report = Report(client)
        self._session = session
        self._wish = wish

    def run(self, watch: Callable[[str], object]) -> None:
        """Run the check, store the results, and write the recording. Raises the errors of the API, and UsageError."""
        try:
            self._run_checks(watch)
        finally:
            self.report.client.assumptions.store_check(self.report.values)
        if self._wish.record:
            recording.write(self._wish.record, self.report)
            self.report.notes.append(f"Recorded in {self._wish.record}. Keys, addresses, names and ids are replaced.")

    def _describe_probes(self, spends: SpendingPlan | None, limit: LimitPlan | None) -> str:
        """Return a table of all probes in the order of their maximum cost, and whether this check has them."""
        session, wish = self._session, self._wish
        with suppress(LkError):
            spends = spends or (spending.estimate(session) if session else None)
        probes = [
            (Decimal(0), "read the public information, without a key", True),
            (Decimal(0), "read data with your key", session is not None),
            (None, "send starts that lack a field: --probe-starts. Free if the server refuses them",
             wish.probe_starts or wish.spend),
            (spends.worst if spends else None, f"{spending.RUNS} short runs and a chat: --spend", wish.spend),
            (limit.spends.worst if limit else None, "start and abort a run: --run-limit DURATION", limit is not None),
        ]  # fmt: skip
        probes.sort(key=lambda probe: (probe[0] is None and not probe[2], probe[0] or Decimal(0)))
        rows = [
            f"  {'yes' if is_included else 'no':4} {_format_cost(cost):>15}  {words}"
            for cost, words, is_included in probes
        ]
        return "\n".join(["Probes of this check, by their highest cost:", *rows])

    def _run_checks(self, watch: Callable[[str], object]) -> None:
        session = self._session
        spends = spending.plan(session, self._wish.max_credits) if session and self._wish.spend else None
        limit = run_limit.plan(session, self._wish.run_limit) if session and self._wish.run_limit else None
        watch(self._describe_probes(spends, limit))
        watch(f"Reading the public information of {self.report.client.base_url} …")
        description = published.check_public_answers(self.report)
        if session:
            watch("Reading data with your key; nothing is started or changed …")
            probe_starts = self._wish.probe_starts or self._wish.spend
            reading.check_reads(session, self.report, description, probe_starts=probe_starts)
        if session and spends:
            watch(
                f"Spending at most {spends.worst:.4f} credits for {spending.RUNS} runs on "
                f"{spends.machine.hardware_profile} and for a chat …"
            )
            spending.spend_and_check(session, self.report, spends)
        if session and limit:
            if self._wish.confirm(limit.question):
                run_limit.check_run_limit(session, self.report, limit)
            else:
                self.report.notes.append("The time limit wasn't tested: no run was started.")
