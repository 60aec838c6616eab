"""Threads while Python exits, when a new thread or a new handler may be refused."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable


def run_before_exit(act: Callable[[], object]) -> None:
    """Call a function when Python exits, while threads can still be started: with atexit it is too late from 3.12 on.

    The last registered function is called first. During the exit, atexit calls the function.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(act)
    except RuntimeError:  # a first import in a thread that Python waits for
        atexit.register(act)


def start(thread: threading.Thread) -> None:
    """Start a thread, or do its work in the calling thread if Python accepts no new threads because it exits."""
    try:
        thread.start()
    except RuntimeError:
        thread.run()
