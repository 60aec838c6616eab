"""The base of all handlers: permission, JSON in both directions, and problems as states."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from lk_jupyter.errors import LkError
from lk_jupyter.protocol.json_limits import VALIDATED, JsonTooLarge, require_small
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from pydantic import BaseModel
    from tornado.http1connection import HTTP1Connection

    from lk_jupyter.serverext.upstream_provider import UpstreamProvider


M = TypeVar("M", bound="BaseModel")


def guarded(method: Any) -> Any:
    """Let a verb through for a user who is signed in to Jupyter and may use this extension."""
    return web.authenticated(authorized(method))


class Handler(APIHandler):
    """JSON for a page of this server; a RequestProblem becomes its state, an error of ours a bad request."""

    auth_resource = "lk_jupyter"

    def initialize(self, desk: UpstreamProvider) -> None:
        """Store the shared account of all handlers."""
        self.desk = desk
        self._work: asyncio.Future[Any] | None = None
        self._is_closed = False

    async def prepare(self) -> None:  # type: ignore[override]
        """Refuse requests of other sites, reads included: an address is no permission."""
        await super().prepare()
        if self.request.method in {"GET", "HEAD"}:
            self.check_xsrf_cookie()

    async def check_may_ask(self) -> None:
        """Check the permission as the guard of a verb does, for work that starts before the verb."""
        may = self.current_user and await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "write", self.auth_resource)
        )
        if not may:
            raise web.HTTPError(403)

    @property
    def wire(self) -> HTTP1Connection:
        """The connection that the request came by."""
        return cast("HTTP1Connection", self.request.connection)

    def break_off(self) -> None:
        """Let a browser see that a started answer is incomplete."""
        self.wire.stream.close()

    def read(self, kind: type[M]) -> M:
        """Return the body of the request. Raises RequestProblem with the field, and never with the value."""
        from lk_jupyter.api._endpoint import explain  # noqa: PLC0415 (at first use)

        try:
            require_small(self.request.body, VALIDATED)
            return kind.model_validate_json(self.request.body or b"{}")
        except JsonTooLarge as error:
            raise RequestProblem("bad-request", f"The request has {error}. Nothing was sent.", 413) from None
        except ValueError as error:
            raise RequestProblem(
                "bad-request", f"The body of the request doesn't fit: {explain(cast('Any', error))}."
            ) from None

    def number(self, name: str, default: Any, most: int = 1 << 53) -> Any:
        """Return a whole number of the query. Raises RequestProblem."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= most):
            raise RequestProblem("bad-request", f"{name} must be a whole number up to {most}.")
        return int(text)

    async def until_disconnect(self, work: Awaitable[None]) -> None:
        """Do this until the browser goes."""
        self._work = asyncio.ensure_future(work)
        try:
            await self._work
        except asyncio.CancelledError:
            if not self._is_closed:
                raise

    def on_connection_close(self) -> None:
        """Cancel the work for a browser that has disconnected."""
        self._is_closed = True
        if self._work is not None:
            self._work.cancel()
        super().on_connection_close()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the error, in words and as a state."""
        error = (kwargs.get("exc_info") or (None, None, None))[1]
        if isinstance(error, LkError):
            error = RequestProblem("bad-request", str(error))
        if isinstance(error, RequestProblem):
            self.set_status(error.status)
            self.finish(error.content())
        elif isinstance(error, web.HTTPError):
            words = error.log_message or HTTPStatus(status_code).phrase
            self.finish({"state": "not-allowed", "detail": words})
        else:
            words = "The server extension failed. See the log of the Jupyter server."
            self.finish({"state": "broken", "detail": words})

    def log_exception(self, kind: Any, error: Any, traceback: Any) -> None:
        """Log only unexpected errors."""
        if not isinstance(error, (RequestProblem, LkError)):
            super().log_exception(kind, error, traceback)


class Unknown(Handler):
    """Any path without a route."""

    @guarded
    async def get(self) -> None:
        """Refuse the request."""
        raise RequestProblem("not-allowed", "No such route. See the documentation of lk_jupyter.serverext.")

    post = put = patch = delete = get
