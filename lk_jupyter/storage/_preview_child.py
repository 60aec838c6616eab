"""Make previews in a child process: request ranges of a file from the parent, and return text.

The child executes nothing from the file, and the parent trusts nothing from the child.
"""

from __future__ import annotations

import io
import json
import os
import re
import select
import struct
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lk_jupyter.errors import LkError
from lk_jupyter.storage._preview_readers import import_library, preview_facts, read_preview
from lk_jupyter.storage.objects import ObjectInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

#: Bytes that a preview may use in addition to its libraries, and seconds of work.
MEMORY, SECONDS = 250_000_000, 5

#: Seconds after which a child without work ends.
IDLE_SECONDS = 300

#: The most bytes of a range of the file.
MOST_RANGE = 16_000_000

_SIZE = struct.Struct("!cI")

#: How libraries report memory that they didn't get.
_NO_MEMORY = re.compile(r"[Mm]alloc|realloc|[Uu]nable to allocate|[Oo]ut of memory")


class RangeReader(io.RawIOBase):
    """A file whose bytes the parent process sends, range by range."""

    def __init__(self, size: int, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._size, self._position = size, 0
        self._requests, self._answers = requests, answers

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position of the next read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position of the next read."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("the library seeks a position before the start of the file")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as the next range goes."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position, MOST_RANGE))
        if not count:
            return 0
        write_message(self._requests, b"r", struct.pack("!QI", self._position, count))
        message = read_message(self._answers, MOST_RANGE)
        if message is None:
            raise EOFError
        content = message[1][:count]
        view[: len(content)] = content
        self._position += len(content)
        return len(content)


def main() -> None:
    """Answer requests for previews until none arrives for IDLE_SECONDS."""
    answers = os.fdopen(os.dup(0), "rb", buffering=0)
    requests = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # text that a library prints isn't a message
        os.dup2(nothing, stream)
    reader = io.BufferedReader(answers)
    while _wait_for_request(answers) and (message := read_message(reader, MOST_RANGE)):
        key, size, modified = json.loads(message[1])
        info = ObjectInfo(key, size, datetime.fromisoformat(modified) if modified else None)
        with suppress(LkError):
            import_library(key)
        write_message(requests, b"s", b"")
        _set_limits()
        file = io.BufferedReader(RangeReader(size, requests, reader), 1 << 16)
        write_message(requests, b"v", json.dumps(_build_preview_result(info, file)).encode())


def _build_preview_result(info: ObjectInfo, file: Any) -> dict[str, Any]:
    try:
        return preview_facts(read_preview(info, file))
    except LkError as problem:
        return {"problem": str(problem)}
    except MemoryError:
        return {"failure": _explain_memory_failure()}
    except EOFError:
        raise
    except Exception as error:  # noqa: BLE001 (each library has its own)
        words = " ".join(str(error).split())
        return (
            {"failure": _explain_memory_failure()}
            if _NO_MEMORY.search(words)
            else {"broken": words or type(error).__name__}
        )


def _explain_memory_failure() -> str:
    return f"it needs more than {MEMORY // 1_000_000} MB of memory"


def _wait_for_request(answers: IO[bytes]) -> bool:
    if sys.platform == "win32":  # where select takes sockets only
        return True
    return bool(select.select([answers], [], [], IDLE_SECONDS)[0])


def _set_limits() -> None:
    """Limit the memory and the CPU time that this process may use from now on, where the system can."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + SECONDS + 1
    limits = [(resource.RLIMIT_CORE, 0), (resource.RLIMIT_CPU, seconds)]
    with suppress(OSError):
        data = re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
        limits.append((resource.RLIMIT_DATA, int(data[1]) * 1024 + MEMORY)) if data else None
    for kind, limit in limits:
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (limit, resource.getrlimit(kind)[1]))


def read_message(stream: IO[bytes], most: int) -> tuple[bytes, bytes] | None:
    """Return the kind and the content of the next message, or None at the end."""
    head = stream.read(_SIZE.size)
    if len(head) < _SIZE.size:
        return None
    kind, size = _SIZE.unpack(head)
    content = stream.read(size) if size <= most else b""
    return (kind, content) if len(content) == size else None


def write_message(stream: IO[bytes], kind: bytes, content: bytes) -> None:
    """Write a message."""
    stream.write(_SIZE.pack(kind, len(content)) + content)
    stream.flush()


if __name__ == "__main__":
    main()
