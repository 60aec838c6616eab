"""What a transfer has to do, from two lists of files: nothing here touches a disk or a bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lk_jupyter.errors import StorageError

#: Seconds by which clocks and file systems may differ.
_SLACK = 1.0

_NO_NAMES = {"", ".", ".."}

#: Names that Windows gives to devices, in every folder and with every suffix.
_DEVICE = re.compile(r"con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]", re.IGNORECASE)


@dataclass(frozen=True)
class PlanEntry:
    """One file on either side: its name below the folder, its size, when it was written (seconds), its ETag."""

    name: str
    size: int
    time: float
    etag: str = ""


@dataclass(frozen=True)
class SyncPlan:
    """Names to copy, names that are there already, names that are only on the other side, and what is left out."""

    copy: tuple[PlanEntry, ...] = ()
    same: int = 0
    extra: tuple[PlanEntry, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to copy."""
        return sum(entry.size for entry in self.copy)


def plan(
    source: Mapping[str, PlanEntry],
    target: Mapping[str, PlanEntry],
    *,
    is_equal: Callable[[PlanEntry, PlanEntry], bool | None],
    checksum: bool = False,
    skipped: Iterable[str] = (),
) -> SyncPlan:
    """Compare two sides.

    ``is_equal`` compares the content of a file on both, None where it cannot; it is asked where size
    and time leave it open, and for all files of one size with ``checksum``.
    """

    def is_present(entry: PlanEntry) -> bool:
        other = target.get(entry.name)
        if other is None or other.size != entry.size:
            return False
        if not checksum and entry.time <= other.time + _SLACK:
            return True
        return bool(is_equal(entry, other))

    present = {name for name, entry in source.items() if is_present(entry)}
    return SyncPlan(
        tuple(entry for name, entry in source.items() if name not in present),
        len(present),
        tuple(entry for name, entry in target.items() if name not in source),
        tuple(skipped),
    )


def is_file_name(name: str, *, windows: bool = os.name == "nt") -> bool:
    """Whether a key can be the name of a file below a folder here, and stays below it."""
    parts = name.split("/")
    if not _NO_NAMES.isdisjoint(parts) or "\0" in name:
        return False
    return not windows or all(map(_is_windows_name, parts))


def _is_windows_name(part: str) -> bool:
    """Whether this is one name of a file: no drive, no stream, no device, and kept as it is."""
    has_signs = any(sign < " " or sign in '<>:"\\|?*' for sign in part)
    return not has_signs and part[-1] not in " ." and not _DEVICE.fullmatch(part.partition(".")[0].rstrip())


def file_name(key: str, *, windows: bool = os.name == "nt") -> str:
    """Return how the file of a key is called in a folder here. Raises StorageError where it would be elsewhere."""
    name = key.rstrip("/").rpartition("/")[2]
    if not is_file_name(name, windows=windows):
        raise StorageError(
            f"{name!r} can't be the name of a file here. Nothing was downloaded. Name one: %lk_get KEY FILE"
        )
    return name


def is_key(name: str) -> bool:
    """Whether the name of a file can be a key."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return _NO_NAMES.isdisjoint(name.split("/")) and "\\" not in name


def checked_key(key: str) -> str:
    """Return a key by which something can be stored. Raises StorageError."""
    if not is_key(key):
        raise StorageError(f"{key!r} isn't a key. Give a relative path such as data/train.csv.")
    return key
