"""``lk/kernels/questions``: kernels that wait for permission to start a machine, and the answers of a page.

A web socket, because each start that waits occupies one of the six connections that a browser opens to a server: six
starts would block the request with the answer.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import web
from tornado.websocket import WebSocketClosedError, WebSocketHandler

if TYPE_CHECKING:
    from lk_jupyter.machines.start_approval import StartQuestions
    from lk_jupyter.serverext.upstream_provider import UpstreamProvider


class StartQuestionsSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """Sends all questions that wait, each time they change; receives ``{id, start}``."""

    auth_resource = "lk_jupyter"

    def initialize(self, desk: UpstreamProvider) -> None:  # noqa: ARG002 (each route gets it)
        """Remember the loop to which the connection belongs."""
        self._loop = asyncio.get_running_loop()

    async def get(self, *arguments: Any, **options: Any) -> None:
        """Connect a page of a user who is signed in; another site can't read the token against forgery."""
        may = self.current_user and await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "execute", self.auth_resource)
        )
        if not may:
            raise web.HTTPError(403)
        self.check_xsrf_cookie()
        await super().get(*arguments, **options)

    def open(self, *_: str, **__: str) -> None:
        """Show the questions that wait."""
        super().open()
        _import_start_questions().connect(self._send_questions)

    def on_message(self, text: str | bytes) -> None:
        """Give the answer of the user; anything else that a page sends is no answer."""
        from lk_jupyter.serverext.models import StartAnswer  # noqa: PLC0415 (at first use)

        try:
            answer = StartAnswer.model_validate_json(text)
        except ValueError:
            return
        _import_start_questions().answer(answer.id, start=answer.start)

    def on_close(self) -> None:
        """Show nothing more on this page."""
        _import_start_questions().disconnect(self._send_questions)

    def _send_questions(self, questions: list[dict[str, Any]]) -> None:
        self._loop.call_soon_threadsafe(self._write_text, json.dumps({"questions": questions}))

    def _write_text(self, text: str) -> None:
        try:
            self.write_message(text)
        except WebSocketClosedError:
            self.on_close()


def _import_start_questions() -> StartQuestions:
    """Return the questions of this process, loaded on demand: a starting server doesn't need the questions."""
    from lk_jupyter.machines.start_approval import start_questions  # noqa: PLC0415 (at first use)

    return start_questions
