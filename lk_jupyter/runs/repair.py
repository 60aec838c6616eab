"""Repair the log of a run whose connection broke, with the output in the cloud's record.

A server that doesn't replay omits the output during the break. If the connection broke within a line, the parts of
two lines become a torn line. Lines are compared without colors and without their ends.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from lk_jupyter.protocol.frames import measure_common_prefix

#: Torn lines that are recognized by their parts: their number, the lines that are compared with each, and their length.
_MOST_TORN, _MOST_LACKING, _LONGEST_TORN = 20, 200, 1_000

_COLOR = re.compile(rb"\x1b\[[0-9;:]*m")


@dataclass(frozen=True)
class Repair:
    """The true text of a log from the position ``start`` on, and the ``lines`` that the log lacked.

    ``is_torn`` is whether the log had torn or repeated lines.
    """

    start: int
    text: bytes
    lines: tuple[bytes, ...]
    is_torn: bool


def repair_log(log: bytes, record: bytes, seams: Sequence[int], *, ordered: bool) -> Repair | None:
    """Compare a log with a record; return the repair, or None if the log has lines that the record can't explain.

    Args:
        log: The text of the log.
        record: The output in the record. The last part of a long output repairs the log from its first line on.
        seams: Positions in the log, ascending, where a connection continued, and lines may be missing.
        ordered: Whether the record has the order in which the run printed.
    """
    lines = log.removesuffix(b"\n").split(b"\n")
    starts = [0, *accumulate(len(line) + 1 for line in lines)]
    texts = [line for line in record.split(b"\n") if line.strip()]
    torn = {max(0, bisect_left(starts, seam + 1) - 1) for seam in seams}
    covered = _find_covered_part(lines, texts, torn)
    if covered is None and ordered and (covered := _find_covered_part(lines, texts[1:], torn)):  # from within a line on
        if not (covered.start and line_key(lines[covered.start - 1]).endswith(line_key(texts[0]))):
            return None
        texts = texts[1:]
    if covered is None or (covered.start and not ordered):
        return None
    first_line = log[: min(seams, default=0)].partition(b"\n")[0]
    is_first = texts[0].startswith(first_line) and len(record) >= len(log)
    if ordered and not covered.start and 0 in torn and not is_first:  # the record may lack the first line
        return None
    merged, lacking = _merge_lines([line for at, line in covered.confirmed if at >= covered.start], texts)
    if covered.start:  # without blank lines and part of a line before it
        record = record[(b"\n" + record).index(b"\n" + texts[0]) :]
    text = record if ordered else b"".join(line + b"\n" for line in merged)
    return Repair(starts[covered.start], text, tuple(lacking), is_torn=covered.is_torn)


@dataclass(frozen=True)
class _Part:
    """The lines of a log from line ``start`` on that a record explains: ``confirmed`` are in the record as well."""

    start: int
    confirmed: Sequence[tuple[int, bytes]]
    is_torn: bool


def _find_covered_part(lines: Sequence[bytes], texts: Sequence[bytes], torn: set[int]) -> _Part | None:
    """Return the part of the log that the record covers; None if the record doesn't fit.

    The log is read from its end: a record may have only the last part of a long output. Only lines at a seam, lines
    that consist of parts of lacking lines, and repeated lines may be absent from the record.
    """
    keys = list(map(line_key, lines))
    if not texts:
        return None
    first, unused = line_key(texts[0]), Counter(map(line_key, texts))
    lacking = [key for key in unused - Counter(keys) if len(key) <= _LONGEST_TORN][:_MOST_LACKING]
    begins_alike = next(filter(None, keys), b"") == first
    confirmed: list[tuple[int, bytes]] = []
    start, earliest, fragments = None, len(lines), 0
    absent: list[int] = []
    for at in reversed(range(len(lines))):
        key = keys[at]
        if not key or unused[key] > 0:
            confirmed.append((at, lines[at]))
            earliest = at if key else earliest
            unused[key] -= bool(key)
        elif at in torn or key in unused:
            absent.append(at)
        elif begins_alike and fragments < min(len(lacking), _MOST_TORN) and _is_fragment(key, lacking):
            fragments += 1
            absent.append(at)
        else:
            break
        start = at if key == first else start
    else:
        leading = [at for at in absent if at < earliest]
        start = earliest if any(keys[at] in unused and at not in torn for at in leading) else 0
    if start is None:
        return None
    return _Part(start, confirmed[::-1], is_torn=any(at >= start for at in absent))


def _is_fragment(line: bytes, lines: Sequence[bytes]) -> bool:
    """Return whether a line consists of the start of a line in ``lines`` and the end of a line in ``lines``."""
    begins = max(measure_common_prefix(line, each) for each in lines)
    ends = max(measure_common_prefix(line[::-1], each[::-1]) for each in lines)
    return begins + ends >= len(line)


def _merge_lines(confirmed: Sequence[bytes], texts: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Insert the lines that ``confirmed`` lacks, each after its predecessor; return all lines, and the new lines."""
    places: dict[bytes, list[int]] = defaultdict(list)
    for at, line in enumerate(confirmed):
        places[line_key(line)].append(at)
    lacking = Counter(map(line_key, texts)) - Counter(map(line_key, confirmed))
    inserted: dict[int, list[bytes]] = defaultdict(list)
    new: list[bytes] = []
    waiting: list[bytes] = []  # lacking lines whose next line is not reached yet
    position = 0
    for line in texts:
        key = line_key(line)
        later = places[key][bisect_left(places[key], position) :][:1]
        if lacking[key] and not later:
            lacking[key] -= 1
            waiting.append(line)
        elif later or places[key]:
            next_place = (later or places[key])[0]  # an earlier place: another stream starts, or the order differs
            inserted[position if later else next_place] += waiting
            new += waiting
            waiting, position = [], next_place + 1
    inserted[position] += waiting
    new += waiting
    rest = list(lacking.elements())
    merged = [line for at in range(len(confirmed) + 1) for line in (*inserted[at], *confirmed[at : at + 1])]
    return [*merged, *rest], [*new, *rest]


def line_key(line: bytes) -> bytes:
    """Return the key by which lines are compared: servers and readers remove colors and ends."""
    return _COLOR.sub(b"", line).rstrip(b"\r\n") if line.strip() else b""
