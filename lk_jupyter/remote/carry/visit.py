"""The namespace of a run: the received values, and the changes when the code ends."""

from __future__ import annotations

from ..script import run as driver
from .base import Refused, code_words, is_plain, read_running_code
from .digests import Digests, digest_or_none, mutable_objects
from .kinds.files import flush_file
from .kinds.memory import separated_names
from .kinds.table import read_content
from .kinds.widgets import OUTPUT_PREFIX
from .nameless import FILES, NAMELESS, put_nameless
from .shared import digest_received
from .writer import Departing, used_submodules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .reader import Arriving

#: Reason for a variable with more bytes than the limit for variables without ``--out``.
TOO_LARGE = "has {:,} bytes: a run returns a variable of more than {:,} bytes only with --out {}"

#: The name of the last shown value.
_LAST = "_"


class Visit:
    """The namespace of a run, from the received values to the changes.

    ``refused`` is name → reason of unreadable values; ``hidden`` are names that aren't the author's, with values.
    ``unsent_last`` is the type of the last shown value if the value stays, else empty.
    """

    def __init__(self, arriving: Arriving, namespace: dict[str, Any], hidden: dict[str, Any] | None = None) -> None:
        self._namespace = namespace
        self._hidden = hidden or {}
        arrived = {entry["n"]: value for entry, value in arriving.read(namespace)}
        self._nameless = {name: arrived.pop(name, {}) for name in NAMELESS}
        put_nameless({name: state for name, state in self._nameless.items() if state})
        namespace.update(arrived)
        self.refused = arriving.refused
        self._arrived = set(arrived)
        self._common = mutable_objects({**arriving.reader.tokens(), **arriving.reader.common})
        self._received = arriving.listed["nodes"], arriving.content["leaves"]
        leaves = arriving.content["leaves"]
        self._before = {2 * at + 1: digest_received(node, leaves) for at, node in enumerate(arriving.listed["nodes"])}
        self._value_digests: dict[str, str | None] = {}
        self.handles: dict[str, tuple[str, int]] = {}
        self.unsent_last = ""
        self._new_limit: int | None = None
        self._files: dict[str, dict[str, Any]] = {}
        self._states: dict[str, Any] = {}

    def begin(self) -> None:
        """Record all values, as the last step before the code runs."""
        digests = Digests(self._common)
        for token, value in self._common.values():
            if self._before.get(token) is None:
                self._before[token] = digest_or_none(digests.digest, value)
        self._start = dict(self._namespace)
        for name in self._arrived:
            if id(self._namespace[name]) not in self._common:
                self._value_digests[name] = digest_or_none(digests.digest_any, self._namespace[name])

    def flush_files(self) -> None:
        """Write the buffers of open files, before the content of written files is read."""
        for value in [*(value for _, value in self._common.values()), *list(self._namespace.values())]:
            flush_file(value)

    def end(
        self, limit: int | None, requested: Iterable[str] = (), files: Any = (), new_limit: int | None = None
    ) -> tuple[Departing, dict[str, str]]:
        """Return the changes, ready to send, with name → reason of values that can't be sent.

        A value with more bytes than the limit stays, unless requested. ``files`` is name → content of files that the
        code wrote. New values of more than ``new_limit`` bytes stay too: ``handles`` is name → kind and bytes of these.
        """
        self.handles, self._new_limit = {}, new_limit
        self._files = {FILES: dict(files)} if files else {}
        refused: dict[tuple[Any, ...], str] = {}
        departing = None
        while departing is None:
            departing = self._collect_changes(refused, limit, requested)
        departing.submodules = used_submodules(list(self._namespace.values()), code_words(read_running_code()))
        departing.close()
        reasons = {name: reason for (_, _, name), reason in refused.items()}
        return departing, {name: reason for name, reason in reasons.items() if name not in self.handles}

    def iterate_received_leaves(
        self, departing: Departing
    ) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[int]]]:
        """Iterate over the leaves of changed values: the leaf, the received leaf, and token and number."""
        nodes, leaves = self._received
        for value, node in zip(departing.writer.values, departing.writer.nodes):
            token = self._common.get(id(value), (0,))[0]
            received = nodes[token // 2] if token % 2 and token // 2 < len(nodes) else {}
            if node.get("count", 0) == received.get("count"):
                for number in range(node["count"]):
                    leaf = departing.message.leaves[node["first"] + number]
                    yield leaf, leaves[received["first"] + number], [token, number]

    @property
    def deleted(self) -> list[str]:
        """Return the received names that the code deleted."""
        return sorted(name for name in self._arrived if name not in self._namespace)

    def _collect_changes(
        self, refused: dict[tuple[Any, ...], str], limit: int | None, requested: Iterable[str]
    ) -> Departing | None:
        """Return the changes without the refused values; None if one more is refused, to start again."""
        departing = Departing(self._common)
        digests = Digests(self._common)
        digests.reached = reached = departing.writer.reached
        changed = self._find_changed(digests, requested)
        departing.write_shared_memory(list(changed.values()))
        arrived = {name: self._namespace[name] for name in self._arrived if name in self._namespace}
        started = {name: self._start[name] for name in arrived if self._start[name] is arrived[name]}
        departing.separated = separated_names({**arrived, **changed}) - separated_names(started)
        names = {id(self._namespace[name]): name for name in self._arrived if name in self._namespace}
        visited: set[int] = set()
        for name in [*changed, *sorted(self._arrived - changed.keys()), *(NAMELESS.keys() - changed.keys())]:
            if name in changed:
                waiting = [("name", name, changed[name])]
                self._record_start_objects(digests, name)
            elif name in NAMELESS:
                digest_or_none(digests.digest_any, self._states[name])
                waiting = []
            else:
                digests.persistent_id(self._namespace.get(name))
                self._record_start_objects(digests, name)
                waiting = []
            while waiting or reached.keys() - visited:
                for item in waiting:
                    # an object with a name doesn't count for a variable that only refers to the object
                    variable = names.get(id(item[2]), name)
                    place = (*item[:2], variable)
                    if place not in refused:
                        reason = _add_value(departing, *item, variable)
                        if not (reason or variable in requested):
                            is_new = item[0] == "name" and variable not in NAMELESS and variable != FILES
                            kind = type(item[2]).__name__ if is_new else ""
                            reason = self._refuse_large_value(departing, variable, limit, kind)
                        if reason:
                            refused[place] = "{} {}".format(name, reason)
                            return None
                tokens = sorted(reached.keys() - visited)
                visited.update(tokens)
                waiting = [item for token in tokens for item in self._yield_changed_content(digests, token)]
        return departing

    def _refuse_large_value(self, departing: Departing, name: str, limit: int | None, kind: str) -> str:
        """Return why a value stays here, or nothing; a large new value, with the name of its type, gets a handle."""
        size = departing.sizes[name] - departing.gradient_sizes[name]
        if kind and self._new_limit is not None and size > self._new_limit:
            self.handles[name] = kind, size
            return "stays on the machine"
        if limit is None or size <= limit:
            return ""
        return TOO_LARGE.format(size, limit, name)

    def _record_start_objects(self, digests: Digests, name: str) -> None:
        """Record the objects of a value whose name the code bound again: other variables may share the objects."""
        value = self._start.get(name)
        if name not in self._arrived or value is self._namespace.get(name, self):
            return
        if digests.persistent_id(value) is None:
            digest_or_none(digests.digest_any, value)

    def _yield_changed_content(self, digests: Digests, token: int) -> Iterator[tuple[str, int, Any]]:
        """Yield the content of an object if changed, and record the objects that the content refers to."""
        value = digests.reached[token]
        digest = digest_or_none(digests.digest, value)
        if digest != self._before.get(token):
            yield "leaf" if token % 2 else "inside", token, value

    def _find_changed(self, digests: Digests, requested: Iterable[str]) -> dict[str, Any]:
        """Return the names with changed values, and the requested names."""
        hidden = self._hidden or driver.hidden
        self._states = {name: read() for name, (read, _) in NAMELESS.items()}
        changed = {name: state for name, state in self._states.items() if _has_changed(state, self._nameless[name])}
        is_new = self._namespace.get(_LAST, self) is not self._start.get(_LAST, self)
        stays = is_new and not self._is_implicit_result(self._namespace.get(_LAST))
        self.unsent_last = type(self._namespace[_LAST]).__name__ if stays and _LAST not in requested else ""
        changed.update((OUTPUT_PREFIX + name, widget) for name, widget in driver.widgets.items() if widget is not None)
        named = {
            name: value
            for name, value in list(self._namespace.items())
            if not name.startswith("__")
            and (self._is_implicit_result(value) if name == _LAST else hidden.get(name, hidden) is not value)
            and (
                name in requested
                or self._start.get(name, self) is not value
                or (
                    name in self._value_digests
                    and digest_or_none(digests.digest_any, value) != self._value_digests[name]
                )
            )
        }
        return {**self._files, **named, **changed}  # files first: some are open in further values

    def _is_implicit_result(self, value: Any) -> bool:
        """Return whether the last shown value is sent without a request."""
        hidden = self._hidden or driver.hidden
        is_common = id(value) in self._common or any(
            value is other
            for name, other in list(self._namespace.items())
            if name != _LAST and hidden.get(name, hidden) is not other  # IPython hides ``_1`` and the like
        )
        return is_plain(value) or Digests(self._common).is_leaf(value) or is_common


def _has_changed(state: Any, before: Any) -> bool:
    try:
        return bool(state != before)
    except Exception:  # such as of two arrays
        return True


def remove_finalizers() -> None:
    """Remove ``__del__`` from the notebook's classes: the process ends, but the notebook keeps the objects."""
    waiting: list[type] = [object]
    visited: set[int] = set()
    while waiting:
        kind = waiting.pop()
        subclasses: list[type] = type.__subclasses__(kind)
        subclasses = [subclass for subclass in subclasses if id(subclass) not in visited]  # a class may define equality
        visited.update(map(id, subclasses))
        waiting += subclasses
        if kind.__module__ == "__main__" and "__del__" in vars(kind):
            type.__delattr__(kind, "__del__")


def _add_value(departing: Departing, kind: str, key: Any, value: Any, name: str) -> str:
    """Add a value; return why that cannot be, or nothing."""
    try:
        departing.add(kind, key, read_content(value) if kind == "inside" else value, name)
    except Refused as error:
        return str(error)
    except Exception as error:
        return "cannot be read ({}: {})".format(type(error).__name__, error)
    return ""
