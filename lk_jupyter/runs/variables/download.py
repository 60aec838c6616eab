"""What a run has sent back, as values."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import LkError, NoSuchObject
from lk_jupyter.protocol.bucket import returned_key
from lk_jupyter.protocol.json_limits import DECODED, VALIDATED_FAST, require_small
from lk_jupyter.remote.values import codec, envelope, transfer
from lk_jupyter.runs.variables.payload import SLOTS

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage

#: The kind of the frame that says what the message of a run is: the bucket is not the run's alone.
RETURNED = "returned"

_STARTS = [0, *accumulate(SLOTS)]


#: Why something is not read.
CHANGED = "was changed in the bucket after the run sent it, so it wasn't read"
DELETED = "was deleted from the bucket"
UNSIGNED = "isn't signed with the key of the run, so it wasn't read"


class Outputs(dict[str, Any]):
    """A dict of the variables that a run sent back: name → value, as ``Run.outputs`` returns it.

    ``missing`` is name → reason for each variable that didn't arrive.

    Example:
        >>> run = session.run("total = 3", outputs=["total", "other"])
        >>> found = run.outputs()
        >>> found
        {'total': 3}
        >>> list(found.missing)
        ['other']
    """

    def __init__(self, found: Mapping[str, Any] = (), missing: Mapping[str, str] = ()) -> None:  # type: ignore[assignment]
        super().__init__(found)
        self.missing = dict(missing)


def outputs(  # noqa: PLR0913 (who is trusted with what is said by each caller)
    storage: Storage,
    token: str,
    names: Sequence[str],
    said: Mapping[str, Any] | None,
    *,
    pickle: bool,
    ours: bool,
) -> Outputs:
    """Fetch what a run that has ended has sent back, as far as it is what the run ``said`` in its log.

    ``pickle`` is whether pickles are read, which execute code; ``ours`` whether the run was started from here: else
    its values are data, no functions and classes. Raises StorageError.
    """
    if not names:
        return Outputs()
    try:
        text = message_of(storage, token, said)
    except NotReturned as reason:
        return Outputs(missing={name: f"{name} {reason}" for name in names})
    return outputs_in(text, storage, token, names, pickle=pickle, ours=ours)


def outputs_in(  # noqa: PLR0913 (who is trusted with what is said by each caller)
    text: bytes | str, storage: Storage, token: str, names: Sequence[str], *, pickle: bool, ours: bool
) -> Outputs:
    """Return what a message holds; its large parts are in the bucket. Raises StorageError."""
    leaf = leaf_reader(storage, token)
    try:
        require_small(text, DECODED if ours else VALIDATED_FAST)
        received = envelope.Received(text, leaf, pickle=pickle, imports=False, names=ours)
        values = received.values()
    except LkError:
        raise
    except Exception as error:  # noqa: BLE001 (the run may write what it likes)
        return Outputs(missing={name: f"Can't read {name} ({type(error).__name__})" for name in names})
    return Outputs(
        {name: values[name] for name in names if name in values},
        {name: str(received.refused.get(name, f"{name} didn't arrive")) for name in names if name not in values},
    )


class NotReturned(Exception):
    """What a run sent back cannot be read; the text says why."""


def message_of(storage: Storage, token: str, said: Mapping[str, Any] | None) -> bytes:
    """Fetch the message of a run, if it is what the run ``said`` in its log. Raises NotReturned, StorageError."""
    if said is not None and "sha256" not in said:
        raise NotReturned(UNSIGNED)
    if said is None:
        raise NotReturned("didn't arrive: the run finished before it could send it")
    key = returned_key(token, "values")
    try:
        text = storage.get_bytes(key)
    except NoSuchObject:
        raise NotReturned(f"{DELETED}: {key}") from None
    if not is_as_said(text, said):
        raise NotReturned(CHANGED)
    return bytes(text)


def leaf_reader(storage: Storage, token: str) -> Callable[[dict[str, Any]], Any]:
    """Return what fetches a leaf that the message of a run names, if it is what the message says."""

    def leaf(found: dict[str, Any]) -> Any:
        _require_slots(found["at"], found["size"])
        memory = transfer.room(found["size"])
        with memoryview(memory) as view:
            for slot, start, part in _parts(found["at"], view):
                key = returned_key(token, slot)
                try:
                    storage.get_into(key, part, start)
                except NoSuchObject:
                    raise codec.CannotTravel(f"{DELETED}: {key}") from None
            if not is_as_said(view, found):
                raise codec.CannotTravel(CHANGED)
        return memory

    return leaf


def _require_slots(start: Any, size: Any) -> None:
    """Raise CannotTravel for a leaf that is no part of the objects of a run, before it takes memory."""
    if type(start) is not int or type(size) is not int or start < 0 or not 0 <= size <= _STARTS[-1] - start:
        raise codec.CannotTravel("says that its bytes are where a run has none, so it wasn't read")


def is_as_said(content: bytes | bytearray | memoryview, said: Mapping[str, Any]) -> bool:
    """Whether bytes of the bucket are those whose size and SHA-256 were said where nobody else could say it."""
    return len(content) == said.get("size") and hashlib.sha256(content).hexdigest() == said.get("sha256")


def _parts(at: int, view: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield slot, place in it, and the part of the view to fill from there, for bytes from ``at`` on."""
    done = 0
    while done < len(view):
        slot = bisect_right(_STARTS, at + done) - 1
        start = at + done - _STARTS[slot]
        part = view[done : done + SLOTS[slot] - start]
        yield slot, start, part
        done += len(part)
