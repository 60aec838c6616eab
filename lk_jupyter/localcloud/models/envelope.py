"""Refusals in the OpenAI form, ``{"error": {"message", "type", "param"}}``."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

from lk_jupyter.api._endpoint import EXTERNAL, IRIS, OPENAI

TYPES = {
    401: "unauthorized_error",
    402: "payment_required_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "server_error",
    504: "timeout_error",
}


class Refusal(Exception):
    """A request that a model, or the service in front of the model, refuses."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = 401 if status == 403 else status  # the OpenAI form knows no 403
        self.message = message
        self.param = param

    @property
    def body(self) -> dict[str, Any]:
        """The answer, or the frame of a stream."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param}}


def build_response(refusal: Refusal) -> JSONResponse:
    """Answer with a refusal."""
    return JSONResponse(refusal.body, refusal.status)


def speaks_openai(path: str) -> bool:
    """Return whether an address answers all refusals in this form."""
    return path.startswith((f"{OPENAI}/", f"{IRIS}/")) or path == f"{EXTERNAL}/chat/completions"


def is_refused_by_model(errors: list[dict[str, Any]]) -> bool:
    """Return whether the model refuses these faults of a body, not its gateway: a role or a budget."""
    return bool(errors) and all(
        (*error["loc"][1:2], *error["loc"][-1:], error["type"])
        in {("max_tokens", "max_tokens", "less_than_equal"), ("messages", "role", "literal_error")}
        for error in errors
    )


def first_refusal(errors: list[dict[str, Any]]) -> Refusal:
    """Return the first fault of a request as a refusal with the field's name."""
    first = errors[0]
    field = ".".join(str(step) for step in first["loc"][1:]) or None
    return Refusal(400, f"{field}: {first['msg']}" if field else first["msg"], field)
