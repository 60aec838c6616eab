"""Show the rich outputs of a background run: the newest bundles, together in a single output.

Jupyter assigns an output of a thread to the cell that runs at that moment, so all bundles share an output that exists
from the start.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from html import escape
from itertools import count
from typing import Any

from lk_jupyter.protocol.frames import Frame
from lk_jupyter.text.secrets import redact_bundle
from lk_jupyter.views.bars import FONT

#: Most outputs that are kept: the newest.
MOST = 8

_PICTURES = ("image/png", "image/jpeg")


class RecentOutputs:
    """Outputs by key, the oldest first; ``revision`` counts changes."""

    def __init__(self) -> None:
        self._bundles: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._numbers = count()
        self._clears = False
        self.omitted = 0
        self.revision = 0

    def take(self, frame: Frame) -> None:
        """Apply a frame: add or update an output, or clear the outputs before the next display."""
        if frame.kind == "clear":
            self._clears = True
            return
        data = frame.payload.get("data")
        name = str(frame.payload.get("id") or f"number {next(self._numbers)}")
        if not isinstance(data, dict) or (frame.kind == "update" and name not in self._bundles):
            return
        if self._clears and frame.kind == "display":
            self._bundles.clear()
            self._clears = False
        self._bundles[name] = redact_bundle(data)
        while len(self._bundles) > MOST:
            self._bundles.popitem(last=False)
            self.omitted += 1
        self.revision += 1

    def __str__(self) -> str:
        return "\n".join([*self._omitted_note, *(str(data.get("text/plain", "")) for data in self._bundles.values())])

    @property
    def _omitted_note(self) -> list[str]:
        return [f"… {self.omitted:,} outputs before"] if self.omitted else []

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        parts = [
            *(f"<p>{escape(line)}</p>" for line in self._omitted_note),
            *map(_render_bundle, self._bundles.values()),
        ]
        html = f'<div style="{FONT}">{"".join(parts)}</div>' if self._bundles else ""
        return {"text/plain": str(self), "text/html": html, **self._find_newest_picture()}

    def _find_newest_picture(self) -> dict[str, str]:
        """Return the newest picture alone, for readers of the notebook that don't show HTML."""
        pictures = [(kind, data[kind]) for data in self._bundles.values() for kind in _PICTURES if kind in data]
        return dict(pictures[-1:])


def _render_bundle(data: dict[str, Any]) -> str:
    """Return a bundle as HTML: the HTML form, a picture, or the text."""
    text = str(data.get("text/plain", ""))
    for kind, form in _FORMS.items():
        if kind in data:
            return form(data[kind], text)
    for kind in _PICTURES:
        if kind in data:
            return f'<img alt="{escape(text)}" src="data:{kind};base64,{escape(str(data[kind]))}">'
    return f"<pre>{escape(text)}</pre>"


def _render_page(form: Any, _text: str) -> str:
    return f"<div>{form}</div>"


def _render_source(form: Any, _text: str) -> str:
    return f"<pre>{escape(form if isinstance(form, str) else json.dumps(form, indent=2))}</pre>"


_FORMS: dict[str, Callable[[Any, str], str]] = {
    "text/html": _render_page,
    "image/svg+xml": _render_page,
    "text/markdown": _render_source,
    "text/latex": _render_source,
    "application/json": _render_source,
}
