"""The companion that brings a run's variables back into the namespace where it was started."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.errors import LkError
from lk_jupyter.runs.companion import WARNING, Companion, Remark
from lk_jupyter.runs.variables.receiving import asked_for

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run


class Returned(Companion):
    """Sets what came in a namespace; without one it only says that it is there."""

    def __init__(self, namespace: MutableMapping[str, Any] | None) -> None:
        self._namespace = namespace

    def ended(self, run: Run, record: ExecutionRecord) -> list[Remark]:
        """Set the variables, and name those that came and those that did not."""
        names = asked_for(record.metadata or {})
        if not names:
            return []
        if self._namespace is None:
            return [Remark(f"%lk_attach {run.short_id} sets what came of {', '.join(names)} here")]
        try:
            found = run.outputs()
        except LkError as error:
            return [Remark(f"{', '.join(names)} could not be fetched: {error} Try again: run.outputs()", WARNING)]
        self._namespace.update(found)
        after = "" if record.status.lower() in SUCCEEDED_STATES else ", as they were when it failed"
        came = [Remark(f"Set here: {', '.join(found)}{after}")] if found else []
        return [*came, *(Remark(f"{reason}.", WARNING) for reason in found.missing.values())]
