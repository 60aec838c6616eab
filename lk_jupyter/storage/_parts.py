"""How objects are cut: parts of one size, ranges of bytes, pieces regrouped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MIB = 1024 * 1024

#: Bytes of one part, and how many parts travel at once.
PART = 8 * MIB
AT_ONCE = 8

#: Parts that travel up at once to a server on this machine: more of them only take cores from it.
LOCAL_PARALLEL = 4

#: Small files that travel at once.
FILES_AT_ONCE = 16

#: S3 takes no more parts for one object.
MOST_PARTS = 10_000


def part_size(size: int) -> int:
    """Return the bytes of one part of an object: PART, more where there would be too many."""
    least = -(-size // MOST_PARTS)
    return max(PART, -(-least // MIB) * MIB)


def ranges(size: int, part: int) -> list[tuple[int, int]]:
    """Return where each part begins and ends; one part for nothing at all."""
    return [(start, min(start + part, size)) for start in range(0, size, part)] or [(0, 0)]


def regrouped(pieces: Iterable[bytes], part: int) -> Iterator[bytes]:
    """Make parts of one size out of pieces of any; the last is shorter, and there is always one."""
    buffer = bytearray()
    has_output = False
    for piece in pieces:
        buffer += piece
        while len(buffer) > part:
            yield bytes(buffer[:part])
            del buffer[:part]
            has_output = True
    if buffer or not has_output:
        yield bytes(buffer)
