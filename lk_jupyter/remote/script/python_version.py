"""Ends a run before its code if the Python of the run isn't in the range of the script block.

The cloud chooses the Python of a run, so only the run can compare.
"""

from __future__ import annotations

import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Compare this Python with the clauses of the settings, such as ``[">=", "3.11"]``."""
    version = sys.version_info[:3]
    if not all(is_matching(version, operator, text) for operator, text in settings["clauses"]):
        sys.exit(
            "This run has Python {}.{}.{}, but the script block in {} requires Python '{}'. The code didn't start. "
            "Change requires-python, or run an image with that Python: %%lk_docker python:VERSION".format(
                *version, settings["place"], settings["range"]
            )
        )


def is_matching(version: tuple[int, ...], operator: str, text: str) -> bool:
    """Return whether a Python version is in the range of a clause of PEP 440."""
    numbers = tuple(map(int, re.findall(r"\d+", re.split(r"[^\d.]", text)[0])))
    bound = (*numbers, 0, 0)[:3]
    if operator in ("==", "!="):
        is_equal = version[: len(numbers)] == numbers if text.endswith("*") else version == bound
        return is_equal == (operator == "==")
    if operator == "~=":
        return version >= bound and version[: len(numbers) - 1] == numbers[:-1]
    if operator == "===":
        return "{}.{}.{}".format(*version) == text
    return {">=": version >= bound, "<=": version <= bound, ">": version > bound, "<": version < bound}[operator]
