"""Pack the variables that a run gets, and list the variables that a run returns."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from itertools import islice, pairwise
from typing import Any

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.metadata import CARRY_KEY, OUTPUTS_KEY, PICKLE_KEY
from lk_jupyter.protocol.parts import CLOUDPICKLE, RemoteModule, read_part_settings
from lk_jupyter.remote.values import envelope
from lk_jupyter.runs.variables.fingerprint import Write, fingerprint, fingerprint_parts
from lk_jupyter.text.units import size_label

PART = "script.variables"
NEEDS = ("values", "script.stop")

#: More modules for runs with --sync.
CARRY_NEEDS = ("carry", "ambient", "script.files", "script.moment", CLOUDPICKLE)


#: Leaves of at least this many bytes are separate objects of the bucket; smaller leaves share an object.
ALONE = 1024 * 1024

#: Leaves of at least this many bytes are cut into objects, at most about twice as many as ``_MAX_PARTS``.
CUT, _MAX_PARTS = 8 * 1024 * 1024, 16

#: Libraries that take long to import: a run whose values need any of these imports them together, first.
_LARGE = {"numpy", "pandas", "pyarrow", "polars", "torch"}

#: The maximum number of variables in the status line.
_MAX_NAMES = 6

#: The maximum number of uploaded files that values name, and of separate lookups in a folder.
_MAX_FILES, _MAX_LOOKUPS = 1000, 20

#: A message of more bytes is uploaded to the bucket.
LONG_MESSAGE = 64 * 1024

#: Bytes of the objects that returned values are cut into, in the order in which the run fills these objects.
SLOTS = (256 * 1024 * 1024,) * 12 + (4 * 1024**3,) * 6


@dataclass(frozen=True)
class Blob:
    """An object of the bucket with values of a run; the key is the SHA-256 of the content."""

    key: str
    size: int
    write: Write = field(repr=False)


@dataclass(frozen=True)
class VariableSummary:
    """The name, the type and the bytes of a variable, for lists and messages."""

    name: str
    kind: str
    size: int

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}, {size_label(self.size)})"


@dataclass(frozen=True)
class Origin:
    """The objects of the notebook that a run was started with.

    ``tokens`` is token → object, ``values`` name → value, ``ids`` name → id of the value at the start of the run.
    ``digests`` is token, or name of an output, → digest of the object at the start; ``files`` is name → SHA-256 of
    the uploaded files; names of folders end in a slash. ``losses`` is what values lost on their way (see
    ``remote.carry.writer``) → their names, ``separated`` are the names of values that shared memory before.
    """

    tokens: Mapping[int, Any]
    values: Mapping[str, Any]
    ids: Mapping[str, int]
    digests: Mapping[int | str, str | None] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    losses: Mapping[str, frozenset[str]] = field(default_factory=dict)
    separated: frozenset[str] = frozenset()


@dataclass(frozen=True)
class VariablePayload:
    """The variables of a run: the uploaded values, and the names of the returned variables."""

    inputs: tuple[VariableSummary, ...] = ()
    outputs: tuple[str, ...] = ()
    blobs: tuple[Blob, ...] = ()
    modules: frozenset[str] = frozenset()
    named_files: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    origin: Origin | None = field(default=None, repr=False, compare=False)
    size_allowed: bool = False

    @property
    def carries(self) -> bool:
        """Return whether the run uploads all that the cell reads, and returns all that the cell changes."""
        return bool(self.settings.get("carry"))

    @property
    def parts(self) -> list[RemoteModule]:
        """Return the modules to upload with the code; none without variables."""
        if self.carries:
            return [RemoteModule(PART, self.settings, (*NEEDS, *CARRY_NEEDS))]
        return [RemoteModule(PART, self.settings, NEEDS)] if self.inputs or self.outputs else []

    @property
    def metadata(self) -> dict[str, str]:
        """Return the metadata of the run, which lists the returned variables for every reader of the record."""
        if self.carries:
            return {CARRY_KEY: "yes", **({OUTPUTS_KEY: ",".join(self.outputs)} if self.outputs else {})}
        pickled = {PICKLE_KEY: "yes"} if self.settings.get("pickle") else {}
        return {OUTPUTS_KEY: ",".join(self.outputs), **pickled} if self.outputs else {}

    @property
    def facts(self) -> list[str]:
        """Return the facts for the status line."""
        if not self.inputs:
            return []
        total = size_label(sum(variable.size for variable in self.inputs))
        if not self.carries:
            return [f"brings {', '.join(variable.name for variable in self.inputs)} ({total})"]
        first = sorted(self.inputs, key=lambda variable: -variable.size)[:_MAX_NAMES]
        named = ", ".join(f"{variable.name} {size_label(variable.size)}" for variable in first)
        more = f" +{len(self.inputs) - _MAX_NAMES}, {total} in all" if len(self.inputs) > _MAX_NAMES else ""
        return [f"brings {named}{more}"]


def uploads_label(payload: VariablePayload) -> str:
    """Return the variables that a run got without being named, with their sizes; imported modules are left out."""
    variables = [variable for variable in payload.inputs if variable.kind != "module"] if payload.carries else []
    largest = sorted(variables, key=lambda variable: -variable.size)[:_MAX_NAMES]
    names = ", ".join(f"{variable.name} ({size_label(variable.size)})" for variable in largest)
    more = f" and {len(variables) - _MAX_NAMES} more" if len(variables) > _MAX_NAMES else ""
    return f"Sent: {names}{more}" if variables else ""


def requested_outputs(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of the variables that the metadata of a run lists as outputs."""
    return [name for name in str(metadata.get(OUTPUTS_KEY, "")).split(",") if name.isidentifier()]


def pack_values(
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    *,
    pickle: bool = False,
    namespace: Mapping[str, Any] | None = None,
) -> VariablePayload:
    """Pack the values of a run, and send nothing.

    Args:
        inputs: name → value to upload.
        outputs: names of the variables to return.
        pickle: whether values that no other format fits may be pickled.
        namespace: the variables of the notebook, which the outputs replace.

    Raises:
        UsageError: values can't be sent; lists each with the reason.
    """
    message = envelope.Envelope(pickle)
    for name, value in inputs.items():
        message.add(name, value)
    if message.refused:
        raise UsageError("\n".join([*message.refused.values(), "Nothing was sent."]))
    blobs = _assign_blobs(message.large)
    settings = _build_settings(message.text() if inputs else "", blobs, outputs, message.modules)
    settings.update(pickle=pickle, carry=0)
    summaries = (VariableSummary(name, type(value).__name__, message.sizes[name]) for name, value in inputs.items())
    modules = frozenset(message.modules)
    origin = _build_output_origin(outputs, namespace)
    return VariablePayload(tuple(summaries), tuple(outputs), tuple(blobs), modules, settings=settings, origin=origin)


def _build_output_origin(names: Sequence[str], namespace: Mapping[str, Any] | None) -> Origin | None:
    """Return the values of a run's outputs in the notebook, before the run replaces them."""
    if namespace is None or not names:
        return None
    from lk_jupyter.remote.carry.digests import digest_value  # noqa: PLC0415 (only for variables)

    values = {name: namespace[name] for name in names if name in namespace}
    digests: dict[int | str, str | None] = {name: digest_value(value, fingerprint) for name, value in values.items()}
    return Origin({}, {}, {name: id(value) for name, value in values.items()}, digests)


def _build_settings(
    text: Any, blobs: list[Blob], outputs: Sequence[str], modules: Iterable[str], *, returns: bool = False
) -> dict[str, Any]:
    """Return the settings of the module in the run; a long message becomes another blob."""
    if len(text) > LONG_MESSAGE:
        content = text.encode("ascii")
        blob = _make_blob(len(content), lambda sink: sink(content))
        text = {"blob": len(blobs), "at": 0, "size": len(content), "sha256": blob.key}
        blobs.append(blob)
    return {
        "message": text,
        "blobs": [[blob.key, blob.size] for blob in blobs],
        "outputs": list(outputs),
        "slots": list(SLOTS) if outputs or returns else [],
        "libraries": sorted(_LARGE.intersection(modules)),
    }


def pack_state(  # noqa: PLR0913, PLR0917 (independent choices)
    names: Sequence[str],
    namespace: Mapping[str, Any],
    outputs: Sequence[str],
    limit: int,
    optional_names: Iterable[str] = (),
    warm_digests: Mapping[str, str | None] | None = None,
    code: str = "",
) -> VariablePayload:
    """Pack the variables that a cell reads, and the variables that their functions read; send nothing.

    Args:
        names: variables that the cell reads.
        namespace: all variables.
        outputs: variables to return even if the run doesn't change them.
        limit: maximum bytes of a returned variable that ``outputs`` doesn't list.
        optional_names: variables to upload too, unless they can't be sent.
        warm_digests: name → digest of the value in the warm Python; only values that changed since are sent.
        code: the cell: submodules that the code names are imported in the run too.

    Raises:
        UsageError: variables that the cell reads can't be sent; lists each with the reason.
    """
    from lk_jupyter.remote import ambient  # noqa: PLC0415 (imports what only this needs)
    from lk_jupyter.remote.carry.base import code_words  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.digests import UnchangedValues, connected_graphs  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.reader import formula_names  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.writer import used_submodules  # noqa: PLC0415 (only for variables)

    refusals: dict[str, str] = {}
    formula_variables = sorted(set().union(*(formula_names(namespace[name]) for name in names)) & namespace.keys())
    selected_names = list(dict.fromkeys([*formula_variables, *names, *optional_names]))
    graphs = connected_graphs(selected_names, namespace, warm_digests) if warm_digests else {}
    selected_names = list(graphs) or selected_names
    warm_values = UnchangedValues(selected_names, namespace, warm_digests or {}, fingerprint)
    has_magics = "%" in code or "magic" in code
    pickle_variables = partial(_pickle_variables, selected_names, namespace, refusals, warm_values.common, has_magics)
    while (pickles := pickle_variables()) is None:
        pass
    departing, values = pickles
    if refused := [refusals[name] for name in names if name in refusals]:
        raise UsageError("\n".join([*refused, "Nothing was sent."]))
    departing.submodules = used_submodules(values.values(), code_words(code) | departing.writer.words)
    blobs = _assign_blobs(departing.message.large)
    text = departing.text(ambient=ambient.read_states(), left_out=refusals)
    settings = {
        **_build_settings(text, blobs, outputs, departing.writer.modules, returns=True),
        "pickle": True,
        "carry": limit,
        "kept": warm_values.tokens,
        "graphs": warm_values.graphs,
        "deleted": sorted((warm_digests or {}).keys() - namespace.keys()),
    }
    summaries = (
        VariableSummary(name, type(value).__name__, departing.sizes[name])
        for name, value in values.items()
        if name not in warm_values.names
    )
    tokens = {**departing.writer.tokens(), **warm_values.values}
    ids = {name: id(value) for name, value in namespace.items()}
    origin = Origin(
        tokens,
        values,
        ids,
        departing.leaf_digests(),
        losses={loss: frozenset(lost & values.keys()) for loss, lost in departing.losses.items()},
        separated=frozenset(departing.separated),
    )
    modules = frozenset(departing.writer.modules)
    files = frozenset(islice(_iterate_file_names(departing.writer.named), _MAX_FILES))
    return VariablePayload(tuple(summaries), tuple(outputs), tuple(blobs), modules, files, settings, origin)


def _iterate_file_names(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts that name files. Many names of a folder are looked up in its list, since some disks are slow."""
    folders: dict[str, list[tuple[str, str]]] = {}
    for text in sorted(texts):
        folder, name = os.path.split(text)
        folders.setdefault(folder, []).append((text, name))
    for folder, paths in folders.items():
        with suppress(OSError, ValueError):  # the folder doesn't exist
            listed = set(os.listdir(folder or os.curdir)) if len(paths) > _MAX_LOOKUPS else None  # noqa: PTH208 (names)
            for text, name in paths:
                if (listed is None or name in listed) and os.path.isfile(text):  # noqa: PTH113 (any text)
                    yield text


def add_digests(payload: VariablePayload) -> VariablePayload:
    """Return the payload with digests of all objects, since the notebook may change objects during the run."""
    from lk_jupyter.remote.carry.digests import digest_objects  # noqa: PLC0415 (only for variables)

    if payload.origin is None:
        return payload
    tokens, leaf_digests = payload.origin.tokens, payload.origin.digests
    digests = digest_objects(tokens, fingerprint, tokens.keys() - leaf_digests.keys())
    return replace(payload, origin=replace(payload.origin, digests={**leaf_digests, **digests}))


def value_digest(payload: VariablePayload) -> str:
    """Return a digest that equal values of the same names share, also in another process."""
    from lk_jupyter.remote.carry.digests import digest_value  # noqa: PLC0415 (only for variables)

    origin = payload.origin or Origin({}, {}, {})
    by_object = {id(value): origin.digests.get(token) for token, value in origin.tokens.items()}
    digests = {
        name: by_object.get(id(value)) or digest_value(value, fingerprint) for name, value in origin.values.items()
    }
    return sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def changed_environment() -> dict[str, str]:
    """Return the environment variables that this kernel has set, and that a run gets."""
    from lk_jupyter.remote import ambient  # noqa: PLC0415 (imports what only this needs)

    changed: dict[str, str] = ambient.changed_environment()
    return changed


def _pickle_variables(
    names: Sequence[str],
    namespace: Mapping[str, Any],
    refusals: dict[str, str],
    warm_values: Any,
    has_magics: bool,  # noqa: FBT001 (bound once)
) -> Any:
    """Return the pickles of the variables, and the variables; None after a refusal, to retry without that variable."""
    from lk_jupyter.remote.carry.base import Refused  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.kinds.memory import separated_names  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.nameless import NAMELESS  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.writer import Departing  # noqa: PLC0415 (only for variables)

    departing = Departing(warm_values)
    departing.write_shared_memory([namespace[name] for name in names])
    departing.separated = separated_names({name: namespace[name] for name in names})
    values: dict[str, Any] = {}
    unsent = {*refusals, *(() if has_magics else ("IPython's magics",))}
    states: Mapping[str, Any] = NAMELESS
    nameless = {
        name: state for name, (read_state, _) in states.items() if name not in unsent and (state := read_state())
    }
    waiting = {name: namespace[name] for name in names if name not in refusals}
    while waiting or nameless:
        for name, value in {**waiting, **nameless}.items():
            try:
                departing.add("name", name, value, name)
            except Refused as error:
                refusals[name] = f"{name} {error}"
                return None
        values |= waiting
        extensions = nameless.get("IPython's magics", {}).get("extensions", ())
        departing.writer.modules |= {name.partition(".")[0] for name in extensions}
        nameless = {}  # functions in these values read variables too
        read = sorted(departing.writer.read - values.keys() - refusals.keys())
        waiting = {name: namespace[name] for name in read if name in namespace}
    departing.close()
    return departing, values


def settings_in(import_files: str | None) -> dict[str, Any] | None:
    """Return the settings of the variables in a request's ``import_files``; None without variables."""
    return read_part_settings(import_files, PART)


def _assign_blobs(leaves: list[tuple[dict[str, Any], Write]]) -> list[Blob]:
    """Return the blobs of the leaves, and record blob, offset and SHA-256 in each leaf."""
    blobs: list[Blob] = []
    small = [(leaf, write) for leaf, write in leaves if leaf["size"] < ALONE]
    for leaf, write in leaves:
        if leaf["size"] >= ALONE:
            leaf.update(blob=len(blobs), at=0)
            if leaf["size"] < CUT:
                blobs.append(_make_blob(leaf["size"], write))
                leaf["sha256"] = blobs[-1].key
                continue
            parts = _cut_leaf(leaf["size"], write)
            keys, leaf["sha256"] = fingerprint_parts([part for _, part in parts], write)
            blobs += [Blob(key, size, part) for key, (size, part) in zip(keys, parts, strict=True)]
            if len(parts) > 1:
                leaf["count"] = len(parts)
    offset = 0
    for leaf, write in small:
        leaf.update(blob=len(blobs), at=offset, sha256=fingerprint(write))
        offset += leaf["size"]
    if small:
        blobs.append(_make_blob(offset, _join_writes([write for _, write in small])))
    return blobs


def _cut_leaf(size: int, write: Write) -> list[tuple[int, Write]]:
    """Return the sizes and writers of the parts of a leaf: a large leaf is cut where its writer starts a new array.

    An array that didn't change, such as a column of a frame, is the same part as before and isn't uploaded again.
    """
    starts, position, array_start = [0], 0, 0
    least = max(ALONE, 1 << (size // _MAX_PARTS).bit_length())  # a power of 2: similar sizes are cut alike
    most = max(CUT, least)

    def count(piece: Any) -> None:
        nonlocal position, array_start
        length = memoryview(piece).nbytes
        if length >= ALONE and position - array_start >= (least if array_start else 1):
            array_start = position
            starts.append(position)
        position += length
        while position - starts[-1] > most:
            starts.append(starts[-1] + most)

    write(count)
    return [(end - start, _slice_write(write, start, end)) for start, end in pairwise([*starts, position])]


def _slice_write(write: Write, start: int, end: int) -> Write:
    """Return a function that writes only the bytes from ``start`` to ``end``."""

    def write_slice(sink: Callable[[Any], object]) -> None:
        position = 0

        def forward(piece: Any) -> None:
            nonlocal position
            view = memoryview(piece)
            first, last = max(start - position, 0), min(end - position, view.nbytes)
            position += view.nbytes
            if first < last:
                sink(view.cast("B")[first:last])

        write(forward)

    return write_slice


def _join_writes(writes: list[Write]) -> Write:
    def write(sink: Callable[[Any], object]) -> None:
        for write_part in writes:
            write_part(sink)

    return write


def _make_blob(size: int, write: Write) -> Blob:
    return Blob(fingerprint(write), size, write)
