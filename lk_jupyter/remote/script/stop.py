"""Ends the code of a run early enough to send its variables back: at a stop request, or before the time limit.

The cloud sends Python no signal: it ends the process. So a thread looks for a signed stop object in the bucket and
watches the clock. The thread interrupts the main thread, where ``KeyboardInterrupt`` ends the code like any error: the
variables are packed there, after the code, never while the code changes them.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from .. import sign
from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types

#: Seconds until the first look for the stop object, when most runs have ended, and the fewest between two looks.
_PACE = 0.5

#: Seconds after which code that has caught the interrupt is interrupted again.
_REPEAT_SECONDS = 4.0

#: Moment of the import, shortly after the start of the process.
_START = time.monotonic()

#: Seconds that the end of the code waits for the thread: while Python ends, a thread may never release its locks.
_END_SECONDS = 1.0

_reason = ""
_has_ended = threading.Event()
_threads: list[threading.Thread] = []


def watch_for_stop(link: str, limit: float, lease_end: float | None = None) -> None:
    """Interrupt the code when the object of ``link`` exists, or shortly before ``limit`` seconds of the run.

    ``lease_end`` is the end of the key of a broker, in Unix seconds, if the key ends.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGINT, _on_signal)
    end, stop = time.monotonic() - _compute_process_age() + limit, (sign.TIMED_OUT, "the time limit is close")
    if lease_end is not None and time.monotonic() + lease_end - time.time() < end:
        end, stop = time.monotonic() + lease_end - time.time(), (sign.LEASE_OVER, "the key is about to expire")
    settings = (link, end - sign.saving_seconds(limit), stop)
    _threads.append(threading.Thread(target=_wait_for_stop, args=settings, name="lk-stop", daemon=True))
    _threads[-1].start()


def end_watch() -> None:
    """Watch no longer: the code has ended."""
    _has_ended.set()
    for thread in _threads:
        thread.join(_END_SECONDS)


def _compute_process_age() -> float:
    """Return the seconds since the process started, or since this module was imported if the system has no record."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic() - _START
    return max(age, time.monotonic() - _START)


def _wait_for_stop(link: str, end: float, stop: tuple[int, str]) -> None:
    _has_ended.wait(min(_PACE, max(0.0, end - time.monotonic())))
    pace, is_requested = _PACE, False
    while time.monotonic() < end and not is_requested and not _has_ended.is_set():
        started = time.monotonic()
        is_requested = bool(driver._key) and _is_signed(_read_stop_object(link))
        pace = min(max(_PACE, 5 * (time.monotonic() - started)), 2.0)  # a slow bucket takes little of the run's time
        if not is_requested:
            _has_ended.wait(max(0.0, min(pace, end - time.monotonic())))
    if _has_ended.is_set():
        return
    _interrupt_code(*((sign.STOPPED, "the run was stopped") if is_requested else stop))


def _read_stop_object(link: str) -> bytes:
    """Return the first bytes of an object; empty if the object can't be read, or doesn't exist yet."""
    from http.client import HTTPException

    try:
        from ..values import transfer

        with transfer.link_opener(link).open(link, timeout=5) as answer:
            content: bytes = answer.read(100)
    except (OSError, ValueError, HTTPException, RuntimeError):  # odd answers, or Python ends
        return b""
    return content


def _is_signed(content: bytes) -> bool:
    return len(content) > 0 and sign.is_signed(driver._key, content, sign.STOP)


def _interrupt_code(exit_code: int, reason: str) -> None:
    global _reason
    driver.exit_code, _reason = exit_code, reason
    for pause in (_REPEAT_SECONDS, 0.0):
        if hasattr(signal, "pthread_kill"):  # wakes the main thread from a system call
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)
        if _has_ended.wait(pause):
            return


def _on_signal(number: int, frame: types.FrameType | None) -> None:
    """Interrupt the code, and only the code: nothing that packs and sends the variables."""
    while frame is not None:
        if frame.f_code is driver._execute_code.__code__:
            raise KeyboardInterrupt(_reason)
        frame = frame.f_back
