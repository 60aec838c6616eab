"""Plan a transfer from two lists of files, without access to disk or bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lk_jupyter.errors import StorageError

#: Seconds by which clocks and file systems may differ.
_SLACK = 1.0

#: Seconds by which file systems round the time that a download has set.
_EXACT = 0.001

_NO_NAMES = {"", ".", ".."}

#: Names that Windows gives to devices, in every folder and with every suffix.
_DEVICE = re.compile(r"con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]", re.IGNORECASE)


@dataclass(frozen=True)
class PlanEntry:
    """A file on either side: name below the folder, size in bytes, modification time (s), ETag."""

    name: str
    size: int
    time: float
    etag: str = ""


@dataclass(frozen=True)
class SyncPlan:
    """The files to copy, the number of equal files, the files that only the target has, and the skipped files."""

    copy: tuple[PlanEntry, ...] = ()
    same: int = 0
    extra: tuple[PlanEntry, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to copy."""
        return sum(entry.size for entry in self.copy)


def plan(  # noqa: PLR0913 (independent choices)
    source: Mapping[str, PlanEntry],
    target: Mapping[str, PlanEntry],
    *,
    is_equal: Callable[[PlanEntry, PlanEntry], bool | None],
    checksum: bool = False,
    is_exact: bool = False,
    skipped: Iterable[str] = (),
) -> SyncPlan:
    """Compare both sides, and return the plan of the transfer.

    ``is_equal`` compares the contents of a file, and returns None where this isn't possible. It is called if size and
    time don't decide, and for all files of equal size with ``checksum``. With ``is_exact``, only the time that a
    download sets counts as equal.
    """

    def is_present(entry: PlanEntry) -> bool:
        other = target.get(entry.name)
        if other is None or other.size != entry.size:
            return False
        is_current = abs(entry.time - other.time) < _EXACT if is_exact else entry.time <= other.time + _SLACK
        if is_current and not checksum:
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
    """Return whether a key can be the name of a file that stays below its local folder."""
    parts = name.split("/")
    if not _NO_NAMES.isdisjoint(parts) or "\0" in name:
        return False
    return not windows or all(map(_is_windows_name, parts))


def _is_windows_name(part: str) -> bool:
    """Return whether this is a plain file name on Windows: no drive, stream or device, and stored unchanged."""
    has_signs = any(sign < " " or sign in '<>:"\\|?*' for sign in part)
    return not has_signs and part[-1] not in " ." and not _DEVICE.fullmatch(part.partition(".")[0].rstrip())


def file_name(key: str, *, windows: bool = os.name == "nt") -> str:
    """Return the local file name for a key. Raises StorageError for a name that would leave the folder."""
    name = key.rstrip("/").rpartition("/")[2]
    if not is_file_name(name, windows=windows):
        raise StorageError(
            f"{name!r} can't be the name of a file here. Nothing was downloaded. Choose a file name: %lk_get KEY FILE"
        )
    return name


def is_key(name: str) -> bool:
    """Whether the name of a file can be a key."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return _NO_NAMES.isdisjoint(name.split("/")) and "\\" not in name


def check_key(key: str) -> str:
    """Return a key by which something can be stored. Raises StorageError."""
    if not is_key(key):
        raise StorageError(f"{key!r} isn't a key. Give a relative path such as data/train.csv.")
    return key
