"""The body of an answer, read up to a limit, with any compression."""

from __future__ import annotations

import httpx

from lk_jupyter.protocol.json_limits import MOST_BYTES, format_megabytes

#: Maximum bytes to read of a refusal.
MOST_REASON_BYTES = 1_000_000

#: Encodings with a limited size of decoded pieces. A piece of another encoding can have any size.
ENCODINGS = {"Accept-Encoding": "gzip, deflate"}
_LIMITED = {"", "identity", "gzip", "deflate"}

#: Headers that describe the encoded bytes, not the content.
_WIRE_HEADERS = {"content-encoding", "content-length", "transfer-encoding"}

#: Key in the extensions of an answer: in words, the size of a body that wasn't read.
_EXCESS = "lk_excess"


def is_compressed(response: httpx.Response) -> bool:
    """Return whether the body of an answer must be unpacked."""
    return _read_encoding(response) not in {"", "identity"}


def get_excess(response: httpx.Response) -> str:
    """Return in words why the body of an answer wasn't read; empty for a complete body."""
    return str(response.extensions.get(_EXCESS, ""))


def read_body(response: httpx.Response) -> httpx.Response:
    """Read the body of an answer and return the answer. A body that is too large is dropped, see ``get_excess``."""
    most = MOST_BYTES if response.is_success else MOST_REASON_BYTES
    content = bytearray()
    excess = read_into(content, response, most)
    extensions = {**response.extensions, _EXCESS: excess} if excess else response.extensions
    return httpx.Response(
        response.status_code,
        headers=select_content_headers(response),
        content=b"" if excess else bytes(content),
        extensions=extensions,
        request=response.request,
    )


def select_content_headers(response: httpx.Response) -> list[tuple[str, str]]:
    """Return the headers of an answer whose body is unpacked."""
    return [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _WIRE_HEADERS]


def read_into(content: bytearray, response: httpx.Response, most: int) -> str:
    """Append a body to ``content``, up to a limit, and close the answer.

    Return in words why the content is incomplete.
    """
    try:
        if excess := describe_refused_encoding(response):
            return excess
        for piece in response.iter_bytes():
            content += piece[: most + 1 - len(content)]
            if len(content) > most:
                return describe_excess(most, response)
    finally:
        response.close()
    return ""


def describe_refused_encoding(response: httpx.Response) -> str:
    """Return in words the encoding of an unreadable body; empty for a readable body."""
    encoding = _read_encoding(response)
    return "" if encoding in _LIMITED else f"a body in the encoding '{encoding[:40]}', which wasn't requested"


def describe_excess(most: int, response: httpx.Response) -> str:
    """Return in words the size of a body that is larger than a limit."""
    declared = response.headers.get("content-length", "")
    is_exact = declared.isdecimal() and len(declared) < 20 and not is_compressed(response)
    size = format_megabytes(int(declared)) if is_exact else f"more than {format_megabytes(most)}"
    return f"a body of {size}, above the limit of {format_megabytes(most)}"


def _read_encoding(response: httpx.Response) -> str:
    return str(response.headers.get("content-encoding", "")).strip().lower()
