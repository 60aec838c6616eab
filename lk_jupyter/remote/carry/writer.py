"""Writes the state as pickles, and leaves next to them."""

from __future__ import annotations

import collections
import io
import os
import re
import sys
import types

import cloudpickle

from .. import ambient
from ..values import codec, envelope
from ..values import pickle as pickles
from .base import ATOMS, IN_SESSION, LONG, PROTOCOL, TENSOR_KINDS, Refused, words_of
from .kinds.classes import fill_class, reduce_enum
from .kinds.functions import (
    CACHED,
    FUNCTION_ATTRIBUTES,
    NamesOf,
    fill_cell,
    fill_function,
    globals_of,
    has_lost_file,
    is_filled,
    is_inner_function,
    is_notebook_memo,
    make_cached,
    make_cell,
    make_function,
    texts_of,
)
from .kinds.table import MAKER_NAMES, reason_to_stay, reduce_kind
from .shared import LEAF_KINDS, encoded, grad_of, memory_of, owner_of

#: Numbers in a stream: the namespace that functions of the notebook look names up in, then leaves downwards from -2;
#: an object that the other side has is written as its token, 0 or more: even for pickled objects, odd for leaves.
MAIN, FIRST = -1, -2

#: Characters of a text that may name a file, and how many of these a stream tells.
_NAME, _NAMES = 255, 10_000

#: The texts in the bytes of a query of polars, some behind their length: the files that it reads are named there.
_TEXTS = re.compile(rb"[ -~]{3,255}")


def _below(path, folder):
    """Return a path from the folder on; None for what is not below it, hidden there, or of Python's environment."""
    rest = path[len(folder) :].replace(os.sep, "/")
    return None if re.match(r"[^/]|/\.|/_lk[_/]", rest) or path.startswith(sys.prefix + os.sep) else rest


class Writer(cloudpickle.Pickler):
    """Writes values one after the other as pickles of one stream, and their leaves into a message.

    ``known`` is id → (token, object) of what the other end has. ``nodes`` are the leaves' nodes, ``values`` what they
    are of; ``reached`` is token → object of what was referred to. ``read`` are the global names that functions of the
    notebook read, ``words`` all names in them, ``files`` where their text is from; ``named`` are short texts of values.
    """

    def __init__(self, message, known=None):
        self._file = io.BytesIO()
        super().__init__(self._file, protocol=PROTOCOL)
        self.message = message
        self.known = known or {}
        self.nodes, self.values = [], []
        self.reached, self.read, self.files, self.words = {}, set(), set(), set()
        self.modules, self.packages, self.named = set(), set(), set()
        self.has_graph = False
        self._base = ambient.base_folder() or "\0"
        self._numbers, self._leaf_kinds = {}, {}
        self._places = self._memories = None
        self._root = self._last = self.fresh = None

    def chunk(self, value):
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
            raise Refused(self._why(error)) from None
        return self._file.getvalue()

    def _why(self, error):
        if "changed size during iteration" in str(error) or "mutated during iteration" in str(error):
            return "changes while it is read: stop what changes it, such as a thread, and run the cell again"
        if "recursion" in str(error).lower():
            return "is nested too deeply: make it in the cell that uses it" + IN_SESSION
        return "contains what cannot be pickled ({}): make it in the cell that uses it".format(error) + IN_SESSION

    def share(self, values):
        """Write the arrays first whose memory others may show, so that views stay views.

        These are the values that own their memory, and the owners that two of the values show.
        """
        owners = [owner for owner in map(owner_of, values) if owner is not None and id(owner) not in self.known]
        shown = collections.Counter(map(id, owners))
        sizes = collections.Counter()
        for owner, value in [(owner_of(value), value) for value in values]:
            sizes[id(owner)] += getattr(value, "nbytes", 0) if owner is not None else 0
        own = {id(value) for value in values}
        for owner in owners:
            if id(owner) in own or (shown[id(owner)] > 1 and owner.nbytes <= 2 * sizes[id(owner)]):
                self._leaf(owner)
        self._share_tensors(values)

    def _share_tensors(self, values):
        """Write the largest tensor first of those in the same memory."""
        found = [(value, memory_of(value)) for value in values if id(value) not in self.known]
        shown = collections.Counter(memory[0] for _, memory in found if memory)
        shared = [(value, memory) for value, memory in found if memory and shown[memory[0]] > 1]
        for value, _ in sorted(shared, key=lambda of: of[1][1] - of[1][2]):
            self._leaf(value)

    def is_leaf(self, value):
        """Whether a value is an array, frame, tensor or table."""
        kind = type(value)
        if kind not in self._leaf_kinds:
            library = str(kind.__module__).partition(".")[0]
            name = kind.__name__
            self._leaf_kinds[kind] = library in codec.KINDS and (name in LEAF_KINDS or name.endswith("Index"))
        return self._leaf_kinds[kind]

    def persistent_id(self, value):
        """Return the number of what is not pickled: what the other end has, leaves, and the namespace."""
        kind = type(value)
        if kind is str and len(value) <= _NAME:
            if len(self.named) < _NAMES:
                self.named.add(value)
            return _below(value, self._base) if value.startswith(self._base) else None
        if kind in ATOMS:
            return self._leaf(value) if kind in (str, bytes) and len(value) > LONG else None
        known = self.known.get(id(value))
        if known is not None and known[1] is value and value is not self.fresh:
            self.reached.setdefault(known[0], value)
            return known[0]
        if kind is dict and value is sys.modules["__main__"].__dict__:
            return MAIN
        if kind is types.FunctionType and value in MAKER_NAMES:
            return MAKER_NAMES[value]
        return self._leaf(value) if self.is_leaf(value) else None

    def _leaf(self, value):
        number = self._numbers.get(id(value))
        self.has_graph |= type(value).__name__ in TENSOR_KINDS and value.grad_fn is not None
        if number is None:
            node = self._node(value)
            if node is None:
                return None
            number = self._numbers[id(value)] = len(self.nodes)
            self.nodes.append(node)
            self.values.append(value)
            if self._places is not None and owner_of(value) is value:
                self._places[value.ctypes.data] = FIRST - number, value
            if self._memories is not None:
                self._keep_memory(FIRST - number, value)
        return FIRST - number

    def _node(self, value):
        """Return the node of a leaf; None without a form."""
        made = self._view(value) or self._of_array(value) or self._part(value) or self._made(value)
        if made and (grad := grad_of(value)) is not None:
            made["grad"] = self.persistent_id(grad)
        return made

    def _made(self, value):
        made, first = encoded(value), len(self.message.leaves)
        if made is None:
            return None
        node, writes, modules = made
        self.modules |= modules
        self.message.take(writes)
        return {"node": node, "first": first, "count": len(writes)}

    def _view(self, value):
        """Return the node of an array that shows a part of another array in the stream; None for others."""
        owner = owner_of(value)
        if owner is None or owner is value:
            return None
        number = self._numbers.get(id(owner))
        token = self.known.get(id(owner), (None,))[0] if number is None else FIRST - number
        if token is None:
            return None
        if token >= 0:
            self.reached.setdefault(token, owner)
        start = value.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
        return {"view": [token, start, list(value.shape), list(value.strides), self._made(value.dtype)]}

    def _of_array(self, tensor):
        """Return the node of a tensor in the memory of an array in the stream, as ``torch.from_numpy`` makes it."""
        if type(tensor).__name__ != "Tensor" or tensor.device.type != "cpu" or not tensor.is_contiguous():
            return None
        if self._places is None:
            known = self.known.values() if isinstance(self.known, dict) else ()
            written = ((FIRST - at, value) for at, value in enumerate(self.values))
            owners = [found for found in (*known, *written) if owner_of(found[1]) is found[1]]
            self._places = {array.ctypes.data: (token, array) for token, array in owners}
        token, array = self._places.get(tensor.data_ptr(), (0, None))
        size = tensor.numel() * tensor.element_size()
        if array is None or not size or array.nbytes != size or not array.flags.c_contiguous:
            return None
        if token >= 0:
            self.reached.setdefault(token, array)
        return {"memory": [token, list(tensor.shape)]}

    def _part(self, tensor):
        """Return the node of a tensor that shows a part of the memory of another tensor; None for others."""
        memory = memory_of(tensor)
        if memory is None or tensor is self.fresh:
            return None
        if self._memories is None:
            self._memories = {}
            known = self.known.values() if isinstance(self.known, dict) else ()
            for token, value in (*known, *((FIRST - at, value) for at, value in enumerate(self.values))):
                self._keep_memory(token, value)
        place, first, end = memory
        token, owner, start, last = self._memories.get(place, (0, None, 0, 0))
        if owner is None or owner is tensor or not (start <= first and end <= last):
            return None
        if token >= 0:
            self.reached.setdefault(token, owner)
        kind = type(tensor).__name__, tensor.requires_grad and tensor.is_leaf
        return {"part": [token, first - start, list(tensor.shape), list(tensor.stride()), kind]}

    def _keep_memory(self, token, tensor):
        """Record the tensor of which others in its memory are parts: one for each memory, for all of a stream."""
        memory = memory_of(tensor)
        if memory is not None and codec.families["torch"]().is_owner(tensor):
            place, first, end = memory
            _, _, start, last = self._memories.get(place, (0, None, 0, -1))
            is_known_now = token >= 0 and end - first > last - start
            if last < 0 or is_known_now:
                self._memories[place] = token, tensor, first, end

    def reducer_override(self, value):
        """Pickle what cloudpickle does not pickle as a notebook needs it, and refuse what belongs to a process."""
        self._last = value
        kind = type(value)
        if kind is types.FunctionType:
            if value.__globals__.get("__name__") == "__main__" or is_inner_function(value):
                return self._function(value)
        elif kind is CACHED and is_notebook_memo(value):
            made = value.__wrapped__, value.cache_parameters(), "decorating" in value.cache_parameters.__qualname__
            return make_cached, made
        elif kind is types.CellType:
            return make_cell, (), [value.cell_contents] if is_filled(value) else [], None, None, fill_cell
        if made := reduce_kind(value):
            self._needs(kind, value)
            return made
        reason = pickles.stays(value) or reason_to_stay(value)
        if reason:
            raise Refused(reason if value is self._root else "contains what " + reason)
        self._needs(kind, value)
        is_query = kind.__name__ == "LazyFrame" and str(kind.__module__).startswith("polars.")
        made = self._query(value) if is_query else super().reducer_override(value)
        is_made = made is not NotImplemented and made[0] is cloudpickle.cloudpickle._make_skeleton_class
        if is_made and "__slots__" in vars(value) and not issubclass(value, tuple):
            made[1][3]["__slots__"] = vars(value)["__slots__"]
        if is_made:  # cloudpickle takes what equals an attribute of a base for that one, which may change
            own = {name: of for name, of in vars(value).items() if not name.startswith("__")}
            bases = [vars(base) for base in value.__bases__]
            made[2][0].update(
                (name, of) for name, of in own.items() if any(base.get(name, own) is of for base in bases)
            )
            made = (*made[:5], fill_class)
        is_enum = made is not NotImplemented and made[0] is cloudpickle.cloudpickle._make_skeleton_enum
        return reduce_enum(value, *made) if is_enum else made

    def _query(self, query):
        """Reduce a query of polars, and find the files that it reads."""
        made = query.__reduce_ex__(PROTOCOL)
        if isinstance(made[2], bytes):
            texts = [text.decode() for text in _TEXTS.findall(made[2])]
            self.named.update(texts, (text[1:] for text in texts if ord(text[0]) == len(text) - 1))
        return made

    def _needs(self, kind, value):
        """Record the modules that reading needs, and the packages whose versions must be the same."""
        if kind is types.FunctionType and has_lost_file(value):
            cloudpickle.register_pickle_by_value(sys.modules[value.__module__])
            return
        of = value.__name__ if kind is types.ModuleType else getattr(value, "__module__", None) or kind.__module__
        top = str(of).partition(".")[0]
        self.modules.add(top)
        if not isinstance(value, (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)):
            self.packages.add(str(kind.__module__).partition(".")[0])

    def _function(self, function):
        """Reduce a function of the notebook: its code is packed apart, for only the same Python can read it."""
        code = function.__code__
        is_own = function.__globals__ is sys.modules["__main__"].__dict__
        if is_own:
            self.files.add(code.co_filename)
            self.read |= globals_of(code)
            self.words.update(code.co_names)
            texts = (text for text in function.__annotations__.values() if isinstance(text, str))
            self.read |= words_of(" ".join(texts))
        state = {name: getattr(function, name) for name in FUNCTION_ATTRIBUTES}
        place = [code.co_filename, code.co_name, code.co_firstlineno, list(code.co_varnames), pickles.python()]
        packed = cloudpickle.dumps(code, protocol=PROTOCOL)
        names = function.__globals__ if is_own else NamesOf(function.__globals__["__name__"])
        made = packed, place, names, function.__name__, function.__defaults__, function.__closure__
        return make_function, made, (state, function.__dict__), None, None, fill_function

    def tokens(self):
        """Return token → object of all that was written, as the other end finds it too."""
        met = {2 * number: value for number, value in self.memo.copy().values()}
        return {**met, **{2 * at + 1: value for at, value in enumerate(self.values)}}


def submodules_of(values, words):
    """Return the names of imported submodules of modules that are among the values, where the words name them."""
    modules = {value.__name__ + "." for value in values if isinstance(value, types.ModuleType)}
    tops = tuple(module for module in modules if module.partition(".")[0] not in ("builtins", "__main__"))
    return (
        [name for name in sorted(sys.modules) if name.startswith(tops) and words.issuperset(name.split(".")[1:])]
        if tops
        else []
    )


class Departing:
    """Values on their way: their pickles, and the message that lists them.

    ``known`` is id → (token, object) of what the other end has.
    """

    def __init__(self, known=None):
        self.message = envelope.Envelope(pickle=True)
        self.writer = Writer(self.message, known)
        self.sizes = {}
        self._entries = []
        self._stream = []
        self._versions = {}
        self._shared = {}
        self.submodules = []
        self.detached = set()

    def share(self, values):
        """Write the arrays first that other values may show a part of; each counts where it is added."""
        for value in values:
            first = len(self.message.leaves)
            self.writer.share([value])
            self._shared[id(value)] = sum(leaf["size"] for leaf in self.message.leaves[first:])
        self.writer.share(values)

    def add(self, kind, key, value, name):
        """Add a value: of a name, of a leaf by its token, or what an object holds. Raises Refused; returns its bytes.

        ``name`` is the variable in which it is.
        """
        first = len(self.message.leaves)
        size = self._shared.pop(id(value), 0)
        self.writer.fresh, self.writer.has_graph = value if kind == "leaf" else None, False
        content = self.writer.chunk(value)
        if self.writer.has_graph:
            self.detached.add(name)
        entry = {"k": kind, "n": key, "of": name, "at": sum(map(len, self._stream))}
        entry["packages"] = self._packages()
        self._entries.append(entry)
        self._stream.append(content)
        size += len(content) + sum(leaf["size"] for leaf in self.message.leaves[first:])
        self.sizes[name] = self.sizes.get(name, 0) + size
        return size

    def _packages(self):
        found = dict(pickles.package_of(module) for module in self.writer.packages)
        self._versions.update((name, version) for name, version in found.items() if version is not None)
        return [name for name, version in found.items() if version is not None]

    def text(self, **more):
        """Return the message, as ``Envelope.text`` does."""
        return self.message.text(carry={**self._listed(), **more})

    def close(self):
        """Put the pickles into the message, before its large leaves are placed."""
        content = b"".join(self._stream)
        self._first = len(self.message.leaves)
        self.message.take([lambda sink: sink(content)])

    def _listed(self):
        return {
            "entries": self._entries,
            "stream": self._first,
            "nodes": self.writer.nodes,
            "versions": self._versions,
            "texts": texts_of(self.writer.files),
            "submodules": self.submodules,
            "detached": sorted(self.detached),
        }
