"""Files in transfer: uploads from disk, and downloads to disk."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Callable, Iterator
from contextlib import closing
from os import SEEK_CUR, SEEK_END, SEEK_SET, PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import uuid4

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from lk_jupyter.errors import UsageError

if TYPE_CHECKING:
    from typing_extensions import Self

#: Called at each step with the bytes so far, and the total bytes if known.
Progress = Callable[[int, int | None], None]

Source = str | PathLike[str] | bytes | BinaryIO


class Upload:
    """A file to upload: a path, bytes, or an open binary file (from its position to its end).

    ``name`` and ``content_type`` default to the name and type of the path. ``progress(sent, total)`` is called with
    bytes, at each step. The file is read piece by piece during the upload. Raises UsageError for a path without a
    file, and for a file that can't be rewound.
    """

    def __init__(
        self,
        source: Source,
        *,
        name: str | None = None,
        content_type: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._source = _check_source(source)
        self._start = 0 if isinstance(self._source, Path | bytes) else self._source.tell()
        self._progress = progress
        self.name = name or _find_file_name(self._source)
        self.content_type = content_type or mimetypes.guess_type(self.name)[0] or "application/octet-stream"

    def __repr__(self) -> str:
        return f"Upload({self.name!r}, content_type={self.content_type!r})"

    @property
    def size(self) -> int:
        """Bytes to upload."""
        with self._open_reader() as reader:
            return reader.size

    def open(self) -> io.BufferedReader:
        """Open the file at its start, any number of times; the caller closes the result."""
        return io.BufferedReader(self._open_reader())

    def _open_reader(self) -> _Reader:
        if isinstance(self._source, Path):
            return _Reader(self._source.open("rb"), 0, self._progress, is_owner=True)
        if isinstance(self._source, bytes):
            return _Reader(io.BytesIO(self._source), 0, self._progress, is_owner=True)
        return _Reader(self._source, self._start, self._progress, is_owner=False)

    @classmethod
    def _validate(cls, value: Any) -> Upload:
        return value if isinstance(value, Upload) else cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._validate)

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "contentMediaType": "application/octet-stream"}


def _check_source(source: Any) -> Path | bytes | BinaryIO:
    if isinstance(source, str | PathLike):
        path = Path(source).expanduser()
        if not path.is_file():
            raise UsageError(f"No file '{path}'. Nothing was sent.")
        return path
    if isinstance(source, bytes):
        return source
    try:
        source.seek(source.tell())
        if isinstance(source.read(0), bytes):
            return source  # type: ignore[no-any-return]
    except (AttributeError, OSError):
        pass
    raise UsageError("An upload needs a path, bytes, or an open binary file that supports seek.")


def _find_file_name(source: Path | bytes | BinaryIO) -> str:
    named = source if isinstance(source, Path) else getattr(source, "name", None)
    return Path(named).name if isinstance(named, str | PathLike) else "upload"


class _Reader(io.RawIOBase):
    """A reading of a source, limited to the size at the time of opening."""

    def __init__(self, file: BinaryIO, start: int, progress: Progress | None, *, is_owner: bool) -> None:
        self._file = file
        self._start = start
        self._progress = progress
        self._is_owner = is_owner
        self._at = 0
        self.size = max(0, file.seek(0, SEEK_END) - start)
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        self._at = max(0, offset + {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self.size}[whence])
        self._file.seek(self._start + self._at)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._progress:
            self._progress(self._at, self.size)  # earlier pieces have been sent by now
        data = self._file.read(max(0, min(len(buffer), self.size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if self._is_owner:
            self._file.close()
        super().close()


class Download:
    """A download: ``save`` or ``read`` the bytes, or iterate over pieces, once.

    ``size`` is in bytes, None if the server doesn't report the size; ``content_type`` comes from the server. The
    download closes at its end; ``close`` and ``with`` end the download earlier. Raises ConnectionFailed when the
    connection breaks.
    """

    def __init__(
        self, pieces: Iterator[bytes], *, size: int | None, content_type: str, close: Callable[[], None]
    ) -> None:
        self._pieces = pieces
        self.size = size
        self.content_type = content_type
        self.close = close

    def __repr__(self) -> str:
        return f"Download(size={self.size}, content_type={self.content_type!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def read(self) -> bytes:
        """Return all bytes."""
        return b"".join(self._pieces)

    def save(self, path: str | PathLike[str], progress: Progress | None = None) -> Path:
        """Write the bytes to a file and return its path. An older file is replaced once the download is complete.

        ``progress(received, total)`` is called with bytes. Raises UsageError if the file can't be written.
        """
        target = Path(path).expanduser()
        draft = target.with_name(f".{target.name}.{uuid4().hex}.part")
        with closing(self):
            try:
                self._write_pieces(draft, progress)
                draft.replace(target)
            except OSError as problem:
                reason = problem.strerror
            else:
                return target
            finally:
                draft.unlink(missing_ok=True)
        raise UsageError(f"Can't write {target}: {reason}.")

    def _write_pieces(self, draft: Path, progress: Progress | None) -> None:
        received = 0
        with draft.open("xb") as file:
            for piece in self._pieces:
                file.write(piece)
                received += len(piece)
                if progress:
                    progress(received, self.size)
