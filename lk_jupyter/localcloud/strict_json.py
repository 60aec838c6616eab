"""Read bodies strictly: NaN and half a surrogate pair aren't JSON, and reach no handler.

An unreadable form gets the same answer as other invalid bodies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.formparsers import MultiPartException

#: FastAPI's message for an unreadable form, where an older Starlette raises the parser's error.
_UNREADABLE = "There was an error parsing the body"


class _StrictRequest(Request):
    """A request that refuses a body if the body can't be written as JSON again."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            return from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), body.decode("utf-8", "replace"), 0) from None


class StrictRoute(APIRoute):
    """A route that reads its body strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that handles a request."""
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            try:
                return await handle(_StrictRequest(request.scope, request.receive))
            except AnyHTTPException as error:
                if isinstance(error.__context__, MultiPartException) or error.detail == _UNREADABLE:
                    row = {"loc": ["body"], "msg": error.detail, "type": "form_invalid"}
                    raise HTTPException(422, [row]) from None
                raise

        return strictly
