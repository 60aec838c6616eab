"""A flood of output, made of few large events where the server sends many small ones.

An event costs what a line of output costs a hundred times over, so those that came together are joined
before they are parsed one by one. Nothing is held back: what is no plain output passes as it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_core import from_json, to_json

#: Bytes from which it is worth it.
FLOOD = 1 << 12

_BETWEEN = b"\n\n"
_FIELD = b"data:"


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a stream of events cut anywhere, with the plain output of each large piece in one event."""
    last = _BETWEEN
    for piece in pieces:
        if len(piece) < FLOOD:
            yield piece
        else:
            yield from filter(None, _joined(piece, last))
        last = (last + piece[-2:])[-2:]


def _joined(piece: bytes, before: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the end of an event, those that are whole, and the beginning of one; ``before`` are two bytes."""
    start = 0 if before == _BETWEEN else (before + piece).find(_BETWEEN, 1)
    last = piece.rfind(_BETWEEN)
    if not 0 <= start <= last:
        return piece, b"", b""
    end = last + len(_BETWEEN)
    return piece[:start], _one_of(piece[start:end]), piece[end:]


def _one_of(events: bytes) -> bytes:
    """Return one event for many, or the same where one of them is more than output."""
    parts = events.split(_BETWEEN + _FIELD)
    if not events.startswith(_FIELD) or b"\r" in events or events.count(b"\n") != 2 * len(parts):
        return events
    content = _content(b"[[" + events[len(_FIELD) :].replace(_BETWEEN + _FIELD, b"],[") + b"]]", len(parts))
    return events if content is None else b'data: {"output":{"content":%b}}\n\n' % to_json(content)


def _content(array: bytes, events: int) -> str | None:
    try:
        messages: list[Any] = from_json(array)
        contents = [message["output"]["content"] for [message] in messages]
        return "".join(contents) if len(contents) == events else None
    except (ValueError, TypeError, KeyError):
        return None
