"""An object as a file of Python: read by range, or written piece by piece."""

from __future__ import annotations

import io
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from lk_jupyter._threads import run_before_exit
from lk_jupyter.errors import StorageError
from lk_jupyter.storage._parts import AT_ONCE, MIB, part_ranges
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage.objects import ObjectInfo

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Bytes to read ahead: none at first, then doubled with each read that continues the last.
_FIRST, _MOST = MIB // 4, 16 * MIB

#: Number of consecutive reads after which a consecutive next read is likely.
_IN_A_ROW = 2

#: Bytes that small reads share.
_BUFFER = 1 << 16

#: Bytes from which a read is split into parallel requests, and the minimum of each: smaller requests cost more than
#: they save.
_WIDE, _STEP = 8 * MIB, 4 * MIB

#: Bytes that are buffered before they are sent.
_PIECE = 4 * MIB


class ObjectReader(io.RawIOBase):
    """A reader of an object by ranges: the requested range and, after consecutive reads, some bytes ahead."""

    def __init__(self, info: ObjectInfo, read: Callable[[ObjectInfo, int, int], memoryview]) -> None:
        self.info = info
        self.name = info.key
        self._read = read
        self._position = 0
        self._buffer = memoryview(b"")
        self._buffer_start = 0
        self._ahead = 0
        self._in_a_row = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the offset of the next read, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read from elsewhere next; costs nothing."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.info.size}[whence]
        if start + offset < 0:
            raise ValueError(f"Can't seek to {start + offset}, before the start of the file.")
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
        """Return a range, from the buffer if the buffer contains the range."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if start >= end:
            return memoryview(b"")
        buffer_end = self._buffer_start + len(self._buffer)
        if self._buffer_start <= start and end <= buffer_end:
            return self._buffer[start - self._buffer_start : end - self._buffer_start]
        self._in_a_row = self._in_a_row + 1 if self._buffer_start < start <= buffer_end else 0
        self._ahead = min(_MOST, max(_FIRST, self._ahead * 2)) if self._in_a_row >= _IN_A_ROW else 0
        prefix = (
            self._buffer[start - self._buffer_start :] if self._buffer_start <= start < buffer_end else memoryview(b"")
        )
        fresh = self._fetch_range(start + len(prefix), min(self.info.size, max(end, start + len(prefix) + self._ahead)))
        self._buffer = memoryview(bytes(prefix) + bytes(fresh)) if len(prefix) else fresh
        self._buffer_start = start
        return self._buffer[: end - start]

    def _fetch_range(self, start: int, end: int) -> memoryview:
        if end - start < _WIDE:
            return self._read(self.info, start, end)
        content, step = bytearray(end - start), min(8 * MIB, max(_STEP, -(-(end - start) // AT_ONCE)))

        def take(where: tuple[int, int]) -> None:
            content[where[0] : where[1]] = self._read(self.info, start + where[0], start + where[1])

        call_for_each(part_ranges(end - start, step), take, AT_ONCE, halt=CancelToken())
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
        """Return ``size`` bytes, fewer at the end; a large read is a single request for exactly these bytes."""
        if size is not None and 0 <= size < _BUFFER:
            return super().read(size)
        start = self.tell()
        self._reader.seek(start)
        content = self._reader.read(size)
        self.seek(start + len(content))
        return content


#: Python 3.12.0 and 3.12.1 start no thread during shutdown: on these versions, a writer starts its thread early.
_STARTS_NONE_LATE = (3, 12) <= sys.version_info < (3, 12, 2)


class _Sending:
    """The upload of written bytes: a single request, or parts that are sent while more bytes are written.

    The upload of a dropped file must end without the file, so this class doesn't refer to the file.
    """

    def __init__(self, key: str, put: Callable[[Iterator[bytes], str], object]) -> None:
        self._key = key
        self._put = put
        self.process = os.getpid()
        self._buffer = bytearray()
        self._pieces: SimpleQueue[bytes | None] = SimpleQueue()
        self._room = threading.Semaphore(AT_ONCE)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._is_unwanted = self._is_alone = False
        if _STARTS_NONE_LATE:
            self._start_upload()

    def add(self, content: memoryview) -> None:
        """Add bytes. Raises the error of the upload, if any."""
        self._raise_upload_error()
        for start, end in part_ranges(content.nbytes, _PIECE):
            self._buffer += content[start:end]
            if len(self._buffer) >= _PIECE:
                self._put_piece(bytes(self._buffer[:_PIECE]))
                del self._buffer[:_PIECE]

    def finish(self) -> None:
        """Store the object. Raises the error of the upload, if any."""
        if self._thread is None:
            self._put(iter((bytes(self._buffer),)), self._key)
            return
        self._put_piece(bytes(self._buffer))
        self._wait_for_end()
        self._raise_upload_error()

    def discard_upload(self) -> None:
        """Store nothing."""
        self._is_unwanted = True
        self._buffer.clear()
        if self._thread:
            self._wait_for_end()

    def finish_in_background(self) -> None:
        """Store the object in the background; an error is reported like errors of threads."""
        self._is_alone = True
        _ALONE.add(self._thread or self._start_upload())
        self._pieces.put(bytes(self._buffer))
        self._pieces.put(None)

    def _put_piece(self, piece: bytes) -> None:
        if self._thread is None:
            self._start_upload()
        while not self._room.acquire(timeout=0.1):
            self._raise_upload_error()
        self._pieces.put(piece)

    def _start_upload(self) -> threading.Thread:
        self._thread = threading.Thread(target=self._upload_pieces, name="lk-write", daemon=True)
        self._thread.start()
        return self._thread

    def _wait_for_end(self) -> None:
        assert self._thread  # noqa: S101 (asked only when there is one)
        self._pieces.put(None)
        while self._thread.is_alive():
            self._thread.join(0.1)

    def _raise_upload_error(self) -> None:
        if self._error:
            raise self._error

    def _upload_pieces(self) -> None:
        try:
            self._put(self._iterate_written_pieces(), self._key)
        except BaseException as error:  # (raised again where the file is written or closed)
            self._error = error
            if self._is_alone:
                raise

    def _iterate_written_pieces(self) -> Iterator[bytes]:
        while (piece := self._pieces.get()) is not None:
            self._room.release()
            yield piece
        if self._is_unwanted:
            raise StorageError("The file wasn't written completely. Nothing was stored.")


class BucketWriter(io.IOBase):
    """A file that is stored on close, unless its ``with`` block fails.

    A file that is dropped while open is stored too, like an ordinary Python file, with a ResourceWarning.
    """

    def discard(self) -> None:
        """Close the file and store nothing."""
        raise NotImplementedError

    def drop(self) -> None:
        """Close the file and store the written bytes in the background."""
        raise NotImplementedError

    def __del__(self) -> None:
        if not self.closed:
            self.drop()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class ObjectWriter(BucketWriter, io.RawIOBase):
    """A writer of an object. Without ``autocommit``, ``commit`` stores the object after ``close``."""

    def __init__(self, key: str, put: Callable[[Iterator[bytes], str], object], *, autocommit: bool = True) -> None:
        self.name = self.path = key
        self._sending = _Sending(key, put)
        self._position = 0
        self._autocommit = autocommit
        _OPEN[id(self)] = self

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """How many bytes were written."""
        return self._position

    def write(self, content: Any, /) -> int:
        """Write bytes, which are uploaded meanwhile, and return their number."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        view = memoryview(content).cast("B")
        self._sending.add(view)
        self._position += view.nbytes
        return view.nbytes

    def close(self) -> None:
        """Store the object. Raises the error of the upload, if any."""
        if not self.closed:
            super().close()
            if self._autocommit:
                self._sending.finish()

    def commit(self) -> None:
        """Store the bytes of a closed file."""
        self._sending.finish()

    def discard(self) -> None:
        """Close the file and store nothing."""
        super().close()
        self._sending.discard_upload()

    def drop(self) -> None:
        """Close the file and store the written bytes in the background; store nothing in a forked copy."""
        super().close()
        if self._sending.process == os.getpid():
            warnings.warn(
                f"{self.name!r} wasn't closed. Its data is uploaded in the background.", ResourceWarning, 2, source=self
            )
            self._sending.finish_in_background()


class CompressedWriter(BucketWriter, io.RawIOBase):
    """Writes an object through a compressor, which alone would not close the object's file."""

    def __init__(self, compressor: Any, writer: ObjectWriter) -> None:
        self.name = writer.name
        self._compressor = compressor
        self._writer = writer
        _OPEN[id(self)] = self

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, content: Any, /) -> int:
        """Compress some bytes."""
        self._compressor.write(content)
        return memoryview(content).nbytes

    def close(self) -> None:
        """Store the object. Raises the error of the upload, if any."""
        if self.closed:
            return
        super().close()
        with self._writer:
            self._compressor.close()

    def discard(self) -> None:
        """Close the file and store nothing."""
        super().close()
        with suppress(Exception):
            self._compressor.close()
        self._writer.discard()

    def drop(self) -> None:
        """Close the file and store the written bytes in the background."""
        super().close()
        self._compressor.close()
        self._writer.drop()


class TextWriter(BucketWriter, io.TextIOWrapper):
    """Writes an object as text."""

    def __init__(self, writer: Any, **how: Any) -> None:
        super().__init__(writer, **{"encoding": "utf-8", **how})
        self._writer = writer
        _OPEN[id(self)] = self

    def discard(self) -> None:
        """Close the file and store nothing."""
        self._writer.discard()

    def drop(self) -> None:
        """Close the file and store the written bytes in the background."""
        self.flush()
        self._writer.drop()


#: Open writers, in order of creation, and threads that upload the bytes of dropped files.
_OPEN: weakref.WeakValueDictionary[int, BucketWriter] = weakref.WeakValueDictionary()
_ALONE: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def _finish_open_files() -> None:
    """Store all open files when Python ends: outer files first, whose buffers belong to inner files."""
    for writer in reversed(list(_OPEN.values())):
        if not writer.closed:
            writer.drop()
    for thread in list(_ALONE):
        thread.join()


run_before_exit(_finish_open_files)
