"""The message of a refusing server, in any of the known forms."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

#: Parts of a field's location that show the place in the request, not the field.
_PLACES = {"body", "query", "path", "header"}


#: Status → error type in OpenAI's format.
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "unauthorized_error",
    402: "payment_required_error",
    404: "not_found_error",
    429: "rate_limit_error",
    504: "timeout_error",
}

_STATUSES = {kind: status for status, kind in ERROR_TYPES.items()}


def read_error_status(content: dict[str, Any]) -> int:
    """Return the status of an error inside an answer; 500 without a status."""
    error = content.get("error")
    return _STATUSES.get(str(error.get("type")), 500) if isinstance(error, dict) else 500


def error_message(body: bytes) -> str:
    """Return the message of an error body, or the body if the body isn't JSON."""
    try:
        return words(from_json(body))
    except ValueError:
        return body.decode(errors="replace").strip()


def words(content: Any) -> str:
    """Return the message of an error: ``detail``, ``error``, or the complete error."""
    detail = content.get("detail") or content.get("error") if isinstance(content, dict) else content
    if isinstance(detail, list):
        return "; ".join(map(_format_field_error, detail))
    if isinstance(detail, dict):
        detail = detail.get("message") or detail
    return str(detail or "")


def _format_field_error(item: Any) -> str:
    """Return the field that doesn't fit, with the reason: ``code: Field required``."""
    if not isinstance(item, dict):
        return str(item)
    place = [str(part) for part in item.get("loc") or () if part not in _PLACES]
    return ": ".join(filter(None, (".".join(place), str(item.get("msg", "does not fit")))))
