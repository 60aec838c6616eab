"""Whether a run has ended, where the server's word for its state does not say.

A word that nobody knows is decided by what else is known: an end time or an exit code of its record, the end of its
stream, or its absence from the list of runs that have not ended.
"""

from __future__ import annotations

import time
from threading import Timer
from typing import TYPE_CHECKING

from lk_jupyter.api._events import Finished
from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.api.states import is_known, judged
from lk_jupyter.errors import LkError

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client

#: Seconds for which a state of an unknown word is left alone: until then the run may be new to the lists.
PATIENCE = 10.0

#: Seconds in which a stream that has ended is read to its end.
_GLANCE = 5.0


class Ending:
    """What is known of the end of one run. ``finished`` is the last event of its stream, once that has come."""

    def __init__(self, client: Client, execution_id: str) -> None:
        self.finished: Finished | None = None
        self.stream_is_over = False
        self._client = client
        self._execution_id = execution_id
        self._puzzled = 0.0

    def state(self) -> str:
        """Ask for the state; one that nobody knows as the API's word for the end, once there was one."""
        status = self._client.execution.status(self._execution_id).status
        return status if is_known(status) else self.record().status

    def record(self) -> ExecutionRecord:
        """Ask for the record, with the platform's reason for a failure where only the stream gave one."""
        record = self._client.execution.get(self._execution_id)
        changes = {}
        if not is_known(record.status) and self._has_ended():
            code = self.finished.return_code if self.finished else None
            failed = bool(self.finished and not self.finished.succeeded)
            changes = {"status": judged(record.status, code, failed=failed), "return_code": code}
        error = self.finished.error if self.finished else None
        if error and not (record.status_details or record.system_errors or record.errors):
            changes["status_details"] = error
        return record.model_copy(update=changes)

    def _has_ended(self) -> bool:
        if self.finished or self.stream_is_over:
            return True
        now = time.monotonic()
        self._puzzled = self._puzzled or now
        if now - self._puzzled < PATIENCE:
            return False
        if not self._is_listed():
            return True
        self._puzzled = now
        return self._look_at_stream()

    def _is_listed(self) -> bool:
        try:
            return any(run.execution_id == self._execution_id for run in self._client.workloads.list())
        except LkError:
            return True

    def _look_at_stream(self) -> bool:
        """Read what there is of the stream, and say whether it has ended."""
        stream = self._client.follow(self._execution_id)
        glance = Timer(_GLANCE, stream.close)
        glance.start()
        try:
            for event in stream:
                if isinstance(event, Finished):
                    self.finished = event
            self.stream_is_over = glance.is_alive()  # else it was cut here
        except LkError:
            return False
        finally:
            glance.cancel()
            stream.close()
        return self.stream_is_over
