"""Writes the state as pickles, and leaves next to the pickles."""

from __future__ import annotations

import collections
import copyreg
import io
import os
import pickle
import re
import sys
import types
from contextlib import suppress
from importlib import import_module

from .. import ambient
from ..values import codec, envelope
from ..values import pickle as pickles
from .base import ATOMS, IN_SESSION, LONG, PROTOCOL, TENSOR_KINDS, Refused, code_words
from .kinds.classes import fill_class, find_cloudpickle_functions, reduce_enum
from .kinds.functions import (
    CACHED,
    FUNCTION_ATTRIBUTES,
    NamespaceReference,
    fill_cell,
    fill_function,
    global_names,
    has_lost_file,
    is_filled,
    is_inner_function,
    is_notebook_memo,
    make_cached,
    make_cell,
    make_function,
    source_texts,
)
from .kinds.table import MAKER_NAMES, reason_to_stay, reduce_kind
from .shared import LEAF_KINDS, digest_received, encode_leaf, gradient, memory_owner, memory_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

#: Numbers in a stream: the namespace of the notebook, then leaves downwards from -2. An object that the peer has is
#: written as its token, 0 or more: even for pickled objects, odd for leaves.
MAIN, FIRST = -1, -2

#: Characters of a text that may be a file name, and the most such texts of a stream.
_NAME, _NAMES = 255, 10_000

#: Texts in the bytes of a query of polars, some after their length: file names are among these texts.
_TEXTS = re.compile(rb"[ -~]{3,255}")


#: What a value loses on its way: the graph of a tensor's computation, the order of text in a set, the results that
#: ``lru_cache`` keeps, the traceback of an exception, and handlers of a logger.
GRAPH, TEXT_SET, MEMO, TRACEBACK, HANDLERS = "graph", "text set", "memo", "traceback", "handlers"

#: Ends the name of such a number in a stream.
NAN = ".nan"

#: Modules that define a number which differs from itself, which code compares with ``is``.
_NAN_MODULES = "numpy", "math"

#: Types of values whose order in a set differs between processes, and the types of sets.
_TEXT_TYPES, _SETS = {str, bytes}, {set, frozenset}


def _name_nan(value: float) -> str | None:
    """Return the name of a module's own number that isn't equal to itself; None for any other such number."""
    owners = (name for name in _NAN_MODULES if value is getattr(sys.modules.get(name), "nan", None))
    return next((name + NAN for name in owners), None)


def _list_losses(value: Any) -> Iterator[str]:
    """Yield what an object loses that is reduced."""
    if type(value) is CACHED and is_notebook_memo(value) and value.cache_info().currsize:
        yield MEMO
    if isinstance(value, BaseException) and value.__traceback__ is not None:
        yield TRACEBACK
    if type(value).__module__ == "logging" and getattr(value, "handlers", None) and ambient.has_other_handlers(value):
        yield HANDLERS


def _relativize_path(path: str, folder: str) -> str | None:
    """Return a path relative to a folder; None for a path outside, hidden, or in Python's environment."""
    rest = path[len(folder) :].replace(os.sep, "/")
    return None if re.match(r"[^/]|/\.|/_lk[_/]", rest) or path.startswith(sys.prefix + os.sep) else rest


class _Reducers:
    """Type → function that reduces instances, as in cloudpickle, which is imported only for types that it may know."""

    #: Modules of the types that cloudpickle reduces in its own way.
    MODULES = frozenset({"_io", "_weakrefset", "abc", "builtins", "dataclasses", "logging", "types", "typing"})

    def __getitem__(self, kind: type) -> Any:
        if str(kind.__module__) in self.MODULES:
            import cloudpickle

            return cloudpickle.Pickler.dispatch_table[kind]
        return copyreg.dispatch_table[kind]


class Writer(pickle.Pickler):
    """Writes values as pickles of one stream, and leaves into a message.

    ``common`` is id → (token, object) that the peer has. ``nodes`` are the nodes of the leaves, ``values`` the leaves.
    ``reached`` is token → object that a value refers to. ``read`` are the global names that functions of the notebook
    read, ``words`` all names in these functions, ``files`` their source files; ``named`` are short texts among the
    values. ``losses`` is what the value loses that is written.
    """

    dispatch_table: Any = _Reducers()

    def __init__(self, message: Any, common: Any = None) -> None:
        self._file = io.BytesIO()
        self._definitions: Any = None
        super().__init__(self._file, protocol=PROTOCOL)
        self.message = message
        self.common = common or {}
        self.nodes: list[dict[str, Any]] = []
        self.values: list[Any] = []
        self.reached: dict[int, Any] = {}
        self.read: set[str] = set()
        self.files: set[str] = set()
        self.words: set[str] = set()
        self.modules: set[str] = set()
        self.packages: set[str] = set()
        self.named: set[str] = set()
        self.losses: set[str] = set()
        self.gradient_size = 0
        self._base = ambient.base_folder() or "\0"
        self._numbers: dict[int, int] = {}
        self._leaf_kinds: dict[type, bool] = {}
        self._places: Any = None
        self._memories: Any = None
        self._root = self._last = self.fresh = None

    def chunk(self, value: Any) -> bytes:
        """Return a value as bytes. Raises Refused."""
        self._file.seek(0)
        self._file.truncate()
        self._root = self._last = value
        self.packages = set()
        try:
            self.dump(value)
        except Refused:
            raise
        except Exception as error:
            raise Refused(self._explain_pickle_error(error)) from None
        return self._file.getvalue()

    def _explain_pickle_error(self, error: BaseException) -> str:
        if "changed size during iteration" in str(error) or "mutated during iteration" in str(error):
            return "changes while it is read: stop what changes it, such as a thread, and run the cell again"
        if "recursion" in str(error).lower():
            return "is nested too deeply: create it in the cell that uses it" + IN_SESSION
        return (
            "contains an object that can't be pickled ({}): create it in the cell that uses it".format(error)
            + IN_SESSION
        )

    def write_shared_memory(self, values: Iterable[Any]) -> None:
        """Write the arrays first whose memory more values may show, so that views stay views.

        These are the values that own memory, and the owners that two of the values show.
        """
        owners = [owner for owner in map(memory_owner, values) if owner is not None and id(owner) not in self.common]
        uses = collections.Counter(map(id, owners))
        sizes: collections.Counter[int] = collections.Counter()
        for owner, value in [(memory_owner(value), value) for value in values]:
            sizes[id(owner)] += getattr(value, "nbytes", 0) if owner is not None else 0
        value_ids = {id(value) for value in values}
        for owner in owners:
            if id(owner) in value_ids or (uses[id(owner)] > 1 and owner.nbytes <= 2 * sizes[id(owner)]):
                self._identify_leaf(owner)
        self._write_shared_tensors(values)

    def _write_shared_tensors(self, values: Iterable[Any]) -> None:
        """Write the largest tensor first of all tensors in the same memory."""
        spans = [(value, memory_span(value)) for value in values if id(value) not in self.common]
        uses = collections.Counter(memory[0] for _, memory in spans if memory)
        shared = [(value, memory) for value, memory in spans if memory and uses[memory[0]] > 1]
        for value, _ in sorted(shared, key=lambda item: item[1][1] - item[1][2]):
            self._identify_leaf(value)

    def is_leaf(self, value: Any) -> bool:
        """Return whether a value is an array, frame, tensor or table."""
        kind: type = type(value)
        if kind not in self._leaf_kinds:
            library = str(kind.__module__).partition(".")[0]
            name = kind.__name__
            self._leaf_kinds[kind] = library in codec.KINDS and (name in LEAF_KINDS or name.endswith("Index"))
        return self._leaf_kinds[kind]

    def persistent_id(self, value: Any) -> Any:
        """Return the number of an object that isn't pickled: common objects, leaves, and the namespace."""
        kind = type(value)
        if kind is str and len(value) <= _NAME:
            if len(self.named) < _NAMES:
                self.named.add(value)
            return _relativize_path(value, self._base) if value.startswith(self._base) else None
        if kind in _SETS and TEXT_SET not in self.losses and len(value) > 1:
            self.losses |= set() if _TEXT_TYPES.isdisjoint(map(type, value)) else {TEXT_SET}
        if kind in ATOMS:
            if kind is float and value != value:  # noqa: PLR0124 (faster than math.isnan)
                number = _name_nan(value)
            else:
                number = self._identify_leaf(value) if kind in (str, bytes) and len(value) > LONG else None
            return number
        entry = self.common.get(id(value))
        if entry is not None and entry[1] is value and value is not self.fresh:
            self.reached.setdefault(entry[0], value)
            return entry[0]
        if kind is dict and value is sys.modules["__main__"].__dict__:
            return MAIN
        if kind is types.FunctionType and value in MAKER_NAMES:
            return MAKER_NAMES[value]
        return self._identify_leaf(value) if self.is_leaf(value) else None

    def _identify_leaf(self, value: Any) -> Any:
        number = self._numbers.get(id(value))
        if type(value).__name__ in TENSOR_KINDS and value.grad_fn is not None:
            self.losses.add(GRAPH)
        if number is None:
            node = self._build_node(value)
            if node is None:
                return None
            number = self._numbers[id(value)] = len(self.nodes)
            self.nodes.append(node)
            self.values.append(value)
            if self._places is not None and memory_owner(value) is value:
                self._places[value.ctypes.data] = FIRST - number, value
            if self._memories is not None:
                self._record_memory(FIRST - number, value)
        return FIRST - number

    def _build_node(self, value: Any) -> dict[str, Any] | None:
        """Return the node of a leaf; None without a form."""
        node = (
            self._build_view_node(value)
            or self._build_array_node(value)
            or self._build_part_node(value)
            or self._build_encoded_node(value)
        )
        if node and (grad := gradient(value)) is not None:
            first = len(self.message.leaves)
            node["grad"] = self.persistent_id(grad)
            self.gradient_size += sum(leaf["size"] for leaf in self.message.leaves[first:])
        return node

    def _build_encoded_node(self, value: Any) -> dict[str, Any] | None:
        encoding, first = encode_leaf(value), len(self.message.leaves)
        if encoding is None:
            return None
        node, writes, modules = encoding
        self.modules |= modules
        self.message.add_leaves(writes)
        return {"node": node, "first": first, "count": len(writes)}

    def _build_view_node(self, value: Any) -> dict[str, Any] | None:
        """Return the node of a view of an array in the stream; None for any other array."""
        owner = memory_owner(value)
        if owner is None or owner is value:
            return None
        number = self._numbers.get(id(owner))
        token = self.common.get(id(owner), (None,))[0] if number is None else FIRST - number
        if token is None:
            return None
        if token >= 0:
            self.reached.setdefault(token, owner)
        start = value.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
        node = {"view": [token, start, list(value.shape), list(value.strides), self._build_encoded_node(value.dtype)]}
        return node if value.flags.writeable else {**node, "readonly": True}

    def _build_array_node(self, tensor: Any) -> dict[str, Any] | None:
        """Return the node of a tensor in the memory of an array, as ``torch.from_numpy`` makes it."""
        if type(tensor).__name__ != "Tensor" or tensor.device.type != "cpu" or not tensor.is_contiguous():
            return None
        if self._places is None:
            common = self.common.values() if isinstance(self.common, dict) else ()
            written = ((FIRST - at, value) for at, value in enumerate(self.values))
            owners = [entry for entry in (*common, *written) if memory_owner(entry[1]) is entry[1]]
            self._places = {array.ctypes.data: (token, array) for token, array in owners}
        token, array = self._places.get(tensor.data_ptr(), (0, None))
        size = tensor.numel() * tensor.element_size()
        if array is None or not size or array.nbytes != size or not array.flags.c_contiguous:
            return None
        if token >= 0:
            self.reached.setdefault(token, array)
        return {"memory": [token, list(tensor.shape)]}

    def _build_part_node(self, tensor: Any) -> dict[str, Any] | None:
        """Return the node of a tensor in the memory of a larger tensor; None for any other tensor."""
        memory = memory_span(tensor)
        if memory is None or tensor is self.fresh:
            return None
        if self._memories is None:
            self._memories = {}
            common = self.common.values() if isinstance(self.common, dict) else ()
            for token, value in (*common, *((FIRST - at, value) for at, value in enumerate(self.values))):
                self._record_memory(token, value)
        place, first, end = memory
        token, owner, start, last = self._memories.get(place, (0, None, 0, 0))
        if owner is None or owner is tensor or not (start <= first and end <= last):
            return None
        if token >= 0:
            self.reached.setdefault(token, owner)
        kind = type(tensor).__name__, tensor.requires_grad and tensor.is_leaf
        return {"part": [token, first - start, list(tensor.shape), list(tensor.stride()), kind]}

    def _record_memory(self, token: int, tensor: Any) -> None:
        """Record the tensor that contains further tensors in its memory: one for each memory."""
        memory = memory_span(tensor)
        if memory is not None and codec.families["torch"]().owns_memory(tensor):
            place, first, end = memory
            _, _, start, last = self._memories.get(place, (0, None, 0, -1))
            is_larger_common = token >= 0 and end - first > last - start
            if last < 0 or is_larger_common:
                self._memories[place] = token, tensor, first, end

    def reducer_override(self, value: Any) -> Any:
        """Reduce objects that cloudpickle would not restore, and refuse objects of a process."""
        self._last = value
        self.losses.update(_list_losses(value))
        kind = type(value)
        if kind is types.FunctionType:
            if value.__globals__.get("__name__") == "__main__" or is_inner_function(value):
                return self._reduce_function(value)
        elif kind is CACHED and is_notebook_memo(value):
            parameters = value.cache_parameters
            return make_cached, (value.__wrapped__, parameters(), "decorating" in parameters.__qualname__)
        elif kind is types.CellType:
            return make_cell, (), [value.cell_contents] if is_filled(value) else [], None, None, fill_cell
        reduced: Any = reduce_kind(value)
        if reduced:
            self._record_requirements(kind, value)
            return reduced
        reason = pickles.reason_to_stay(value) or reason_to_stay(value)
        if reason:
            raise Refused(reason if value is self._root else "contains a value that " + reason)
        self._record_requirements(kind, value)
        _import_defining_module(value)
        is_query = kind.__name__ == "LazyFrame" and str(kind.__module__).startswith("polars.")
        reduced = self._reduce_query(value) if is_query else self._reduce_definition(value)
        if not (isinstance(reduced, tuple) and isinstance(value, type)):
            return reduced
        functions = find_cloudpickle_functions()
        is_class = reduced[0] is functions.make_class
        if is_class and "__slots__" in vars(value) and not issubclass(value, tuple):
            reduced[1][3]["__slots__"] = vars(value)["__slots__"]
        if is_class:  # cloudpickle omits an attribute that equals an attribute of a base, which may change
            attributes = {name: attribute for name, attribute in vars(value).items() if not name.startswith("__")}
            bases = [vars(base) for base in value.__bases__]
            reduced[2][0].update(
                (name, attribute)
                for name, attribute in attributes.items()
                if any(base.get(name, attributes) is attribute for base in bases)
            )
            reduced = (*reduced[:5], fill_class)
        return reduce_enum(value, *reduced) if reduced[0] is functions.make_enum else reduced

    def _reduce_definition(self, value: Any) -> Any:
        """Reduce a class or a function as cloudpickle does, and leave any other value to Python."""
        if not isinstance(value, (type, types.FunctionType)):
            return NotImplemented
        if self._definitions is None:
            import cloudpickle

            self._definitions = cloudpickle.Pickler(io.BytesIO(), protocol=PROTOCOL)
        return self._definitions.reducer_override(value)

    def _reduce_query(self, query: Any) -> Any:
        """Reduce a query of polars, and find the files that the query reads."""
        reduced = query.__reduce_ex__(PROTOCOL)
        if isinstance(reduced[2], bytes):
            texts = [text.decode() for text in _TEXTS.findall(reduced[2])]
            self.named.update(texts, (text[1:] for text in texts if ord(text[0]) == len(text) - 1))
        return reduced

    def _record_requirements(self, kind: Any, value: Any) -> None:
        """Record the modules that reading needs, and the packages whose versions must be the same."""
        if kind is types.FunctionType and has_lost_file(value):
            import cloudpickle

            cloudpickle.register_pickle_by_value(sys.modules[value.__module__])
            return
        module = value.__name__ if kind is types.ModuleType else getattr(value, "__module__", None) or kind.__module__
        top = str(module).partition(".")[0]
        if top != "__main__" and top in sys.modules:  # code that was executed in a namespace has a name but no module
            self.modules.add(top)
        if not isinstance(value, (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)):
            self.packages.add(str(kind.__module__).partition(".")[0])

    def _reduce_function(self, function: types.FunctionType) -> tuple[Any, ...]:
        """Reduce a function of the notebook; the code is packed separately, as only the same Python reads the code."""
        code = function.__code__
        is_in_notebook = function.__globals__ is sys.modules["__main__"].__dict__
        if is_in_notebook:
            self.files.add(code.co_filename)
            self.read |= global_names(code)
            self.words.update(code.co_names)
            texts = (text for text in function.__annotations__.values() if isinstance(text, str))
            self.read |= code_words(" ".join(texts))
        state = {name: getattr(function, name) for name in FUNCTION_ATTRIBUTES}
        place = [
            code.co_filename,
            code.co_name,
            code.co_firstlineno,
            list(code.co_varnames),
            pickles.code_python_version(),
        ]
        import cloudpickle

        packed = cloudpickle.dumps(code, protocol=PROTOCOL)
        names = function.__globals__ if is_in_notebook else NamespaceReference(function.__globals__["__name__"])
        arguments = packed, place, names, function.__name__, function.__defaults__, function.__closure__
        return make_function, arguments, (state, function.__dict__), None, None, fill_function

    def tokens(self) -> dict[int, Any]:
        """Return token → object of all written objects, as the peer numbers the objects too."""
        met = {2 * number: value for number, value in self.memo.copy().values()}
        return {**met, **{2 * at + 1: value for at, value in enumerate(self.values)}}


def _import_defining_module(value: Any) -> None:
    """Import the module of a library's class or function, such as ``numpy.rec``: pickles refer to names in modules.

    A library may have exported the object without this module. Cloudpickle pickles such an object by value.
    """
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        module = str(value.__module__)
        if module not in sys.modules and module.partition(".")[0] in sys.modules:
            with suppress(Exception):
                import_module(module)


def used_submodules(values: Iterable[Any], words: set[str]) -> list[str]:
    """Return the imported submodules of modules among the values, if the words include the names."""
    modules = {value.__name__ + "." for value in values if isinstance(value, types.ModuleType)}
    tops = tuple(module for module in modules if module.partition(".")[0] not in ("builtins", "__main__"))
    return (
        [name for name in sorted(sys.modules) if name.startswith(tops) and words.issuperset(name.split(".")[1:])]
        if tops
        else []
    )


class Departing:
    """Values to send: the pickles, and the message that lists the values.

    ``common`` is id → (token, object) that the peer has, ``losses`` is what is lost → names of variables.
    """

    def __init__(self, common: Any = None) -> None:
        self.message = envelope.Envelope(pickle=True)
        self.writer = Writer(self.message, common)
        self.sizes: dict[str, int] = {}
        self.gradient_sizes: dict[str, int] = {}
        self._entries: list[dict[str, Any]] = []
        self._stream: list[bytes] = []
        self._versions: dict[str, str] = {}
        self._shared: dict[int, int] = {}
        self.submodules: list[str] = []
        self.losses: dict[str, set[str]] = {}
        self.separated: set[str] = set()

    def write_shared_memory(self, values: Iterable[Any]) -> None:
        """Write the arrays first whose memory more values may show; bytes count where an array is added."""
        for value in values:
            first = len(self.message.leaves)
            self.writer.write_shared_memory([value])
            self._shared[id(value)] = sum(leaf["size"] for leaf in self.message.leaves[first:])
        self.writer.write_shared_memory(values)

    def add(self, kind: str, key: Any, value: Any, name: str) -> int:
        """Add a value of a name, a leaf by its token, or the content of an object; return the bytes. Raises Refused.

        ``name`` is the variable that contains the value.
        """
        first, first_gradient = len(self.message.leaves), self.writer.gradient_size
        size: int = self._shared.pop(id(value), 0)
        self.writer.fresh = value if kind == "leaf" else None
        self.writer.losses = set()
        content = self.writer.chunk(value)
        for loss in self.writer.losses:
            self.losses.setdefault(loss, set()).add(name)
        entry = {"k": kind, "n": key, "of": name, "at": sum(map(len, self._stream))}
        entry["packages"] = self._record_versions()
        self._entries.append(entry)
        self._stream.append(content)
        size += len(content) + sum(leaf["size"] for leaf in self.message.leaves[first:])
        self.sizes[name] = self.sizes.get(name, 0) + size
        gradient_size = self.writer.gradient_size - first_gradient
        self.gradient_sizes[name] = self.gradient_sizes.get(name, 0) + gradient_size
        return size

    def _record_versions(self) -> list[str]:
        versions = dict(pickles.find_package(module) for module in self.writer.packages)
        self._versions.update((name, version) for name, version in versions.items() if version is not None)
        return [name for name, version in versions.items() if version is not None]

    def text(self, **more: Any) -> str:
        """Return the message, as ``Envelope.text`` does."""
        return self.message.text(carry={**self._build_listing(), **more})

    def leaf_digests(self) -> dict[int, str]:
        """Return token → digest of the leaves whose bytes are hashed; the remaining leaves must be read."""
        leaves = self.message.leaves
        digests = {2 * at + 1: digest_received(node, leaves) for at, node in enumerate(self.writer.nodes)}
        return {token: digest for token, digest in digests.items() if digest is not None}

    def close(self) -> None:
        """Put the pickles into the message, before the large leaves are placed."""
        content = b"".join(self._stream)
        self._first = len(self.message.leaves)
        self.message.add_leaves([lambda sink: sink(content)])

    def _build_listing(self) -> dict[str, Any]:
        return {
            "entries": self._entries,
            "stream": self._first,
            "nodes": self.writer.nodes,
            "versions": self._versions,
            "texts": source_texts(self.writer.files),
            "submodules": self.submodules,
            "losses": {loss: sorted(names) for loss, names in self.losses.items()},
            "separated": sorted(self.separated),
        }
