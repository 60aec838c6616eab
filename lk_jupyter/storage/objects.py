"""Facts about objects: an object, a folder, a link, and the result of a transfer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from lk_jupyter._lazy import renamed
from lk_jupyter.text.units import count_label, duration_label, size_label


@dataclass(frozen=True)
class ObjectInfo:
    """An object of the bucket, or a folder.

    ``key``, ``size`` in bytes, ``modified`` (datetime, UTC) and ``etag``, the hash of the content. The key of a folder
    ends with a slash; its size is 0, and its time None.

    Example:
        >>> _ = session.storage.put(b"x", "info/a.txt")
        >>> info = session.storage.info("info/a.txt")
        >>> info.key, info.name, info.size, info.is_folder
        ('info/a.txt', 'a.txt', 1, False)
    """

    key: str
    size: int
    modified: datetime | None
    etag: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether the key ends with a slash."""
        return self.key.endswith("/")

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rstrip("/").rpartition("/")[2] + ("/" if self.is_folder else "")


class Objects(Iterator[ObjectInfo]):
    """An iterator over the objects of a folder, returned by ``Storage.ls``. Pages are requested when needed.

    Example:
        >>> _ = session.storage.put(b"x", "ahead/a.txt")
        >>> objects = session.storage.ls("ahead")
        >>> [info.key for info in objects.ahead(5)]
        ['ahead/a.txt']
        >>> next(objects).key
        'ahead/a.txt'
    """

    def __init__(self, objects: Iterator[ObjectInfo]) -> None:
        self._source = objects
        self._ahead: deque[ObjectInfo] = deque()

    def __next__(self) -> ObjectInfo:
        return self._ahead.popleft() if self._ahead else next(self._source)

    def ahead(self, most: int) -> list[ObjectInfo]:
        """Return the next objects, which stay in the iterator.

        Args:
            most: Number of objects at most.
        """
        self._ahead.extend(islice(self._source, max(0, most - len(self._ahead))))
        return list(islice(self._ahead, most))


@dataclass(frozen=True)
class FolderPage:
    """A page of a folder.

    ``items`` are ObjectInfo in the order of the keys. ``token`` requests the next page; None after the last page.

    Example:
        >>> for name in "ab":
        ...     _ = session.storage.put(b"x", f"page/{name}.txt")
        >>> first = session.storage.ls_page("page", size=1)
        >>> session.storage.ls_page("page", token=first.token).items[0].key
        'page/b.txt'
    """

    items: list[ObjectInfo]
    token: str | None = None


@dataclass(frozen=True)
class Link:
    """An address that reads or writes an object without credentials: a secret.

    ``url`` works until ``expires_at`` (datetime, UTC). ``repr`` doesn't show the address.

    Example:
        >>> session.storage.presign("docs/new.csv", "PUT")
        Link(expires_at=datetime.datetime(...))
    """

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, repr=False)
class TransferResult:
    """The result of an upload, a download or a sync.

    ``files`` and ``bytes`` were moved in ``seconds``; ``same`` files were already present, ``removed`` files were
    deleted. ``left_out`` lists skipped files with the reason. ``checked`` downloaded files match their checksums.

    Example:
        >>> result = session.storage.put(b"x", "result/a.txt")
        >>> result.files, result.bytes, result.same, result.removed, result.left_out
        (1, 1, 0, 0, ())
    """

    files: int = 0
    bytes: int = 0
    same: int = 0
    removed: int = 0
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()
    checked: int = 0

    def __str__(self) -> str:
        parts = [f"{count_label(self.files, 'file')}, {size_label(self.bytes)}", f"in {duration_label(self.seconds)}"]
        parts.append(f"{self.same:,} already there" if self.same else "")
        parts.append(f"{self.removed:,} removed" if self.removed else "")
        parts.append(f"{len(self.left_out):,} skipped" if self.left_out else "")
        return " · ".join(filter(None, parts))

    __repr__ = __str__


if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"Outcome": "TransferResult"})
