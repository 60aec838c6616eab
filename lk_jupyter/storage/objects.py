"""What is told of objects: one of them, a folder of them, a link to one, and what a transfer did."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from lk_jupyter._lazy import renamed
from lk_jupyter.storage.progress import size_label, time_label


@dataclass(frozen=True)
class ObjectInfo:
    """One object of the bucket: its key, its size in bytes, when it was last written, the name of its content.

    A folder ends with a slash, and has neither size nor time.
    """

    key: str
    size: int
    modified: datetime | None
    etag: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether it stands for all keys that begin so."""
        return self.key.endswith("/")

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rstrip("/").rpartition("/")[2] + ("/" if self.is_folder else "")


class Objects(Iterator[ObjectInfo]):
    """Objects that are asked for when they are wanted; ``ahead`` looks at the next ones without taking them."""

    def __init__(self, found: Iterator[ObjectInfo]) -> None:
        self._found = found
        self._seen: deque[ObjectInfo] = deque()

    def __next__(self) -> ObjectInfo:
        return self._seen.popleft() if self._seen else next(self._found)

    def ahead(self, most: int) -> list[ObjectInfo]:
        """Return at most so many objects that come next."""
        self._seen.extend(islice(self._found, max(0, most - len(self._seen))))
        return list(islice(self._seen, most))


@dataclass(frozen=True)
class FolderPage:
    """Part of a folder: items in the order of their keys, and the token of the part after it, None at the end."""

    items: list[ObjectInfo]
    token: str | None = None


@dataclass(frozen=True)
class Link:
    """An address by which whoever has it may read or write one object until ``expires_at``: a secret."""

    url: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, repr=False)
class TransferResult:
    """What a transfer did: files and bytes that it moved, files that were there already, and those it removed.

    ``left_out`` tells what was not moved, and why.
    """

    files: int = 0
    bytes: int = 0
    same: int = 0
    removed: int = 0
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        files = "1 file" if self.files == 1 else f"{self.files:,} files"
        parts = [f"{files}, {size_label(self.bytes)}", f"in {time_label(self.seconds)}"]
        parts.append(f"{self.same:,} already there" if self.same else "")
        parts.append(f"{self.removed:,} removed" if self.removed else "")
        parts.append(f"{len(self.left_out):,} skipped" if self.left_out else "")
        return " · ".join(filter(None, parts))

    __repr__ = __str__


if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"Outcome": "TransferResult"})
