"""What a run brings along and takes back: which bytes, under which names, and what is shown of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.metadata import CARRY_KEY, OUTPUTS_KEY, PICKLE_KEY
from lk_jupyter.protocol.parts import RemoteModule, cloudpickle_files, part_settings
from lk_jupyter.remote.values import envelope
from lk_jupyter.runs.variables.fingerprint import Write, fingerprint
from lk_jupyter.text.units import size_label

PART = "script.variables"
NEEDS = ("values",)

#: More modules for runs with --carry.
CARRY_NEEDS = ("carry", "ambient", "script.files")


#: Leaves of at least so many bytes are objects of the bucket by themselves; smaller ones share one.
ALONE = 1024 * 1024

#: Libraries that take long to import: a run does so first, in one go, where a value needs one.
_LARGE = {"numpy", "pandas", "pyarrow", "polars", "torch"}

#: Variables that the status line names.
_NAMED = 6

#: Files that go along at most because values name them, and how many of a folder are asked for one by one.
_MOST_FILES, _ASKED_ALONE = 1000, 20

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
class Origin:
    """What a run's state was made of here: token → object, name → value, and id of every name's value then.

    ``digests`` is token, or name of an output, → what the object held then; ``files`` is name → SHA-256 of the files
    that were uploaded; the names of folders end in a slash.
    """

    tokens: Mapping[int, Any]
    values: Mapping[str, Any]
    ids: Mapping[str, int]
    digests: Mapping[int | str, str | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VariablePayload:
    """The variables of one run: the values that it brings, and the names of the variables that it sends back."""

    inputs: tuple[Sent, ...] = ()
    outputs: tuple[str, ...] = ()
    blobs: tuple[Blob, ...] = ()
    modules: frozenset[str] = frozenset()
    named_files: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = field(default=None, repr=False, compare=False)
    size_allowed: bool = False

    @property
    def carries(self) -> bool:
        """Whether what the cell reads goes and what it changes comes back, without names being asked for."""
        return bool(self.settings.get("carry"))

    @property
    def parts(self) -> list[RemoteModule]:
        """What travels with the code; nothing where there are no variables."""
        if self.carries:
            return [RemoteModule(PART, self.settings, (*NEEDS, *CARRY_NEEDS), cloudpickle_files())]
        return [RemoteModule(PART, self.settings, NEEDS)] if self.inputs or self.outputs else []

    @property
    def metadata(self) -> dict[str, str]:
        """What the run's metadata says, so that what it sends back is found from anywhere."""
        if self.carries:
            return {CARRY_KEY: "yes", **({OUTPUTS_KEY: ",".join(self.outputs)} if self.outputs else {})}
        pickled = {PICKLE_KEY: "yes"} if self.settings.get("pickle") else {}
        return {OUTPUTS_KEY: ",".join(self.outputs), **pickled} if self.outputs else {}

    @property
    def facts(self) -> list[str]:
        """What the status line says."""
        if not self.inputs:
            return []
        total = size_label(sum(sent.size for sent in self.inputs))
        if not self.carries:
            return [f"brings {', '.join(sent.name for sent in self.inputs)} ({total})"]
        first = sorted(self.inputs, key=lambda sent: -sent.size)[:_NAMED]
        named = ", ".join(f"{sent.name} {size_label(sent.size)}" for sent in first)
        more = f" +{len(self.inputs) - _NAMED}, {total} in all" if len(self.inputs) > _NAMED else ""
        return [f"brings {named}{more}"]


def asked_for(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names that a run was asked to send back, as its metadata has them."""
    return [name for name in str(metadata.get(OUTPUTS_KEY, "")).split(",") if name.isidentifier()]


def pack(
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    *,
    pickle: bool = False,
    namespace: Mapping[str, Any] | None = None,
) -> VariablePayload:
    """Make a parcel; nothing is sent. Raises UsageError with each value that cannot be sent, and why.

    ``namespace`` has the values that the outputs replace.
    """
    message = envelope.Envelope(pickle)
    for name, value in inputs.items():
        message.add(name, value)
    if message.refused:
        raise UsageError("\n".join([*message.refused.values(), "Nothing was sent."]))
    blobs = _blobs(message.large)
    settings = _settings(message.text() if inputs else "", blobs, outputs, message.modules)
    settings.update(pickle=pickle, carry=0)
    sent = (Sent(name, type(value).__name__, message.sizes[name]) for name, value in inputs.items())
    modules = frozenset(message.modules)
    origin = _before(outputs, namespace)
    return VariablePayload(tuple(sent), tuple(outputs), tuple(blobs), modules, settings=settings, origin=origin)


def _before(names: Sequence[str], namespace: Mapping[str, Any] | None) -> Origin | None:
    """Return what the outputs of a run were here before it."""
    if namespace is None or not names:
        return None
    from lk_jupyter.remote.carry.digests import digest_here  # noqa: PLC0415 (imports cloudpickle)

    values = {name: namespace[name] for name in names if name in namespace}
    digests: dict[int | str, str | None] = {name: digest_here(value, fingerprint) for name, value in values.items()}
    return Origin({}, {}, {name: id(value) for name, value in values.items()}, digests)


def _settings(
    text: Any, blobs: list[Blob], outputs: Sequence[str], modules: Iterable[str], *, returns: bool = False
) -> dict[str, Any]:
    """Return the settings of the part in the run; a long message is one more blob."""
    if len(text) > LONG_MESSAGE:
        content = text.encode("ascii")
        blob = _blob(len(content), lambda sink: sink(content))
        text = {"blob": len(blobs), "at": 0, "size": len(content), "sha256": blob.key}
        blobs.append(blob)
    return {
        "message": text,
        "blobs": [[blob.key, blob.size] for blob in blobs],
        "outputs": list(outputs),
        "slots": list(SLOTS) if outputs or returns else [],
        "libraries": sorted(_LARGE.intersection(modules)),
    }


def pack_state(  # noqa: PLR0913, PLR0917 (each is another choice)
    names: Sequence[str],
    namespace: Mapping[str, Any],
    outputs: Sequence[str],
    limit: int,
    others: Iterable[str] = (),
    kept: Mapping[str, str | None] | None = None,
    code: str = "",
) -> VariablePayload:
    """Make a parcel of what a cell reads, with what its functions read; nothing is sent.

    Args:
        names: variables that the cell reads.
        namespace: all variables.
        outputs: names that come back even where they have not changed.
        limit: bytes of one variable that comes back without being asked for.
        others: variables that go too where they can be sent.
        kept: name → digest of what the run has already; such a value is sent only if it changed since.
        code: the cell: submodules that it names are imported in the run too.

    Raises:
        UsageError: a variable that the cell reads cannot be sent; says why for each.
    """
    from lk_jupyter.remote import ambient  # noqa: PLC0415 (imports what only this needs)
    from lk_jupyter.remote.carry.base import words_of  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.digests import Kept  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.reader import formula_names  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.writer import submodules_of  # noqa: PLC0415 (imports cloudpickle)

    left_out: dict[str, str] = {}
    there = Kept(namespace, kept or {})
    in_formulas = sorted(set().union(*(formula_names(namespace[name]) for name in names)) & namespace.keys())
    wanted = list(dict.fromkeys([*in_formulas, *names, *others]))
    has_magics = "%" in code or "magic" in code
    while (made := _departing(wanted, namespace, left_out, there, has_magics=has_magics)) is None:
        pass
    departing, values = made
    if refused := [left_out[name] for name in names if name in left_out]:
        raise UsageError("\n".join([*refused, "Nothing was sent."]))
    departing.submodules = submodules_of(values.values(), words_of(code) | departing.writer.words)
    blobs = _blobs(departing.message.large)
    text = departing.text(ambient=ambient.here(), left_out=left_out)
    settings = {
        **_settings(text, blobs, outputs, departing.writer.modules, returns=True),
        "pickle": True,
        "carry": limit,
        "kept": there.tokens,
    }
    stays = set(there.tokens.values())
    sent = (
        Sent(name, type(value).__name__, departing.sizes[name]) for name, value in values.items() if name not in stays
    )
    tokens = {**departing.writer.tokens(), **there.values}
    origin = Origin(tokens, values, {name: id(value) for name, value in namespace.items()})
    modules = frozenset(departing.writer.modules)
    files = frozenset(islice(_files_in(departing.writer.named), _MOST_FILES))
    return VariablePayload(tuple(sent), tuple(outputs), tuple(blobs), modules, files, settings, origin)


def _files_in(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts that name files. A folder is listed where many are in question: some disks answer slowly."""
    folders: dict[str, list[tuple[str, str]]] = {}
    for text in sorted(texts):
        folder, name = os.path.split(text)
        folders.setdefault(folder, []).append((text, name))
    for folder, inside in folders.items():
        with suppress(OSError, ValueError):  # there is no such folder
            there = set(os.listdir(folder or os.curdir)) if len(inside) > _ASKED_ALONE else None  # noqa: PTH208 (names)
            for text, name in inside:
                if (there is None or name in there) and os.path.isfile(text):  # noqa: PTH113 (any text)
                    yield text


def with_digests(parcel: VariablePayload) -> VariablePayload:
    """Return a parcel that knows what its objects hold now: the notebook may change them while the run is active."""
    from lk_jupyter.remote.carry.digests import digests_of  # noqa: PLC0415 (imports cloudpickle)

    origin = parcel.origin and replace(parcel.origin, digests=digests_of(parcel.origin.tokens, fingerprint))
    return replace(parcel, origin=origin)


def changed_environment() -> dict[str, str]:
    """Return the variables of the environment that this kernel has set and a run gets."""
    from lk_jupyter.remote import ambient  # noqa: PLC0415 (imports what only this needs)

    changed: dict[str, str] = ambient.changed_environment()
    return changed


def _departing(
    names: Sequence[str], namespace: Mapping[str, Any], left_out: dict[str, str], there: Any, *, has_magics: bool
) -> Any:
    """Return the pickles of the variables, and the variables; None where one is left out now, to start again."""
    from lk_jupyter.remote.carry.base import Refused  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.nameless import NAMELESS  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.writer import Departing  # noqa: PLC0415 (imports cloudpickle)

    departing = Departing(there)
    departing.share([namespace[name] for name in names])
    values: dict[str, Any] = {}
    unsent = {*left_out, *(() if has_magics else ("IPython's magics",))}
    states: Mapping[str, Any] = NAMELESS
    nameless = {name: state for name, (of, _) in states.items() if name not in unsent and (state := of())}
    waiting = {name: namespace[name] for name in names if name not in left_out}
    while waiting or nameless:
        for name, value in {**waiting, **nameless}.items():
            try:
                departing.add("name", name, value, name)
            except Refused as error:
                left_out[name] = f"{name} {error}"
                return None
        values |= waiting
        extensions = nameless.get("IPython's magics", {}).get("extensions", ())
        departing.writer.modules |= {name.partition(".")[0] for name in extensions}
        nameless = {}  # functions in them read variables too
        read = sorted(departing.writer.read - values.keys() - left_out.keys())
        waiting = {name: namespace[name] for name in read if name in namespace}
    departing.close()
    return departing, values


def settings_in(import_files: str | None) -> dict[str, Any] | None:
    """Return the settings of a request about its variables, as its part gets them; None when there are none."""
    return part_settings(import_files, PART)


def _blobs(leaves: list[tuple[dict[str, Any], Write]]) -> list[Blob]:
    """Return what holds the leaves, and note in each leaf where it is."""
    blobs: list[Blob] = []
    small = [(leaf, write) for leaf, write in leaves if leaf["size"] < ALONE]
    for leaf, write in leaves:
        if leaf["size"] >= ALONE:
            leaf.update(blob=len(blobs), at=0)
            blobs.append(_blob(leaf["size"], write))
            leaf["sha256"] = blobs[-1].key
    at = 0
    for leaf, write in small:
        leaf.update(blob=len(blobs), at=at, sha256=fingerprint(write))
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
