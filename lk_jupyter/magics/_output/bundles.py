"""MIME bundles that a run sends: shown as outputs of the cell, in order, updated in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import DisplayHandle, display

from lk_jupyter.magics._output.live import LiveOutput
from lk_jupyter.text.redact import redact_bundle

_NOTHING: dict[str, Any] = {"text/plain": ""}


class MimeOutputs:
    """Shows the bundles of a run, at most ``most`` outputs; those beyond are counted.

    A clear takes away all that the cell shows; the outputs in ``kept`` are shown again.
    """

    def __init__(self, shell: InteractiveShell, most: int, kept: Sequence[LiveOutput]) -> None:
        self._shell = shell
        self._in_place = getattr(shell, "kernel", None) is not None
        self._most = most
        self._kept = kept
        self._clears = False
        self._named: dict[str, list[DisplayHandle]] = {}
        self._made = 0
        self.left_out = 0

    def display(self, payload: dict[str, Any], before: Callable[[], None]) -> None:
        """Show a bundle as an output; ``before`` is called before one is made below the text."""
        data, metadata = _checked(payload)
        self.settle()
        if self._made >= self._most:
            self.left_out += 1
            return
        before()
        self._made += 1
        # An id that the code gave is known to other cells too.
        handle = display(data, metadata=metadata, raw=True, display_id=str(payload.get("id") or "") or True)
        if handle and self._in_place and "id" in payload:
            self._named.setdefault(str(payload["id"]), []).append(handle)

    def update(self, payload: dict[str, Any]) -> None:
        """Show a bundle in the place of those with its id, in whichever cell."""
        data, metadata = _checked(payload)
        name = str(payload.get("id", ""))
        handles = self._named.get(name) or ([DisplayHandle(name)] if name and self._in_place else [])
        for handle in handles[-1:]:
            handle.update(data, metadata=metadata, raw=True)

    def clear(self, *, wait: bool) -> None:
        """Take away what is shown, at once or when something new comes."""
        self._clears = self._in_place
        if not wait:
            self.settle()

    def settle(self) -> None:
        """Take away what was to be cleared, before something new is shown."""
        if self._clears:
            self._clears = False
            self._made = 0
            self._shell.display_pub.clear_output(wait=True)
            for output in self._kept:
                output.show_again()


def _checked(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    data, metadata = payload.get("data"), payload.get("metadata")
    if not isinstance(data, dict) or not isinstance(metadata, dict):
        return _NOTHING, {}
    told = {str(kind): form if isinstance(form, str) or "json" in kind else str(form) for kind, form in data.items()}
    return redact_bundle(told), metadata
