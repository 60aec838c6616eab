"""The companion that brings a run's variables back into the namespace where it was started."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.errors import LkError
from lk_jupyter.protocol.metadata import CARRY_KEY, REQUEST_KEY
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.variables.download import asked_for
from lk_jupyter.runs.variables.state import put_here, put_outputs, recall, remember

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run


class Returned(RunObserver):
    """Sets what came in a namespace; without one it only says that it is there.

    Which names are set is what was asked for from here. Of a run that was started elsewhere it sets those ``taken``.
    ``is_origin`` is whether the objects that the run was started with are changed in place, or copies of them.
    """

    def __init__(
        self, namespace: MutableMapping[str, Any] | None, taken: Sequence[str] = (), *, is_origin: bool = True
    ) -> None:
        self._namespace = namespace
        self._is_origin = is_origin
        self._taken = list(taken)

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Set the variables, and name those that came and those that did not."""
        if run.asked is not None and CARRY_KEY in run.asked:
            return self._carried(run, record)
        names = self._taken if run.asked is None else asked_for(run.asked)
        if not names:
            return self._offered(run, record)
        if self._namespace is None:
            return [Notice(f"To set {', '.join(names)} here: %lk_attach {run.short_id}")]
        try:
            found = run.outputs(names=names)
        except LkError as error:
            return [Notice(f"Can't download {', '.join(names)}: {error} Try again: run.outputs()", WARNING)]
        origin = recall(str((run.asked or {}).get(REQUEST_KEY)))
        after = "" if record.status.lower() in SUCCEEDED_STATES else ", as they were when it failed"
        return put_outputs(found, origin, self._namespace, after)

    def _carried(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Bring what the run has changed into the variables here."""
        if self._namespace is None:
            return [Notice(f"What the run changed comes back with %lk_attach {run.short_id}")]
        token = str((run.asked or {}).get(REQUEST_KEY))
        origin = recall(token) if self._is_origin else None
        try:
            state = run.changed_state(origin)
        except LkError as error:
            remember(token, origin)
            return [
                Notice(f"Can't download the changes of the run: {error} Try again: %lk_attach {run.short_id}", WARNING)
            ]
        after = "" if record.status.lower() in SUCCEEDED_STATES else ", as they were when it failed"
        return put_here(state, self._namespace, after)

    @staticmethod
    def _offered(run: Run, record: ExecutionRecord) -> list[Notice]:
        """Say what a run that was started elsewhere sent back, and how to get it."""
        offered = asked_for(record.metadata or {}) if run.asked is None else []
        if not offered:
            return []
        how = f"%lk_attach {run.short_id} --take {','.join(offered)}"
        return [Notice(f"This run wasn't started here, so no variable was set. To set its outputs: {how}")]
