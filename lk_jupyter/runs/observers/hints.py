"""Read the metrics of a run now and then, and report its problems at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import ExecutionMetrics, ExecutionRecord
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config.settings import setting
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.notice import Notice
from lk_jupyter.runs.clock import measure_duration
from lk_jupyter.runs.observers import rules
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.observers.rules import KILLED, Evidence, hints, parse_imports
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.checkpoint import is_saved
from lk_jupyter.runs.package.rich import IMPORTS

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.run import Run


#: Characters of the log that are kept, and seconds between two looks at the metrics.
_TAIL = 1 << 16
_LOOK_SECONDS = 60.0

#: Time between two samples of the metrics.
STEP = "15s"

#: Maximum seconds to wait for the metrics of an ended run: a hint isn't worth a longer wait.
_PATIENCE = 3.0


class RunHints(RunObserver):
    """Find hints for a run."""

    def __init__(self, session: Connection, bundle: Bundle | None, namespace: Mapping[str, Any] | None = None) -> None:
        self._session = session
        self._bundle = bundle and bundle.remove_values()
        self._names = set(bundle.source.namespace if bundle else namespace or {})
        self._namespace = namespace or (bundle.source.namespace if bundle else {})
        self._tail = ""
        self._looked = -_LOOK_SECONDS
        self._imports: Frame | None = None
        self._has_checkpoint = False

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:
        """Keep the end of the log, and read the metrics in the background; the status line shows nothing."""
        self._tail = (self._tail + text)[-_TAIL:]
        if seconds is not None and seconds >= rules.IDLE_SECONDS and time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            _start_in_background(lambda: self._read_hints(run))
        return []

    def saw(self, frame: Frame) -> None:
        """Keep the duration of the imports, and whether the run can be resumed."""
        if frame.kind == IMPORTS:
            self._imports = frame
        self._has_checkpoint = self._has_checkpoint or is_saved(frame)

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Return hints about the problems of the run."""
        case = Evidence(
            log=self._tail,
            record=record,
            metrics=self._read_metrics(run, record),
            machine=self._find_machine(run),
            machines=self._session.machines() if record.return_code else None,
            bundle=self._bundle,
            imports=parse_imports(self._imports.payload) if self._imports else None,
            max_timeout=setting("max_timeout"),
            has_checkpoint=self._has_checkpoint,
            namespace={name: self._namespace[name] for name in self._names & self._namespace.keys()},
        )
        return hints(case)

    def _read_hints(self, run: Run) -> None:
        machine = self._find_machine(run)
        if machine and machine.card:
            self.notices = hints(Evidence(metrics=run.metrics(STEP), machine=machine))

    def _find_machine(self, run: Run) -> MachineType | None:
        return self._bundle.machine if self._bundle else run.machine

    def _read_metrics(self, run: Run, record: ExecutionRecord) -> ExecutionMetrics | None:
        """Return the metrics if they may explain a problem, and only if they arrive in time."""
        if (measure_duration(record) or 0.0) < rules.IDLE_SECONDS and record.return_code not in KILLED:
            return None
        answers: list[ExecutionMetrics] = []
        _start_in_background(lambda: answers.append(run.metrics(STEP))).join(_PATIENCE)
        return answers[0] if answers else None


def _start_in_background(work: Callable[[], object]) -> threading.Thread:
    def quietly() -> None:
        with suppress(Exception):  # no metrics, no hint
            work()

    thread = threading.Thread(target=quietly, name="lk-hints", daemon=True)
    thread.start()
    return thread
