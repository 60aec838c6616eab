"""Answers of a server: their form, their content and downloads."""

from __future__ import annotations

import codecs
from collections.abc import Generator
from contextlib import suppress
from typing import Any, NamedTuple

import httpx

from lk_jupyter.api._body import get_excess
from lk_jupyter.api._endpoint import Endpoint
from lk_jupyter.api._failures import lost_request
from lk_jupyter.api._files import Download
from lk_jupyter.api._retry import RequestOutcome
from lk_jupyter.api._tolerant import read
from lk_jupyter.errors import ConnectionFailed, LkError, UsageError
from lk_jupyter.protocol.json_limits import VALIDATED, JsonTooLarge, load_json

_REQUEST_ID_HEADERS = ("x-request-id", "x-correlation-id", "cf-ray")

#: FastAPI's answers for a missing address and a missing method.
_ABSENT = {404: {"detail": "Not Found"}, 405: {"detail": "Method Not Allowed"}}


class RawAnswer(NamedTuple):
    """An unparsed answer."""

    status: int
    media_type: str
    content: bytes

    @property
    def json(self) -> Any:
        """The content as JSON; None for other content, and for content that is too large."""
        with suppress(ValueError, RecursionError):
            return load_json(self.content, VALIDATED)  # a check parses an answer several times
        return None

    @property
    def is_absent(self) -> bool:
        """Whether the answer is FastAPI's answer for a missing address or method."""
        return self.status in _ABSENT and self.json == _ABSENT[self.status]


def open_download(answer: httpx.Response, host: str) -> Download:
    """Return a download of an answer whose body hasn't arrived yet."""
    length = None if "content-encoding" in answer.headers else answer.headers.get("content-length")
    kind = answer.headers.get("content-type", "")
    size = int(length) if length else None
    return Download(_iterate_pieces(answer, host), size=size, content_type=kind, close=answer.close)


def _iterate_pieces(answer: httpx.Response, host: str) -> Generator[bytes, None, None]:
    error = yield from _read_pieces(answer, host)
    if error:
        raise error


def _read_pieces(answer: httpx.Response, host: str) -> Generator[bytes, None, LkError | None]:
    try:
        yield from answer.iter_bytes()
    except httpx.RequestError as failure:
        return ConnectionFailed(lost_request(failure, host).carries)
    except httpx.StreamError:
        return UsageError("This download was already read or closed. Request it again.")
    finally:
        answer.close()
    return None


def is_stream(answer: httpx.Response) -> bool:
    return "text/event-stream" in answer.headers.get("content-type", "")


def is_absent(outcome: RequestOutcome) -> bool:
    """Return whether an outcome is FastAPI's answer for a missing address."""
    answer = outcome.carries
    is_refusal = outcome.end in _ABSENT and isinstance(answer, httpx.Response)
    return is_refusal and RawAnswer(answer.status_code, "", answer.content).is_absent


def read_answer(endpoint: Endpoint, answer: httpx.Response) -> tuple[Any, str]:
    """Return the typed answer, and the omitted parts in words. Raises JsonTooLarge, ValidationError."""
    if excess := get_excess(answer):
        raise JsonTooLarge(excess)
    return read(endpoint.answer_type, endpoint.returns, answer.content.removeprefix(codecs.BOM_UTF8))


def is_page(answer: httpx.Response) -> bool:
    return "html" in answer.headers.get("content-type", "") or answer.content.lstrip()[:1] == b"<"


def read_request_id(answer: httpx.Response) -> str | None:
    return next((answer.headers[name][:80] for name in _REQUEST_ID_HEADERS if name in answer.headers), None)
