"""Outputs that are put in place of one another, also from a thread; a terminal shows the first."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.errors import UsageError
from lk_jupyter.journal.entry import current_cell

Bundle = dict[str, Any]

#: What JupyterLab and Notebook send with each cell, and nothing else does.
_LAB_FIELD = "deletedCells"

#: Seconds between two pictures of one widget in a notebook.
PACE = 5.0


class DisplayPlace:
    """One output. ``show`` fills it, and later calls put what is new there, not more often than the pace allows.

    Create it in the thread of the cell. In a front end without display updates, the output stays as it was shown.
    """

    def __init__(self, bundle: Callable[[], Bundle], metadata: dict[str, Any]) -> None:
        self._bundle = bundle
        self._metadata = metadata
        self._publish = current_shell().display_pub.publish
        self._transient = {"display_id": uuid4().hex}
        self._lock = threading.Lock()
        self._published: Bundle = {}
        self._has_updates = current_cell().has_updates
        self._timer: threading.Timer | None = None

    def show(self) -> None:
        """Make the output."""
        self._published = self._bundle()
        self._publish(self._published, self._metadata, transient=self._transient)

    def changed(self) -> None:
        """Put the new bundle there soon."""
        with self._lock:
            if self._timer is None and self._has_updates:
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
            if bundle != self._published and self._has_updates:
                self._published = bundle
                self._publish(bundle, self._metadata, transient=self._transient, update=True)


def is_lab_cell() -> bool:
    """Whether JupyterLab or Notebook sent this cell: our extension there shows the widget, and its picture later."""
    return _LAB_FIELD in _request().get("metadata", {})


def has_extension() -> bool:
    """Return whether the page that sent this cell has our extension; True where no page sent it, as in plain Python.

    JupyterLab, Notebook and Voila load it, and JupyterLab's consoles use it. VS Code and Colab don't.
    """
    request = _request()
    cell_id = str(request.get("metadata", {}).get("cellId", ""))
    return not request or is_lab_cell() or _is_voila() or (bool(cell_id) and ":" not in cell_id)  # VS Code's is a URI


def is_unattended() -> bool:
    """Whether a program executes this notebook, as nbconvert and papermill do: no widget will live in its page.

    Such a program can't be asked for input. Voila can't either, and shows living widgets.
    """
    return _request().get("content", {}).get("allow_stdin") is False and not _is_voila()


def _request() -> dict[str, Any]:
    """Return the message that the kernel executes; an empty one without a kernel."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    return (kernel.get_parent() or {}) if kernel else {}


def _is_voila() -> bool:
    return "VOILA_BASE_URL" in os.environ or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def supports_subshells() -> bool:
    """Whether the kernel has subshells, which take messages of widgets while a cell runs."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    return bool(getattr(kernel, "_supports_kernel_subshells", False))


def current_shell() -> InteractiveShell:
    shell = get_ipython()
    if shell is None:
        raise UsageError("A widget is shown in a notebook or in IPython.")
    return shell
