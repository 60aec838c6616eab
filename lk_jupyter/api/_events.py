"""Parse streams into events: the output of a run, in all known forms, and JSON objects.

httpx-sse parses the bytes; this module converts ``data:`` payloads into events. Only this module decides on
undocumented forms.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from lk_jupyter.api._detail import read_error_status, words
from lk_jupyter.api._endpoint import explain
from lk_jupyter.api._models import Model
from lk_jupyter.errors import ConnectionFailed, InvalidResponse, LkError, error_for
from lk_jupyter.protocol.json_limits import (
    MOST_MESSAGE_BYTES,
    JsonTooLarge,
    format_megabytes,
    load_encodable_json,
    replace_lone_surrogates,
    require_small,
)

#: The data at the end of a stream of chunks.
DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Output:
    r"""A piece of a run's output, as ``Run.follow`` yields it.

    ``content`` (str) is several lines, or part of a line, with its color codes.

    Example:
        >>> run = session.run("print(6 * 7)")
        >>> "".join(event.content for event in run.follow() if hasattr(event, "content"))
        '42\n'
    """

    content: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a run's output, as ``Run.follow`` yields it last.

    ``return_code`` (int, or None if unknown) and ``error`` (str, or None).

    Example:
        >>> run = session.run("print(6 * 7)")
        >>> *_, end = run.follow()
        >>> end.return_code, end.error, end.succeeded
        (0, None, True)
    """

    return_code: int | None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the code completed without an error."""
        return not self.error and not self.return_code


StreamEvent = Output | Finished


class Event(Model):
    """A JSON object of a stream. The field ``event`` is the name of the frame, if only the frame has a name."""

    def is_last(self) -> bool:
        """Whether the object is the last of the stream; other streams end with ``[DONE]``."""
        return False

    def holds_answer(self) -> bool:
        """Whether the object is a complete answer, if sent instead of a stream."""
        return True


class SseMessage(Protocol):
    """A parsed server-sent event."""

    @property
    def event(self) -> str:
        """The name; ``message`` by default."""

    @property
    def data(self) -> str:
        """The payload."""


#: Yield the events of a stream; return the error that broke the stream, if any.
Reader = Callable[[Iterator[SseMessage]], Generator[Any, None, "LkError | None"]]


def reader_for(kind: Any, host: str) -> Reader:
    """Return a reader for streams of a host with events of this type."""
    return _read_output if kind == StreamEvent else partial(_read_objects, kind, host)


def _read_output(frames: Iterator[SseMessage]) -> Generator[StreamEvent, None, None]:
    """Read output. A surrogate pair that two events share is joined, and a lone surrogate becomes U+FFFD."""
    half = ""  # of a surrogate pair, at the end of the last event
    for event in chain.from_iterable(parse(frame.data) for frame in frames):
        if isinstance(event, Output):
            content = half + event.content
            half = content[-1:] if "\ud800" <= content[-1:] <= "\udbff" else ""
            yield Output(replace_lone_surrogates(content[: -len(half) or None]))
            continue
        yield from _replace_half(half)
        half = ""
        yield Finished(event.return_code, event.error and replace_lone_surrogates(event.error))
    yield from _replace_half(half)


def _replace_half(half: str) -> Sequence[Output]:
    return [Output(replace_lone_surrogates(half))] if half else ()


def _read_objects(kind: type[Event], host: str, frames: Iterator[SseMessage]) -> Generator[Event, None, LkError | None]:
    """Read JSON objects up to the last. A missing last object, or an object with an error, breaks the stream."""
    for frame in frames:
        if frame.data.strip() == DONE:
            return None
        message = _parse_message(kind, frame)
        if not message and not frame.data:
            continue
        if "error" not in kind.model_fields and message.get("error"):
            return error_for(read_error_status(message), words(message))
        try:
            event = kind.model_validate(message)
        except ValidationError as error:
            return InvalidResponse(f"{host} sent an event that isn't from this API: {explain(error)}.")
        yield event
        if event.is_last():
            return None
    return ConnectionFailed(f"{host} ended the stream early; the output may be incomplete. Try again.")


def _parse_message(kind: type[Event], frame: SseMessage) -> dict[str, Any]:
    """Return the object of a frame, with the frame's name if events have names."""
    named = frame.event != "message" and "event" in kind.model_fields
    return {
        **({"event": frame.event} if named else {}),
        **_replace_non_object(_decode_json(frame.data, load_encodable_json)),
    }


def _decode_json(data: str, load_lenient: Callable[[str], Any]) -> Any:
    """Decode JSON; ``load_lenient`` decodes what the fast decoder refuses, such as half of a surrogate pair."""
    require_small(data)
    try:
        return from_json(data)
    except ValueError:
        with suppress(ValueError, RecursionError):
            return load_lenient(data)
    return None


def parse(data: str) -> Sequence[StreamEvent]:
    """Read the events of a ``data:`` payload; ignore other content.

    Several ``data:`` lines of an event are joined by the standard. If each line is a JSON object, each counts.
    """
    message = _decode_json(data, json.loads)  # the other half may be in the next event
    if isinstance(message, dict):
        event = _parse_event(message)
        return () if event is None else (event,)
    return [event for line in data.split("\n") for event in parse(line)] if "\n" in data else ()


def _parse_event(message: dict[str, Any]) -> StreamEvent | None:
    if isinstance(output := message.get("output"), dict):
        return _parse_output(output)
    if isinstance(finished := message.get("jobFinished"), dict):
        return _parse_end(finished)
    if isinstance(envelope := message.get("Message"), dict):
        return _parse_event({"output": envelope.get("Output"), "jobFinished": envelope.get("JobFinished")})
    legacy = _LEGACY.get(str(message.get("type")))
    return legacy(message) if legacy else None


def _parse_output(message: dict[str, Any]) -> Output:
    return Output(str(message.get("content") or ""))


def _parse_end(finished: dict[str, Any]) -> Finished:
    """Return the end of a run; a missing code means 0, because proto-style JSON drops zero values."""
    result = _replace_non_object(_replace_non_object(finished.get("job")).get("result"))
    code = result.get("returnCode", result.get("return_code")) or 0
    error = result.get("error")
    try:
        return Finished(int(code), str(error) if error else None)
    except (ValueError, TypeError):
        return Finished(None, str(error or f"exit code {code}"))


def _replace_non_object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _parse_legacy_completed(message: dict[str, Any]) -> Finished:
    error = message.get("errors")
    failed = bool(error) or str(message.get("status", "completed")).lower() not in {"completed", "success"}
    return Finished(None, str(error or message.get("status"))) if failed else Finished(0)


def _parse_legacy_error(message: dict[str, Any]) -> Finished:
    return Finished(None, str(message.get("message") or "the platform gave no reason"))


_LEGACY: dict[str, Callable[[dict[str, Any]], StreamEvent]] = {
    "output": _parse_output,
    "completed": _parse_legacy_completed,
    "error": _parse_legacy_error,
}


#: Bytes of a piece of a stream from which its events are joined.
FLOOD = 1 << 12

#: Bytes of a piece above which events aren't joined: the piece was compressed.
_MOST_JOINED = 1 << 20

_BETWEEN = b"\n\n"
_BLANK_LINES = (_BETWEEN, b"\r\n\r\n", b"\r\r")
_FIELD = b"data:"


def complete_stream(pieces: Iterable[bytes], *, is_output: bool) -> Iterator[bytes]:
    """Return a stream without a byte order mark, and with a final blank line, so that an unfinished last event counts.

    Long output arrives in few events. Raises JsonTooLarge for an event that is too large.
    """
    stream = _limit_events(_remove_byte_order_mark(pieces))
    return chain(join_output(stream) if is_output else stream, [_BETWEEN])


def _limit_events(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a stream up to an event above the limit."""
    size, last = 0, b""
    for piece in pieces:
        text = last + piece
        end = _find_last_end(text)
        size = len(text) - end if end else size + len(piece)
        if size > MOST_MESSAGE_BYTES:
            raise JsonTooLarge(f"an event above the limit of {format_megabytes(MOST_MESSAGE_BYTES)}")
        last = text[-3:]
        yield piece


def _find_last_end(text: bytes) -> int:
    """Return the position after the last blank line; 0 without a blank line."""
    blank_lines = _BLANK_LINES if b"\r" in text else _BLANK_LINES[:1]  # a search for absent bytes reads all of them
    ends = [(text.rfind(blank), len(blank)) for blank in blank_lines]
    return max(start + length if start >= 0 else 0 for start, length in ends)


def _remove_byte_order_mark(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a text without a leading byte order mark."""
    begin, rest = b"", iter(pieces)
    for piece in rest:
        begin += piece
        if len(begin) >= len(codecs.BOM_UTF8):
            break
    yield begin.removeprefix(codecs.BOM_UTF8)
    yield from rest


def join_output(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a stream of events cut anywhere, with the plain output of each large piece in one event.

    Parsing an event takes a hundred times as long as a line of output, so events that arrive together are joined
    before parsing. Nothing is delayed: all other events pass unchanged.
    """
    last = _BETWEEN
    for piece in pieces:
        if len(piece) < FLOOD:
            yield piece
        else:
            yield from filter(None, _split_events(piece, last))
        last = (last + piece[-2:])[-2:]


def _split_events(piece: bytes, before: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the end of an event, complete events, and the start of an event; ``before`` are two bytes."""
    start = 0 if before == _BETWEEN else (before + piece).find(_BETWEEN, 1)
    last = piece.rfind(_BETWEEN)
    if not 0 <= start <= last or len(piece) > _MOST_JOINED:
        return piece, b"", b""
    end = last + len(_BETWEEN)
    return piece[:start], _merge_events(piece[start:end]), piece[end:]


def _merge_events(events: bytes) -> bytes:
    """Return one event for many, or the events unchanged if any event is more than output."""
    parts = events.split(_BETWEEN + _FIELD)
    if not events.startswith(_FIELD) or b"\r" in events or events.count(b"\n") != 2 * len(parts):
        return events
    content = _join_contents(b"[[" + events[len(_FIELD) :].replace(_BETWEEN + _FIELD, b"],[") + b"]]", len(parts))
    return events if content is None else b'data: {"output":{"content":%b}}\n\n' % to_json(content)


def _join_contents(array: bytes, events: int) -> str | None:
    try:
        messages: list[Any] = from_json(array)
        contents = [message["output"]["content"] for [message] in messages]
        return "".join(contents) if len(contents) == events else None
    except (ValueError, TypeError, KeyError):
        return None
