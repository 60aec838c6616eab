"""Limit foreign JSON before parsing: bytes, and an estimate of the memory of the values.

Three bytes (``[],``) need up to 700 bytes in memory, so a limit of bytes alone protects nothing. The estimate counts
brackets, colons, commas and texts. Characters within texts don't count; texts are only left out if that matters.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

#: Bytes of an answer that is read into memory: a record repeats three logs of several MB.
MOST_BYTES = 32 << 20

#: Maximum bytes of an event of a stream, and of a message of a session.
MOST_MESSAGE_BYTES = 24 << 20

#: Bytes of a message of a kernel that is passed on without being parsed, such as a large plot.
MOST_KERNEL_MESSAGE_BYTES = 64 << 20

#: Bytes of memory that the values of JSON may take, by the estimate.
MOST_MEMORY = 280_000_000

#: Bytes of memory for a byte of text: the byte, and a character of text with an emoji.
_WIDE = 5

#: Bytes of JSON that stay below the limit whatever they contain.
_SMALL = 1 << 18


class Weights(NamedTuple):
    """Bytes of memory of a list or object, of an entry of an object, of a comma, and of a text; measured."""

    container: int
    entry: int
    comma: int
    text: int


#: Of JSON that is only decoded.
DECODED = Weights(200, 60, 40, 60)

#: For JSON that pydantic validates: each value may cause a reported problem, unless only the first is reported.
VALIDATED, VALIDATED_FAST = Weights(700, 200, 550, 50), Weights(700, 200, 70, 50)

#: Bytes that are counted at a time.
_CHUNK = 1 << 20


class JsonTooLarge(ValueError):
    """JSON would take too much memory; the text states size and limit."""


def require_small(content: bytes | bytearray | str, weights: Weights = DECODED, most: int = MOST_MEMORY) -> None:
    """Raise JsonTooLarge if the values of JSON would take more than ``most`` bytes of memory."""
    if len(content) <= _SMALL:
        return
    data = content.encode(errors="replace") if isinstance(content, str) else content
    text_memory = _compute_text_memory(data)
    counts = data.count(b"[") + data.count(b"{"), data.count(b":"), data.count(b","), data.count(b'"') // 2
    if text_memory + _compute_weighted_sum(counts, weights) <= most:
        return
    if b"\0" not in data:  # UTF-16 and UTF-32 aren't counted exactly
        counts = _count_structure(data)
    memory = text_memory + _compute_weighted_sum(counts, weights)
    if memory > most:
        raise JsonTooLarge(
            f"{format_megabytes(len(data))} of JSON contain {counts[0]:,} lists and objects and {counts[2]:,} commas, "
            f"and may need {format_megabytes(memory)} of memory; the limit is {format_megabytes(most)}"
        )


def load_json(content: bytes | bytearray | str, weights: Weights = DECODED) -> Any:
    """Decode JSON. Raises JsonTooLarge, which is a ValueError, and the errors of ``json.loads``."""
    require_small(content, weights)
    return json.loads(content)


#: An escaped surrogate in JSON, which may lack its other half.
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def load_encodable_json(content: bytes | bytearray | str, weights: Weights = DECODED) -> Any:
    """Decode JSON, with U+FFFD for each lone surrogate. Raises the errors of ``load_json``.

    JSON can contain half of a surrogate pair, but UTF-8 can't, so neither files nor Jupyter's messages accept it.
    """
    value = load_json(content, weights)
    data = content.encode(errors="replace") if isinstance(content, str) else content
    if not _ESCAPED_SURROGATE.search(data):
        return value
    return json.loads(replace_lone_surrogates(json.dumps(value, ensure_ascii=False)))


def replace_lone_surrogates(text: str) -> str:
    """Return a text that UTF-8 can encode: two halves of a surrogate pair are joined, a lone half becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def load_user_json(content: bytes) -> Any:
    """Decode a file of the user, which may contain large texts such as pictures. Raises the errors of ``load_json``."""
    require_small(content, most=MOST_MEMORY // 2 + _compute_text_memory(content))
    return json.loads(content)


def _compute_text_memory(data: bytes | bytearray) -> int:
    return len(data) * (_WIDE if not data.isascii() or b"\\u" in data else 2)


def format_megabytes(size: float) -> str:
    """Return a size in MB."""
    return f"{size / 1e6:,.1f} MB" if size < 1e7 else f"{size / 1e6:,.0f} MB"


def _compute_weighted_sum(counts: tuple[int, ...], weights: tuple[int, ...]) -> int:
    return sum(count * weight for count, weight in zip(counts, weights, strict=True))


def _count_structure(data: bytes | bytearray) -> tuple[int, int, int, int]:
    """Count lists and objects, colons, commas and texts of JSON; characters within texts don't count."""
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    containers = colons = commas = quotes = 0
    for start in range(0, len(plain), _CHUNK):
        pieces = plain[start : start + _CHUNK].split(b'"')
        outside = b"".join(pieces[quotes % 2 :: 2])
        containers += outside.count(b"[") + outside.count(b"{")
        colons += outside.count(b":")
        commas += outside.count(b",")
        quotes += len(pieces) - 1
    return containers, colons, commas, quotes // 2
