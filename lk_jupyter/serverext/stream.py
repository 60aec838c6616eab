"""``lk/runs/ID/stream``: the output of a run as events; the address of the stream stays on this machine.

A thread reads the output with the client's reader. All output that arrives while the browser receives an event becomes
the next event: so a flood of lines is few events.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from tornado.iostream import StreamClosedError

from lk_jupyter.errors import ApiError, InvalidResponse, LkError, NotFound
from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from lk_jupyter.api._events import StreamEvent
    from lk_jupyter.api._http import EventStream
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.serverext.outputs import OutputsHandler

#: Seconds of silence after which a comment is sent, so that nothing between takes the stream for dead.
HEARTBEAT = 15.0

#: Characters that may wait for the browser before the reader waits, too.
MOST_WAITING = 4_000_000


class StreamHandler(Handler):
    """The output of a run, from the first line or after a number of lines."""

    @guarded
    async def get(self, execution_id: str) -> None:
        """Follow the run as server-sent events: see the models whose names start with ``Stream``.

        With the query ``after=N``, send complete lines as in the log of a cell, without the first N
        that aren't blank, and the outputs after number ``after_output``.
        """
        from lk_jupyter.serverext.outputs import LinesHandler, OutputsHandler  # noqa: PLC0415 (at first use)

        after = self.number("after", None)
        upstream = await self.desk.upstream()
        follow = upstream.client.follow
        stream = await asyncio.to_thread(follow, execution_id, upstream.addresses.get(execution_id))
        outputs = OutputsHandler(upstream.client, execution_id)
        if after is not None:
            after_output = self.number("after_output", 0)
            outputs = LinesHandler(upstream.client, upstream.connection, execution_id, after, after_output)
        reader = EventReader(stream, outputs, upstream.connection.base_url)
        try:
            await self.until_disconnect(self._pass_on(reader, upstream.hide))
        finally:
            stream.close()

    async def _pass_on(self, reader: EventReader, clean: Callable[[str], str]) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Accel-Buffering", "no")
        try:
            async for event in reader.events():
                self.write(f"data: {clean(encode_event(event))}\n\n" if event else ":\n\n")
                await self.flush()
        except StreamClosedError:
            return
        await self.finish(set_content_type="text/event-stream")


class PageHandler(Handler):
    """A run as one HTML file to share."""

    @guarded
    async def get(self, execution_id: str) -> None:
        """Return the page of a run that has ended, for the browser to save: this server never serves it as HTML."""
        upstream = await self.desk.upstream()
        html = await asyncio.to_thread(_render_page, upstream.connection, execution_id)
        self.finish({"name": f"run-{execution_id[:8]}.html", "html": upstream.hide(html)})


def _render_page(connection: Connection, execution_id: str) -> str:
    from lk_jupyter.views.run_page import render_run  # noqa: PLC0415 (at first use)

    return render_run(connection, execution_id)


class EventReader:
    """Reads a stream in a separate thread; ``events`` gives the new events, text joined."""

    def __init__(self, stream: EventStream[StreamEvent], outputs: OutputsHandler, server: str) -> None:
        self._stream = stream
        self._outputs = outputs
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._room = threading.Condition()
        self._waiting: list[str | dict[str, Any]] = []
        self._size = 0
        self._last: dict[str, Any] | None = None

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield events up to the last, and then the last curves; yield an empty event after a silence.

        Reading the last numbers of a large log takes a tenth of a second, for which the end of the run doesn't wait.
        """
        threading.Thread(target=self._read_events, name="lk_jupyter stream", daemon=True).start()
        while True:
            try:
                await asyncio.wait_for(self._news.wait(), HEARTBEAT)
            except asyncio.TimeoutError:
                yield {}
                continue
            self._news.clear()
            events, last = self._take_all()
            for event in events:
                yield event
            if last is not None:
                yield last
                for event in await asyncio.to_thread(self._outputs.end_curves):
                    yield event
                return

    def _take_all(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        with self._room:
            waiting, last = self._waiting, self._last
            self._waiting, self._size = [], 0
            self._room.notify()
        runs = groupby(self._outputs.newest(waiting), key=lambda event: isinstance(event, str))
        events: list[dict[str, Any]] = []
        for is_text, items in runs:
            if not is_text:
                events += cast("Iterator[dict[str, Any]]", items)
            elif text := "".join(cast("Iterator[str]", items)):
                events.append({"output": text})
        return events, last

    def _read_events(self) -> None:
        last: dict[str, Any] = {"finished": {"return_code": None, "error": None}}
        has_events = False
        try:
            for event in self._stream:
                has_events = True
                content = getattr(event, "content", None)
                if content is None:
                    last = {"finished": {"return_code": event.return_code, "error": event.error}}  # type: ignore[union-attr]
                else:
                    self._put_items(self._outputs.feed(content), len(content))
                    if curves := self._outputs.new_curves():
                        self._put_items(curves)
            self._put_items(self._outputs.end())
        except LkError as error:
            last = {"trouble": _build_problem(error).content()}
            if isinstance(error, NotFound) and not has_events:
                last = self._put_stored_output(last)
        self._put_items([], last=last)

    def _put_stored_output(self, last: dict[str, Any]) -> dict[str, Any]:
        """Put the stored output (this machine's or the record's) of a run without a stream; return its end."""
        from lk_jupyter.api.states import is_final  # noqa: PLC0415 (at first use)

        local_log = "".join(self._outputs.kept())
        try:
            record = self._outputs.record()
            record_log = (record and (record.combined_output or record.stdout)) or ""
            self._put_items(self._outputs.feed(max(local_log, record_log, key=len)))
            self._put_items(self._outputs.end())
        except LkError as error:
            return {"trouble": _build_problem(error).content()}
        if record is None:
            return {"trouble": RequestProblem("refused", self._explain_missing_run(local_log), 404).content()}
        if is_final(record.status):
            return {"finished": {"return_code": record.return_code, "error": None}}
        return last

    def _explain_missing_run(self, local_log: str) -> str:
        other = self._outputs.server
        words = f"{self._server} doesn't have this run."
        words += f" It was started on {other}." if other and other != self._server else ""
        return f"{words} This is the log stored on this machine." if local_log else words

    def _put_items(self, items: list[str | dict[str, Any]], size: int = 0, last: dict[str, Any] | None = None) -> None:
        with self._room:
            self._room.wait_for(lambda: self._size < MOST_WAITING, timeout=60)
            self._waiting += items
            self._size += size
            self._last = last
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)


def encode_event(event: dict[str, Any]) -> str:
    """Return an event as JSON."""
    from pydantic_core import to_json  # noqa: PLC0415 (at first use)

    return to_json(event).decode()  # in less than half the time of json.dumps, in a flood of lines


def _build_problem(error: LkError) -> RequestProblem:
    if isinstance(error, ApiError):
        return RequestProblem("refused", error.detail, error.status)
    return RequestProblem("not-an-api" if isinstance(error, InvalidResponse) else "unreachable", str(error))
