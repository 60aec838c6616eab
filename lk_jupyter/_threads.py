"""Start threads during the exit of Python, when new threads may be refused, and for safe imports."""

from __future__ import annotations

import atexit
import inspect
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from queue import Empty, SimpleQueue
from types import ModuleType


def run_before_exit(act: Callable[[], object]) -> None:
    """Call a function when Python exits, while threads can still be started: from 3.12 on, atexit is too late.

    The last registered function is called first. During the exit, atexit calls the function.
    """
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(act)
    except RuntimeError:  # a first import in a thread that Python waits for
        atexit.register(act)


def start(thread: threading.Thread) -> None:
    """Start a thread, or do its work in the calling thread if Python is exiting and accepts no new threads."""
    try:
        thread.start()
    except RuntimeError:
        thread.run()


#: Seconds between two looks whether a thread that imports has ended.
_LOOK = 1.0


def import_safely(name: str) -> ModuleType:
    """Import a module in a thread, which no interrupt reaches; an interrupted wait leaves the import to the thread.

    A package whose first import was interrupted can stay broken in its process: the next import finds its modules
    loaded, and doesn't set them as its attributes.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and name not in sys.modules and not _is_importing():
        ended: SimpleQueue[None] = SimpleQueue()
        thread = threading.Thread(target=_import_for, args=(name, ended), name="lk-import", daemon=True)
        start(thread)
        while thread.is_alive():
            with suppress(Empty):
                ended.get(timeout=_LOOK)
                break
    return import_module(name)


def _import_for(name: str, ended: SimpleQueue[None]) -> None:
    with suppress(BaseException):  # raised again where the module is imported
        import_module(name)
    ended.put(None)


def _is_importing() -> bool:
    """Return whether this thread is importing a module: another thread could wait for the import lock."""
    frame = inspect.currentframe()
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None
