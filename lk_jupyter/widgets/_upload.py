"""A file that comes from the browser in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Full, Queue

from lk_jupyter.errors import LkError, StorageError
from lk_jupyter.storage.objects import TransferResult
from lk_jupyter.storage.storage import Storage

#: Seconds for which the next piece is awaited.
PATIENCE = 60.0


class WidgetUpload:
    """An upload in pieces; the object appears when all pieces have arrived, and not at all otherwise."""

    def __init__(self, storage: Storage, key: str, size: int, *, overwrite: bool) -> None:
        self.key = key
        self._size = size
        self._pieces: Queue[bytes | None] = Queue(maxsize=4)
        worker = ThreadPoolExecutor(1, thread_name_prefix="lk-upload")
        self._stored = worker.submit(storage.put, self._uploaded_pieces(), key, overwrite=overwrite)
        worker.shutdown(wait=False)

    def add(self, piece: bytes) -> None:
        """Add the next piece, when the queue has room. Raises the error that ended the upload."""
        self._enqueue_piece(piece)

    def end(self) -> TransferResult:
        """Wait until the object is stored. Raises the error that ended the upload."""
        self._enqueue_piece(None)
        return self._stored.result()

    def stop(self) -> None:
        """Store nothing."""
        self._size = -1
        with suppress(LkError):
            self.end()

    def _enqueue_piece(self, piece: bytes | None) -> None:
        while True:
            if self._stored.done():
                self._stored.result()
            with suppress(Full):
                self._pieces.put(piece, timeout=1)
                return

    def _uploaded_pieces(self) -> Iterator[bytes]:
        count = 0
        while (piece := self._next_piece()) is not None:
            count += len(piece)
            yield piece
        if count != self._size:
            raise StorageError(f"{self.key!r} wasn't stored: it arrived incomplete.")

    def _next_piece(self) -> bytes | None:
        try:
            return self._pieces.get(timeout=PATIENCE)
        except Empty:
            raise StorageError(f"{self.key!r} wasn't stored: the browser stopped sending it.") from None
