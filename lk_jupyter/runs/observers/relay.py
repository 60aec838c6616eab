"""Show the place of the current run in a relay, and at the end the number of runs with the cost of all."""

from __future__ import annotations

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.connection import vm_run_in
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.relay import RelayFacts
from lk_jupyter.runs.run import Run
from lk_jupyter.text.units import count_label, credits_label


class RelayProgress(RunObserver):
    """Show which run of a relay is active."""

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (as all observers)
        """Return the place of the current run."""
        facts = _read_relay_facts(run)
        return [facts.place_label(len(facts.legs))] if facts and facts.legs else []

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:  # noqa: ARG002
        """Return the number of runs, with the cost of all."""
        facts = _read_relay_facts(run)
        if facts is None or not facts.legs:
            return []
        if len(facts.legs) == 1:
            return [Notice("1 run.")]
        cost = f"{credits_label(facts.billed)} together" if facts.billed is not None else "with a bill missing"
        return [Notice(f"{count_label(len(facts.legs), 'run')}, {cost}.")]


def _read_relay_facts(run: Run) -> RelayFacts | None:
    facts = getattr(vm_run_in(run.session), "facts", None)
    return facts if isinstance(facts, RelayFacts) else None
