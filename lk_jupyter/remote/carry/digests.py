"""Digests of objects: whether an object has changed, and whether the peer has the object already."""

from __future__ import annotations

import hashlib
import marshal
import sys
import types
from contextlib import suppress

from .base import ATOMS, Refused
from .kinds.functions import global_names, make_function
from .kinds.table import read_content
from .shared import digest_node, encode_leaf, gradient, hash_leaf, memory_owner, memory_span
from .writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from typing import Any

    from ..values.codec import LeafWriter


class Digests(Writer):
    """Computes the digest of each object separately; an object that the peer has counts by its token."""

    def __init__(self, common: Any, hash_function: Callable[[LeafWriter], str] | None = None) -> None:
        super().__init__(None, common)
        self._hash = hash_function or hash_leaf

    def chunk(self, value: Any) -> bytes:
        """Return a value as bytes without references to earlier values. Raises Refused."""
        self.clear_memo()
        return super().chunk(value)

    def digest(self, value: Any) -> str:
        """Return the digest of the content of a value, and record the objects it refers to. Raises Refused."""
        if _has_only_atoms(value):
            with suppress(ValueError):  # a kind of atom that marshal doesn't know
                return hashlib.sha256(marshal.dumps(value, _WITHOUT_REFERENCES)).hexdigest()
        if self.is_leaf(value):
            owner = memory_owner(value)
            if owner is not value and id(owner) in self.common:
                self.reached.setdefault(self.common[id(owner)][0], owner)
            leaf_digest: str | None = self._identify_leaf(value)
            if leaf_digest:
                return leaf_digest
        try:
            content = read_content(value)
        except Exception as error:
            raise Refused(self._explain_pickle_error(error)) from None
        return hashlib.sha256(self.chunk(content)).hexdigest()

    def digest_any(self, value: Any) -> str:
        """Return the digest of a value that is the name's own, such as a number. Raises Refused."""
        return hashlib.sha256(self.chunk(value)).hexdigest()

    def _identify_leaf(self, value: Any) -> Any:
        leaf = encode_leaf(value)
        if leaf is None:
            return None
        grad = gradient(value)
        return digest_node(leaf[0], map(self._hash, leaf[1])) + ("" if grad is None else self._identify_leaf(grad))


class Graph(Writer):
    """Numbers the mutable objects of one value in the order of its pickle, which is the same on both sides.

    ``digest`` is equal on both sides if structure and content are equal: texts count by their content, since processes
    share texts differently, classes and code by name. Without ``hash_function``, content of leaves doesn't count.
    """

    def __init__(self, value: Any, hash_function: Callable[[LeafWriter], str] | None = None) -> None:
        super().__init__(None)
        self.is_complete = True
        self._hash = hash_function
        self._classes: set[type] = set()
        self._memory: dict[int, Any] | None = None
        try:
            self.digest = hashlib.sha256(self.chunk(value)).hexdigest()
        except Refused:
            self.digest, self.is_complete = "", False

    def persistent_id(self, value: Any) -> Any:
        """Return new bytes for each text, so that the memo contains no text twice."""
        kind = type(value)
        if kind is str:
            return super().persistent_id(value) or value.encode("utf-8", "surrogatepass")
        if kind is bytes:
            return hashlib.sha256(value).digest()
        if isinstance(value, type) and value.__module__ == "__main__":
            self._read_class(value)
            return b"class " + value.__qualname__.encode("utf-8", "surrogatepass")
        return (
            self._number_leaf(value, self._format_atoms(value))
            if _has_only_atoms(value)
            else super().persistent_id(value)
        )

    def _identify_leaf(self, value: Any) -> Any:
        has_objects = type(value).__name__ == "ndarray" and value.dtype.hasobject
        leaf = encode_leaf(value) if self._hash and not has_objects else None
        if has_objects or (self._hash and leaf is None):
            return None
        content = digest_node(leaf[0], map(self._hash, leaf[1])) if self._hash and leaf else ""
        return self._number_leaf(value, content)

    def _number_leaf(self, value: Any, content: str) -> bytes:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.values)
            self.values.append(value)
        grad = gradient(value)
        text = "{} {} {} {}".format(
            type(value).__name__, number, content, "" if grad is None else self._identify_leaf(grad)
        )
        return text.encode("utf-8", "surrogatepass")

    def _format_atoms(self, value: Any) -> str:
        """Return the content of a container of atoms, with paths relative to the base folder."""
        items = sorted(map(repr, value)) if type(value) is set else value
        return repr(items).replace(self._base, "") if self._hash else ""

    def _reduce_function(self, function: types.FunctionType) -> tuple[Any, ...]:
        self.read |= global_names(function.__code__)
        cells = function.__closure__
        return (
            make_function,
            (function.__name__,),
            (function.__defaults__, function.__kwdefaults__, cells, vars(function)),
        )

    def _read_class(self, kind: type) -> None:
        """Record the global names that the methods of a class of the notebook read."""
        if kind in self._classes:
            return
        self._classes.add(kind)
        for member in vars(kind).values():
            for function in (member, *(getattr(member, name, None) for name in ("__func__", "fget", "fset", "func"))):
                code = getattr(function, "__code__", None)
                if isinstance(code, types.CodeType):
                    self.read |= global_names(code)
        for base in kind.__bases__:
            if base.__module__ == "__main__":
                self._read_class(base)

    def objects(self, first: int) -> dict[int, Any]:
        """Return token → object, from the token ``first``; no objects of a value that can't be pickled."""
        if not self.is_complete:
            return {}
        pickled = {2 * number: value for number, value in self.memo.copy().values() if type(value) is not bytes}
        leaves = {
            2 * at + 1 if self.is_leaf(value) else FIRST // 2 + 2 * at: value for at, value in enumerate(self.values)
        }
        return {first + token: value for token, value in {**pickled, **leaves}.items()}

    @property
    def memory(self) -> dict[int, Any]:
        """Return id → object of all that can change in place, and place → leaf of the memory of leaves."""
        if self._memory is None:
            memo = self.memo.copy().items()
            self._memory = {number: value for number, (_, value) in memo if type(value) not in _IMMUTABLE}
            for value in self.values:
                owner, span = memory_owner(value), memory_span(value)
                self._memory[id(value)] = value
                if owner is not None:
                    self._memory[id(owner)] = owner
                if span is not None:
                    self._memory[span[0]] = value
        return self._memory


#: The version of marshal that writes equal values as equal bytes, however often an object is referred to.
_WITHOUT_REFERENCES = 2

_IMMUTABLE = {str, bytes, tuple, frozenset, type, types.ModuleType, types.BuiltinFunctionType, types.CodeType}


_CONTAINERS = {list, tuple, dict, set, frozenset}


def _has_only_atoms(value: Any) -> bool:
    """Return whether a container has no object inside that can change in place: the container counts as a leaf."""
    kind = type(value)
    if kind not in (list, set, dict) or (kind is dict and value is sys.modules["__main__"].__dict__):
        return False
    return ATOMS.issuperset(map(type, value)) and (kind is not dict or ATOMS.issuperset(map(type, value.values())))


#: The first token of values that the peer has: an even number, above all that a stream gives. The objects inside the
#: value with the number n have tokens from (n + 2) * FIRST.
FIRST = 1 << 40


class UnchangedValues:
    """Values of a namespace that the peer has, and that have not changed since, with the objects inside.

    ``common`` is id → (token, object), ``tokens`` token → name of the values, ``values`` token → object, ``graphs``
    name → digest of the graph of objects, which must be the same on both sides.
    """

    def __init__(
        self,
        names: Iterable[str],
        namespace: Mapping[str, Any],
        digests: Mapping[str, str | None],
        hash_function: Callable[[LeafWriter], str] | None = None,
    ) -> None:
        self.common: dict[int, tuple[int, Any]] = {}
        self.tokens: dict[int, str] = {}
        self.values: dict[int, Any] = {}
        self.graphs: dict[str, str] = {}
        self.names: set[str] = set()
        values = {name: namespace[name] for name in names if digests.get(name) is not None and name in namespace}
        unchanged = {
            name: value for name, value in values.items() if digest_value(value, hash_function) == digests[name]
        }
        for name, value in unchanged.items():
            self.names.add(name)
            if id(value) not in self.common and type(value) not in ATOMS:
                token = FIRST + 2 * len(self.tokens) + Writer(None).is_leaf(value)
                self.tokens[token] = name
                self.common[id(value)] = token, value
                self.values[token] = value
        for number, name in enumerate(self.tokens.values()):
            graph = Graph(namespace[name], hash_function or hash_leaf)
            self.graphs[name] = graph.digest
            for token, value in graph.objects((number + 2) * FIRST).items():
                self.values[token] = value
                if not _is_library_constant(value) and (token % 2 or _has_mutable_content(value)):
                    self.common.setdefault(id(value), (token, value))


def _is_library_constant(value: Any) -> bool:
    """Return whether an object of a library exists on both sides, such as a function or a data type."""
    is_library_function = isinstance(value, types.FunctionType) and value.__module__ != "__main__"
    return is_library_function or type(value) in _IMMUTABLE or type(value).__name__.endswith(("dtype", "DType"))


def unchanged_objects(
    tokens: Mapping[str, str], graphs: Mapping[str, str], namespace: Mapping[str, Any]
) -> dict[int, Any]:
    """Return token → object of this side for the unchanged values of the peer.

    Objects inside a value have tokens only if the graph is the same on both sides: code that the peer doesn't know
    may have changed the value.
    """
    values = {int(token): namespace[name] for token, name in tokens.items() if name in namespace}
    objects = {id(value): value for value in values.values()}
    for number, name in enumerate(tokens.values()):
        graph = Graph(namespace[name], hash_leaf) if name in namespace else None
        if graph is not None and graph.digest == graphs.get(name):
            for token, value in graph.objects((number + 2) * FIRST).items():
                if id(value) not in objects:
                    objects[id(value)] = values[token] = value
    return values


def connected_graphs(
    names: Iterable[str], namespace: Mapping[str, Any], remote_names: Iterable[str]
) -> dict[str, Graph]:
    """Return name → graph of names, of globals that their functions read, and of remote names that share an object.

    Values that share an object must be sent together, so that the object stays one object.
    """
    graphs: dict[str, Graph] = {}
    memory: dict[int, Any] = {}
    remote = [name for name in remote_names if name in namespace and type(namespace[name]) not in ATOMS]
    remote_graphs: dict[str, Graph] = {}
    waiting = list(dict.fromkeys(names))
    while waiting:
        for name in waiting:
            graphs[name] = remote_graphs.get(name) or Graph(namespace[name])
            memory.update(graphs[name].memory)
        read = set().union(*(graphs[name].read for name in waiting)) & namespace.keys()
        if memory and not remote_graphs:
            remote_graphs = {name: graphs.get(name) or Graph(namespace[name]) for name in remote}
        shared = {
            name
            for name, graph in remote_graphs.items()
            if name not in graphs and _has_shared_object(graph.memory, memory)
        }
        waiting = sorted((read | shared) - graphs.keys())
    return graphs


def _has_shared_object(first: Mapping[int, Any], second: Mapping[int, Any]) -> bool:
    """Return whether two values share an object that can change in place."""
    return any(not _is_library_constant(first[key]) for key in first.keys() & second.keys())


def digest_value(value: Any, hash_function: Callable[[LeafWriter], str] | None = None) -> str | None:
    """Return the digest of a value with all its content; None if the value cannot be read."""
    digests = Digests({}, hash_function)
    return digest_or_none(digests.digest if digests.is_leaf(value) else digests.digest_any, value)


def digest_objects(
    tokens: Mapping[int, Any],
    hash_function: Callable[[LeafWriter], str] | None = None,
    subset: AbstractSet[int] | None = None,
) -> dict[int | str, str | None]:
    """Return token → digest of each object that can change in place, or of the objects in ``subset``."""
    objects = mutable_objects(tokens)
    digests = Digests(objects, hash_function)
    selected = {
        token: value for token, value in tokens.items() if id(value) in objects and (subset is None or token in subset)
    }
    distinct = {id(value): digest_or_none(digests.digest, value) for value in selected.values()}
    return {token: distinct[id(value)] for token, value in selected.items()}


def mutable_objects(tokens: Mapping[int, Any]) -> dict[int, tuple[int, Any]]:
    """Return id → (token, object) of the objects that can change in place, or contain such objects."""
    return {id(value): (token, value) for token, value in tokens.items() if token % 2 or _has_mutable_content(value)}


def _has_mutable_content(value: Any) -> bool:
    if type(value) in _CONTAINERS:
        return True
    try:
        return read_content(value) is not None
    except Exception:
        return False


def digest_or_none(digest: Callable[[Any], str], value: Any) -> str | None:
    """Return a digest; None if the value cannot be read."""
    try:
        return digest(value)
    except Refused:
        return None
