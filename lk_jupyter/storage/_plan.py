"""What a transfer has to do, from two lists of files: nothing here touches a disk or a bucket."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

#: Seconds by which clocks and file systems may differ.
_SLACK = 1.0

_NO_NAMES = {"", ".", ".."}


@dataclass(frozen=True)
class Entry:
    """One file on either side: its name below the folder, its size, when it was written (seconds), its ETag."""

    name: str
    size: int
    time: float
    etag: str = ""


@dataclass(frozen=True)
class Plan:
    """Names to copy, those that are there already, those that are only on the other side, and what is left out."""

    copy: tuple[Entry, ...] = ()
    same: int = 0
    extra: tuple[Entry, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to copy."""
        return sum(entry.size for entry in self.copy)


def plan(
    source: Mapping[str, Entry],
    target: Mapping[str, Entry],
    *,
    is_equal: Callable[[Entry, Entry], bool | None],
    checksum: bool = False,
    left_out: Iterable[str] = (),
) -> Plan:
    """Compare two sides.

    ``is_equal`` compares the content of a file on both, None where it cannot; it is asked where size
    and time leave it open, and for all files of one size with ``checksum``.
    """

    def is_there(entry: Entry) -> bool:
        other = target.get(entry.name)
        if other is None or other.size != entry.size:
            return False
        if not checksum and entry.time <= other.time + _SLACK:
            return True
        return bool(is_equal(entry, other))

    there = {name for name, entry in source.items() if is_there(entry)}
    return Plan(
        tuple(entry for name, entry in source.items() if name not in there),
        len(there),
        tuple(entry for name, entry in target.items() if name not in source),
        tuple(left_out),
    )


def is_file_name(name: str) -> bool:
    """Whether a key can be the name of a file below a folder here, and stays below it."""
    parts = name.split("/")
    if not _NO_NAMES.isdisjoint(parts) or "\0" in name:
        return False
    return os.name != "nt" or not any(set(part) & set('<>:"\\|?*') or part[-1] in " ." for part in parts)


def is_key(name: str) -> bool:
    """Whether the name of a file can be a key."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return _NO_NAMES.isdisjoint(name.split("/")) and "\\" not in name
