"""Define observers: they watch a run, may stop the run, and may add notices below its receipt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.errors import LkError
from lk_jupyter.protocol.frames import SCALARS, Frame
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.outcome import list_problems
from lk_jupyter.text.scalars import ScalarParser
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.terminal import one_line

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run


class RunObserver:
    """Do nothing: the base of all observers. Each observer has a run.

    The cell shows ``notices`` below the status line.
    """

    notices: Sequence[Notice] = ()

    #: Seconds after which the run is ended, if this observer knows.
    time_limit: int | None = None

    def started(self, run: Run) -> None:
        """Handle the start of the run, or the start of following the run."""

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (for those that look)
        """Check the run, about once a second; return facts for the status line.

        ``seconds`` is how long the code has run, None before that; ``text`` is the output since the last tick, or its
        end. A tick must not block: slow work belongs in a thread.
        """
        return []

    def saw(self, frame: Frame) -> None:
        """Handle a message of the run that isn't text."""

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:  # noqa: ARG002 (for those that look)
        """Return the lines below the receipt."""
        return []


#: Characters of new text that is a flood, and characters at the end of a flood in which numbers are searched: parsing
#: takes 0.4 µs for each character, and must not delay the cell.
_FLOOD_LENGTH, _END_LENGTH = 1 << 17, 1 << 14


class ObserverGroup:
    """Call all observers of a run that handle an event. An error in an observer never fails the run.

    The receipt names errors of the program. Errors of the cloud are reported where they matter to the user.
    ``time_limit`` is the seconds after which the run is ended, if any observer knows. ``scalars`` are the numbers that
    the run prints.
    """

    def __init__(self, observers: Iterable[RunObserver] = (), scalars: ScalarParser | None = None) -> None:
        self.observers = tuple(observers)
        self.scalars = scalars or ScalarParser()
        self._seconds = 0.0
        self._errors: dict[str, str] = {}  # class of an observer → its first error
        self.time_limit = next((each.time_limit for each in self.observers if each.time_limit is not None), None)

    def started(self, run: Run) -> None:
        """Notify the observers."""
        self._call_all("started", run)

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:
        """Return the facts of all observers, after reading the numbers in the new text."""
        self._seconds = self._seconds if seconds is None else seconds
        if len(text) >= _FLOOD_LENGTH:  # of so much text, only the end arrives
            self.scalars.feed_end(text[-_END_LENGTH:], self._seconds)
        else:
            self.scalars.feed(text, self._seconds)
        return self._call_all("tick", run, seconds, text)

    def saw(self, frame: Frame) -> None:
        """Notify the observers, and read exact numbers."""
        if frame.kind == SCALARS:
            self.scalars.add_points(frame.payload, self._seconds)
        self._call_all("saw", frame)

    @property
    def notices(self) -> list[Notice]:
        """The current notices of all observers."""
        notices: list[Notice] = []
        for observer in self.observers:
            with self._record_error(observer):
                notices += observer.notices
        return notices

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Return the notices of the observers, after warnings about gaps in the log and about an unread record."""
        self.scalars.end(self._seconds)
        warnings = [Notice(problem, WARNING) for problem in list_problems(record, run.log_problem)]
        notices = self._call_all("ended", run, record)
        failures = [f"{name}: {error}" for name, error in self._errors.items()]
        incomplete = [Notice(f"A part of this receipt is missing. {'; '.join(failures)}.", WARNING)] if failures else []
        return [*warnings, *notices, *incomplete]

    def _call_all(self, event: str, *facts: Any) -> list[Any]:
        """Call the observers that handle an event, and return their answers."""
        answers: list[Any] = []
        for observer in self.observers:
            if getattr(type(observer), event) is not getattr(RunObserver, event):
                with self._record_error(observer):
                    answers += getattr(observer, event)(*facts) or ()
        return answers

    @contextmanager
    def _record_error(self, observer: RunObserver) -> Iterator[None]:
        """Record an error in an observer for the receipt, which lacks the facts of this observer."""
        try:
            yield
        except LkError:
            pass
        except Exception as error:  # noqa: BLE001 (an observer may raise any error)
            problem = redact(one_line(f"{type(error).__name__}: {error}")).rstrip(": ")
            self._errors.setdefault(type(observer).__name__, problem)
