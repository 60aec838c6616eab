"""One measured figure, beside the limit that it should keep."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What was measured; ``limit`` is the most that it should be, ``beside`` what it was measured against."""

    what: str
    measured: float
    limit: float
    unit: str
    beside: str = ""

    @property
    def kept(self) -> bool:
        """Whether the figure keeps its limit."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        verdict = "ok" if self.kept else "OVER"
        return f"{self.what:<58}{self.measured:>10.2f} {self.unit:<9}limit {self.limit:<8g}{verdict:<6}{self.beside}"
