"""What this machine remembers of its uploads in parts: after a crash they are resumed, or taken back.

A small file for each, locked by the process that sends: whose lock is free has no sender any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lk_jupyter.config.files import platform_path, take_lock

_SLOTS = 64
_LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Facts:
    """One upload: where to, from what, and what it is called there.

    ``source`` is empty for bytes that were made meanwhile, which nobody can make again. ``others``
    are the uploads of the key that others had begun before: they are not ours to take back.
    """

    bucket: str
    key: str
    source: str = ""
    size: int = 0
    changed: int = 0
    part: int = 0
    upload_id: str = ""
    others: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def fits(self, other: Facts) -> bool:
        """Whether the parts that were sent fit what must be sent now."""
        return bool(self.source) and all(
            getattr(self, name) == getattr(other, name)
            for name in ("bucket", "key", "source", "size", "changed", "part")
        )


class Record:
    """A file that is ours while it is open."""

    def __init__(self, path: Path | None, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor
        self.facts: Facts | None = None if descriptor is None else _read(descriptor)

    def write(self, facts: Facts) -> None:
        """Remember this, before it is done."""
        self.facts = facts
        if self._descriptor is not None:
            content = json.dumps(asdict(facts)).encode()
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, content)
            os.ftruncate(self._descriptor, len(content))

    def note(self, **changes: object) -> None:
        """Remember something more."""
        assert self.facts  # noqa: S101 (there is something to change)
        self.write(replace(self.facts, **changes))  # type: ignore[arg-type]

    def close(self, *, forget: bool = False) -> None:
        """Let go of it; ``forget`` it when there is nothing to resume."""
        if self._descriptor is None:
            return
        if forget and self._path and os.name != "nt":
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        if forget and self._path and os.name == "nt":
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        self._descriptor = None


def record_for(bucket: str, key: str) -> Record:
    """Return a record that is now ours: what is left of an upload of this key, or a new one.

    Where nothing can be kept it only lives as long as this process.
    """
    name = _name(bucket, key)
    for slot in range(_SLOTS):
        path = _folder() / f"{name}-{slot}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if record := _locked_record(path, os.O_CREAT):
                return record
        except OSError:
            break
    return Record(None, None)


@contextmanager
def creating(bucket: str, key: str) -> Iterator[None]:
    """Let one sender on this machine after the other make an object of this key.

    SeaweedFS holds to If-None-Match only in turn where uploads in parts are completed, and some servers know no
    condition. Where no file can be locked nobody waits.
    """
    path, record = _folder() / f"{_name(bucket, key)}.lock", Record(None, None)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        while not (record_or_none := _locked_record(path, os.O_CREAT)):
            time.sleep(_LOOK_SECONDS)
        record = record_or_none
    try:
        yield
    finally:
        record.close(forget=True)


def abandoned(bucket: str) -> Iterator[Record]:
    """Iterate over the records of a bucket whose sender is gone, each of them ours now; close each."""
    for path in sorted(_folder().glob("*.json")):
        with suppress(OSError):
            record = _locked_record(path)
            if record and record.facts and record.facts.bucket == bucket:
                yield record
            elif record:
                record.close(forget=record.facts is None)


def _name(bucket: str, key: str) -> str:
    return hashlib.sha256(f"{bucket}/{key}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _folder() -> Path:
    return platform_path("data", "uploads")


def _locked_record(path: Path, flags: int = 0) -> Record | None:
    """Return a record that nobody else has; None while somebody has it, or had it and threw it away."""
    descriptor = os.open(path, os.O_RDWR | flags, 0o600)
    if take_lock(descriptor) and _is_still(path, descriptor):
        return Record(path, descriptor)
    os.close(descriptor)
    return None


def _is_still(path: Path, descriptor: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


def _read(descriptor: int) -> Facts | None:
    with suppress(ValueError, TypeError):
        return Facts(**json.loads(os.read(descriptor, 1 << 20)))
    return None
