"""Split the log of a run into text and rich outputs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.api._client import Client
from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.config import settings
from lk_jupyter.errors import NoSuchObject, NotFound
from lk_jupyter.journal import entry
from lk_jupyter.protocol.frames import (
    BAR,
    BARE_MARK,
    ERROR,
    ESCAPE,
    NO_NONCE,
    SCALARS,
    SHOWN,
    STDERR,
    Frame,
    Splitter,
    format_frame,
    read_caught_error,
    read_nonce,
    remove_trusted_types,
)
from lk_jupyter.protocol.offloaded import STORED, fetch_content
from lk_jupyter.serverext.curves import CurveReader
from lk_jupyter.text.secrets import LineRedactor, redact_payload
from lk_jupyter.text.terminal import TerminalText
from lk_jupyter.views.bars import BarGroups, is_bar

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Characters of a log per read.
_PIECE = 1 << 16


class OutputsHandler:
    """Splits the output of a run into text and events of rich outputs. Raises LkError."""

    def __init__(self, client: Client, execution_id: str) -> None:
        self._client = client
        self._execution_id = execution_id
        self._splitter: Splitter | None = None  # created on demand: reading the nonce may take a request
        self._curves = CurveReader()
        self._unread_text: list[str] = []  # whose numbers aren't in the curves yet

    def feed(self, text: str) -> list[str | dict[str, Any]]:
        """Feed a chunk and return the completed events, in order."""
        if self._splitter is None and (ESCAPE in text or BARE_MARK in text):
            self._splitter = Splitter(_find_nonce(self._client, self._execution_id) or NO_NONCE)
        return self._build_events(self._splitter.feed(text) if self._splitter else [text])

    def kept(self) -> Iterator[str]:
        """Iterate over the log of the run that this machine stores; nothing without a log."""
        path = Path(settings.setting("log_dir")) / f"{self._execution_id}.log"
        missing = suppress(FileNotFoundError, NotADirectoryError)
        with missing, path.open(encoding="utf-8", errors="replace") as log:
            while piece := log.read(_PIECE):
                yield piece

    def record(self) -> ExecutionRecord | None:
        """Return the record of the run; None for a run that the server doesn't know. Raises LkError."""
        with suppress(NotFound):
            return self._client.execution.get(self._execution_id)
        return None

    @property
    def server(self) -> str | None:
        """The address of the server that the run was started on, where this machine knows that."""
        with suppress(sqlite3.Error):
            return entry.read_server(settings.setting("journal"), self._execution_id)
        return None

    def end(self) -> list[str | dict[str, Any]]:
        """Return the buffered rest."""
        return self._build_events(self._splitter.end() if self._splitter else [])

    def new_curves(self) -> list[str | dict[str, Any]]:
        """Return the curves of the text so far, now and then, after its lines: reading the numbers takes time."""
        text, self._unread_text = "".join(self._unread_text), []
        self._curves.feed(text)
        return [*self._curves.events(is_last=False)]

    def end_curves(self) -> list[dict[str, Any]]:
        """Return the curves of the entire log, after the end of the run: reading the last numbers takes time."""
        self._curves.feed("".join(self._unread_text))
        self._curves.end()
        return self._curves.events(is_last=True)

    def newest(self, events: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
        """Return the events that wait for the page."""
        return events

    def _build_events(self, items: list[str | Frame]) -> list[str | dict[str, Any]]:
        events = [item if isinstance(item, str) else self._build_event(item) for item in items]
        self._unread_text += [event for event in events if isinstance(event, str)]
        return events

    def _build_event(self, frame: Frame) -> str | dict[str, Any]:
        if frame.kind == SCALARS:
            self._curves.add_points(frame.payload)
        if frame.kind == STORED and self._splitter:
            frame = fetch_content(self._read_object, self._splitter.nonce, frame)
        return {"shown": {"kind": frame.kind, **frame.payload}} if frame.kind in SHOWN else format_frame(frame)

    def _read_object(self, key: str) -> bytes:
        try:
            with self._client.storage.download(key) as content:
                return content.read()
        except NotFound:
            raise NoSuchObject(key) from None


class LinesHandler(OutputsHandler):
    """Turns the output of a run into the lines and outputs that its cell doesn't show yet.

    A page that continues a log counts the lines and the outputs of the cell. So this class applies the rules of
    ``magics/_output/log.py`` and ``rich.py``: secrets are redacted, an output besides text ends an unfinished line, and
    outputs have numbers. Blank lines don't count, because some servers add them. After a ``clear``, all further lines
    and outputs are new.

    Args:
        client: A client of the cloud.
        connection: The connection of the client, which decides whether the run was started on this machine.
        execution_id: The id of the run.
        after: Number of lines that the cell shows.
        after_output: Number of the last output that the cell shows.
    """

    def __init__(
        self, client: Client, connection: Connection, execution_id: str, after: int, after_output: int = 0
    ) -> None:
        super().__init__(client, execution_id)
        self._connection = connection
        self._skip = after
        self._after_output = after_output
        self._count = 0
        self._numbers: dict[str, int] = {}
        self._clears = False
        self._is_captured = False  # an Output widget shows the outputs
        self._squeeze = connection.assumptions["newlines"] == "extra"
        self._text = TerminalText(returns=True)
        self._redactor = LineRedactor()
        self._bars = BarGroups(settings.setting("rich_outputs"))

    def end(self) -> list[str | dict[str, Any]]:
        """Return the buffered rest, the unfinished line included, and the bars as they ended."""
        events = [*super().end(), self._end_line()]
        if not self._bars.number:
            return events
        self._bars.end()
        return [*events, self._build_bars_event("update")]

    def newest(self, events: list[str | dict[str, Any]]) -> list[str | dict[str, Any]]:
        """Return events without the events that a later clear, or a later update of the same output, replaces."""
        newest: list[str | dict[str, Any]] = []
        numbers: set[int] = set()
        for event in reversed(events):
            output = {} if isinstance(event, str) else event["shown"]
            if output.get("kind") == "update":
                if output["number"] in numbers:
                    continue
                numbers.add(output["number"])
            newest.append(event)
            if output.get("kind") == "clear":
                break
        return newest[::-1]

    def _build_events(self, items: list[str | Frame]) -> list[str | dict[str, Any]]:
        events: list[str | dict[str, Any]] = []
        for item in items:
            events += self._build_frame_events(item) if isinstance(item, Frame) else self._build_text_events(item)
        return events

    def _build_text_events(self, text: str) -> list[str | dict[str, Any]]:
        if text and not text.isspace():
            self._bars.record_text()
        return [*(self._apply_clear() if text else []), self._feed_text(text)]

    def _build_frame_events(self, frame: Frame) -> list[str | dict[str, Any]]:
        if frame.kind in {STDERR, ERROR} and not read_caught_error(frame):
            self._bars.record_text()
            return [*self._apply_clear(), self._end_line(), self._feed_text(format_frame(frame))]
        if frame.kind == BAR:
            return self._build_bar_events(frame.payload) if is_bar(frame.payload) else []
        if frame.kind == "within":
            self._is_captured = bool(frame.payload.get("model"))
        if frame.kind == "clear" and not self._is_captured:
            line, self._clears = self._end_line(), True
            return [line, *([] if frame.payload.get("wait") else self._apply_clear())]
        if read_caught_error(frame):
            return [self._end_line(), *([] if self._skip else [{"shown": {"kind": "display"}}])]
        return self._build_output_events(frame)

    def _build_bar_events(self, payload: dict[str, Any]) -> list[str | dict[str, Any]]:
        """Return the event of a bar's output, which the page adds, or shows in place of its earlier state."""
        if not self._bars.starts_group(payload):
            self._bars.update(payload)
            return [self._build_bars_event("update")]
        before = [*self._apply_clear(), self._end_line()]
        self._bars.update(payload)
        return [*before, self._build_bars_event("display")]

    def _build_bars_event(self, kind: str) -> dict[str, Any]:
        rows = self._bars.rows
        return {"shown": {"kind": kind, "number": -rows.number, "data": rows.bundle(), "metadata": {}}}

    def _apply_clear(self) -> list[str | dict[str, Any]]:
        """Return the event of a clear that waits for the next output."""
        if not self._clears:
            return []
        self._clears, self._skip, self._after_output, self._count = False, 0, 0, 0
        self._numbers.clear()
        return [{"shown": {"kind": "clear"}}]

    def _build_output_events(self, frame: Frame) -> list[str | dict[str, Any]]:
        """Return the event of an output that the cell doesn't show, or of the update of an output."""
        kind = frame.payload.get("kind") if frame.kind == STORED else frame.kind
        if kind not in {"display", "update"}:
            return []
        cleared = self._apply_clear() if kind == "display" else []
        name = str(frame.payload.get("id") or "")
        number = self._numbers.get(name, 0)
        if kind == "display":
            self._count += 1
            number = self._count
            self._numbers |= {name: number} if name else {}
        cleared.append(self._end_line() if kind == "display" else "")
        is_new = kind == "update" or number > self._after_output
        if self._is_captured or not (is_new and 0 < number <= settings.setting("rich_outputs")):
            return cleared
        return [*cleared, {"shown": {"kind": kind, "number": number, **self._build_bundle(frame)}}]

    def _build_bundle(self, frame: Frame) -> dict[str, Any]:
        """Return the data and the metadata of an output, which a notebook would trust.

        A run that was started elsewhere shows text and pictures only, as in the kernel.
        """
        if frame.kind == STORED and self._splitter:
            frame = fetch_content(self._read_object, self._splitter.nonce, frame)
        data, metadata = redact_payload((frame if self._is_local_run else remove_trusted_types(frame)).payload)
        return {"data": data, "metadata": metadata}

    @cached_property
    def _is_local_run(self) -> bool:
        """Whether this machine started the run, on the server of the connection."""
        server = self.server
        return server is not None and self._connection.speaks_to(server)

    def _feed_text(self, text: str) -> str:
        self._text.feed(text)
        return self._format_new_lines(self._text.take()[0])

    def _end_line(self) -> str:
        return self._format_new_lines([*self._text.take()[0], *self._text.end()])

    def _format_new_lines(self, lines: list[str]) -> str:
        """Return the text of the lines that aren't skipped."""
        new: list[str] = []
        for line in self._redactor.lines(lines):
            is_blank = not line.strip(" \t\r")
            if self._skip:
                self._skip -= not is_blank
            elif not (is_blank and self._squeeze):
                new.append(f"{line}\n")
        return "".join(new)


def _find_nonce(client: Client, execution_id: str) -> str | None:
    """Return the nonce in the frames of a run: from the journal, else from the run's record."""
    request: dict[str, Any] | None = None
    with suppress(sqlite3.Error, ValueError):
        request = entry.read_request(settings.setting("journal"), execution_id)
    if request is not None:
        return read_nonce(request.get("metadata"))
    with suppress(NotFound):
        return read_nonce(client.execution.get(execution_id).metadata)
    return None
