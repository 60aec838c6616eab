"""Runs the code in several processes of one machine, the ranks, with the environment of torchrun.

Rank 0 is the process of the run: its variables and figures are sent to the notebook. The other ranks are forked before
the code starts, so they have the same variables and files. Lines of the other ranks start with their number. If a
rank fails, all ranks end, and its error is the error of the run.
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
    import types
    from typing import Any, NoReturn

#: Seconds between two looks at the other ranks, seconds until they are killed, and until this process ends.
_PACE, _KILL_SECONDS, _END_SECONDS = 0.1, 1.0, 3.0

#: Process id → rank of the active other ranks.
_ranks: dict[int, int] = {}

#: The part that shows errors in the notebook.
_SHOWS_ERRORS = "display.rich"

_state: dict[str, Any] = {"count": 1, "failure": "", "failed_rank": 0, "is_ending": False, "show_error": None}
_has_ended = threading.Event()
_lock = threading.Lock()
_watcher: threading.Thread | None = None

#: Rank → file in which the rank stores its error for rank 0.
_error_files: dict[int, Any] = {}


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
    global _watcher  # noqa: PLW0603 (one process is rank 0)
    import socket
    import tempfile
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
        _error_files[rank] = tempfile.TemporaryFile()  # noqa: SIM115 (open until the run ends)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a process with threads: they read the bucket only
            pid = os.fork()
        if pid == 0:
            _become_rank(rank)
            return
        _ranks[pid] = rank
    _set_rank(0)
    streams: tuple[Any, Any] = driver._out, driver._err
    for stream in streams:  # a line in one piece, between the lines of the other ranks
        stream.reconfigure(line_buffering=True, write_through=False)
    _state["show_error"] = driver.show_error
    driver.show_error = _show_error
    _watcher = threading.Thread(target=_watch_ranks, name="lk-ranks", daemon=True)
    _watcher.start()


def _set_rank(rank: int) -> None:
    os.environ.update({"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"})


def _become_rank(rank: int) -> None:
    """Make this forked process a further rank: it sends nothing but lines to the notebook."""
    _ranks.clear()
    _set_rank(rank)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 is interrupted, and ends the other ranks
    driver.send = lambda data, stream=None: None
    driver.show_error = lambda error, trace: _report_error(_error_files[rank], error, trace)
    sys.excepthook = sys.__excepthook__
    sys.stdout, sys.stderr = RankStream(rank, driver._out), RankStream(rank, driver._err)
    driver.on_end = _end_further_rank


def _report_error(file: Any, error: BaseException, trace: types.TracebackType | None) -> None:
    """Print the error of a further rank, and store the error for rank 0."""
    import json
    import traceback

    text = "".join(traceback.format_exception(type(error), error, trace))
    sys.stderr.write(text)
    lines = []
    if _SHOWS_ERRORS in driver.parts:
        from .traceback import error_lines

        lines = error_lines(error, trace)
    file.write(json.dumps([text, lines]).encode())
    file.flush()


def _show_error(error: BaseException, trace: types.TracebackType | None) -> None:
    """Show the error of rank 0, unless the failure of another rank has interrupted rank 0."""
    _end_ranks_after_failure()
    if not _is_caused_by_rank(error):
        _state["show_error"](error, trace)


def _end_ranks_after_failure() -> None:
    """End the other ranks after an error of rank 0, which may be a consequence of the failure of another rank."""
    end = time.monotonic() + _KILL_SECONDS
    while not _state["failure"] and any(map(_has_error, _ranks.values())) and time.monotonic() < end:
        _remove_ended_ranks()
        time.sleep(_PACE / 10)
    if _ranks and not _state["failure"] and not _state["is_ending"]:
        _write_error("Rank 0 of {} failed. All ranks are ended.".format(_state["count"]))
        _end_ranks()


def _has_error(rank: int) -> bool:
    """Return whether a rank has stored an error."""
    return os.fstat(_error_files[rank].fileno()).st_size > 0


def _is_caused_by_rank(error: BaseException) -> bool:
    """Return whether an error of rank 0 is the interrupt after the failure of another rank."""
    return bool(_state["failure"]) and isinstance(error, KeyboardInterrupt)


def _show_failure(error: BaseException | None) -> None:
    """Show the error of the rank that failed first, unless rank 0 has shown the same error."""
    import json
    import traceback

    file = _error_files[_state["failed_rank"]]
    file.seek(0)
    content = file.read()
    if not content:  # such as a signal, which the line about the rank names
        return
    text, lines = json.loads(content.decode())
    is_visible = error is not None and not _is_caused_by_rank(error)
    if is_visible and text.endswith("".join(traceback.format_exception_only(type(error), error))):
        return
    if lines:
        from .traceback import send_error

        send_error(text, lines)
    else:
        _write_error(text.rstrip("\n"))


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
    if is_failure:
        _end_ranks_after_failure()
    while _ranks and not _state["failure"]:
        time.sleep(_PACE)
    if not _state["failure"]:
        return error
    if _watcher:
        _watcher.join(_END_SECONDS)  # ends the other ranks
    _show_failure(error)
    return error if is_failure else SystemExit(1)


def _watch_ranks() -> None:
    """Look for a rank that failed; end the other ranks, then the code of rank 0."""
    while _ranks:
        _remove_ended_ranks()
        if _state["failure"]:
            break
        time.sleep(_PACE)
    if not _state["failure"]:
        return
    _write_error("{} All ranks are ended.".format(_state["failure"]))
    _end_ranks()
    main = threading.main_thread().ident
    if not _has_ended.is_set() and main:
        signal.pthread_kill(main, signal.SIGINT)
        if not _has_ended.wait(_END_SECONDS):  # code that waits for a lost rank isn't interrupted
            _show_failure(None)
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
                _state["failed_rank"] = rank
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
