"""Read the output of a run: text and messages, from its first line to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import cached_property

from lk_jupyter.api._events import Finished
from lk_jupyter.protocol.frames import Frame, Splitter
from lk_jupyter.runs.log import RunLog
from lk_jupyter.runs.run import Run


class RunReader:
    """Read the stream of a run, and write its log.

    ``finished`` is the event that ended the run; None while the run is active, and after ``close``.
    RunMonitor reads in a thread and records the state of the run, too; a reader alone changes no state.
    """

    def __init__(self, run: Run) -> None:
        self.finished: Finished | None = None
        self.log = RunLog(run.log_path)
        self.follower = run.follower(self.log)
        self._run = run

    @cached_property
    def splitter(self) -> Splitter | None:
        """The splitter of text and messages; None for a run without messages. May request the record."""
        return self._run.messages.splitter()

    def chunks(self) -> Iterator[str]:
        """Yield the output as it arrives, with messages in the text. Close the log at the end."""
        with closing(self.log):
            for event in self.follower.events():
                if isinstance(event, Finished):
                    self.finished = event
                    return
                yield event.content

    def split(self, text: str, *, is_last: bool = False) -> list[str | Frame]:
        """Return text and messages in order; ``is_last`` is whether no further text follows."""
        if self.splitter is None:
            return [text] if text else []
        return [*self.splitter.feed(text), *(self.splitter.end() if is_last else ())]

    def close(self) -> None:
        """Stop reading, from any thread. The run stays active."""
        self.follower.close()
