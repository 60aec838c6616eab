"""Add up the size of the folders of a bucket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lk_jupyter.protocol.bucket import FOLDER
from lk_jupyter.storage.objects import ObjectInfo


@dataclass(frozen=True)
class FolderUsage:
    """The objects below a folder.

    ``folder`` is the prefix, ``files`` the number of objects, ``bytes`` their size, ``modified`` the time of the last
    change (datetime, UTC).

    Example:
        >>> _ = session.storage.put(b"12345", "usage/data/a.bin")
        >>> [(row.folder, row.files, row.bytes) for row in session.storage.usage("usage")]
        [('usage/data/', 1, 5)]
    """

    folder: str
    files: int = 0
    bytes: int = 0
    modified: datetime | None = None


def measure_folders(infos: Iterable[ObjectInfo], prefix: str) -> list[FolderUsage]:
    """Return the usage of each folder directly below a prefix, largest first.

    Objects directly below the prefix count for the prefix. Folders of runs are listed separately.
    """
    usages: dict[str, FolderUsage] = {}
    for info in infos:
        base = FOLDER if not prefix and info.key.startswith(FOLDER) else prefix
        name, slash, _ = info.key[len(base) :].partition("/")
        folder = f"{base}{name}/" if slash else base
        usage = usages.get(folder, FolderUsage(folder))
        times = [moment for moment in (usage.modified, info.modified) if moment]
        usages[folder] = FolderUsage(folder, usage.files + 1, usage.bytes + info.size, max(times, default=None))
    return sorted(usages.values(), key=lambda usage: (-usage.bytes, usage.folder))
