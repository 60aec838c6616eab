"""A secret of an answer, shown once and never again."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class OneTimeSecret:
    """A secret to show once: rows of label and value, an image by its data URL, and the same image as text.

    ``title`` and ``advice`` are no secret.
    """

    title: str
    rows: list[tuple[str, str]] = field(repr=False)
    advice: str = ""
    image: str | None = field(default=None, repr=False)
    drawing: str = field(default="", repr=False)

    def text(self) -> str:
        """Return the secret as text."""
        lines = [f"{label}  {value}" for label, value in self.rows]
        return "\n".join(filter(None, [self.title, self.drawing, *lines, self.advice]))
