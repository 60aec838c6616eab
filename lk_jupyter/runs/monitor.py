"""The events of one run, read by a thread, so that the cell can show them at its own pace."""

from __future__ import annotations

import threading
import time
from contextlib import closing

from lk_jupyter.api._events import Finished
from lk_jupyter.api.execution import is_final
from lk_jupyter.protocol.frames import Frame, Splitter, text_of
from lk_jupyter.runs.clock import Stopwatch, now
from lk_jupyter.runs.log import RunLog
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.watch import WATCH

#: Seconds of silence after which the state of the run is asked for, in case the stream lies.
_SILENCE = 20.0


class RunMonitor:
    """Reads a run to its end. ``wake`` is set when there is something new, ``done`` at the end.

    ``state`` is the last known state of the run, ``stopwatch`` counts its billed time, ``finished`` is how it ended,
    ``error`` what ended the reading in its place, ``lost`` whether there is no connection just now.
    """

    def __init__(self, run: Run) -> None:
        self.state = "pending"
        self.stopwatch = Stopwatch(run.sent_at)
        self.finished: Finished | None = None
        self.error: Exception | None = None
        self.wake = threading.Event()
        self.done = threading.Event()
        self.run = run
        self._since = now() if run.sent_at is None else run.sent_at
        self._chunks: list[str] = []
        self._heard = time.monotonic()
        self._log = RunLog(run.log_path)
        self._follower = run.follower(self._log)
        self._splitter = Splitter(run.nonce) if run.nonce else None

    def start(self) -> RunMonitor:
        """Begin to read."""
        threading.Thread(target=self._read, name=f"lk-read-{self.run.short_id}", daemon=True).start()
        WATCH.add(self)
        return self

    @property
    def lost(self) -> bool:
        """Whether the connection is lost and made again."""
        return self._follower.lost

    @property
    def waiting(self) -> float:
        """Seconds since the run was sent."""
        return now() - self._since

    @property
    def damaged(self) -> int:
        """How many of the run's frames came broken."""
        return self._splitter.damaged if self._splitter else 0

    def items(self) -> list[str | Frame]:
        """Return what has come since the last time, text and frames in order."""
        ended = self.done.is_set()  # asked first: all that was written before is there then
        chunks, self._chunks = self._chunks, []
        text = "".join(chunks)
        if self._splitter is None:
            return [text] if text else []
        items = self._splitter.feed(text)
        items += self._splitter.end() if ended else []
        self._learn(items)
        return [self.run.whole(item) if isinstance(item, Frame) else item for item in items]

    def _learn(self, items: list[str | Frame]) -> None:
        """Keep for the server what this run shows of it."""
        assumed = self.run.session.assumptions
        if self._splitter and self._splitter.restored:
            assumed.learn("frames", "plain")
        for item in items:
            if isinstance(item, Frame) and item.kind == "place":
                folder = item.payload.get("bucket")
                if folder in assumed.candidates("bucket_folder_python"):
                    assumed.learn("bucket_folder_python", folder, is_confirmed=True)

    def take(self) -> str:
        """Return the text that has come since the last time, for those who have no use for frames."""
        return text_of(self.items())

    def close(self) -> None:
        """Stop reading; the run goes on."""
        self._follower.close()

    def _read(self) -> None:
        try:
            with closing(self._log):
                self._pass_on()
        except Exception as error:  # noqa: BLE001 (it is raised again in the cell)
            self.error = error
        finally:
            self.done.set()
            self.wake.set()

    def _pass_on(self) -> None:
        for event in self._follower.events():
            if isinstance(event, Finished):
                self.finished = event
                return
            self._chunks.append(event.content)
            if not self.wake.is_set():
                self._heard = time.monotonic()
                self._log.flush()
                self.wake.set()
                if not self._follower.recalls:
                    self._set_state("running")

    @property
    def over(self) -> bool:
        """Whether the state of the run is of no more interest."""
        return self.done.is_set()

    @property
    def due(self) -> bool:
        """Whether the state is to be learned: often until the run runs, then only when the stream is silent."""
        if self.stopwatch.due:  # what came first here may have been on its way for long
            self.stopwatch.look(self.run)
        return self.state != "running" or self._is_silent()

    def heard(self, state: str) -> None:
        """Take in the state."""
        self._set_state(state)
        if self._is_silent():
            if is_final(state):
                self._follower.drop()
            self._heard = time.monotonic()

    def _is_silent(self) -> bool:
        return time.monotonic() - self._heard > _SILENCE

    def _set_state(self, state: str) -> None:
        if state == "running":
            self.stopwatch.start()
        if state != self.state:
            self.state = state
            self.wake.set()
            self.run.learn(state)
