"""Saves the variables of a run now and then, so that a run that is killed returns the last saved moment.

A thread decides when to save. The main thread saves between two statements of the author's code, and never within a
function of a library: a signal handler traces the author's functions until the next statement. A thread uploads the
saved bytes, as one object that replaces the moment before.
"""

from __future__ import annotations

import hashlib
import json
import signal
import struct
import sys
import threading
import time

from .. import sign
from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable
    from typing import Any

#: Share of the run's time that saving and waiting for a statement may take.
SHARE = 0.05

#: Seconds before the first moment, and the fewest between two moments.
FIRST, PACE = 1.0, 1.0

#: Seconds for which the author's functions are traced at least, and as a share of the time since the last moment.
_TRACE_SECONDS, _TRACE_SHARE = 0.05, 0.1

#: Bytes of a moment at most: they are copied, as the code continues during the upload.
LIMIT = 512 * 1024 * 1024

#: Seconds without a byte after which an upload is given up, and failed uploads after which nothing more is saved.
_PATIENCE, _MOST_FAILURES = 30, 3

#: A signal that is ignored where no handler is set, and that neither users nor libraries use.
_SIGNAL = getattr(signal, "SIGURG", None)


class Moments:
    """The saved moments of a run: ``pack`` returns the message and writers of its large leaves, with their places."""

    def __init__(self, link: str, pack: Callable[[], tuple[Callable[[], str], list[Any]]], cost: float) -> None:
        self._link = link
        self._pack = pack
        self._saved = time.monotonic()
        self._due = self._saved + max(FIRST, cost / SHARE)
        self._armed_at = 0.0
        self._frames: list[Any] = []
        self._digest = ""
        self._failures = 0
        self._upload: Any = None
        self._ended = threading.Event()

    def begin(self) -> None:
        """Save moments from now on, if this process can."""
        if _SIGNAL is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(_SIGNAL) not in (signal.SIG_DFL, signal.SIG_IGN):
            return
        signal.signal(_SIGNAL, self._on_signal)
        threading.Thread(target=self._request_moments, name="lk-moment", daemon=True).start()

    def end(self) -> None:
        """Save nothing more: the code has ended."""
        self._ended.set()
        self._stop_tracing()

    def _request_moments(self) -> None:
        while not self._ended.wait(max(0.02, self._due - time.monotonic())):
            if self._upload is not None and self._upload.is_alive():
                self._due = time.monotonic() + PACE
                continue
            window = max(_TRACE_SECONDS, _TRACE_SHARE * (time.monotonic() - self._saved))
            signal.raise_signal(_SIGNAL)  # type: ignore[arg-type] # the main thread handles the signal of any thread
            if self._ended.wait(window):
                return
            if self._frames:
                signal.raise_signal(_SIGNAL)  # type: ignore[arg-type]
            self._due = max(self._due, time.monotonic() + window / _TRACE_SHARE)

    def _on_signal(self, number: int, frame: types.FrameType | None) -> None:
        """Trace the functions of the author until their next statement, or stop tracing."""
        if self._frames:
            self._stop_tracing()
            return
        frames = author_frames(frame)
        if self._ended.is_set() or not frames or sys.gettrace() is not None:
            return
        self._frames = frames
        for author_frame in frames:
            author_frame.f_trace = self._save_at_statement
        sys.settrace(_ignore_call)

    def _stop_tracing(self) -> None:
        if self._frames:
            sys.settrace(None)
            for frame in self._frames:
                frame.f_trace = None
            self._frames = []

    def _save_at_statement(self, frame: types.FrameType, event: str, argument: Any) -> Any:
        if event != "line":
            return self._save_at_statement
        self._stop_tracing()
        started = time.monotonic()
        try:
            self._pack_and_upload()
        except Exception:  # a class may raise any error while it is packed
            self._failures += 1
        self._saved = time.monotonic()
        self._due = self._saved + max(PACE, (self._saved - started) / SHARE)
        if self._failures >= _MOST_FAILURES:
            self._ended.set()
        return None

    def _pack_and_upload(self) -> None:
        from ..values import envelope

        moment = time.time()
        make_text, large = self._pack()
        size = sum(leaf["size"] for leaf, _ in large)
        if not fits(size):
            self._failures = _MOST_FAILURES
            return
        pieces = envelope.pack_leaves(large)
        text = make_text().encode("ascii")
        content = hashlib.sha256(text)
        for piece in pieces:
            content.update(piece)
        if content.hexdigest() != self._digest:
            self._digest = content.hexdigest()
            header = json.dumps({"at": moment, "text": len(text), "sha256": self._digest}).encode("ascii")
            signature = sign.signature(driver._key, sign.MOMENT, header)
            head = signature + struct.pack("!I", len(header)) + header
            self._upload = threading.Thread(
                target=self._upload_pieces, args=([head, text, *pieces],), name="lk-moment-upload"
            )
            self._upload.daemon = True
            self._upload.start()

    def _upload_pieces(self, pieces: list[bytes]) -> None:
        from ..values import transfer

        try:
            transfer.upload_once(self._link, pieces, sum(map(len, pieces)), _PATIENCE)
            self._failures = 0
        except (OSError, ValueError):
            self._failures += 1
            self._digest = ""


def author_frames(frame: types.FrameType | None) -> list[Any]:
    """Return the frames of the author's code from the outermost on, up to the first function of a library."""
    stack: list[Any] = []
    while frame is not None and frame.f_code is not driver._execute_code.__code__:
        stack.append(frame)
        frame = frame.f_back
    if frame is None:
        return []  # the code doesn't run
    authors: list[Any] = []
    for inner in reversed(stack):
        if inner.f_globals.get("__name__") == "__main__":
            authors.append(inner)
        elif authors:
            break
    return authors


def _ignore_call(frame: types.FrameType, event: str, argument: Any) -> None:
    """Trace no function that is called now."""


def fits(size: int) -> bool:
    """Return whether a moment with large leaves of this number of bytes can be packed."""
    from ..values import transfer

    free = transfer.free_memory()
    return size <= LIMIT and (free is None or 3 * size < free)
