"""Describe the problems that pydantic reports in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Kind of a pydantic problem → requirement of the value; names in braces are from the problem's context.
_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "int": "must be a whole number",
    "float": "must be a number",
    "decimal": "must be a number",
    "finite_number": "must be a number",
    "bool": "must be true or false",
    "string_type": "must be text",
    "string_too_short": "must have {min_length} characters or more",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "list": "must be a list",
    "dict": "must be pairs of key and value",
    "model": "must be pairs of key and value",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "json": "must be JSON",
    "duration": "must be seconds, or a duration such as 90s, 10m or 1h30m",
    "value_error": "doesn't fit: {error}",
}


def describe_problem(problem: Mapping[str, Any]) -> str:
    """Return the requirement of a value in words, for a problem that pydantic reports."""
    kind = str(problem["type"])
    sentence = _PROBLEMS.get(kind) or _PROBLEMS.get(kind.partition("_")[0]) or "doesn't fit"
    try:
        return sentence.format_map(problem.get("ctx") or {})
    except KeyError:
        return "doesn't fit"
