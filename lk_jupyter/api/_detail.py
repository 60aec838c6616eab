"""The words of a server that refuses, in any of the forms that they come in."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

#: Parts of a field's place that say where it travels, not which field it is.
_PLACES = {"body", "query", "path", "header"}


#: Status → type of an error in the envelope of OpenAI.
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "unauthorized_error",
    402: "payment_required_error",
    404: "not_found_error",
    429: "rate_limit_error",
    504: "timeout_error",
}

_STATUSES = {kind: status for status, kind in ERROR_TYPES.items()}


def error_status(content: dict[str, Any]) -> int:
    """Return the status that an error within an answer stands for; 500 without one."""
    error = content.get("error")
    return _STATUSES.get(str(error.get("type")), 500) if isinstance(error, dict) else 500


def said(body: bytes) -> str:
    """Return the words of an error body, or the body itself when it is no JSON."""
    try:
        return words(from_json(body))
    except ValueError:
        return body.decode(errors="replace").strip()


def words(content: Any) -> str:
    """Return the words of an error: its ``detail``, its ``error``, or all of it."""
    detail = content.get("detail") or content.get("error") if isinstance(content, dict) else content
    if isinstance(detail, list):
        return "; ".join(map(_field_error, detail))
    if isinstance(detail, dict):
        detail = detail.get("message") or detail
    return str(detail or "")


def _field_error(item: Any) -> str:
    """Say which field does not fit: ``code: Field required``."""
    if not isinstance(item, dict):
        return str(item)
    place = [str(part) for part in item.get("loc") or () if part not in _PLACES]
    return ": ".join(filter(None, (".".join(place), str(item.get("msg", "does not fit")))))
