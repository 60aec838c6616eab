"""MIME bundles that a run sends: shown as outputs of the cell, in order, updated in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import DisplayHandle, display

from lk_jupyter.runs.redact import redact_bundle

_NOTHING: dict[str, Any] = {"text/plain": ""}


class Bundles:
    """Shows the bundles of a run, at most ``most`` outputs; those beyond are counted.

    A clear does not take outputs away, which would be those of the cell: what comes after it is
    shown in their place.
    """

    def __init__(self, shell: InteractiveShell, most: int) -> None:
        self._in_place = getattr(shell, "kernel", None) is not None
        self._most = most
        self._outputs: list[DisplayHandle] = []  # since the last clear, and then
        self._free: list[DisplayHandle] = []  # to be used again
        self._named: dict[str, list[DisplayHandle]] = {}
        self._made = 0
        self.left_out = 0

    def display(self, payload: dict[str, Any], before: Callable[[], None]) -> None:
        """Show a bundle as an output; ``before`` is called before one is made below the text."""
        data, metadata = _checked(payload)
        handle = self._free.pop(0) if self._free else None
        if handle:
            handle.update(data, metadata=metadata, raw=True)
        elif self._made < self._most:
            before()
            self._made += 1
            handle = display(data, metadata=metadata, raw=True, display_id=True)
        else:
            self.left_out += 1
        if handle and self._in_place:
            self._outputs.append(handle)
            if "id" in payload:
                self._named.setdefault(payload["id"], []).append(handle)

    def update(self, payload: dict[str, Any]) -> None:
        """Show a bundle in the place of those with its id."""
        data, metadata = _checked(payload)
        for handle in self._named.get(payload.get("id", ""), ()):
            handle.update(data, metadata=metadata, raw=True)

    def clear(self, *, wait: bool) -> None:
        """Let what comes now take the place of what is shown, at once or when it comes."""
        self._free = [*self._free, *self._outputs]
        self._named = {}
        self._outputs = []
        if not wait:
            self.end()

    def end(self) -> None:
        """Empty the outputs that were cleared and not used again."""
        for handle in self._free:
            handle.update(_NOTHING, raw=True)
        self._free = []


def _checked(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    data, metadata = payload.get("data"), payload.get("metadata")
    if not isinstance(data, dict) or not isinstance(metadata, dict):
        return _NOTHING, {}
    told = {str(kind): form if isinstance(form, str) or "json" in kind else str(form) for kind, form in data.items()}
    return redact_bundle(told), metadata
