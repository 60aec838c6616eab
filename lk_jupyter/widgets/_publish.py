"""Outputs that are put in place of one another, also from a thread; a terminal shows the first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.errors import UsageError

Bundle = dict[str, Any]

#: Seconds between two pictures of one widget in a notebook.
PACE = 5.0


class Place:
    """One output. ``show`` fills it, and later calls put what is new there, not more often than the pace allows."""

    def __init__(self, bundle: Callable[[], Bundle]) -> None:
        self._bundle = bundle
        self._publish = _shell().display_pub.publish
        self._transient = {"display_id": uuid4().hex}
        self._lock = threading.Lock()
        self._shown: Bundle = {}
        self._timer: threading.Timer | None = None

    def show(self) -> None:
        """Make the output."""
        self._shown = self._bundle()
        self._publish(self._shown, {}, transient=self._transient)

    def changed(self) -> None:
        """Put the new bundle there soon."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(PACE, self.settle)
                self._timer.daemon = True
                self._timer.start()

    def settle(self) -> None:
        """Put the new bundle there now, if it is another one."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._timer = None
            bundle = self._bundle()
            if bundle != self._shown:
                self._shown = bundle
                self._publish(bundle, {}, transient=self._transient, update=True)


def hears_while_busy() -> bool:
    """Whether the kernel has subshells, which take messages of widgets while a cell runs."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_supports_kernel_subshells", False))


def _shell() -> InteractiveShell:
    shell = get_ipython()
    if shell is None:
        raise UsageError("A widget is shown in a notebook or in IPython.")
    return shell
