"""What an answer shows once and never again."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OneTimeSecret:
    """What to show once: rows of label and value, an image by its data URL, and the same drawn in text.

    ``title`` and ``advice`` are no secret.
    """

    title: str
    rows: list[tuple[str, str]] = field(repr=False)
    advice: str = ""
    image: str | None = field(default=None, repr=False)
    drawing: str = field(default="", repr=False)

    def text(self) -> str:
        """Return all of it as text."""
        lines = [f"{label}  {value}" for label, value in self.rows]
        return "\n".join(filter(None, [self.title, self.drawing, *lines, self.advice]))
