"""Runs the code in several processes of one machine, the ranks, with the environment of torchrun.

Rank 0 is the process of the run: its variables and figures are sent to the notebook. The other ranks are forked before
the code starts, so they have the same variables and files. Lines of the other ranks start with their number. If a
rank fails, all ranks end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Seconds between two looks at the other ranks, seconds until they are killed, and until this process ends.
_PACE, _KILL_SECONDS, _END_SECONDS = 0.1, 1.0, 3.0

#: Process id → rank of the active other ranks.
_ranks: dict[int, int] = {}
_state: dict[str, Any] = {"count": 1, "failure": "", "is_ending": False}
_has_ended = threading.Event()
_lock = threading.Lock()


class RankStream:
    """A text stream that writes complete lines, each after the rank."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, rank: int, stream: Any) -> None:
        self._prefix = "[rank {}] ".format(rank)
        self._stream = stream
        self._line = ""

    def write(self, text: str) -> int:
        """Write the complete lines; keep the start of the next line."""
        lines = (self._line + text.replace("\r", "\n")).split("\n")
        self._line = lines.pop()
        self._write_text("".join(self._prefix + line + "\n" for line in lines if line))
        return len(text)

    def _write_text(self, text: str) -> None:
        if text:
            self._stream.buffer.write(text.encode(self.encoding, self.errors))
            self._stream.buffer.flush()

    def flush(self) -> None:
        """Do nothing: a complete line is written immediately."""

    def close_line(self) -> None:
        """Write the last line, which may lack its end."""
        if self._line:
            self.write("\n")

    def isatty(self) -> bool:
        """Return False: a log is no terminal."""
        return False

    def fileno(self) -> int:
        """Return the descriptor of the real stream."""
        number: int = self._stream.fileno()
        return number


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Start the other ranks; each continues with the code, as this process does."""
    import socket
    import warnings

    count = _state["count"] = settings["count"]
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in shared.items()})
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does
    sys.stdout.flush()
    sys.stderr.flush()
    driver.on_end = _end_rank_0
    for rank in range(1, count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a process with threads: they read the bucket only
            pid = os.fork()
        if pid == 0:
            _become_rank(rank)
            return
        _ranks[pid] = rank
    _set_rank(0)
    threading.Thread(target=_watch_ranks, name="lk-ranks", daemon=True).start()


def _set_rank(rank: int) -> None:
    os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"})


def _become_rank(rank: int) -> None:
    """Make this forked process a further rank: it sends nothing but lines to the notebook."""
    import traceback

    _ranks.clear()
    _set_rank(rank)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 is interrupted, and ends the other ranks
    driver.send = lambda data, stream=None: None
    driver.show_error = lambda error, trace: traceback.print_exception(type(error), error, trace)
    sys.excepthook = sys.__excepthook__
    sys.stdout, sys.stderr = RankStream(rank, driver._out), RankStream(rank, driver._err)
    driver.on_end = _end_further_rank


def _end_further_rank(error: BaseException | None) -> NoReturn:
    """End a further rank after its code, with an exit code as a script has."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, RankStream):
            stream.close_line()
    code = 0 if error is None else 1
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    os._exit(code)


def _end_rank_0(error: BaseException | None) -> BaseException | None:
    """Wait for the other ranks after the code of rank 0, or end them after an error; return the error of the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # no code is left to interrupt
    _has_ended.set()
    is_failure = error is not None and not (isinstance(error, SystemExit) and not error.code)
    if is_failure and _ranks and not _state["failure"]:
        _end_ranks()
        _write_error("Rank 0 of {} failed. All ranks were ended.".format(_state["count"]))
    while _ranks and not _state["failure"]:
        time.sleep(_PACE)
    if _state["failure"] and not is_failure:
        return SystemExit(1)
    return error


def _watch_ranks() -> None:
    """Look for a rank that failed; end the other ranks, then the code of rank 0."""
    while _ranks:
        _remove_ended_ranks()
        if _state["failure"]:
            break
        time.sleep(_PACE)
    if not _state["failure"]:
        return
    _write_error("{} All ranks were ended.".format(_state["failure"]))
    _end_ranks()
    main = threading.main_thread().ident
    if not _has_ended.is_set() and main:
        signal.pthread_kill(main, signal.SIGINT)
        if not _has_ended.wait(_END_SECONDS):  # code that waits for a lost rank isn't interrupted
            os._exit(1)


def _remove_ended_ranks() -> None:
    """Remove ended ranks; record the first that failed."""
    with _lock:
        for pid, rank in list(_ranks.items()):
            try:
                ended_pid, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:  # the code has waited for all processes
                ended_pid, status = pid, 0
            if ended_pid:
                del _ranks[pid]
            if ended_pid and status and not _state["failure"] and not _state["is_ending"]:
                end = "signal {}".format(status & 127) if status & 127 else "exit code {}".format(status >> 8)
                _state["failure"] = "Rank {} of {} failed: {}.".format(rank, _state["count"], end)


def _write_error(line: str) -> None:
    stream = driver.real_stderr()
    stream.write(line + "\n")
    stream.flush()


def _end_ranks() -> None:
    """End the other ranks, and wait."""
    _state["is_ending"] = True  # ranks that are ended here didn't fail
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in list(_ranks):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        end = time.monotonic() + _KILL_SECONDS
        while _ranks and time.monotonic() < end:
            _remove_ended_ranks()
            time.sleep(_PACE)
