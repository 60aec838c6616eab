"""Download the values that a run returned."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import LkError, NoSuchObject
from lk_jupyter.protocol.bucket import VALUES, returned_key
from lk_jupyter.protocol.json_limits import DECODED, VALIDATED_FAST, require_small
from lk_jupyter.remote.values import codec, envelope, transfer
from lk_jupyter.runs.variables.fingerprint import Write
from lk_jupyter.runs.variables.payload import SLOTS

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage

#: The kind of the frame with the message of a run, or with size and SHA-256 of a message in the bucket, to which all
#: members can write.
RETURNED = "returned"

_STARTS = [0, *accumulate(SLOTS)]

#: Keys of uploaded values: the SHA-256 of the content.
_KEY = re.compile("[0-9a-f]{64}")

#: Reasons why a value isn't read.
CHANGED = "was changed in the bucket after the run sent it, so it wasn't read"
DELETED = "was deleted from the bucket"
UNSIGNED = "isn't signed with the key of the run, so it wasn't read"


class Outputs(dict[str, Any]):
    """A dict of the variables that a run returned: name → value, the result of ``Run.outputs``.

    ``missing`` is name → reason for each variable that didn't arrive.

    Example:
        >>> run = session.run("total = 3", outputs=["total", "other"])
        >>> outputs = run.outputs()
        >>> outputs
        {'total': 3}
        >>> list(outputs.missing)
        ['other']
    """

    def __init__(self, values: Mapping[str, Any] = (), missing: Mapping[str, str] = ()) -> None:  # type: ignore[assignment]
        super().__init__(values)
        self.missing = dict(missing)


def download_outputs(  # noqa: PLR0913 (each caller decides which sources to trust)
    storage: Storage,
    token: str,
    names: Sequence[str],
    record: Mapping[str, Any] | None,
    *,
    pickle: bool,
    is_trusted: bool,
) -> Outputs:
    """Download the values that a run has returned, if the message in the bucket matches the ``record`` in its log.

    Args:
        storage: the bucket.
        token: token of the request, which is part of the keys in the bucket.
        names: variables to download.
        record: size and SHA-256 of the message; None if the log contains no record.
        pickle: whether to read pickles, which execute code.
        is_trusted: whether this machine started the run. Otherwise values are data, without functions and classes.

    Raises:
        StorageError: the bucket can't be read.
    """
    if not names:
        return Outputs()
    try:
        message = download_message(storage, token, record)
    except NotReturned as reason:
        return Outputs(missing={name: f"{name} {reason}" for name in names})
    return read_outputs(message, storage, token, names, pickle=pickle, is_trusted=is_trusted)


def read_outputs(  # noqa: PLR0913 (each caller decides which sources to trust)
    message: bytes | str, storage: Storage, token: str, names: Sequence[str], *, pickle: bool, is_trusted: bool
) -> Outputs:
    """Return the values in a message, whose large parts are in the bucket. Raises StorageError."""
    read_leaf = leaf_reader(storage, token)
    try:
        require_small(message, DECODED if is_trusted else VALIDATED_FAST)
        received = envelope.Received(message, read_leaf, pickle=pickle, imports=False, names=is_trusted)
        values = received.values()
    except LkError:
        raise
    except Exception as error:  # noqa: BLE001 (a run can write any bytes)
        return Outputs(missing={name: f"Can't read {name} ({type(error).__name__})" for name in names})
    return Outputs(
        {name: values[name] for name in names if name in values},
        {name: str(received.refused.get(name, f"{name} didn't arrive")) for name in names if name not in values},
    )


class NotReturned(Exception):
    """Report why the message of a run can't be read."""


def download_message(storage: Storage, token: str, record: Mapping[str, Any] | None) -> bytes:
    """Return the message of a run: a short message is in the ``record`` in the log, a longer message in the bucket.

    Raises NotReturned if the object of the bucket differs from the record, StorageError.
    """
    if record is not None and isinstance(record.get("message"), str):
        return str(record["message"]).encode()
    if record is not None and "sha256" not in record:
        raise NotReturned(UNSIGNED)
    if record is None:
        raise NotReturned("didn't arrive, because the run finished before sending it")
    key = returned_key(token, "values")
    try:
        message = storage.get_bytes(key)
    except NoSuchObject:
        raise NotReturned(f"{DELETED}: {key}") from None
    if not matches_record(message, record):
        raise NotReturned(CHANGED)
    return bytes(message)


def leaf_reader(
    storage: Storage, token: str, find_local: Callable[[Any], Write | None] = lambda _: None
) -> Callable[[dict[str, Any]], Any]:
    """Return a function that downloads a leaf of a message, and checks its size and SHA-256.

    ``find_local`` returns the writer of the local leaf that the run has changed: unchanged parts aren't downloaded.
    """

    def read_leaf(node: dict[str, Any]) -> Any:
        _require_slots(node["at"], node["size"])
        parts = _read_parts(node)
        memory = transfer.allocate_memory(node["size"])
        with memoryview(memory) as view:
            position, offset = 0, node["at"]
            unchanged: list[tuple[int, memoryview, str]] = []
            for size, key in parts:
                part = view[position : position + size]
                if key is None:
                    _download_slots(storage, token, offset, part)
                    offset += size
                else:
                    unchanged.append((position, part, key))
                position += size
            write = find_local(node.get("of")) if unchanged else None
            if write is not None:
                _copy_parts(write, unchanged)
            if not matches_record(view, node):  # the notebook has changed the value meanwhile
                for _, part, key in unchanged:
                    _download_part(storage, VALUES + key, part, 0)
                if not unchanged or not matches_record(view, node):
                    raise codec.CannotTravel(CHANGED)
        return memory

    return read_leaf


def _read_parts(node: Mapping[str, Any]) -> list[tuple[int, str | None]]:
    """Return the parts of a leaf: size, and the key of a part that the run didn't change. Raises CannotTravel."""
    parts = node.get("parts", [[node["size"], None]])
    sizes = [part[0] for part in parts]
    are_sizes = all(type(size) is int and size >= 0 for size in sizes) and sum(sizes) == node["size"]
    if not are_sizes or not all(key is None or _KEY.fullmatch(key) for _, key in parts):
        raise codec.CannotTravel("has another size than its parts, so it wasn't read")
    return [(size, key) for size, key in parts]


def _copy_parts(write: Write, parts: Sequence[tuple[int, memoryview, str]]) -> None:
    """Copy the parts of a local leaf, each to its memory; a part has its first byte."""
    position = 0

    def copy(piece: Any) -> None:
        nonlocal position
        content = envelope.byte_view(piece)
        for start, part, _ in parts:
            first, last = max(start, position), min(start + len(part), position + len(content))
            if first < last:
                part[first - start : last - start] = content[first - position : last - position]
        position += len(content)

    write(copy)


def _download_slots(storage: Storage, token: str, offset: int, view: memoryview) -> None:
    """Download bytes from the objects in which the run has stored its leaves."""
    for slot, start, part in _iterate_slot_parts(offset, view):
        _download_part(storage, returned_key(token, slot), part, start)


def _download_part(storage: Storage, key: str, part: memoryview, start: int) -> None:
    try:
        storage.get_into(key, part, start)
    except NoSuchObject:
        raise codec.CannotTravel(f"{DELETED}: {key}") from None


def _require_slots(start: Any, size: Any) -> None:
    """Raise CannotTravel for a leaf outside of the objects of a run, before memory is allocated."""
    if type(start) is not int or type(size) is not int or start < 0 or not 0 <= size <= _STARTS[-1] - start:
        raise codec.CannotTravel("refers to bytes that the run doesn't have, so it wasn't read")


def matches_record(content: bytes | bytearray | memoryview, record: Mapping[str, Any]) -> bool:
    """Return whether bytes of the bucket have the size and the SHA-256 of a record that only the run could write."""
    return len(content) == record.get("size") and hashlib.sha256(content).hexdigest() == record.get("sha256")


def _iterate_slot_parts(offset: int, view: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield slot, start in the slot, and the part of the view to fill, for the bytes from ``offset`` on."""
    count = 0
    while count < len(view):
        slot = bisect_right(_STARTS, offset + count) - 1
        start = offset + count - _STARTS[slot]
        part = view[count : count + SLOTS[slot] - start]
        yield slot, start, part
        count += len(part)
