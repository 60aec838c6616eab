"""Split objects: parts of equal size, ranges of bytes, regrouped pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MIB = 1024 * 1024

#: Bytes of a part, and the number of parts that are sent in parallel.
PART = 8 * MIB
AT_ONCE = 8

#: Parallel parts of an upload to a server on this machine: more would only use the server's cores.
LOCAL_PARALLEL = 4

#: Small files that are sent in parallel.
FILES_AT_ONCE = 16

#: The maximum number of parts of an object in S3.
MOST_PARTS = 10_000


def part_size(size: int) -> int:
    """Return the part size of an object, in bytes: PART, or more if MOST_PARTS such parts are too few."""
    least = -(-size // MOST_PARTS)
    return max(PART, -(-least // MIB) * MIB)


def part_ranges(size: int, part: int) -> list[tuple[int, int]]:
    """Return start and end of each part, in bytes; an empty part for an empty object."""
    return [(start, min(start + part, size)) for start in range(0, size, part)] or [(0, 0)]


def regroup_pieces(pieces: Iterable[bytes], part: int) -> Iterator[bytes]:
    """Regroup pieces into parts of equal size; the last part is shorter, and at least one part is returned."""
    buffered: list[bytes] = []
    space = part
    has_output = False
    for piece in pieces:
        rest = memoryview(piece).cast("B")
        while rest.nbytes >= space:
            yield b"".join([*buffered, rest[:space]])
            rest, buffered, space, has_output = rest[space:], [], part, True
        if rest.nbytes:
            buffered.append(bytes(rest))  # the caller may reuse the memory of its piece
            space -= rest.nbytes
    if buffered or not has_output:
        yield b"".join(buffered)
