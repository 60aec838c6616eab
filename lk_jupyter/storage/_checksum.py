"""Compare files with objects by the ETag, S3's checksum of an object's content."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from lk_jupyter.storage._multipart import multipart_etag
from lk_jupyter.storage._parts import AT_ONCE, MIB, part_ranges, part_size
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage.objects import ObjectInfo

_PLAIN = re.compile(r"[0-9a-f]{32}")
_IN_PARTS = re.compile(r"[0-9a-f]{32}-(\d+)")

#: Part sizes of other programs, in bytes. Several of the larger sizes can give the same number of parts, so only the
#: usual sizes show that the content differs.
_USUAL_PARTS = (8 * MIB, 5 * MIB)
_LARGER_PARTS = (50 * MIB, 64 * MIB, 32 * MIB, 16 * MIB)


def hash_content(content: bytes | bytearray | memoryview) -> str:
    """Return the name of some content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def is_digest(etag: str) -> bool:
    """Return whether an ETag can be the MD5 hash of the content; other ETags prove nothing about the content."""
    return bool(_PLAIN.fullmatch(etag))


def file_matches_object(path: Path, info: ObjectInfo) -> bool:
    """Return whether a file certainly has the content of the object."""
    return path.stat().st_size == info.size and bool(file_matches_etag(path, info.etag))


def file_matches_etag(path: Path, etag: str) -> bool | None:
    """Return whether a file has the content of an ETag; None if the ETag can't be computed from the file."""
    size = path.stat().st_size
    if _PLAIN.fullmatch(etag):
        return _compute_file_digest(path) == etag
    match = _IN_PARTS.fullmatch(etag)
    count = int(match[1]) if match else 0
    usual_sizes = (part_size(size), *_USUAL_PARTS)
    sizes = [part for part in dict.fromkeys((*usual_sizes, *_LARGER_PARTS)) if len(part_ranges(size, part)) == count]
    if any(_compute_digest_in_parts(path, size, part) == etag for part in sizes):
        return True
    return None if set(usual_sizes).isdisjoint(sizes) else False


def _compute_file_digest(path: Path) -> str:
    digest_of_file = hashlib.md5(usedforsecurity=False)
    with path.open("rb", buffering=0) as file:
        while piece := file.read(MIB):
            digest_of_file.update(piece)
    return digest_of_file.hexdigest()


def _compute_digest_in_parts(path: Path, size: int, part: int) -> str:
    digests: dict[int, str] = {}

    def take(where: tuple[int, int]) -> None:
        digests[where[0]] = hash_content(read_range(path, *where))

    call_for_each(part_ranges(size, part), take, AT_ONCE, halt=CancelToken())
    return multipart_etag([digests[start] for start in sorted(digests)])


def read_range(path: Path, start: int, end: int) -> bytes:
    """Return a range of a file, shortened at the end of the file; the bytes are copied only once."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        content = file.read(end - start)
        while len(content) < end - start and (piece := file.read(end - start - len(content))):
            content += piece
        return content
