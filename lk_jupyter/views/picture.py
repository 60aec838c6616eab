"""The picture of a widget in the notebook, for front ends without live widgets: as HTML, text and PNG."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lk_jupyter.views.png import draw_words


@dataclass(frozen=True)
class StaticView:
    """The last state of a widget: the same facts in each form.

    ``png`` draws plots for formats without HTML, such as PDF; by default, the PNG is a picture of the text.
    """

    text: str
    html: str
    png: Callable[[], bytes] | None = field(default=None, compare=False)

    def bundle(self) -> dict[str, Any]:
        """Return the view by media type."""
        drawn = self.png() if self.png else draw_words(self.text)
        image = {"image/png": b64encode(drawn).decode()} if drawn else {}
        return {"text/plain": self.text, "text/html": self.html, **image}
