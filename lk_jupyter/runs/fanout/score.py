"""Find figures that a run prints, such as the accuracy: the last figure in the log counts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lk_jupyter.errors import UsageError
from lk_jupyter.text.scalars import is_highest_best
from lk_jupyter.text.secrets import COLOUR

_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf|nan)"
_AFTER = rf"[\"']?\s*(?:[:=]|\bis\b|\s)\s*({_NUMBER})"
_NAME = re.compile(r"[\w./@ -]+")


@dataclass(frozen=True)
class Score:
    """A figure in a log: name, pattern whose first group is the figure, and whether the highest is the best."""

    name: str
    pattern: re.Pattern[str]
    highest: bool

    @classmethod
    def parse(cls, text: str) -> Score:
        """Read a name such as ``accuracy``, or a pattern with one group. Raises UsageError.

        The lowest loss, error or time is the best; ``NAME:min`` and ``NAME:max`` override this.
        """
        name, direction = text, ""
        if text.endswith((":min", ":max")):
            name, _, direction = text.rpartition(":")
        highest = direction == "max" if direction else is_highest_best(name)
        if _NAME.fullmatch(name):
            return cls(name, re.compile(rf"(?<![\w./@-]){re.escape(name)}{_AFTER}", re.IGNORECASE), highest)
        return cls(name, _compile_pattern(name), highest)

    @classmethod
    def from_name(cls, name: str) -> Score:
        """Return the score of a printed number, which ranks the runs without ``--metric``."""
        return cls(name, re.compile(re.escape(name)), is_highest_best(name))

    def last(self, lines: Iterable[str]) -> float | str | None:
        """Return the figure of the last line with a match: text if the match isn't a number, None without a match."""
        number = None
        for line in lines:
            for match in self.pattern.finditer(COLOUR.sub("", line)):
                number = match[1]
        return None if number is None else _parse_number(number)


def _compile_pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UsageError(f"--metric: '{text}' isn't a valid pattern ({error}). Nothing was sent.") from None
    if pattern.groups != 1:
        raise UsageError(
            f"--metric: '{text}' needs one pair of parentheses around the number. Nothing was sent. "
            "Example: 'acc=([0-9.]+)'"
        )
    return pattern


def _parse_number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
