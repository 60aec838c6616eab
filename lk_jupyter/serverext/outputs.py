"""Split the log of a run into text and rich outputs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

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
    SHOWN,
    STDERR,
    Frame,
    Splitter,
    caught_error,
    nonce_in,
    words_of,
)
from lk_jupyter.protocol.offloaded import STORED, fetch_content
from lk_jupyter.text.secrets import LineRedactor
from lk_jupyter.text.terminal import TerminalText

#: Characters of a log per read.
_PIECE = 1 << 16


class OutputsHandler:
    """Splits the output of a run into text and events of rich outputs. Raises LkError."""

    def __init__(self, client: Client, execution_id: str) -> None:
        self._client = client
        self._execution_id = execution_id
        self._splitter: Splitter | None = None  # created on demand: reading the nonce may take a request

    def feed(self, text: str) -> list[str | dict[str, Any]]:
        """Feed a chunk and return the completed events, in order."""
        if self._splitter is None and (ESCAPE in text or BARE_MARK in text):
            self._splitter = Splitter(_nonce(self._client, self._execution_id) or NO_NONCE)
        return self._events(self._splitter.feed(text) if self._splitter else [text])

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
        return self._events(self._splitter.end() if self._splitter else [])

    def _events(self, items: list[str | Frame]) -> list[str | dict[str, Any]]:
        return [item if isinstance(item, str) else self._event(item) for item in items]

    def _event(self, frame: Frame) -> str | dict[str, Any]:
        if frame.kind == STORED and self._splitter:
            frame = fetch_content(self._read, self._splitter.nonce, frame)
        return {"shown": {"kind": frame.kind, **frame.payload}} if frame.kind in SHOWN else words_of(frame)

    def _read(self, key: str) -> bytes:
        try:
            with self._client.storage.download(key) as content:
                return content.read()
        except NotFound:
            raise NoSuchObject(key) from None


class LinesHandler(OutputsHandler):
    """Turns the output of a run into complete lines, as the log in its cell has them, after the first ``after`` lines.

    A page that continues such a log counts its lines. So this class applies the rules of ``magics/_output/log.py``:
    secrets are redacted, and an output besides text ends an unfinished line. Blank lines don't count, because some
    servers add them; ``squeeze`` removes them. Outputs arrive without their content. After a ``clear``, all further
    lines are new.
    """

    def __init__(self, client: Client, execution_id: str, after: int, *, squeeze: bool = False) -> None:
        super().__init__(client, execution_id)
        self._skip = after
        self._squeeze = squeeze
        self._text = TerminalText(returns=True)
        self._redactor = LineRedactor()
        self._bars: set[str] = set()

    def end(self) -> list[str | dict[str, Any]]:
        """Return the buffered rest, the unfinished line included."""
        return [*super().end(), self._end_line()]

    def _events(self, items: list[str | Frame]) -> list[str | dict[str, Any]]:
        events: list[str | dict[str, Any]] = []
        for item in items:
            events += self._frame_events(item) if isinstance(item, Frame) else [self._feed_text(item)]
        return events

    def _frame_events(self, frame: Frame) -> list[str | dict[str, Any]]:
        if frame.kind in {STDERR, ERROR} and not caught_error(frame):
            return [self._end_line(), self._feed_text(words_of(frame))]
        if frame.kind == BAR:
            bar = str(frame.payload.get("bar"))
            is_new = bar not in self._bars
            self._bars.add(bar)
            return [self._end_line()] if is_new else []
        if frame.kind not in {STORED, STDERR, "display", "clear"}:
            return []
        line = self._end_line()
        if frame.kind == "clear":
            self._skip = 0
            return [line, {"shown": {"kind": "clear"}}]
        return [line] if self._skip else [line, {"shown": {"kind": "display"}}]

    def _feed_text(self, text: str) -> str:
        self._text.feed(text)
        return self._new_text(self._text.take()[0])

    def _end_line(self) -> str:
        return self._new_text([*self._text.take()[0], *self._text.end()])

    def _new_text(self, lines: list[str]) -> str:
        """Return the text of the lines that aren't skipped."""
        new: list[str] = []
        for line in self._redactor.lines(lines):
            is_blank = not line.strip(" \t\r")
            if self._skip:
                self._skip -= not is_blank
            elif not (is_blank and self._squeeze):
                new.append(f"{line}\n")
        return "".join(new)


def _nonce(client: Client, execution_id: str) -> str | None:
    """Return the nonce in the frames of a run: from the journal, else from the run's record."""
    request: dict[str, Any] | None = None
    with suppress(sqlite3.Error, ValueError):
        request = entry.read_request(settings.setting("journal"), execution_id)
    if request is not None:
        return nonce_in(request.get("metadata"))
    with suppress(NotFound):
        return nonce_in(client.execution.get(execution_id).metadata)
    return None
