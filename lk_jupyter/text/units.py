"""Sizes, times, moments and credits in words."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

_SMALL = Decimal(1)
_SMALLEST = Decimal("0.0001")
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

#: The largest size that is shown: a server can send whole numbers that no float can represent.
_LARGEST = 1e30


def credits_label(amount: Decimal | None) -> str:
    """Return an amount in words: four decimals below a credit, two above."""
    if amount is None:
        return "price unknown"
    if 0 < amount < _SMALLEST:
        return f"under {_SMALLEST} credits"
    return f"{amount:.4f} credits" if abs(amount) < _SMALL else f"{amount:.2f} credits"


def budget_label(remaining: Decimal, limit: Decimal, period: str | None) -> str:
    """Return the rest of a budget in words, such as ``3.20 of 10 credits left this week``."""
    amount = credits_label(remaining).removesuffix(" credits")
    total = f"{limit:.4f}".rstrip("0").rstrip(".")
    return f"{amount} of {total} credits left" + (f" this {period}" if period else "")


def count_label(count: int, noun: str) -> str:
    """Return a count with its noun, which has the form that the count needs: ``1 row``, ``1,200 rows``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def moment_label(moment: datetime | None, form: str = "%d %b %Y %H:%M") -> str:
    """Return a moment in local time; "" for None."""
    return f"{moment.astimezone():{form}}" if moment else ""


def duration_label(seconds: float) -> str:
    """Return a time span in words, such as ``7.4 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def limit_label(seconds: float) -> str:
    """Return a time limit in words, without parts that are zero: ``3 h``, ``10 min`` or ``1 h 30 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = {"h": hours, "min": minutes, "s": rest}
    return " ".join(f"{count} {unit}" for unit, count in parts.items() if count) or "0 s"


def whole_seconds_label(seconds: float) -> str:
    """Return a time span in whole seconds, for counters: ``42 s``, ``3 min 05 s``."""
    return f"{seconds:.0f} s" if seconds < 60 else duration_label(seconds)


def clock_label(seconds: float) -> str:
    """Return a time span as a clock: ``0:42``, ``12:05``, ``1:02:03``."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def disk_label(size_gb: int | None) -> str:
    """Return the size of a volume in the servers' unit: 200 GB; "" for None."""
    return "" if size_gb is None else f"{size_gb} GB"


def size_label(size: float) -> str:
    """Return a number of bytes for people: 12.3 MB."""
    size = max(-_LARGEST, min(size, _LARGEST))
    for unit in _UNITS:
        if size < 999.5 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
