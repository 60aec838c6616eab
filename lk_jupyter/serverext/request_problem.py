"""What can go wrong between a browser and the API, as a state that a page can be designed for."""

from __future__ import annotations

from typing import Any

#: State → the HTTP status that it comes with. Jupyter's own refusals are 401 and 403 without a state.
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
    """A request that did not go well: a state of ``STATES`` and one line on what happened and what to do."""

    def __init__(self, state: str, detail: str, status: int | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.state = state
        self.detail = detail
        self.status = status or STATES[state]
        self.more = {name: value for name, value in more.items() if value is not None}

    def content(self) -> dict[str, Any]:
        """Return it as the JSON that a page gets."""
        return {"state": self.state, "detail": self.detail, **self.more}
