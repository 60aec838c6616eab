"""Apply the changes of a run with --sync to the objects of the notebook."""

from __future__ import annotations

import copy
import itertools
import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from lk_jupyter.code.syntax import future_features
from lk_jupyter.code.variables import is_imported
from lk_jupyter.errors import LkError
from lk_jupyter.protocol.bucket import VALUES
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.remote.values import envelope
from lk_jupyter.runs.variables.download import (
    CHANGED,
    NotReturned,
    Outputs,
    download_message,
    leaf_reader,
    matches_record,
)
from lk_jupyter.runs.variables.files import MEANWHILE, acceptable_files, write_files
from lk_jupyter.runs.variables.fingerprint import Write, fingerprint
from lk_jupyter.runs.variables.moment import download_moment
from lk_jupyter.runs.variables.payload import Origin
from lk_jupyter.runs.variables.remote_value import LAST, UnreturnedValue, bind_last
from lk_jupyter.text.units import size_label

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage

#: Token of a request → origin, for the last runs of this kernel, whose objects are changed in place.
_origins: OrderedDict[str, Origin] = OrderedDict()
_MAX_ORIGINS = 16

#: The maximum number of files in the receipt.
_MAX_FILES = 6

#: Types whose equal values are the same to a notebook.
_PLAIN = (bool, int, float, complex, str, bytes)

#: Names that IPython sets in every notebook, which a cell may set too.
_IPYTHON_NAMES = {"In", "Out", "get_ipython", "exit", "quit", "open"}

#: The notice about computed tensors: a run returns their values only.
_DETACHED = "Tensors returned without the graph of their computation: {} (to call backward() later: --session NAME)"
_DETACHED_IN_SESSION = (
    "These tensors were returned without the graph of their computation: {}. The graph stays in the session."
)

#: Ends the reason of each object that only the session has.
_STAYS = "; the session still has it"

#: What values lose in either direction → its notice, once per kernel.
_LOSSES = {
    "text set": (
        "The order of the text in these sets differs between processes: {}. "
        "For the same order everywhere, use sorted(...)."
    ),
    "memo": "These functions lost the results that lru_cache keeps: {}. The results are calculated again.",
    "traceback": "These exceptions lost their traceback: {}. Print it in the cell that catches the exception.",
    "handlers": "The handlers of these loggers stay here, so lines of the run don't reach them: {}.",
}

#: The notice about memory that only arrays keep sharing, once per kernel.
_SEPARATED = "These variables no longer share memory: {}. In a run, only NumPy arrays keep sharing memory."

#: The notice about computed tensors that were sent.
_DETACHED_INPUTS = (
    "Tensors sent without the graph of their computation: {}. Call backward() in the cell that computes the tensor."
)

_reported: set[str] = set()


#: Name → value that the last comparison of several runs set here: none of these is a change by the user.
_compared: dict[str, Any] = {}


def note_compared(values: Mapping[str, Any]) -> None:
    """Store the values that a comparison of runs set in the notebook, which one of its runs may replace."""
    _compared.clear()
    _compared.update(values)


def _is_compared(name: str, value: Any) -> bool:
    return name in _compared and value is _compared[name]


def remember(token: str, origin: Origin | None) -> None:
    """Store the origin of a run that is submitted."""
    if origin is not None:
        _origins[token] = origin
        while len(_origins) > _MAX_ORIGINS:
            _origins.popitem(last=False)


def recall(token: str) -> Origin | None:
    """Return the origin of a run of this kernel, once: changes are applied once."""
    return _origins.pop(token, None)


@dataclass
class ChangedState:
    """The changes of a run, in copies or in the objects of the run's origin.

    - ``names``: name → value of the variables that the run bound; ``changed`` of the variables that changed in place.
    - ``unnamed``: the last value that the run displayed, formatters, and widgets of outputs.
    - ``deleted``: deleted variables; ``removed``: files that were deleted in the kernel's folder.
    - ``missing``: name → reason for each change that didn't arrive; ``sizes``: name → bytes.
    - ``ambient``: module → state.
    - ``replaced``: pairs of an object that couldn't change in place, and the new value.
    - ``conflicts``: pairs of an object that the notebook changed meanwhile, and the value of the run.
    - ``mixed``: name → value of the run, for values that contain such an object.
    - ``written``: name → name under which a file of the run was written.
    - ``losses``: what returned values lost on their way (see ``remote.carry.writer``) → their names.
    - ``separated``: names of values that shared memory before the transfer.
    - ``handles``: name → kind and bytes of new values that stay on the machine of a session.
    - ``moment``: when a killed run saved this state, in seconds since 1970; None for the state at the end.
    - ``last``: the type of the last shown value if the value wasn't returned, else empty.
    - ``refused``: name → reason of the peer for each change that can't be sent.
    """

    names: dict[str, Any] = field(default_factory=dict)
    unnamed: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    ambient: dict[str, str] = field(default_factory=dict)
    replaced: list[tuple[Any, Any]] = field(default_factory=list)
    conflicts: list[tuple[Any, Any]] = field(default_factory=list)
    mixed: dict[str, Any] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    losses: dict[str, list[str]] = field(default_factory=dict)
    separated: list[str] = field(default_factory=list)
    handles: dict[str, tuple[str, int]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    last: str = ""
    origin: Origin | None = None
    moment: float | None = None

    def outputs(self, names: Sequence[str] = ()) -> Outputs:
        """Return name → value of all changed variables, or of ``names``."""
        values = {**self.changed, **self.names}
        selected_names = names or list(values)
        lacking = {name: f"{name} was not changed by the run" for name in names if name not in values}
        return Outputs({name: values[name] for name in selected_names if name in values}, {**lacking, **self.missing})

    def put(self, namespace: MutableMapping[str, Any]) -> dict[str, str]:
        """Set and delete the variables; return name → new name for variables whose value changed meanwhile."""
        from lk_jupyter.remote import ambient  # noqa: PLC0415 (imports what only this needs)
        from lk_jupyter.remote.carry.kinds.widgets import OUTPUT_PREFIX, show_widget  # noqa: PLC0415 (imports what only this needs)
        from lk_jupyter.remote.carry.nameless import FILES, put_nameless  # noqa: PLC0415 (imports what only this needs)

        new_names: dict[str, str] = {}
        if not (self.origin and self.origin.ids):  # copies
            namespace.update(self.changed)
        self._bind_new_objects(namespace)
        conflicts = {name: new for old, new in self.conflicts for name, value in namespace.items() if value is old}
        for name, value in {**self.mixed, **conflicts}.items():
            namespace[name + MEANWHILE] = value
            new_names[name] = name + MEANWHILE
        self._set_last(namespace)
        put_nameless(self.unnamed)
        _keep_future(self.names, namespace)
        self._write_files(self.unnamed.get(FILES, {}))
        for name, value in self.unnamed.items():
            if name.startswith(OUTPUT_PREFIX):
                show_widget(name, value)
        for name, value in self.names.items():
            place = name + MEANWHILE if self._has_another(name, namespace, value) else name
            namespace[place] = value
            if place != name:
                new_names[name] = place
        for name in self.deleted:
            if not self._has_another(name, namespace):
                namespace.pop(name, None)
        self.missing.update(ambient.set_states(self.ambient))
        return new_names

    def _set_last(self, namespace: MutableMapping[str, Any]) -> None:
        """Set ``_`` to the last value that the run displayed, or to a handle that explains its absence."""
        if LAST in self.unnamed:
            _show_as_last(self.unnamed[LAST], namespace)
        elif self.last:
            bind_last(UnreturnedValue(LAST, kind=self.last), namespace)

    def _bind_new_objects(self, namespace: MutableMapping[str, Any]) -> None:
        """Bind the new values of objects that couldn't change in place."""
        for old, new in self.replaced:
            for name in [name for name, value in namespace.items() if value is old]:
                namespace[name] = new

    def _has_another(self, name: str, namespace: Mapping[str, Any], returned: Any = None) -> bool:
        """Return whether the user has given a name another value since the start, and another than the run's."""
        ids = self.origin.ids if self.origin else {}
        if not ids or name not in namespace or (name in _IPYTHON_NAMES and name not in ids):
            return False
        value = namespace[name]
        if id(value) == ids.get(name) or _is_compared(name, value):
            return False
        return not (isinstance(value, _PLAIN) and type(value) is type(returned) and value == returned)

    def _write_files(self, files: Mapping[str, bytes | None]) -> None:
        """Write and delete the files as the run did."""
        from lk_jupyter.remote.carry.kinds.files import end_gap  # noqa: PLC0415 (only for variables)

        changes = write_files(files, self.origin.files if self.origin else {})
        self.written.update(changes.written)
        self.removed += changes.removed
        self.missing.update(changes.missing)
        open_files = {**(self.origin.values if self.origin else {}), **self.names}
        self.missing.update(
            (name, f"{name} is an open file, whose text from the run isn't here: it continues at the end of the file")
            for name, value in open_files.items()
            if end_gap(value)
        )

    def words(self, names: Sequence[str]) -> str:
        """Return names with their sizes, as text."""
        return ", ".join(f"{name} ({size_label(self.sizes[name])})" if name in self.sizes else name for name in names)


def _keep_future(names: Mapping[str, Any], namespace: Mapping[str, Any]) -> None:
    """Turn on the ``__future__`` features that the run imported, for later cells of the notebook."""
    features = future_features(names.values())
    shell: Any = namespace["get_ipython"]() if features and "get_ipython" in namespace else None
    compiler: Any = getattr(shell, "compile", None)
    for feature in features if hasattr(compiler, "flags") else ():
        compiler.flags |= feature.compiler_flag


def _show_as_last(value: Any, namespace: MutableMapping[str, Any]) -> None:
    """Set ``_`` and ``Out`` as IPython does after it displays a value."""
    shell: Any = namespace["get_ipython"]() if "get_ipython" in namespace else None
    if shell is not None and hasattr(shell, "displayhook"):
        shell.displayhook.update_user_ns(value)
    else:
        namespace[LAST] = value


def download_changes(  # noqa: PLR0913, PLR0917 (independent facts about a run)
    storage: Storage,
    token: str,
    record: Mapping[str, Any] | None,
    origin: Origin | None,
    load_origin: Callable[[], Origin],
    key: bytes | None = None,
) -> ChangedState:
    """Download the changes of a run and apply them, if the message in the bucket matches the ``record`` in the log.

    The message contains pickles, which execute code: callers make sure that this machine started the run. Without an
    ``origin``, the changes are applied to the copies of ``load_origin``. A run that was killed returns its last saved
    moment, if ``key`` has signed the moment. Raises StorageError.
    """
    try:
        message = download_message(storage, token, record)
    except NotReturned as reason:
        moment = download_moment(storage, token, key) if record is None else None
        if moment is not None:
            read_leaf = envelope.packed_leaf_reader(moment.leaves)
            state = read_state(moment.message, storage, token, origin, load_origin, read_leaf)
            state.moment = moment.at
            return state
        return ChangedState(missing={"state": f"The record of the changed variables {reason}"})
    return read_state(message, storage, token, origin, load_origin)


def read_state(  # noqa: PLR0913, PLR0917 (independent facts about a run)
    message: bytes | str,
    storage: Storage,
    token: str,
    origin: Origin | None,
    load_origin: Callable[[], Origin],
    read_leaf: Callable[[dict[str, Any]], Any] | None = None,
) -> ChangedState:
    """Apply the changes in a message, whose large parts ``read_leaf`` returns. Raises StorageError.

    Default: the large parts are objects of the bucket.
    """
    from lk_jupyter.remote.carry.base import suppress_prints  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.reader import Arriving  # noqa: PLC0415 (only for variables)

    def read_quietly(target: Origin) -> ChangedState:
        with suppress_prints():
            return read(target)

    def read(target: Origin) -> ChangedState:
        leaf = read_leaf or leaf_reader(storage, token, partial(_find_local_leaf, target))
        return apply_changes(Arriving(load_json(message), leaf, target.tokens, acceptable_files), target)

    target = load_origin() if origin is None else origin
    try:
        state = read_quietly(target)
        if state.mixed:
            _read_partial_conflicts(state, lambda: read_quietly(load_origin()))
    except LkError:
        raise
    except Exception as error:  # noqa: BLE001 (a run can write any bytes)
        return ChangedState(
            missing={"state": f"The changes of the run can't be read ({type(error).__name__}: {error})"}
        )
    return state


def _find_local_leaf(origin: Origin, place: Any) -> Write | None:
    """Return the writer of a leaf of a local object, by token and number; None without such a leaf."""
    from lk_jupyter.remote.carry.shared import encode_leaf  # noqa: PLC0415 (only for variables)

    with suppress(Exception):  # a run can write any place, and an object can raise any error
        token, number = place
        leaf: Any = encode_leaf(origin.tokens[token])
        write: Write = leaf[1][number]
        return write
    return None


def _read_partial_conflicts(state: ChangedState, read: Callable[[], ChangedState]) -> None:
    """Read the values of ``mixed`` from copies. A session that lacks a part of these values makes them missing."""
    mixed, state.mixed = state.mixed, {}
    try:
        changed = read().changed
        state.mixed = {name: changed[name] for name in mixed}
    except Exception:  # noqa: BLE001 (a missing part raises many kinds of errors)
        words = "{} changed in this notebook during the run, so the changes by the run were left out"
        state.missing.update({name: words.format(name) for name in mixed})


def apply_changes(arriving: Any, origin: Origin) -> ChangedState:
    """Read all values, then change the objects, so that an unreadable message changes nothing."""
    from lk_jupyter.remote import ambient  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.kinds.widgets import OUTPUT_PREFIX  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.nameless import FILES, NAMELESS  # noqa: PLC0415 (only for variables)

    listed = arriving.listed
    state = ChangedState(deleted=list(listed["gone"]), sizes=dict(listed["sizes"]), ambient=dict(listed["ambient"]))
    state.origin = origin
    state.losses = {
        str(loss): sorted({*map(str, names)} - NAMELESS.keys()) for loss, names in listed.get("losses", {}).items()
    }
    state.refused = dict(listed["refused"])
    state.handles = {name: (str(kind), int(size)) for name, (kind, size) in dict(listed.get("handles", {})).items()}
    state.last = str(listed.get("last", ""))
    state.separated = sorted({*origin.separated, *listed.get("separated", ())})
    local_changes = _find_local_changes(origin, {entry["n"] for entry in listed["entries"] if entry["k"] != "name"})
    ambient.set_paths(state.ambient)
    entries = list(arriving.read())  # a class that is read again gets its methods again
    named = set(map(id, origin.values.values()))
    for entry, value in entries:
        if entry["k"] == "name":
            unnamed = (LAST, FILES, *NAMELESS)
            is_unnamed = entry["n"] in unnamed or entry["n"].startswith(OUTPUT_PREFIX)
            names = state.unnamed if is_unnamed else state.names
            names[entry["n"]] = value
            continue
        old = origin.tokens[entry["n"]]
        if entry["n"] in local_changes:
            if id(old) in named or entry["of"] not in origin.values:
                state.conflicts.append((old, _build_replacement(old, entry, value)))
            else:
                state.mixed[entry["of"]] = None
            continue
        if reason := _change_object(state, old, entry, value, partial(_build_replacement, old, entry, value)):
            state.missing[entry["of"]] = f"{entry['of']} {reason}"
            continue
        if entry["of"] in origin.values:
            state.changed[entry["of"]] = origin.values[entry["of"]]
    for old, new in state.replaced:
        state.changed = {name: new if value is old else value for name, value in state.changed.items()}
    missing = {**listed["refused"], **arriving.refused}  # a picture replaces a widget that didn't arrive
    state.missing.update((name, why) for name, why in missing.items() if not name.startswith(OUTPUT_PREFIX))
    return state


def _change_object(
    state: ChangedState, old: Any, entry: Mapping[str, Any], value: Any, another: Callable[[], Any]
) -> str:
    """Change an object as the run did, or replace the object; return a reason if both fail."""
    from lk_jupyter.remote.carry.base import Refused  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.kinds.libraries import change_leaf  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.kinds.table import change_content  # noqa: PLC0415 (only for variables)

    try:
        if entry["k"] == "leaf":
            change_leaf(old, value)
        else:
            change_content(old, value)
    except Refused as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001 (an object can raise any error)
        new = another()
        if new is old:
            return f"is unchanged, because the object refused the changes by the run ({type(error).__name__})"
        state.replaced.append((old, new))
    return ""


def _find_local_changes(origin: Origin, tokens: set[Any]) -> set[Any]:
    """Return the tokens whose objects the notebook changed since the run was submitted.

    An object that pickles differently each time counts as unchanged.
    """
    from lk_jupyter.remote.carry.digests import digest_objects  # noqa: PLC0415 (only for variables)

    if not origin.digests:
        return set()
    now = digest_objects(origin.tokens, fingerprint, tokens)
    other = {token for token in tokens if now.get(token) != origin.digests.get(token)}
    again = digest_objects(origin.tokens, fingerprint, other) if other else {}
    return {token for token in other if again.get(token) == now.get(token)}


def _build_replacement(old: Any, entry: Mapping[str, Any], value: Any) -> Any:
    """Return a new object with the value of the run."""
    return value if entry["k"] == "leaf" else _copy_with(old, value)


def _copy_with(old: Any, content: Any) -> Any:
    """Return a copy of an object with new content; the object unchanged if copying fails."""
    from lk_jupyter.remote.carry.kinds import databases  # noqa: PLC0415 (only for variables)
    from lk_jupyter.remote.carry.kinds.table import change_content  # noqa: PLC0415 (only for variables)

    try:
        if isinstance(old, getattr(sys.modules.get("sqlite3"), "Connection", ())):
            return databases.open_database(content)
        new = copy.copy(old)
        change_content(new, content)
    except Exception:  # noqa: BLE001 (an object can raise any error)
        return old
    return new


def set_state(
    state: ChangedState, namespace: MutableMapping[str, Any], after: str = "", *, in_session: bool = False
) -> list[Notice]:
    """Set the variables that a run changed, and return notices with their names, followed by ``after``.

    Names of imported modules, classes and functions are set, and left out of the notices.
    Notices for a run recommend a session, and notices for a cell ``in_session`` don't.
    """
    if in_session:
        from lk_jupyter.remote.carry.base import IN_SESSION  # noqa: PLC0415 (only for variables)

        state.missing = {name: why.replace(IN_SESSION, _STAYS) for name, why in state.missing.items()}
    new_names = state.put(namespace)
    input_losses = state.origin.losses if state.origin else {}
    changes = {
        "Set here": [name for name, value in state.names.items() if name not in new_names and not is_imported(value)],
        "Changed here": list(state.changed.keys() - state.names.keys()),
        "Deleted here": [*state.deleted, *state.removed],
    }
    sentences = [f"{how}: {state.words(sorted(names))}" for how, names in changes.items() if names]
    if same := sorted(name for name, place in state.written.items() if name == place):
        more = f" +{len(same) - _MAX_FILES}" if len(same) > _MAX_FILES else ""
        sentences.append(f"Written here: {', '.join(same[:_MAX_FILES])}{more}")
    new_names |= {name: place for name, place in state.written.items() if name != place}
    if detached := state.losses.get("graph"):
        words = _DETACHED_IN_SESSION if in_session else _DETACHED
        sentences.append(words.format(", ".join(detached)))
    return [
        *([Notice(" · ".join(sentences) + after)] if sentences else []),
        *(Notice(f"{reason}.", WARNING) for reason in [*_format_conflicts(new_names), *state.missing.values()]),
        *_build_notice_once(_DETACHED_INPUTS, input_losses.get("graph", ())),
        *_build_notice_once(_SEPARATED, state.separated),
        *itertools.chain.from_iterable(
            _build_notice_once(text, {*input_losses.get(loss, ()), *state.losses.get(loss, ())})
            for loss, text in _LOSSES.items()
        ),
    ]


def _build_notice_once(text: str, names: Collection[str]) -> list[Notice]:
    """Return the notice about these names, if this kernel hasn't shown the notice before."""
    if not names or text in _reported:
        return []
    _reported.add(text)
    return [Notice(text.format(", ".join(sorted(names))), WARNING)]


def _format_conflicts(new_names: Mapping[str, str]) -> list[str]:
    words = "{} changed in this notebook during the run, so the value from the run is in {}"
    return [words.format(name, place) for name, place in new_names.items()]


def set_outputs(
    outputs: Outputs, origin: Origin | None, namespace: MutableMapping[str, Any], after: str = ""
) -> list[Notice]:
    """Set outputs of a run, and return notices with their names; values that changed meanwhile keep their names."""
    from lk_jupyter.remote.carry.digests import digest_value  # noqa: PLC0415 (only for variables)

    ids, digests = (origin.ids, origin.digests) if origin else ({}, {})
    new_names = {
        name: name + MEANWHILE
        for name in outputs
        if origin is not None
        and name in namespace
        and not _is_compared(name, namespace[name])
        and (id(namespace[name]), digest_value(namespace[name], fingerprint)) != (ids.get(name), digests.get(name))
    }
    namespace.update({new_names.get(name, name): value for name, value in outputs.items()})
    names = [name for name in outputs if name not in new_names]
    return [
        *([Notice(f"Set here: {', '.join(names)}{after}")] if names else []),
        *(Notice(f"{reason}.", WARNING) for reason in [*_format_conflicts(new_names), *outputs.missing.values()]),
    ]


def origin_loader(settings: Mapping[str, Any], read: Callable[[int, int, int], bytes]) -> Callable[[], Origin]:
    """Return a function that rebuilds the origin of a run from the settings of the request and the blobs."""

    def load() -> Origin:
        from lk_jupyter.remote.carry.reader import Arriving  # noqa: PLC0415 (only for variables)

        def read_leaf(node: dict[str, Any]) -> Any:
            blobs = range(node["blob"], node["blob"] + node.get("count", 1))
            sizes = {blob: settings["blobs"][blob][1] if "count" in node else node["size"] for blob in blobs}
            content = bytearray().join(read(blob, node["at"], size) for blob, size in sizes.items())
            if not matches_record(content, node):
                raise NotReturned(CHANGED)
            return content

        message = settings["message"]
        content = load_json(bytes(read_leaf(message)) if isinstance(message, dict) else message)
        arriving = Arriving(content, read_leaf)
        values = {entry["n"]: value for entry, value in arriving.read()}
        return Origin(arriving.reader.tokens(), values, {})

    return load


def blob_reader(storage: Storage, settings: Mapping[str, Any]) -> Callable[[int, int, int], bytes]:
    """Return a function that reads bytes of a blob from the bucket."""

    def read(blob: int, offset: int, size: int) -> bytes:
        memory = bytearray(size)
        with memoryview(memory) as view:
            storage.get_into(VALUES + settings["blobs"][blob][0], view, offset)
        return bytes(memory)

    return read
