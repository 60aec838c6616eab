"""What a run with --carry has changed, and how it gets into the objects here."""

from __future__ import annotations
import __future__

import copy
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import LkError
from lk_jupyter.protocol.bucket import VALUES
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.variables.download import CHANGED, NotReturned, Outputs, is_as_said, leaf_reader, message_of
from lk_jupyter.runs.variables.files import MEANWHILE, acceptable_files, write_files
from lk_jupyter.runs.variables.fingerprint import fingerprint
from lk_jupyter.runs.variables.payload import Origin
from lk_jupyter.text.units import size_label

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage

#: Origins of the last runs of this kernel, by the token of their request: their objects are changed in place.
_origins: OrderedDict[str, Origin] = OrderedDict()
_KEPT = 16

#: Files that the receipt names.
_FILES = 6

#: Names that IPython sets in every notebook, which a cell may set too.
_OF_IPYTHON = {"In", "Out", "get_ipython", "exit", "quit", "open"}

#: The value of the last expression that was shown.
LAST = "_"

#: What is said of tensors that were computed: only their values travel.
_DETACHED = "Without the graph of its computation: {} (to call backward() later: --session NAME)"


def remember(token: str, origin: Origin | None) -> None:
    """Keep what a run that is sent was made of."""
    if origin is not None:
        _origins[token] = origin
        while len(_origins) > _KEPT:
            _origins.popitem(last=False)


def recall(token: str) -> Origin | None:
    """Return what a run of this kernel was made of, once: what it changes is changed once."""
    return _origins.pop(token, None)


@dataclass
class ChangedState:
    """What a run has changed, in copies or in the objects of its origin.

    ``names`` are the variables that it bound, ``unnamed`` the last value that it showed, what shows values, and
    widgets of outputs, ``changed`` the variables that changed in place, ``deleted`` the deleted variables;
    ``missing`` is name → reason for what did not come, ``sizes`` name → bytes, ``ambient`` module → state;
    ``replaced`` are objects that could not change in place, with their new values; ``apart`` are objects that were
    changed here meanwhile, with the values of the run; ``torn`` are names of values in which such an object is,
    with the values of the run; ``written`` is name → the name under which a file of the run was written here;
    ``removed`` are files that were deleted here; ``detached`` are names of values with tensors that left the graph
    that they were computed with.
    """

    names: dict[str, Any] = field(default_factory=dict)
    unnamed: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    ambient: dict[str, str] = field(default_factory=dict)
    replaced: list[tuple[Any, Any]] = field(default_factory=list)
    apart: list[tuple[Any, Any]] = field(default_factory=list)
    torn: dict[str, Any] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    detached: list[str] = field(default_factory=list)
    origin: Origin | None = None

    def outputs(self, names: Sequence[str] = ()) -> Outputs:
        """Return name → value of all that changed, or of these names."""
        found = {**self.changed, **self.names}
        wanted = names or list(found)
        lacking = {name: f"{name} was not changed by the run" for name in names if name not in found}
        return Outputs({name: found[name] for name in wanted if name in found}, {**lacking, **self.missing})

    def put(self, namespace: MutableMapping[str, Any]) -> dict[str, str]:
        """Set and delete the variables; return name → the name that it was set as, where another value is here now."""
        from lk_jupyter.remote import ambient  # noqa: PLC0415 (imports what only this needs)
        from lk_jupyter.remote.carry.kinds.widgets import SHOWN, show_widget  # noqa: PLC0415 (imports what only this needs)
        from lk_jupyter.remote.carry.nameless import FILES, put_nameless  # noqa: PLC0415 (imports what only this needs)

        kept: dict[str, str] = {}
        if not (self.origin and self.origin.ids):  # copies
            namespace.update(self.changed)
        self._replace(namespace)
        found = {name: new for old, new in self.apart for name, value in namespace.items() if value is old}
        for name, value in {**self.torn, **found}.items():
            namespace[name + MEANWHILE] = value
            kept[name] = name + MEANWHILE
        if LAST in self.unnamed:
            _show_as_last(self.unnamed[LAST], namespace)
        put_nameless(self.unnamed)
        _keep_future(self.names, namespace)
        self._write(self.unnamed.get(FILES, {}))
        for name, value in self.unnamed.items():
            if name.startswith(SHOWN):
                show_widget(name, value)
        for name, value in self.names.items():
            place = name + MEANWHILE if self._has_another(name, namespace) else name
            namespace[place] = value
            if place != name:
                kept[name] = place
        for name in self.deleted:
            if not self._has_another(name, namespace):
                namespace.pop(name, None)
        self.missing.update(ambient.put(self.ambient))
        return kept

    def _replace(self, namespace: MutableMapping[str, Any]) -> None:
        """Set what could not change in place."""
        for old, new in self.replaced:
            for name in [name for name, value in namespace.items() if value is old]:
                namespace[name] = new

    def _has_another(self, name: str, namespace: Mapping[str, Any]) -> bool:
        ids = self.origin.ids if self.origin else {}
        if name in _OF_IPYTHON and name not in ids:
            return False
        return bool(ids) and name in namespace and id(namespace[name]) != ids.get(name)

    def _write(self, files: Mapping[str, bytes | None]) -> None:
        """Write and delete the files as the run did."""
        changes = write_files(files, self.origin.files if self.origin else {})
        self.written.update(changes.written)
        self.removed += changes.removed
        self.missing.update(changes.missing)

    def words(self, names: Sequence[str]) -> str:
        """Return names with their sizes."""
        return ", ".join(f"{name} ({size_label(self.sizes[name])})" if name in self.sizes else name for name in names)


def _keep_future(names: Mapping[str, Any], namespace: Mapping[str, Any]) -> None:
    """Let the cells here have what the run has imported from the future, as a cell here would."""
    found = [value for value in names.values() if isinstance(value, __future__._Feature)]
    compiler: Any = getattr(namespace["get_ipython"](), "compile", None) if found and "get_ipython" in namespace else 0
    for feature in found if hasattr(compiler, "flags") else ():
        compiler.flags |= feature.compiler_flag


def _show_as_last(value: Any, namespace: MutableMapping[str, Any]) -> None:
    """Set ``_`` and ``Out`` as IPython does with a value that it has shown."""
    shell: Any = namespace["get_ipython"]() if "get_ipython" in namespace else None
    if shell is not None and hasattr(shell, "displayhook"):
        shell.displayhook.update_user_ns(value)
    else:
        namespace[LAST] = value


def changed_state(
    storage: Storage,
    token: str,
    said: Mapping[str, Any] | None,
    origin: Origin | None,
    copies: Callable[[], Origin],
) -> ChangedState:
    """Fetch what a run of this machine has changed, if it is what the run ``said`` in its log. Raises StorageError.

    It reads pickles: who calls it has made sure that the run was started from here. Without an ``origin`` it changes
    ``copies``.
    """
    try:
        text = message_of(storage, token, said)
    except NotReturned as reason:
        return ChangedState(missing={"state": f"What the run changed {reason}"})
    return state_in(text, storage, token, origin, copies)


def state_in(
    text: bytes | str, storage: Storage, token: str, origin: Origin | None, copies: Callable[[], Origin]
) -> ChangedState:
    """Return what a message shows that a run has changed; its large parts are in the bucket. Raises StorageError."""
    from lk_jupyter.remote.carry.base import silent  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.reader import Arriving  # noqa: PLC0415 (imports cloudpickle)

    def state_of(here: Origin) -> ChangedState:
        with silent():
            return read(here)

    def read(here: Origin) -> ChangedState:
        leaf = leaf_reader(storage, token)
        return applied(Arriving(load_json(text), leaf, here.tokens, acceptable_files), here)

    here = copies() if origin is None else origin
    try:
        state = state_of(here)
        if state.torn:
            _read_again(state, lambda: state_of(copies()))
    except LkError:
        raise
    except Exception as error:  # noqa: BLE001 (the run may write what it likes)
        return ChangedState(missing={"state": f"What the run changed cannot be read ({type(error).__name__}: {error})"})
    return state


def _read_again(state: ChangedState, read: Callable[[], ChangedState]) -> None:
    """Set what the run made of values of which a part was changed here: a session may not have all of it any more."""
    torn, state.torn = state.torn, {}
    try:
        found = read().changed
        state.torn = {name: found[name] for name in torn}
    except Exception:  # noqa: BLE001 (what it lacks raises in many ways)
        words = "{} has another value here by now, so what the run changed in it was left out"
        state.missing.update({name: words.format(name) for name in torn})


def applied(arriving: Any, origin: Origin) -> ChangedState:
    """Read all, then change the objects: what cannot be read leaves them as they are."""
    from lk_jupyter.remote import ambient  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.kinds.widgets import SHOWN  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.nameless import FILES, NAMELESS  # noqa: PLC0415 (imports cloudpickle)

    listed = arriving.listed
    state = ChangedState(deleted=list(listed["gone"]), sizes=dict(listed["sizes"]), ambient=dict(listed["ambient"]))
    state.origin, state.detached = origin, list(listed["detached"])
    changed_here = _changed_here(origin, {entry["n"] for entry in listed["entries"] if entry["k"] != "name"})
    ambient.put_paths(state.ambient)
    entries = list(arriving.read())  # a class that is read again gets its methods anew
    named = set(map(id, origin.values.values()))
    for entry, value in entries:
        if entry["k"] == "name":
            unnamed = (LAST, FILES, *NAMELESS)
            is_unnamed = entry["n"] in unnamed or entry["n"].startswith(SHOWN)
            names = state.unnamed if is_unnamed else state.names
            names[entry["n"]] = value
            continue
        old = origin.tokens[entry["n"]]
        if entry["n"] in changed_here:
            if id(old) in named or entry["of"] not in origin.values:
                state.apart.append((old, _new_of(old, entry, value)))
            else:
                state.torn[entry["of"]] = None
            continue
        if reason := _change(state, old, entry, value, partial(_new_of, old, entry, value)):
            state.missing[entry["of"]] = f"{entry['of']} {reason}"
            continue
        if entry["of"] in origin.values:
            state.changed[entry["of"]] = origin.values[entry["of"]]
    for old, new in state.replaced:
        state.changed = {name: new if value is old else value for name, value in state.changed.items()}
    missing = {**listed["refused"], **arriving.refused}  # a widget that did not come has its picture
    state.missing.update((name, why) for name, why in missing.items() if not name.startswith(SHOWN))
    return state


def _change(state: ChangedState, old: Any, entry: Mapping[str, Any], value: Any, another: Callable[[], Any]) -> str:
    """Let an object hold what the run made of it, or another one in its place; return why neither can be."""
    from lk_jupyter.remote.carry.base import Refused  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.kinds.libraries import change_leaf  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.kinds.table import change  # noqa: PLC0415 (imports cloudpickle)

    try:
        if entry["k"] == "leaf":
            change_leaf(old, value)
        else:
            change(old, value)
    except Refused as reason:
        return str(reason)
    except Exception as error:  # noqa: BLE001 (an object may refuse whatever it likes)
        new = another()
        if new is old:
            return f"is as it was before the run: it refuses what the run made of it ({type(error).__name__})"
        state.replaced.append((old, new))
    return ""


def _changed_here(origin: Origin, tokens: set[Any]) -> set[Any]:
    """Return the tokens whose objects differ from when the run was sent.

    An object that pickles differently each time counts as unchanged.
    """
    from lk_jupyter.remote.carry.digests import digests_of  # noqa: PLC0415 (imports cloudpickle)

    if not origin.digests:
        return set()
    now = digests_of(origin.tokens, fingerprint, tokens)
    other = {token for token in tokens if now.get(token) != origin.digests.get(token)}
    again = digests_of(origin.tokens, fingerprint, other) if other else {}
    return {token for token in other if again.get(token) == now.get(token)}


def _new_of(old: Any, entry: Mapping[str, Any], value: Any) -> Any:
    """Return another object that holds what the run made of this one."""
    return value if entry["k"] == "leaf" else _copied(old, value)


def _copied(old: Any, holds: Any) -> Any:
    """Return another object of this kind that holds this; the same where there is no copy of one."""
    from lk_jupyter.remote.carry.kinds import databases  # noqa: PLC0415 (imports cloudpickle)
    from lk_jupyter.remote.carry.kinds.table import change  # noqa: PLC0415 (imports cloudpickle)

    try:
        if isinstance(old, getattr(sys.modules.get("sqlite3"), "Connection", ())):
            return databases.open_database(holds)
        new = copy.copy(old)
        change(new, holds)
    except Exception:  # noqa: BLE001 (an object may refuse whatever it likes)
        return old
    return new


def put_here(state: ChangedState, namespace: MutableMapping[str, Any], after: str = "") -> list[Notice]:
    """Bring what a run has changed into the variables here, and name them; ``after`` follows the names."""
    kept = state.put(namespace)
    came = {
        "Set here": [name for name in state.names if name not in kept],
        "Changed here": list(state.changed.keys() - state.names.keys()),
        "Deleted here": [*state.deleted, *state.removed],
    }
    said = [f"{how}: {state.words(sorted(names))}" for how, names in came.items() if names]
    if same := sorted(name for name, place in state.written.items() if name == place):
        more = f" +{len(same) - _FILES}" if len(same) > _FILES else ""
        said.append(f"Written here: {', '.join(same[:_FILES])}{more}")
    kept |= {name: place for name, place in state.written.items() if name != place}
    if state.detached:
        said.append(_DETACHED.format(", ".join(sorted(state.detached))))
    return [
        *([Notice(" · ".join(said) + after)] if said else []),
        *(Notice(f"{reason}.", WARNING) for reason in [*_kept_words(kept), *state.missing.values()]),
    ]


def _kept_words(kept: Mapping[str, str]) -> list[str]:
    words = "{} has another value here by now, so what the run made of it is in {}"
    return [words.format(name, place) for name, place in kept.items()]


def put_outputs(
    found: Outputs, origin: Origin | None, namespace: MutableMapping[str, Any], after: str = ""
) -> list[Notice]:
    """Set outputs that were asked for by name, and name them; a value that was changed here meanwhile stays too."""
    from lk_jupyter.remote.carry.digests import digest_here  # noqa: PLC0415 (imports cloudpickle)

    ids, digests = (origin.ids, origin.digests) if origin else ({}, {})
    kept = {
        name: name + MEANWHILE
        for name in found
        if origin is not None
        and name in namespace
        and (id(namespace[name]), digest_here(namespace[name], fingerprint)) != (ids.get(name), digests.get(name))
    }
    namespace.update({kept.get(name, name): value for name, value in found.items()})
    came = [name for name in found if name not in kept]
    return [
        *([Notice(f"Set here: {', '.join(came)}{after}")] if came else []),
        *(Notice(f"{reason}.", WARNING) for reason in [*_kept_words(kept), *found.missing.values()]),
    ]


def origin_of(settings: Mapping[str, Any], read: Callable[[int, int, int], bytes]) -> Callable[[], Origin]:
    """Return what makes copies of the objects that a run was started with, from its request and its blobs."""

    def make() -> Origin:
        from lk_jupyter.remote.carry.reader import Arriving  # noqa: PLC0415 (imports cloudpickle)

        def leaf(found: dict[str, Any]) -> Any:
            content = bytearray(read(found["blob"], found["at"], found["size"]))
            if not is_as_said(content, found):
                raise NotReturned(CHANGED)
            return content

        text = settings["message"]
        content = load_json(bytes(leaf(text)) if isinstance(text, dict) else text)
        arriving = Arriving(content, leaf)
        values = {entry["n"]: value for entry, value in arriving.read()}
        return Origin(arriving.reader.tokens(), values, {})

    return make


def blob_reader(storage: Storage, settings: Mapping[str, Any]) -> Callable[[int, int, int], bytes]:
    """Return what reads bytes of a blob from the bucket."""

    def read(blob: int, at: int, size: int) -> bytes:
        memory = bytearray(size)
        with memoryview(memory) as view:
            storage.get_into(VALUES + settings["blobs"][blob][0], view, at)
        return bytes(memory)

    return read
