"""Moments: as records store them (ISO 8601 text in UTC), and as samples and output store them (seconds)."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import overload


def now() -> str:
    """Return the present moment as text."""
    return to_text(time.time())


@overload
def to_text(seconds: float) -> str: ...
@overload
def to_text(seconds: None) -> None: ...
def to_text(seconds: float | None) -> str | None:
    """Write a moment as text."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")


@overload
def to_seconds(text: str) -> float: ...
@overload
def to_seconds(text: None) -> None: ...
def to_seconds(text: str | None) -> float | None:
    """Read a moment from text."""
    return datetime.fromisoformat(text).timestamp() if text else None
