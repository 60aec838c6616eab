"""Remove from the bucket what runs left there and nothing has used for long."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from weakref import WeakSet

from lk_jupyter.errors import LkError
from lk_jupyter.protocol.bucket import KEPT

if TYPE_CHECKING:
    from lk_jupyter.storage.objects import ObjectInfo
    from lk_jupyter.storage.storage import Storage

_tidied: WeakSet[Storage] = WeakSet()


def tidy_once(storage: Storage) -> None:
    """Tidy up once in the life of a session; what cannot be removed now is removed another time."""
    if storage not in _tidied:
        _tidied.add(storage)
        with suppress(LkError):
            tidy(storage)


def tidy(storage: Storage) -> None:
    """Remove from the bucket what runs have left there and nothing has used for long."""
    for folder, kept in KEPT.items():
        for found in list(storage.ls(folder)):
            if is_older(found, kept):
                storage.remove(found.key)


def is_older(found: ObjectInfo, age: timedelta) -> bool:
    """Whether an object was last written longer ago than ``age``."""
    return found.modified is not None and datetime.now(timezone.utc) - found.modified > age
