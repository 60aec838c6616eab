"""How much memory is free."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_SYSTEM = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Return the bytes that this process may still use; None if the system doesn't report it."""
    found = [size for size in (_of_system(), _of_group()) if size is not None]
    return min(found) if found else None


def _of_system() -> int | None:
    with suppress(OSError):
        told = re.search(r"MemAvailable:\s+(\d+) kB", _SYSTEM.read_text())
        return int(told[1]) * 1024 if told else None
    with suppress(OSError, ValueError, AttributeError):  # macOS tells what there is; Windows has another way
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _of_group() -> int | None:
    """Return what the limit of a container leaves."""
    with suppress(OSError, ValueError):
        limit, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return max(0, limit - used)
    return None
