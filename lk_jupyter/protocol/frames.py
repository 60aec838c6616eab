"""Frames: messages of a run to the notebook, in the log next to the text.

A frame is a line or several lines, written by ``remote/script/run.py``::

    ESC ] 7411 ; NONCE ; SEQ ; PART/PARTS ; BASE64 ; CRC BEL LF

If the line continues after the frame, a plus follows PARTS and no LF the BEL. A terminal shows no part of a frame. Each
run has a nonce, so that printed text can't pass for a frame: text without the nonce stays text. A frame that decides
which values are read, written or set in the notebook is signed too, with a key that no record of the run contains: the
signature follows the compressed JSON. Newlines inside a frame are ignored, because servers add some.

Some servers remove control characters from a log, or write the characters differently. The nonce identifies such a
frame.

Stdout and stderr may arrive as a single text: output of the other stream between two halves of a frame, or between a
frame and the text that it hides, stays text.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from binascii import a2b_base64, crc32
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from html import escape
from typing import Any, AnyStr

from lk_jupyter.protocol.json_limits import load_encodable_json
from lk_jupyter.remote.sign import KINDS, SIZE, is_signed

ESCAPE, END = "\x1b", "\x07"
_MARK = "\x1b]7411;"
HIDE, ERROR, BAR, STDERR, SCALARS = "hide", "error", "bar", "stderr", "scalars"

#: Kind of a frame without a valid signature; the payload is the original ``kind``.
UNSIGNED = "unsigned"

#: Kinds of frames with output other than text, in the words of Jupyter's messages.
SHOWN = frozenset({"display", "update", "clear", "page"})

#: Key in the metadata of an output in a cell: the number of the output among the outputs of its run.
NUMBER_KEY = "lk_jupyter_output"

#: Key in the metadata of an output of a run in the background: ``log`` for the newest lines, ``outputs`` for the rest.
BACKGROUND_KEY = "lk_jupyter_background"

#: Key in a run's metadata with the nonce of the frames.
FRAMES_KEY = "lk_frames"

#: A nonce that no frame can have.
NO_NONCE = ";"

#: Characters of other text after which hidden text that hasn't arrived is given up.
_MOST_BETWEEN = 1 << 16

#: Characters of hidden text after which the rest is awaited, and of other text that waits meanwhile.
_LEAST_OVERLAP, _MOST_WAITING = 8, 1 << 12

#: Characters, and lines, after which an unfinished frame is given up.
_LONGEST, _MOST_LINES = 1 << 14, 30

#: Starts of frames that are tried for an end: two interleaved streams leave two starts.
_MOST_STARTS = 8

#: Maximum bytes of an unpacked frame, and parts: small texts can unpack to a thousand times their size.
MOST, _MOST_PARTS = 1 << 24, 500_000

#: Frames that may arrive before a missing frame.
_GAP = 10_000

#: Replacements of servers for the first and the last character of a frame.
_WRITTEN = {
    "\\x1b": "\\x07",
    "\\u001b": "\\u0007",
    "\\033": "\\007",
    "^[": "^G",
    "␛": "␇",
    "\ufffd": "\ufffd",
    "?": "?",
}

_LONGEST_WRITTEN = max(map(len, _WRITTEN))

#: The mark of a frame without these characters.
BARE_MARK = _MARK[1:]

#: The text between the nonce and the last character of a frame, and a prefix of that text.
_REST = re.compile(r";[0-9a-f-]+;\d+/\d+\+?;[A-Za-z0-9+/=\r\n]*;[0-9a-f]{8}")
_REST_PREFIX = re.compile(
    r"(?:;(?:[0-9a-f-]+(?:;(?:\d+(?:/(?:\d+\+?(?:;[A-Za-z0-9+/=\r\n]*(?:;[0-9a-f]{0,8})?)?)?)?)?)?)?)?"
)

_NEWLINES = r"[\r\n]*"
_START = re.compile(_NEWLINES.join(map(re.escape, _MARK)))
_PREFIX = re.compile(
    re.escape(_MARK[0])
    + "".join(f"(?:{_NEWLINES}{re.escape(sign)}" for sign in _MARK[1:-1])
    + ")?" * (len(_MARK) - 2)
    + rf"{_NEWLINES}\Z"
)


@dataclass(frozen=True)
class Frame:
    """A message of a run; ``seq`` is the message's number, unique within the run."""

    kind: str
    payload: dict[str, Any]
    seq: str


class _FrameNumbers:
    """The numbers of received frames: for each process, a number that covers all frames before the first gap."""

    def __init__(self) -> None:
        self._all_to: dict[str, int] = {}
        self._beyond: dict[str, set[int]] = {}

    def __contains__(self, seq: str) -> bool:
        process, number = _split_sequence(seq)
        return number <= self._all_to.get(process, 0) or number in self._beyond.get(process, ())

    def add(self, seq: str) -> None:
        """Remember a frame."""
        process, number = _split_sequence(seq)
        beyond = self._beyond.setdefault(process, set())
        beyond.add(number)
        all_to = self._all_to.get(process, 0)
        if len(beyond) > _GAP:  # the missing frames won't arrive
            all_to = min(beyond) - 1
        while all_to + 1 in beyond:
            all_to += 1
            beyond.discard(all_to)
        self._all_to[process] = all_to


def _split_sequence(seq: str) -> tuple[str, int]:
    process, _, number = seq.rpartition("-")
    return process, int(number)


class _Hidden:
    """Text that frames hide, because the frames show the same content: the text is removed when it arrives."""

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._pending = ""
        self._between = 0

    def __bool__(self) -> bool:
        return bool(self._pieces or self._pending)

    def expect(self, text: str) -> None:
        """Remove this text, line by line, when it arrives."""
        self._pieces.extend(re.findall(r"[^\n]*\n|[^\n]+", text))
        self._between = 0

    def remove_expected(self, text: str) -> str:
        """Take a chunk, and return the part to show."""
        text, self._pending = self._pending + text, ""
        visible = []
        while text and self._pieces:
            piece = self._pieces[0]
            if text.startswith(piece):
                text = text[len(piece) :]
                self._pieces.popleft()
            elif piece == "\n":  # servers and readers add and drop empty lines
                self._pieces.popleft()
            elif piece.startswith(text):
                self._pending, text = text, ""
            else:
                other, text = self._split_at_piece(text, piece)
                visible.append(other)
                self._between += len(other)
                if not other or self._between > _MOST_BETWEEN:
                    break
        if self._between > _MOST_BETWEEN:
            self._pieces.clear()
        elif self._pieces and not self._pending:
            self._pending, text = text, ""
        return "".join(visible) + text

    def _split_at_piece(self, text: str, piece: str) -> tuple[str, str]:
        """Return the text of the other stream that precedes the piece, and the text from the piece on."""
        at = text.find(piece)
        overlap = measure_common_prefix(text, piece)
        if at < 0 and overlap >= _LEAST_OVERLAP:  # half of the piece, other text, the other half
            rest = piece[overlap:]
            at = text.find(rest, overlap) if rest.strip() else -1
            if at >= 0:
                self._pieces.popleft()
                return text[overlap:at], text[at + len(rest) :]
            if len(text) < _MOST_WAITING:
                return "", text
        if at < 0:
            at = len(text) - _measure_overlap_at_end(text, piece)
        return text[:at], text[at:]

    def end(self) -> str:
        """Return the delayed text, at the end of the input."""
        pending, self._pending = self._pending, ""
        return pending


def measure_common_prefix(one: AnyStr, other: AnyStr) -> int:
    """Return the length of the common prefix of two texts, or of bytes."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    return next(place for place in range(size) if one[place] != other[place])


def _measure_overlap_at_end(text: str, piece: str) -> int:
    """Return the number of characters at the end of the text that are the start of the piece."""
    longest = min(len(text), len(piece) - 1)
    return next((length for length in range(longest, 0, -1) if piece.startswith(text[-length:])), 0)


class _Restorer:
    """A restorer of the first and the last character of frames, for servers that change these characters."""

    def __init__(self, nonce: str) -> None:
        self.count = 0
        self._mark = BARE_MARK + nonce
        self._pending = ""
        self._before = ""  # the last characters of the text before

    def restore(self, text: str) -> str:
        """Return a chunk as originally written. Delay a part that may continue as a frame."""
        text = self._restore_frames(text)
        self._before = (self._before + text)[-_LONGEST_WRITTEN:]
        return text

    def _restore_frames(self, text: str) -> str:
        before = self._before
        if not self._pending and self._mark not in text and "]" not in text[-len(self._mark) :]:
            return text
        text, self._pending = self._pending + text, ""
        pieces, at = [], 0
        while (start := text.find(self._mark, at)) >= 0:
            body = start + len(self._mark)
            first = _find_escape_at_end(text[at:start] if at else before + text[:start])
            last, first = _WRITTEN.get(first, ""), first if text.endswith(first, at, start) else ""
            rest = _REST.match(text, body)
            if (before + text[:start]).rstrip("\r\n").endswith(ESCAPE):
                pieces.append(text[at:body])
                at = body
            elif rest and text.startswith(last, rest.end()):
                pieces.append(f"{text[at : start - len(first)]}{ESCAPE}{self._mark}{rest[0]}{END}")
                at = rest.end() + len(last)
                self.count += 1
            elif _may_continue(text[body:], last):
                return self._delay_rest(pieces, text, at, start - len(first))
            else:
                pieces.append(text[at:body])
                at = body
        mark_start = len(text) - _measure_overlap_at_end(text[at:], self._mark)
        first = _find_escape_at_end(text[at:mark_start] if at else before + text[:mark_start])
        is_likely = self.count or first or mark_start in {0, at} or text[mark_start - 1] in "\r\n"
        if mark_start > len(text) - (1 if is_likely else 2) or text.endswith(ESCAPE, at, mark_start):
            return "".join([*pieces, text[at:]])
        return self._delay_rest(
            pieces, text, at, mark_start - (len(first) if text.endswith(first, at, mark_start) else 0)
        )

    def _delay_rest(self, pieces: list[str], text: str, at: int, mark_start: int) -> str:
        self._pending = text[mark_start:]
        return "".join([*pieces, text[at:mark_start]])

    def end(self) -> str:
        """Return the delayed text, at the end of the input."""
        pending, self._pending = self._pending, ""
        return pending


def _find_escape_at_end(text: str) -> str:
    """Return the replacement of a frame's first character at the end of a text, or ""."""
    return next((each for each in _WRITTEN if text.endswith(each)), "")


def _may_continue(body: str, last: str) -> bool:
    """Return whether the text may be the start of a frame's line, after the nonce."""
    is_short = len(body) < _LONGEST and body.count("\n") <= _MOST_LINES
    prefix = _REST_PREFIX.match(body)
    return bool(is_short and prefix and last.startswith(body[prefix.end() :]))


@dataclass
class Splitter:
    """A splitter of a run's output into text and frames, each frame once, for any division into chunks.

    The text of a frame of the kind ``hide``, ``error`` or ``stderr`` is left out, since the frame shows the text;
    ``keeps_hidden`` is whether to return this text anyway, except for ``stderr``, which is another stream. ``damaged``
    counts damaged frames. ``key`` is the key of the run: without a valid signature, a frame that needs a signature
    becomes a frame of the kind ``unsigned``.
    """

    nonce: str
    keeps_hidden: bool = False
    damaged: int = 0
    key: bytes | None = field(default=None, repr=False)
    _hidden: _Hidden = field(default_factory=_Hidden)
    _pending: str = ""
    _ended_line: bool = False  # the last thing was a frame, whose newline may be next
    _restorer: _Restorer = field(init=False, repr=False)
    _pieces: dict[str, dict[int, str]] = field(default_factory=dict)
    _numbers: _FrameNumbers = field(default_factory=_FrameNumbers)

    def __post_init__(self) -> None:
        self._restorer = _Restorer(self.nonce)

    @property
    def restored(self) -> int:
        """How many frames came without their control characters."""
        return self._restorer.count

    def feed(self, text: str) -> list[str | Frame]:
        """Add a chunk and return the completed items, in order."""
        return self._feed_text(self._restorer.restore(text))

    def _feed_text(self, text: str) -> list[str | Frame]:
        if not self._pending and not self._ended_line and not self._hidden and ESCAPE not in text:
            return [text] if text else []
        items: list[str | Frame] = []
        text, self._pending = self._pending + text, ""
        at = failed = 0
        while start := _START.search(text, at):
            self._add_text(items, text[at : start.start()])
            end = text.find(END, start.end())
            if end < 0:
                at = self._delay_frame(items, text, start.start())
                break
            size = len(text)
            text, at = self._parse_frame(items, text, start.start(), end + 1, is_broken=failed == end + 1)
            failed = end + 1 if len(text) == size and at <= end else 0
        else:
            last = text.rfind(ESCAPE, at)
            if last >= 0 and _PREFIX.match(text, last):
                self._pending, text = text[last:], text[:last]
            self._add_text(items, text[at:])
        return items

    def _parse_frame(
        self, items: list[str | Frame], text: str, start: int, end: int, *, is_broken: bool
    ) -> tuple[str, int]:
        """Parse the frame that ends at ``end``; return the text and the position up to which the text is processed.

        A frame that starts within another frame, whose other half follows later, belongs to the other stream.
        ``is_broken`` is whether no start before this end belongs to a frame.
        """
        starts = [] if is_broken else [match.start() for match in _START.finditer(text, start, end)]
        for inner in reversed(starts[-_MOST_STARTS:]):
            line = _parse_line(text[inner:end], self.nonce) if end - inner <= _LONGEST else None
            if line is None:
                continue
            fields, other = line
            if inner == start and not _START.search(other):
                self._add_text(items, other)
                self._add_frame(items, fields)
                return text, end
            self._add_frame(items, fields)
            self._ended_line = False
            rest = text[end:] if fields[2].endswith("+") else re.sub(r"\A\r?\n", "", text[end:])
            return text[:inner] + other + rest, start
        following = _START.search(text, start + 1, end)
        until = following.start() if following else end
        broken = self._handle_broken_frame(text[start:until])
        self._add_text(items, broken)
        self._ended_line = not broken and until == end
        return text, until

    def end(self) -> list[str | Frame]:
        """Return the delayed items, at the end of the text."""
        items = self._feed_text(self._restorer.end())
        pending, self._pending = self._pending, ""
        self._add_text(items, self._handle_broken_frame(pending) if _START.match(pending) else pending)
        _append_text(items, self._hidden.end())
        self.damaged += len(self._pieces)
        self._pieces.clear()
        return items

    def _add_text(self, items: list[str | Frame], text: str) -> None:
        if not text:
            return
        if self._ended_line:
            self._ended_line = False
            text = re.sub(r"\A\r?\n", "", text)
        _append_text(items, self._hidden.remove_expected(text) if self._hidden else text)

    def _delay_frame(self, items: list[str | Frame], text: str, start: int) -> int:
        """Delay a frame that may continue; return the position up to which the text is processed."""
        if len(text) - start > _LONGEST or text.count("\n", start) > _MOST_LINES:
            self._add_text(items, self._handle_broken_frame(text[start:]))
        else:
            self._pending = text[start:]
        return len(text)

    def _handle_broken_frame(self, text: str) -> str:
        """Return the visible text of an incomplete frame: "" for a frame of this run without foreign text."""
        bare = _remove_line_breaks(text)
        if not bare[len(_MARK) :].startswith(self.nonce):
            return text
        self.damaged += 1
        return text if re.search(r"\s", bare) else ""

    def _add_frame(self, items: list[str | Frame], fields: list[str]) -> None:
        self._ended_line = not fields[2].endswith("+")
        try:
            frame = self._add_line(*fields[1:4])
        except (TypeError, ValueError, RecursionError, zlib.error):
            self.damaged += 1
            return
        if frame and (frame.kind == STDERR or (frame.kind in (HIDE, ERROR) and not self.keeps_hidden)):
            self._hidden.expect(str(frame.payload.get("text", "")))
        if frame and frame.kind != HIDE:
            items.append(frame)

    def _add_line(self, seq: str, part: str, data: str) -> Frame | None:
        """Add a line of a frame, and return the frame if no line is missing any more."""
        if seq in self._numbers:
            return None
        number, _, parts = part.removesuffix("+").partition("/")
        pieces = self._pieces.setdefault(seq, {})
        pieces[int(number)] = data
        if len(pieces) < int(parts):
            return None
        self._numbers.add(seq)
        packed = "".join(data for _, data in sorted(self._pieces.pop(seq).items()))
        content = a2b_base64(packed)
        kind, payload = unpack_json(content, MOST, _MOST_PARTS)
        if not isinstance(kind, str) or not isinstance(payload, dict):
            raise TypeError(packed)
        if self.key is not None and kind in KINDS and not _has_signature(self.key, seq, content):
            return Frame(UNSIGNED, {"kind": kind}, seq)
        return Frame(kind, payload, seq)


def _has_signature(key: bytes, seq: str, content: bytes) -> bool:
    return is_signed(key, content[-SIZE:], seq.encode(), content[:-SIZE])


def read_caught_error(frame: Frame) -> dict[str, Any] | None:
    """Return name, text and traceback of an error that didn't end the code, if the frame contains such an error."""
    error = frame.payload.get("error")
    lines = error.get("traceback") if isinstance(error, dict) else None
    return error if frame.kind == STDERR and isinstance(lines, list) and lines else None


def unpack_json(packed: bytes | bytearray, most: int, parts: int) -> Any:
    """Return the JSON in compressed bytes. Raises ValueError for too many bytes, parts between commas, or values."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, most)
    if not unpacker.eof:
        raise ValueError(f"the message has more than {most:,} bytes")
    if text.count(b",") > parts:
        raise ValueError(f"the message has more than {parts:,} parts")
    return load_encodable_json(text)


def _append_text(items: list[str | Frame], text: str) -> None:
    if text and items and isinstance(items[-1], str):
        items[-1] += text
    elif text:
        items.append(text)


def _parse_line(text: str, nonce: str) -> tuple[list[str], str] | None:
    """Return the fields of a frame's line and the other stream's text within; None if the line isn't from this run."""
    start = _START.match(text)
    body = text[start.end() if start else 0 : -1]
    fields = _remove_line_breaks(body).split(";")
    if (
        fields[0] == nonce
        and len(fields) == 5
        and crc32(";".join(fields[:4]).encode(errors="replace")) == _parse_checksum(fields[4])
    ):
        return fields, ""
    return _split_line(body, nonce)


def _parse_checksum(check: str) -> int:
    try:
        return int(check, 16)
    except ValueError:
        return -1


def _split_line(body: str, nonce: str) -> tuple[list[str], str] | None:
    """Return the fields of a line and the foreign text within: without that text, the checksum is right.

    The checksum of each start is compared with the checksum that each end requires before.
    """
    places = [place for place, sign in enumerate(body) if sign not in "\r\n"]
    signs = [body[place] for place in places]
    check = _parse_checksum("".join(signs[-8:]))
    if check < 0 or nonce == NO_NONCE or signs[-9:-8] != [";"] or not set(nonce) <= set(signs):
        return None
    line = [sign.encode(errors="replace") for sign in signs[:-9]]
    before = {0: 0}
    state = 0
    for at, sign in enumerate(line, 1):
        state = crc32(sign, state)
        before.setdefault(state, at)
    needed = check
    for at in range(len(line), 0, -1):
        first = before.get(needed, at)
        if first < at:
            fields = b"".join(line[:first] + line[at:]).decode().split(";")
            if fields[0] == nonce and len(fields) == 4:
                other = body[places[first] : places[at] if at < len(line) else places[-9]]
                return [*fields, ""], other
        for byte in reversed(line[at - 1]):
            needed = _compute_crc_before(needed, byte)
    return None


def _compute_crc_before(after: int, byte: int) -> int:
    """Return the CRC-32 before a byte was added."""
    table, by_top = _build_crc_tables()
    state = after ^ 0xFFFFFFFF
    index = by_top[state >> 24]
    return (((state ^ table[index]) << 8 & 0xFFFFFFFF) | (index ^ byte)) ^ 0xFFFFFFFF


@cache
def _build_crc_tables() -> tuple[list[int], dict[int, int]]:
    table = [crc32(bytes([index]), 0xFFFFFFFF) ^ 0xFFFFFFFF for index in range(256)]
    return table, {entry >> 24: index for index, entry in enumerate(table)}


def _remove_line_breaks(text: str) -> str:
    return text.replace("\n", "").replace("\r", "")


def read_nonce(metadata: Mapping[str, Any] | None) -> str | None:
    """Return the nonce of a run's frames from the metadata; None for a run without frames."""
    return (metadata or {}).get(FRAMES_KEY)


def split(
    text: str, nonce: str | None, *, keeps_hidden: bool = True, key: bytes | None = None
) -> tuple[str, list[Frame]]:
    """Return the text of a complete output without frames, and the frames; ``key`` is as for ``Splitter``."""
    if nonce is None:
        return text, []
    splitter = Splitter(nonce, keeps_hidden, key=key)
    items = [*splitter.feed(text), *splitter.end()]
    frames = [item for item in items if isinstance(item, Frame)]
    return "".join(item for item in items if isinstance(item, str)), frames


def format_items(items: Iterable[str | Frame]) -> str:
    """Return the items of a splitter as plain text."""
    return "".join(item if isinstance(item, str) else format_frame(item) for item in items)


def format_frame(frame: Frame) -> str:
    """Return the plain text of a frame that replaced text: an error, a bar, a line of stderr."""
    text = str(frame.payload.get("text", ""))
    if frame.kind == BAR:
        return f"\r\x1b[K{text}\n" if frame.payload.get("state") == "ended" else f"\r\x1b[K{text}"
    return text if frame.kind in {ERROR, STDERR} else ""


#: Types that never execute code. SVG is safe too if shown as an image.
_HARMLESS = frozenset({"text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
_SVG = "image/svg+xml"


def remove_trusted_types(frame: Frame) -> Frame:
    """Return a frame with text and pictures only, without types that a notebook would trust."""
    data = frame.payload.get("data")
    if not isinstance(data, dict) or data.keys() <= _HARMLESS:
        return frame
    safe = {kind: form for kind, form in data.items() if kind in _HARMLESS}
    if _SVG in data and not safe.keys() - {"text/plain"}:
        source = b64encode(str(data[_SVG]).encode(errors="replace")).decode()
        safe["text/html"] = f'<img alt="{escape(str(safe.get("text/plain", "")))}" src="data:{_SVG};base64,{source}">'
    return replace(frame, payload={**frame.payload, "data": safe, "metadata": {}})
