"""An object as a file of Python: read by range, or written piece by piece."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import StorageError
from lk_jupyter.storage._parts import AT_ONCE, MIB, ranges
from lk_jupyter.storage._work import Halt, each
from lk_jupyter.storage.objects import ObjectInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Bytes that are read ahead: not at first, and twice as many each time that reading just goes on.
_FIRST, _MOST = MIB // 4, 16 * MIB

#: Reads without a gap that make it likely that the next one has none.
_IN_A_ROW = 2

#: Bytes that small reads share.
_BUFFER = 1 << 16

#: Bytes from which on a read is made of several requests at once, and the least of each: more of them cost more
#: than they save.
_WIDE, _STEP = 8 * MIB, 4 * MIB


class ObjectReader(io.RawIOBase):
    """Reads an object by range: what is asked for and, where it is read on and on, a bit more."""

    def __init__(self, info: ObjectInfo, read: Callable[[ObjectInfo, int, int], memoryview]) -> None:
        self.info = info
        self.name = info.key
        self._read = read
        self._position = 0
        self._held = memoryview(b"")
        self._held_from = 0
        self._ahead = 0
        self._in_a_row = 0

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read from anywhere: yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read from elsewhere next; costs nothing."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.info.size}[whence]
        if start + offset < 0:
            raise ValueError(f"There is nothing before the begin ({start + offset}).")
        self._position = start + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Return as many bytes, fewer at the end; all that are left by default."""
        end = self.info.size if size is None or size < 0 else min(self._position + size, self.info.size)
        content = self.range(self._position, end)
        self._position += len(content)
        return bytes(content)

    def readall(self) -> bytes:
        """Return all that is left."""
        return self.read()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer as far as the object goes."""
        view = memoryview(buffer).cast("B")
        content = self.range(self._position, min(self._position + len(view), self.info.size))
        view[: len(content)] = content
        self._position += len(content)
        return len(content)

    def range(self, start: int, end: int) -> memoryview:
        """Return a range, from what is held where that is enough."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if start >= end:
            return memoryview(b"")
        held_to = self._held_from + len(self._held)
        if self._held_from <= start and end <= held_to:
            return self._held[start - self._held_from : end - self._held_from]
        self._in_a_row = self._in_a_row + 1 if self._held_from < start <= held_to else 0
        self._ahead = min(_MOST, max(_FIRST, self._ahead * 2)) if self._in_a_row >= _IN_A_ROW else 0
        kept = self._held[start - self._held_from :] if self._held_from <= start < held_to else memoryview(b"")
        fresh = self._fetch(start + len(kept), min(self.info.size, max(end, start + len(kept) + self._ahead)))
        self._held = memoryview(bytes(kept) + bytes(fresh)) if len(kept) else fresh
        self._held_from = start
        return self._held[: end - start]

    def _fetch(self, start: int, end: int) -> memoryview:
        if end - start < _WIDE:
            return self._read(self.info, start, end)
        content, step = bytearray(end - start), min(8 * MIB, max(_STEP, -(-(end - start) // AT_ONCE)))

        def take(where: tuple[int, int]) -> None:
            content[where[0] : where[1]] = self._read(self.info, start + where[0], start + where[1])

        each(ranges(end - start, step), take, AT_ONCE, halt=Halt())
        return memoryview(content)


class ObjectFile(io.BufferedReader):
    """An object open for reading, line by line too."""

    def __init__(self, reader: ObjectReader) -> None:
        super().__init__(reader, _BUFFER)
        self._reader = reader
        self.info = reader.info
        self.size = reader.info.size
        self.path = reader.info.key

    def read(self, size: int | None = -1, /) -> bytes:
        """Return as many bytes, fewer at the end; many of them by one request, and not one more."""
        if size is not None and 0 <= size < _BUFFER:
            return super().read(size)
        start = self.tell()
        self._reader.seek(start)
        content = self._reader.read(size)
        self.seek(start + len(content))
        return content


class ObjectWriter(io.RawIOBase):
    """Writes an object: it is there, whole, when the file is closed, and not at all when the block fails."""

    def __init__(self, key: str, put: Callable[[Iterator[bytes], str], object]) -> None:
        self.name = key
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._room = threading.Semaphore(AT_ONCE)
        self._error: BaseException | None = None
        self._position = 0
        self._given_up = False
        self._thread = threading.Thread(target=self._send, args=(put,), name="lk-write", daemon=True)
        self._thread.start()

    def writable(self) -> bool:
        """Whether it can be written: yes."""
        return True

    def tell(self) -> int:
        """How many bytes were written."""
        return self._position

    def write(self, content: Any, /) -> int:
        """Take some bytes; they travel meanwhile."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        self._check()
        for start, end in ranges(memoryview(content).nbytes, 4 * MIB):
            while not self._room.acquire(timeout=0.1):
                self._check()
            self._pieces.put(bytes(memoryview(content).cast("B")[start:end]))
        self._position += memoryview(content).nbytes
        return memoryview(content).nbytes

    def close(self) -> None:
        """Store the object; raises what went wrong on the way."""
        if self.closed:
            return
        super().close()
        self._pieces.put(None)
        while self._thread.is_alive():
            self._thread.join(0.1)
        if not self._given_up:
            self._check()

    def discard(self) -> None:
        """Store nothing."""
        self._given_up = True
        self.close()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _check(self) -> None:
        if self._error:
            raise self._error

    def _send(self, put: Callable[[Iterator[bytes], str], object]) -> None:
        try:
            put(self._taken(), self.name)
        except BaseException as error:  # noqa: BLE001 (raised again where the file is written or closed)
            self._error = error

    def _taken(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            self._room.release()
            yield piece
        if self._given_up:
            raise StorageError("The file was not written to its end, so nothing was stored.")
