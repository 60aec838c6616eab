"""What a run says in its log, apart: the text, and what it shows beside that."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any

from lk_jupyter import config, journal_rows
from lk_jupyter.api._client import Client
from lk_jupyter.errors import NoSuchObject, NotFound
from lk_jupyter.runs.frames import ESCAPE, FRAMES_KEY, NO_NONCE, Frame, Splitter, words_of
from lk_jupyter.runs.stored import STORED, fetched

_SHOWN = {"display", "update", "clear"}


class Outputs:
    """Splits what a run wrote into text and events that tell what it shows. Raises LkError."""

    def __init__(self, client: Client, execution_id: str) -> None:
        self._client = client
        self._execution_id = execution_id
        self._splitter: Splitter | None = None  # made when there is something to split: the nonce may be far away

    def feed(self, text: str) -> list[str | dict[str, Any]]:
        """Take a chunk and return what it completes, in order."""
        if self._splitter is None:
            if ESCAPE not in text:
                return [text]
            self._splitter = Splitter(_nonce(self._client, self._execution_id))
        return [self._event(item, self._splitter.nonce) for item in self._splitter.feed(text)]

    def end(self) -> list[str | dict[str, Any]]:
        """Return what was held back."""
        if self._splitter is None:
            return []
        return [self._event(item, self._splitter.nonce) for item in self._splitter.end()]

    def _event(self, item: str | Frame, nonce: str) -> str | dict[str, Any]:
        if isinstance(item, str):
            return item
        frame = fetched(self._read, nonce, item) if item.kind == STORED else item
        if frame.kind not in _SHOWN:
            return words_of(frame)
        return {"shown": {"kind": frame.kind, **frame.payload}}

    def _read(self, key: str) -> bytes:
        try:
            with self._client.storage.download(key) as content:
                return content.read()
        except NotFound:
            raise NoSuchObject(key) from None


def _nonce(client: Client, execution_id: str) -> str:
    """Return what the frames of a run carry: the journal has it, and the cloud may have."""
    known: dict[str, Any] | None = None
    with suppress(sqlite3.Error, ValueError):
        known = journal_rows.request_of(config.setting("journal"), execution_id).get("metadata")
    if known is None:
        known = client.execution.get(execution_id).metadata
    return (known or {}).get(FRAMES_KEY) or NO_NONCE
