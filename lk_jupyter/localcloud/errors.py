"""Answers that refuse."""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError


def invalid(place: str, name: str, message: str) -> RequestValidationError:
    """Return a 422 for a field: ``place`` is body, query or path."""
    return RequestValidationError([{"loc": (place, name), "msg": message, "type": "value_error"}])
