"""Frames: what a run says to the notebook in its log, beside the text.

A frame is one line or several, made by ``shipped/_lk_run.py``::

    ESC ] 7411 ; NONCE ; SEQ ; PART/PARTS ; BASE64 ; CRC BEL LF

Where the line goes on after it, a plus follows PARTS and no LF the BEL. A terminal shows nothing
of it. The nonce is the run's own, so that printed text cannot pass for a frame: what does not carry
it stays text. Newlines within count for nothing, as servers add some.
"""

from __future__ import annotations

import json
import re
import zlib
from binascii import Error as NotBase64
from binascii import a2b_base64, crc32
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ESCAPE, END = "\x1b", "\x07"
_MARK = "\x1b]7411;"
HIDE, ERROR, BAR = "hide", "error", "bar"

#: Kinds of what is shown beside the text, in the words of Jupyter's messages.
SHOWN = frozenset({"display", "update", "clear"})

#: Key in a run's metadata that holds the nonce of its frames.
FRAMES_KEY = "lk_frames"

#: No frame can carry it.
NO_NONCE = ";"

#: Characters after which text is shown again, whatever hides it: what ends the hiding may have been lost.
_MOST_HIDDEN = 1 << 16

#: Characters after which a frame that has begun is given up: it never ended.
_LONGEST = 1 << 14

#: Frames that may come before one that is missing.
_GAP = 10_000

_NEWLINES = r"[\r\n]*"
_START = re.compile(_NEWLINES.join(map(re.escape, _MARK)))
_BEGUN = re.compile(
    "".join(f"{re.escape(sign)}(?:{_NEWLINES}" for sign in _MARK[:-1]) + ")?" * (len(_MARK) - 1) + rf"{_NEWLINES}\Z"
)


@dataclass(frozen=True)
class Frame:
    """Something that a run said; ``seq`` tells it from every other of the run."""

    kind: str
    payload: dict[str, Any]
    seq: str


class _Seen:
    """Which frames have been seen. Each process numbers its own, so all before the first gap are one number."""

    def __init__(self) -> None:
        self._all_to: dict[str, int] = {}
        self._beyond: dict[str, set[int]] = {}

    def __contains__(self, seq: str) -> bool:
        process, number = _numbered(seq)
        return number <= self._all_to.get(process, 0) or number in self._beyond.get(process, ())

    def add(self, seq: str) -> None:
        """Take note of a frame."""
        process, number = _numbered(seq)
        beyond = self._beyond.setdefault(process, set())
        beyond.add(number)
        all_to = self._all_to.get(process, 0)
        if len(beyond) > _GAP:  # what is missing does not come any more
            all_to = min(beyond) - 1
        while all_to + 1 in beyond:
            all_to += 1
            beyond.discard(all_to)
        self._all_to[process] = all_to


def _numbered(seq: str) -> tuple[str, int]:
    process, _, number = seq.rpartition("-")
    return process, int(number)


@dataclass
class Splitter:
    """Splits what a run wrote into text and frames, each frame once, however the text is cut.

    Text between frames of the kind ``hide`` stands for what other frames show; ``keeps_hidden`` is
    whether it is given all the same. ``damaged`` counts the frames that came broken.
    """

    nonce: str
    keeps_hidden: bool = False
    damaged: int = 0
    _hidden: int = 0  # characters that may yet be hidden
    _held: str = ""
    _ended_line: bool = False  # the last thing was a frame, whose newline may be next
    _pieces: dict[str, dict[int, str]] = field(default_factory=dict)
    _seen: _Seen = field(default_factory=_Seen)

    def feed(self, text: str) -> list[str | Frame]:
        """Take a chunk and return what it completes, in order."""
        if not self._held and not self._ended_line and not self._hidden and ESCAPE not in text:
            return [text] if text else []
        items: list[str | Frame] = []
        text, self._held = self._held + text, ""
        at = 0
        while start := _START.search(text, at):
            self._add(items, text[at : start.start()])
            end, again = text.find(END, start.end()), text.find(ESCAPE, start.end())
            if again >= 0 and (again < end or end < 0):
                self._add(items, self._broken(text[start.start() : again]))
                at = again
            elif end < 0:
                at = self._unfinished(items, text, start.start())
                break
            else:
                self._take(items, text[start.start() : end + 1], text[start.end() : end])
                at = end + 1
        else:
            last = text.rfind(ESCAPE, at)
            if last >= 0 and _BEGUN.match(text, last):
                self._held, text = text[last:], text[:last]
            self._add(items, text[at:])
        return items

    def end(self) -> list[str | Frame]:
        """Return what was held back, as the text is at its end."""
        items: list[str | Frame] = []
        held, self._held = self._held, ""
        self._add(items, self._broken(held) if _START.match(held) else held)
        self.damaged += len(self._pieces)
        self._pieces.clear()
        return items

    def _add(self, items: list[str | Frame], text: str) -> None:
        if not text:
            return
        if self._ended_line:
            self._ended_line = False
            text = re.sub(r"\A\r?\n", "", text)
        if self._hidden and not self.keeps_hidden:
            hidden, self._hidden = self._hidden, max(0, self._hidden - len(text))
            text = text[hidden:]
        if text and items and isinstance(items[-1], str):
            items[-1] += text
        elif text:
            items.append(text)

    def _unfinished(self, items: list[str | Frame], text: str, start: int) -> int:
        """Hold a frame that may go on; return how far the text is done with."""
        if len(text) - start > _LONGEST:
            self._add(items, self._broken(text[start:]))
        else:
            self._held = text[start:]
        return len(text)

    def _broken(self, text: str) -> str:
        """Return what is to be shown of a frame that did not end: nothing, if it is one of ours."""
        if not _bare(text)[len(_MARK) :].startswith(self.nonce):
            return text
        self.damaged += 1
        return ""

    def _take(self, items: list[str | Frame], whole: str, body: str) -> None:
        fields = _bare(body).split(";")
        if fields[0] != self.nonce:
            self._add(items, whole)
            return
        self._ended_line = not (len(fields) > 2 and fields[2].endswith("+"))
        try:
            found = self._completed(*fields[1:])
        except (TypeError, ValueError, NotBase64, zlib.error):
            self.damaged += 1
            return
        if found and found.kind == HIDE:
            self._hidden = _MOST_HIDDEN if found.payload.get("on") else 0
        elif found:
            items.append(found)

    def _completed(self, seq: str, part: str, data: str, check: str) -> Frame | None:
        """Take one line of a frame, and return the frame if it is the last that was missing."""
        if int(check, 16) != crc32(f"{self.nonce};{seq};{part};{data}".encode()):
            raise ValueError(check)
        if seq in self._seen:
            return None
        number, _, parts = part.removesuffix("+").partition("/")
        pieces = self._pieces.setdefault(seq, {})
        pieces[int(number)] = data
        if len(pieces) < int(parts):
            return None
        self._seen.add(seq)
        packed = "".join(data for _, data in sorted(self._pieces.pop(seq).items()))
        kind, payload = json.loads(zlib.decompress(a2b_base64(packed)))
        return Frame(kind, payload, seq)


def _bare(text: str) -> str:
    return text.replace("\n", "").replace("\r", "")


def nonce_in(metadata: Mapping[str, Any] | None) -> str | None:
    """Return what the frames of a run with this metadata carry; None when it makes none."""
    return (metadata or {}).get(FRAMES_KEY)


def split(text: str, nonce: str | None, *, keeps_hidden: bool = True) -> tuple[str, list[Frame]]:
    """Return the text of a whole output without its frames, and the frames."""
    if nonce is None:
        return text, []
    splitter = Splitter(nonce, keeps_hidden)
    items = [*splitter.feed(text), *splitter.end()]
    frames = [item for item in items if isinstance(item, Frame)]
    return "".join(item for item in items if isinstance(item, str)), frames


def text_of(items: Iterable[str | Frame]) -> str:
    """Return what a splitter gave as those see it who show only text."""
    return "".join(item if isinstance(item, str) else words_of(item) for item in items)


def words_of(frame: Frame) -> str:
    """Return what a frame says in plain text, where that stands in for text that was hidden: an error, a bar."""
    text = str(frame.payload.get("text", ""))
    if frame.kind == BAR:
        return f"\r\x1b[K{text}\n" if frame.payload.get("state") == "ended" else f"\r\x1b[K{text}"
    return text if frame.kind == ERROR else ""
