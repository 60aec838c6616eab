"""What a run has sent back, as values."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import NoSuchObject
from lk_jupyter.runs.variables.parcel import OUTPUTS_KEY, PICKLE_KEY, SLOTS
from lk_jupyter.runs.variables.sending import returned_key
from lk_jupyter.shipped import _lk_messages, _lk_rooms

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage

_STARTS = [0, *accumulate(SLOTS)]


class Outputs(dict[str, Any]):
    """Name → value of what a run has sent back; ``missing`` is name → reason for what has not come."""

    def __init__(self, found: Mapping[str, Any] = (), missing: Mapping[str, str] = ()) -> None:  # type: ignore[assignment]
        super().__init__(found)
        self.missing = dict(missing)


def asked_for(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names that a run was asked to send back."""
    return [name for name in str(metadata.get(OUTPUTS_KEY, "")).split(",") if name]


def outputs(storage: Storage, token: str, metadata: Mapping[str, Any]) -> Outputs:
    """Fetch what a run that has ended has sent back. Raises StorageError."""
    names = asked_for(metadata)
    if not names:
        return Outputs()
    try:
        text = storage.get_bytes(returned_key(token, "values"))
    except NoSuchObject:
        return Outputs(missing={name: f"{name} did not come: the run ended before it could send it" for name in names})

    def leaf(found: dict[str, Any]) -> Any:
        memory = _lk_rooms.room(found["size"])
        with memoryview(memory) as view:
            for slot, start, part in _parts(found["at"], view):
                storage.get_into(returned_key(token, slot), part, start)
        return memory

    received = _lk_messages.Received(text, leaf, pickle=PICKLE_KEY in metadata, imports=False)
    values = received.values()
    return Outputs(
        {name: values[name] for name in names if name in values},
        {name: received.refused.get(name, f"{name} did not come") for name in names if name not in values},
    )


def _parts(at: int, view: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield slot, place in it, and the part of the view to fill from there, for bytes from ``at`` on."""
    done = 0
    while done < len(view):
        slot = bisect_right(_STARTS, at + done) - 1
        start = at + done - _STARTS[slot]
        part = view[done : done + SLOTS[slot] - start]
        yield slot, start, part
        done += len(part)
