"""Problems between a browser and the API, as states that a page can be designed for."""

from __future__ import annotations

from typing import Any

#: State → the HTTP status of its answers. Jupyter's own refusals are 401 and 403 without a state.
STATES = {
    "signed-out": 424,
    "revoked": 424,
    "unreachable": 502,
    "not-an-api": 502,
    "slow": 504,
    "not-allowed": 404,
    "bad-request": 400,
    "refused": 400,
}


class RequestProblem(Exception):
    """A failed request: a state of ``STATES`` and a line with the cause and the fix."""

    def __init__(self, state: str, detail: str, status: int | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.state = state
        self.detail = detail
        self.status = status or STATES[state]
        self.more = {name: value for name, value in more.items() if value is not None}

    def content(self) -> dict[str, Any]:
        """Return the problem as JSON for a page."""
        return {"state": self.state, "detail": self.detail, **self.more}
