"""What a run says in its log, apart: the text, and what it shows beside that."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

from lk_jupyter import config, journal_rows
from lk_jupyter.api._client import Client
from lk_jupyter.errors import NoSuchObject, NotFound
from lk_jupyter.runs.frames import ESCAPE, NO_NONCE, SHOWN, Frame, Splitter, nonce_in, words_of
from lk_jupyter.runs.stored import STORED, fetched


class Outputs:
    """Splits what a run wrote into text and events that tell what it shows. Raises LkError."""

    def __init__(self, client: Client, execution_id: str) -> None:
        self._client = client
        self._execution_id = execution_id
        self._splitter: Splitter | None = None  # made when there is something to split: the nonce may be far away

    def feed(self, text: str) -> list[str | dict[str, Any]]:
        """Take a chunk and return what it completes, in order."""
        if self._splitter is None and ESCAPE in text:
            self._splitter = Splitter(_nonce(self._client, self._execution_id) or NO_NONCE)
        return self._events(self._splitter, self._splitter.feed(text)) if self._splitter else [text]

    def end(self) -> list[str | dict[str, Any]]:
        """Return what was held back."""
        return self._events(self._splitter, self._splitter.end()) if self._splitter else []

    def _events(self, splitter: Splitter, items: list[str | Frame]) -> list[str | dict[str, Any]]:
        return [item if isinstance(item, str) else self._event(item, splitter.nonce) for item in items]

    def _event(self, frame: Frame, nonce: str) -> str | dict[str, Any]:
        if frame.kind == STORED:
            frame = fetched(self._read, nonce, frame)
        return {"shown": {"kind": frame.kind, **frame.payload}} if frame.kind in SHOWN else words_of(frame)

    def _read(self, key: str) -> bytes:
        try:
            with self._client.storage.download(key) as content:
                return content.read()
        except NotFound:
            raise NoSuchObject(key) from None


def _nonce(client: Client, execution_id: str) -> str | None:
    """Return what the frames of a run carry: the journal has it, and the cloud may have."""
    request: dict[str, Any] | None = None
    with suppress(sqlite3.Error, ValueError):
        request = journal_rows.request_of(config.setting("journal"), execution_id)
    return nonce_in(client.execution.get(execution_id).metadata if request is None else request.get("metadata"))
