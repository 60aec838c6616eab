"""What a widget leaves in the notebook, for where it does not live: as HTML and as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picture:
    """The last state of a widget: the same facts in each form."""

    text: str
    html: str

    def bundle(self) -> dict[str, Any]:
        """Return it by media type."""
        return {"text/plain": self.text, "text/html": self.html}
