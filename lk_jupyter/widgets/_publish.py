"""Outputs that are updated in place, also from a thread; a terminal shows only the first state."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.errors import UsageError
from lk_jupyter.journal.entry import LAB_FIELD, current_cell

Bundle = dict[str, Any]

#: Seconds between two pictures of a widget in a notebook.
PACE = 5.0


class DisplayPlace:
    """An output. ``show`` fills the output, and later calls update it, not faster than PACE.

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

    def publish_soon(self) -> None:
        """Publish the new bundle soon."""
        with self._lock:
            if self._timer is None and self._has_updates:
                self._timer = threading.Timer(PACE, self.settle)
                self._timer.daemon = True
                self._timer.start()

    def settle(self) -> None:
        """Publish the bundle now, if changed."""
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._timer = None
            bundle = self._bundle()
            if bundle != self._published and self._has_updates:
                self._published = bundle
                self._publish(bundle, self._metadata, transient=self._transient, update=True)


def is_lab_cell() -> bool:
    """Return whether JupyterLab or Notebook sent this cell: their extension shows the widget, and later its picture."""
    return LAB_FIELD in _current_request().get("metadata", {})


def has_extension() -> bool:
    """Return whether the page that sent this cell has our extension; True without a page, as in plain Python.

    JupyterLab, Notebook and Voila load the extension, and JupyterLab's consoles use it. VS Code and Colab don't.
    """
    request = _current_request()
    cell_id = str(request.get("metadata", {}).get("cellId", ""))
    return not request or is_lab_cell() or _is_voila() or (bool(cell_id) and ":" not in cell_id)  # VS Code's is a URI


def is_unattended() -> bool:
    """Return whether a program such as nbconvert executes this notebook, so that no page has live widgets.

    Such a program supports no input. Voila doesn't either, but shows live widgets.
    """
    return _current_request().get("content", {}).get("allow_stdin") is False and not _is_voila()


def _current_request() -> dict[str, Any]:
    """Return the message that the kernel executes; an empty dict without a kernel."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    return (kernel.get_parent() or {}) if kernel else {}


def _is_voila() -> bool:
    return "VOILA_BASE_URL" in os.environ or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")


def supports_subshells() -> bool:
    """Whether the kernel has subshells, which take messages of widgets while a cell runs."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    info = getattr(kernel, "kernel_info", None)
    return isinstance(info, dict) and "kernel subshells" in info.get("supported_features", ())


def current_shell() -> InteractiveShell:
    shell = get_ipython()
    if shell is None:
        raise UsageError("A widget is shown in a notebook or in IPython.")
    return shell
