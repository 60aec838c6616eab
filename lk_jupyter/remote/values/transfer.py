"""Memory for received values, and transfers by signed links: to and from the bucket, without its keys.

A link is a secret: no message contains a link.
"""

from __future__ import annotations

import mmap
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from urllib.parse import urlsplit

from .envelope import Failed, byte_view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

#: Bytes of one download request, concurrent requests, and attempts for each.
PART = 32 * 1024 * 1024
AT_ONCE = 4
TRIES = 4

#: Slots that are uploaded concurrently.
SLOTS_AT_ONCE = 3

#: Memory of at least this size is mapped: the system provides pages on first use.
LARGE = 1024 * 1024

_PATIENCE = 300  # seconds without a byte
_HUGE = getattr(mmap, "MADV_HUGEPAGE", None)


def allocate_memory(size: int) -> bytearray | mmap.mmap:
    """Return writable memory of this number of bytes. Raises MemoryError with the missing bytes."""
    if size < LARGE:
        return bytearray(size)
    free = free_memory()
    if free is not None and size > free:
        raise MemoryError("{:,} bytes are needed and {:,} are free".format(size, free))
    memory = mmap.mmap(-1, size)
    if _HUGE is not None and hasattr(memory, "madvise"):
        try:
            memory.madvise(_HUGE)
        except OSError:
            pass
    return memory


def download_parts(jobs: Iterable[tuple[str, int, Any]]) -> None:
    """Fill memory: for each (link, start, memory), the bytes of an object from ``start`` on. Raises Failed."""
    parts = [
        (link, start + at, memoryview(memory)[at : at + PART])
        for link, start, memory in jobs
        for at in range(0, len(memory), PART)
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda part: _call_with_retries(_download_part, *part), parts))


def upload_object(link: str, pieces: Sequence[Any]) -> None:
    """Store pieces of bytes, which can be iterated several times, as one object. Raises Failed."""
    size = sum(memoryview(piece).nbytes for piece in pieces)
    _call_with_retries(upload_once, link, pieces, size)


def _download_part(link: str, start: int, part: memoryview) -> None:
    request = urllib.request.Request(link, headers={"Range": "bytes={}-{}".format(start, start + len(part) - 1)})
    with link_opener(link).open(request, timeout=_PATIENCE) as answer:
        if answer.status != 206:
            raise Failed("the bucket can't return parts of objects")
        got = 0
        while got < len(part):
            more = answer.readinto(part[got:])
            if not more:
                raise OSError("the connection ended early")
            got += more


def upload_once(link: str, pieces: Sequence[Any], size: int, patience: float = _PATIENCE) -> None:
    """Store pieces of ``size`` bytes as one object, without another attempt. Raises OSError."""
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(link, data=_Again(pieces), headers=headers, method="PUT")
    with link_opener(link).open(request, timeout=patience) as answer:
        answer.read()


class _Again:
    """Pieces for urllib, which requires an iterable that isn't a list of bytes."""

    def __init__(self, pieces: Sequence[Any]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pieces)


def link_opener(link: str) -> urllib.request.OpenerDirector:
    """Return the opener of a link; links to this machine bypass the proxy of the environment."""
    inside = urlsplit(link).hostname in ("127.0.0.1", "localhost", "::1")
    return urllib.request.build_opener(urllib.request.ProxyHandler({})) if inside else urllib.request.build_opener()


def _call_with_retries(act: Callable[..., Any], link: str, *rest: Any) -> Any:
    for attempt in range(1, TRIES + 1):
        try:
            return act(link, *rest)
        except urllib.error.HTTPError as refusal:
            reason = _explain_refusal(refusal.code)
            refusal.close()
            if refusal.code < 500:
                break
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt < TRIES:
            time.sleep(0.5 * 2**attempt)
    raise Failed(reason.replace(link, "the link"))


def _explain_refusal(status: int) -> str:
    if status in (400, 401, 403):
        return "the links to the bucket have expired"
    return (
        "the object is no longer in the bucket" if status == 404 else "the bucket answered with HTTP {}".format(status)
    )


def free_memory() -> int | None:
    """Return the bytes of usable memory; None if the system doesn't report the number."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


class Slots:
    """Objects of given sizes that are filled one after another, and uploaded meanwhile."""

    def __init__(self, links: Iterable[str], sizes: Iterable[int]) -> None:
        self.at = 0
        self._slots = list(zip(links, sizes))
        self._pool = ThreadPoolExecutor(SLOTS_AT_ONCE)
        self._free = Semaphore(SLOTS_AT_ONCE)
        self._uploads: list[Any] = []
        self._pieces: list[memoryview] = []
        self._room = 0

    def write(self, piece: Any) -> None:
        """Add bytes, and start to send each slot that is full."""
        piece = byte_view(piece)
        self.at += piece.nbytes
        while piece.nbytes:
            if not self._room:
                self._begin_slot()
            part = piece[: self._room]
            self._pieces.append(part)
            self._room -= part.nbytes
            piece = piece[part.nbytes :]

    def close(self) -> None:
        """Send the rest, and wait until all is sent. Raises Failed."""
        self._end_slot()
        self._pool.shutdown()
        for upload in self._uploads:
            upload.result()

    def _begin_slot(self) -> None:
        self._end_slot()
        if not self._slots:
            raise Failed("the total size is above {:,} bytes".format(self.at))
        self._link, self._room = self._slots.pop(0)

    def _end_slot(self) -> None:
        if self._pieces:
            self._free.acquire()
            self._uploads.append(self._pool.submit(self._send_slot, self._link, self._pieces))
            self._pieces = []

    def _send_slot(self, link: str, pieces: list[memoryview]) -> None:
        try:
            upload_object(link, pieces)
        finally:
            self._free.release()
