"""What a run brings along and takes back: which bytes, under which names, and what is shown of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.runs.parts import SETTINGS, Part
from lk_jupyter.runs.variables.fingerprint import Write, fingerprint
from lk_jupyter.shipped import _lk_messages

PART = "_lk_variables"
NEEDS = (
    "_lk_messages",
    "_lk_rooms",
    "_lk_values",
    "_lk_arrays",
    "_lk_tensors",
    "_lk_pandas",
    "_lk_tables",
    "_lk_pickle",
)

#: Keys in a run's metadata: the names that it sends back, and whether it may pickle them.
OUTPUTS_KEY, PICKLE_KEY = "lk_outputs", "lk_pickle"

#: Leaves of at least so many bytes are objects of the bucket by themselves; smaller ones share one.
ALONE = 1024 * 1024

#: A longer message travels through the bucket too.
LONG_MESSAGE = 64 * 1024

#: Sizes of the objects that what comes back is cut into, in the order in which they are filled.
SLOTS = (256 * 1024 * 1024,) * 12 + (4 * 1024**3,) * 6


@dataclass(frozen=True)
class Blob:
    """Bytes that travel through the bucket, under a key that is made of them."""

    key: str
    size: int
    write: Write = field(repr=False)


@dataclass(frozen=True)
class Sent:
    """One variable as it is shown: its name, its kind, its bytes."""

    name: str
    kind: str
    size: int

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, {size_label(self.size)})"


@dataclass(frozen=True)
class Parcel:
    """The variables of one run: those that it brings, the names of those that it takes back."""

    inputs: tuple[Sent, ...] = ()
    outputs: tuple[str, ...] = ()
    blobs: tuple[Blob, ...] = ()
    modules: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def parts(self) -> list[Part]:
        """What travels with the code; nothing where there are no variables."""
        return [Part(PART, self.settings, NEEDS)] if self.inputs or self.outputs else []

    @property
    def metadata(self) -> dict[str, str]:
        """What the run's metadata says, so that what it sends back is found from anywhere."""
        pickled = {PICKLE_KEY: "yes"} if self.settings.get("pickle") else {}
        return {OUTPUTS_KEY: ",".join(self.outputs), **pickled} if self.outputs else {}

    @property
    def facts(self) -> list[str]:
        """What the status line says."""
        names = ", ".join(sent.name for sent in self.inputs)
        return [f"brings {names} ({size_label(sum(sent.size for sent in self.inputs))})"] if names else []


def pack(inputs: Mapping[str, Any], outputs: Sequence[str], *, pickle: bool = False) -> Parcel:
    """Make a parcel; nothing is sent. Raises UsageError with each value that cannot be sent, and why."""
    message = _lk_messages.Message(pickle)
    for name, value in inputs.items():
        message.add(name, value)
    if message.refused:
        raise UsageError("\n".join([*message.refused.values(), "Nothing was sent."]))
    blobs = _blobs(message.large)
    text: Any = message.text() if inputs else ""
    if len(text) > LONG_MESSAGE:
        content = text.encode("ascii")
        text = {"blob": len(blobs), "at": 0, "size": len(content)}
        blobs.append(_blob(len(content), lambda sink: sink(content)))
    settings = {
        "message": text,
        "blobs": [[blob.key, blob.size] for blob in blobs],
        "outputs": list(outputs),
        "slots": list(SLOTS) if outputs else [],
        "pickle": pickle,
    }
    sent = (Sent(name, type(value).__name__, message.sizes[name]) for name, value in inputs.items())
    return Parcel(tuple(sent), tuple(outputs), tuple(blobs), frozenset(message.modules), settings)


def settings_in(import_files: str | None) -> dict[str, Any] | None:
    """Return what a request says of its variables, as its part is told; None when there are none."""
    files = json.loads(import_files or "{}")
    settings: dict[str, Any] | None = json.loads(files[SETTINGS])["parts"].get(PART) if SETTINGS in files else None
    return settings


def _blobs(leaves: list[tuple[dict[str, Any], Write]]) -> list[Blob]:
    """Return what holds the leaves, and note in each leaf where it is."""
    blobs: list[Blob] = []
    small = [(leaf, write) for leaf, write in leaves if leaf["size"] < ALONE]
    for leaf, write in leaves:
        if leaf["size"] >= ALONE:
            leaf.update(blob=len(blobs), at=0)
            blobs.append(_blob(leaf["size"], write))
    at = 0
    for leaf, _ in small:
        leaf.update(blob=len(blobs), at=at)
        at += leaf["size"]
    if small:
        blobs.append(_blob(at, _joined([write for _, write in small])))
    return blobs


def _joined(writes: list[Write]) -> Write:
    def write(sink: Callable[[Any], object]) -> None:
        for one in writes:
            one(sink)

    return write


def _blob(size: int, write: Write) -> Blob:
    return Blob(fingerprint(write), size, write)


def size_label(size: float) -> str:
    """Return a number of bytes in words, such as ``1.2 GB``."""
    if size == 1:
        return "1 byte"
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
