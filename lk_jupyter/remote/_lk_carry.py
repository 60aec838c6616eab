"""The state that a cell reads and changes: names, and the objects behind them, as one stream of pickles.

Travels with a run and works on both sides. Arrays, frames and tensors are leaves next to the stream, in their own
form. What was met before is referred to by a number that both ends know, its token: so two names of one object
stay one, and what the cell has changed in place is changed in place where it came from.
"""

from __future__ import annotations

import collections
import copyreg
import dis
import functools
import gc
import hashlib
import io
import itertools
import json
import linecache
import operator
import os
import pathlib
import pickle
import pickletools
import re
import sys
import threading
import types
import weakref
from contextlib import contextmanager, suppress
from importlib import import_module, invalidate_caches

import cloudpickle

_near = (lambda name: import_module("." + name, __package__)) if __package__ else import_module
_values, _messages, _versions = _near("_lk_codec"), _near("_lk_envelope"), _near("_lk_pickle")

#: The last protocol that writes the number of each object: a pickle that cannot be read leaves the rest readable.
PROTOCOL = 3

#: Numbers in a stream: the namespace that functions of the notebook look names up in, then leaves downwards from -2;
#: an object that the other side has is written as its token, 0 or more: even for pickled objects, odd for leaves.
_MAIN, _FIRST = -1, -2

#: Kinds of libraries that are leaves; the others are pickled as they are.
_LEAVES = {
    "ndarray", "memmap", "recarray", "matrix", "DataFrame", "Series", "Tensor", "Parameter",
    "Table", "RecordBatch", "ChunkedArray", "Int64Index", "MultiIndex", "CategoricalIndex",
}  # fmt: skip

#: Packages whose pickles are read by all versions with the same first number.
_STEADY = {"numpy", "pandas"}

#: Said of a variable that takes more bytes than come back without its name.
TOO_LARGE = "takes {:,} bytes, and {:,} come back without a name: add --out {}"

#: Text and bytes longer than this are leaves.
LONG = 65_536

#: Items of a container that comes back as the last value without being asked for, and of one in a local module.
_FEW, _MANY = 1000, 10_000

#: Characters of a text that may name a file, and how many of these a stream tells.
_NAME, _NAMES = 255, 10_000

#: The texts in the bytes of a query of polars, some behind their length: the files that it reads are named there.
_TEXTS = re.compile(rb"[ -~]{3,255}")

_ATOMS = {type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented)}
_TENSORS = {"Tensor", "Parameter"}

#: Modules that few cells need; all modules of which functions travel by name.
_GENERATORS, _DATABASES = "_lk_generators", "_lk_databases"
_OWN = {"_lk_carry", _GENERATORS, _DATABASES}

_OF_FUNCTIONS = ("__qualname__", "__module__", "__kwdefaults__", "__doc__", "__annotations__")
_GLOBAL = {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"}
_EMPTY = "empty cell"
_ENDED = "ended"
_TOP_LEVEL_AWAIT = 0x2000
_CACHED = type(functools.lru_cache(len))


class Refused(Exception):
    """Part of a state cannot travel; the text says which and why."""


#: Ends the reason of each object that no run can get, and a session keeps.
IN_SESSION = ", or keep it in a session: --session NAME"

#: Makers of objects of which earlier versions sent more → what is called in their place.
_EARLIER = {"keep_answers": lambda _function, _answers: None}


@contextmanager
def silent():
    """Drop what this thread prints: methods with which classes pickle may print, and no code of the cell calls them."""
    own, before = threading.get_ident(), []

    def muted(write):
        return lambda text: len(text) if threading.get_ident() == own else write(text)

    for stream in {id(stream): stream for stream in (sys.stdout, sys.stderr)}.values():
        if hasattr(stream, "__dict__"):
            before.append((stream, vars(stream).get("write")))
            with suppress(AttributeError):  # a stream that nobody may change
                stream.write = muted(stream.write)
    try:
        yield
    finally:
        for stream, write in before:
            vars(stream).pop("write", None)
            if write is not None:
                stream.write = write


# What is inside an object that can change in place


#: Bytes of an open file that travels: the file goes along.
_OPEN_FILE = 5_000_000
_OF_FILES = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom)


def file_name(file):
    """Return the name of an open file in the folder where the code works; None for others, and for large files."""
    if not (isinstance(file, _OF_FILES) and isinstance(getattr(file, "name", None), str)):
        return None
    name = os.path.relpath(os.path.abspath(file.name), os.getcwd())
    hidden = any(part.startswith((".", "_lk_")) for part in name.split(os.sep))
    is_small = os.path.isfile(name) and os.path.getsize(name) <= _OPEN_FILE
    return name.replace(os.sep, "/") if is_small and not hidden else None


def _held_by_file(file):
    """Return the place in a file, or that it is closed."""
    if file_name(file) is None:
        raise Refused(_values.why_not(file))
    if file.closed:
        return _ENDED
    try:
        if file.writable():
            file.flush()
        return _place_in(file)
    except (OSError, ValueError):
        raise Refused(_values.why_not(file)) from None


def _place_in(file):
    """Return the place in an open file. If the file is read line by line, find the place by the text that is left."""
    try:
        return file.tell()
    except OSError:
        if not isinstance(file, io.TextIOWrapper):
            raise
    left = "".join(file)
    file.seek(0)
    before = len(file.read()) - len(left)
    file.seek(0)
    file.read(before)
    return file.tell()


def _is_database(value):
    sqlite = sys.modules.get("sqlite3")
    return sqlite is not None and type(value) in (sqlite.Connection, sqlite.Cursor)


def _is_iterator(value):
    """Whether a value gives the items of a container, without calling a function for each."""
    kind = type(value)
    is_known = kind.__name__.endswith("iterator") and kind.__module__ in ("builtins", "_collections", "array")
    return kind is reversed or (is_known and kind.__name__ != "callable_iterator")


def _held_by_iterator(iterator):
    """Return what an iterator has left to give: of what, from which place, and how many items."""
    _, of, *place = iterator.__reduce__()
    is_by_place = type(iterator).__name__ == "iterator"  # a class of the notebook may count its items
    return [of, *(place or [None]), 1 if place and is_by_place else operator.length_hint(iterator)]


def advance(iterator, held):
    """Let an iterator have as much left to give as the one of the other side."""
    _, place, left = held
    if place is not None and hasattr(iterator, "__setstate__"):
        iterator.__setstate__(place)
    elif type(iterator).__name__ == "iterator":  # one that is past all places has ended
        iterator.__setstate__(sys.maxsize - 1)
        next(iterator, None)
    elif left:
        collections.deque(itertools.islice(iterator, operator.length_hint(iterator) - left), 0)
    else:
        collections.deque(iterator, 0)


_WEAK = weakref.WeakKeyDictionary, weakref.WeakValueDictionary

_PLAIN = {
    **dict.fromkeys(_OF_FILES, _held_by_file),
    list: list,
    tuple: list,
    set: list,
    frozenset: list,
    collections.deque: list,
    bytearray: bytes,
    dict: dict,
    collections.Counter: dict,
    **dict.fromkeys(_WEAK, dict),
    weakref.WeakSet: list,
    types.MappingProxyType: gc.get_referents,
    types.CellType: lambda cell: [cell.cell_contents] if _is_filled(cell) else _EMPTY,
    types.FunctionType: lambda function: [
        function.__defaults__,
        function.__kwdefaults__,
        function.__dict__,
        list(function.__closure__ or ()),
    ],
}
_NEVER = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, types.CodeType, range, slice)
_NEVER = (*_NEVER, weakref.ref, types.BuiltinFunctionType, types.MethodType, property, classmethod, staticmethod)
_NEVER = (*_NEVER, functools.cached_property)


def inside(value):
    """Return what a value holds, to be compared and sent alone; None for what never changes in place."""
    kind = type(value)
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if isinstance(value, _NEVER) or _of_each_side(value):
        return None
    for belongs, held_by, _ in _MOVED:
        if belongs(value):
            return held_by(value)
    reduce = copyreg.dispatch_table.get(kind)
    made = reduce(value) if reduce else _parts_of(value)
    if not isinstance(made, tuple):
        return None
    make, arguments, state, items, pairs = (*made[:5], *(None,) * (5 - len(made[:5])))
    if kind is itertools.chain and state is None:  # it has ended
        state = (iter(()),)
    is_error = isinstance(value, BaseException)
    may_get_attributes = (make is copyreg.__newobj__ or is_error) and hasattr(value, "__dict__")
    if state is None and items is None and pairs is None and not may_get_attributes:
        return None
    return [
        arguments[1:] if arguments and isinstance(arguments[0], type) else arguments,
        state,
        _list(items),
        _list(pairs),
        *([_chain(value)] if is_error else []),
    ]


def _list(items):
    return None if items is None else list(items)


def _is_filled(cell):
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True


def change(value, holds):
    """Make a value hold what an equal one holds elsewhere, in place. Raises TypeError where that cannot be."""
    kind = type(value)
    if kind in (list, bytearray):
        value[:] = holds
    elif kind in (dict, set, collections.deque, collections.Counter, weakref.WeakSet, *_WEAK):
        value.clear()
        (value.extend if kind is collections.deque else value.update)(holds)
    elif kind is types.CellType:
        if holds == _EMPTY:
            del value.cell_contents
        else:
            value.cell_contents = holds[0]
    elif kind in _OF_FILES:
        go_to(value, holds)
    elif kind is _CACHED:
        pass  # earlier versions sent the answers of a memo
    elif kind is types.FunctionType:
        value.__defaults__, value.__kwdefaults__ = holds[:2]
        value.__dict__.clear()
        value.__dict__.update(holds[2])
    elif fill := next((fill for belongs, _, fill in _MOVED if belongs(value)), None):
        fill(value, holds)
    elif kind in _PLAIN:
        raise TypeError("never changes in place")
    else:
        _change_instance(value, *holds[1:])


def _change_instance(value, state, items, pairs, chain=None):
    if items is not None:
        value[:] = items
    if pairs is not None:  # before the attributes: a dict may be its own
        value.clear()
        value.update(pairs)
    set_state(value, state, clears=pairs is None or not _has_dict(value) or vars(value) is not value)
    if chain is not None:
        fill_error(value, (None, chain))


def set_state(value, state, *, clears=True):
    """Let an instance hold this, without asking it for what it has: its class may answer as it likes."""
    has_own = hasattr(type(value), "__dict__") and _has_dict(value)
    if hasattr(type(value), "__setstate__") and state is not None:
        before = dict(value.__dict__) if has_own and clears else {}
        if has_own and clears:
            value.__dict__.clear()
        try:
            value.__setstate__(state)
        except BaseException:
            if before:
                value.__dict__.update(before)
            raise
        return
    if state is value:  # a dict that is the dict of its own attributes
        object.__setattr__(value, "__dict__", value)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if has_own:
        own = object.__getattribute__(value, "__dict__")
        if clears:
            own.clear()
        own.update(attributes or {})
    for name, inner in (slots or {}).items():
        object.__setattr__(value, name, inner)


def _has_dict(value):
    try:
        return isinstance(object.__getattribute__(value, "__dict__"), dict)
    except AttributeError:
        return False


def _by_state(value):
    """Reduce an instance of the notebook that is its own dict, or whose class answers for any attribute."""
    kind = type(value)
    is_own = isinstance(value, dict) and _has_dict(value) and value.__dict__ is value
    if kind.__module__ != "__main__" or not (is_own or any("__getattr__" in vars(base) for base in kind.__mro__)):
        return None
    made = _parts_of(value)
    if not isinstance(made, tuple) or made[0] is not copyreg.__newobj__ or made[2:3] in ((), (None,)):
        return None
    return (*(*made, None, None)[:5], set_state)


#: By these an object says how it is pickled.
_OF_PICKLES = ("__getstate__", "__getnewargs__", "__getnewargs_ex__", "__reduce__", "__reduce_ex__")


def _parts_of(value):
    """Reduce an object as Python does, without asking ``__getattr__`` of its class for what it does not have."""
    kind = type(value)
    is_own = any(getattr(kind, name, None) is not getattr(object, name, None) for name in _OF_PICKLES)
    if is_own or not hasattr(kind, "__getattr__"):
        return value.__reduce_ex__(PROTOCOL)
    slots = copyreg._slotnames(kind)
    plain = object.__basicsize__ + tuple.__itemsize__ * (2 + len(slots))
    if not isinstance(value, (dict, list)) and kind.__basicsize__ > plain:
        raise TypeError("cannot pickle '{}' object".format(kind.__name__))  # as Python says it
    state, held = object.__getattribute__(value, "__dict__") if _has_dict(value) else {}, {}
    for name in slots:
        with suppress(AttributeError):
            held[name] = object.__getattribute__(value, name)
    items = iter(value) if isinstance(value, list) else None
    pairs = iter(value.items()) if isinstance(value, dict) else None
    return copyreg.__newobj__, (kind,), (state, held) if held else state, items, pairs


def change_leaf(value, new):
    """Do the same for arrays, frames and tensors. Raises TypeError where that cannot be."""
    kind = type(value).__name__
    if kind in ("DataFrame", "Series") and hasattr(value, "_update_inplace"):
        value._update_inplace(new)
        value.attrs = new.attrs
    elif kind == "DataFrame" and hasattr(value, "_df"):
        value._df = new._df
    elif kind in ("ndarray", "memmap", "recarray", "matrix"):
        if value.shape != new.shape or value.dtype != new.dtype:
            raise TypeError("has another shape")
        value[...] = new
    elif kind in ("Tensor", "Parameter"):
        _fill_tensor(value, new)
        value.requires_grad_(new.requires_grad)
        if value.is_leaf:
            value.grad = new.grad
    else:
        raise TypeError("never changes in place")


def _fill_tensor(value, new):
    """Let a tensor hold what another one holds, in the same memory where that can be: others may show it."""
    if value.shape == new.shape and value.dtype == new.dtype and value.layout == new.layout:
        with suppress(RuntimeError):  # parts of it may be in the same place
            value.data.copy_(new.data)
            return
    value.data = new.data.to(value.device)


# Writing


def _below(path, folder):
    """Return a path from the folder on; None for what is not below it, hidden there, or of Python's environment."""
    rest = path[len(folder) :].replace(os.sep, "/")
    return None if re.match(r"[^/]|/\.|/_lk_", rest) or path.startswith(sys.prefix + os.sep) else rest


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
        self._base = _near("_lk_ambient").base_folder() or "\0"
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
        found = [(value, _memory_of(value)) for value in values if id(value) not in self.known]
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
            self._leaf_kinds[kind] = library in _values.KINDS and (name in _LEAVES or name.endswith("Index"))
        return self._leaf_kinds[kind]

    def persistent_id(self, value):
        """Return the number of what is not pickled: what the other end has, leaves, and the namespace."""
        kind = type(value)
        if kind is str and len(value) <= _NAME:
            if len(self.named) < _NAMES:
                self.named.add(value)
            return _below(value, self._base) if value.startswith(self._base) else None
        if kind in _ATOMS:
            return self._leaf(value) if kind in (str, bytes) and len(value) > LONG else None
        known = self.known.get(id(value))
        if known is not None and known[1] is value and value is not self.fresh:
            self.reached.setdefault(known[0], value)
            return known[0]
        if kind is dict and value is sys.modules["__main__"].__dict__:
            return _MAIN
        return self._leaf(value) if self.is_leaf(value) else None

    def _leaf(self, value):
        number = self._numbers.get(id(value))
        self.has_graph |= type(value).__name__ in _TENSORS and value.grad_fn is not None
        if number is None:
            node = self._node(value)
            if node is None:
                return None
            number = self._numbers[id(value)] = len(self.nodes)
            self.nodes.append(node)
            self.values.append(value)
            if self._places is not None and owner_of(value) is value:
                self._places[value.ctypes.data] = _FIRST - number, value
            if self._memories is not None:
                self._keep_memory(_FIRST - number, value)
        return _FIRST - number

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
        token = self.known.get(id(owner), (None,))[0] if number is None else _FIRST - number
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
            written = ((_FIRST - at, value) for at, value in enumerate(self.values))
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
        memory = _memory_of(tensor)
        if memory is None or tensor is self.fresh:
            return None
        if self._memories is None:
            self._memories = {}
            known = self.known.values() if isinstance(self.known, dict) else ()
            for token, value in (*known, *((_FIRST - at, value) for at, value in enumerate(self.values))):
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
        memory = _memory_of(tensor)
        if memory is not None and _near("_lk_tensors").is_owner(tensor):
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
            if str(value.__module__).rpartition(".")[2] in _OWN:
                return NotImplemented
            if value.__globals__.get("__name__") == "__main__" or _is_inner(value):
                return self._function(value)
        elif kind is _CACHED and _is_own_memo(value):
            made = value.__wrapped__, value.cache_parameters(), "decorating" in value.cache_parameters.__qualname__
            return make_cached, made
        elif kind is types.CellType:
            return make_cell, (), [value.cell_contents] if _is_filled(value) else [], None, None, fill_cell
        if made := _reduced(value):
            self._needs(kind, value)
            return made
        reason = _values.stays(value) or _belongs_here(value)
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
        return _of_enum(value, *made) if is_enum else made

    def _query(self, query):
        """Reduce a query of polars, and find the files that it reads."""
        made = query.__reduce_ex__(PROTOCOL)
        if isinstance(made[2], bytes):
            texts = [text.decode() for text in _TEXTS.findall(made[2])]
            self.named.update(texts, (text[1:] for text in texts if ord(text[0]) == len(text) - 1))
        return made

    def _needs(self, kind, value):
        """Record the modules that reading needs, and the packages whose versions must be the same."""
        if kind is types.FunctionType and _has_lost_its_file(value):
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
        state = {name: getattr(function, name) for name in _OF_FUNCTIONS}
        place = [code.co_filename, code.co_name, code.co_firstlineno, list(code.co_varnames), _versions.python()]
        packed = cloudpickle.dumps(code, protocol=PROTOCOL)
        names = function.__globals__ if is_own else NamesOf(function.__globals__["__name__"])
        made = packed, place, names, function.__name__, function.__defaults__, function.__closure__
        return make_function, made, (state, function.__dict__), None, None, fill_function

    def tokens(self):
        """Return token → object of all that was written, as the other end finds it too."""
        met = {2 * number: value for number, value in self.memo.copy().values()}
        return {**met, **{2 * at + 1: value for at, value in enumerate(self.values)}}


class Digests(Writer):
    """Names objects by what they hold, each apart; an object that the other side has counts by its token."""

    def __init__(self, known, hash_of=None):
        super().__init__(None, known)
        self._hash = hash_of or _hash

    def chunk(self, value):
        """Return a value as bytes, each time as if it were the first. Raises Refused."""
        self.clear_memo()
        return super().chunk(value)

    def of(self, value):
        """Return the digest of what a value holds; what it refers to is reached meanwhile. Raises Refused."""
        if self.is_leaf(value):
            owner = owner_of(value)
            if owner is not value and id(owner) in self.known:
                self.reached.setdefault(self.known[id(owner)][0], owner)
            if found := self._leaf(value):
                return found
        try:
            held = inside(value)
        except Exception as error:
            raise Refused(self._why(error)) from None
        return hashlib.sha256(self.chunk(held)).hexdigest()

    def of_any(self, value):
        """Return the digest of a value that is the name's own, such as a number. Raises Refused."""
        return hashlib.sha256(self.chunk(value)).hexdigest()

    def _leaf(self, value):
        made = encoded(value)
        if made is None:
            return None
        grad = grad_of(value)
        return _digest(made[0], map(self._hash, made[1])) + ("" if grad is None else self._leaf(grad))


def digest_of(node, leaves):
    """Return the digest of a leaf that came, as ``Digests`` makes it; None for a leaf that must be read first."""
    if node.keys() & {"view", "memory", "part", "grad"}:
        return None
    mine = leaves[node["first"] : node["first"] + node["count"]]
    hashes = (
        leaf["sha256"] if "sha256" in leaf else hashlib.sha256(_values.from_text(leaf["v"])).hexdigest()
        for leaf in mine
    )
    return _digest(node["node"], hashes)


def _digest(node, hashes):
    content = {name: of for name, of in node.items() if name != _values.LAYOUT}
    return hashlib.sha256("\n".join([json.dumps(content, sort_keys=True), *hashes]).encode()).hexdigest()


def _hash(write):
    content = hashlib.sha256()
    write(lambda piece: content.update(memoryview(piece).cast("B") if memoryview(piece).nbytes else b""))
    return content.hexdigest()


def encoded(value):
    """Return the node of a leaf, what writes its bytes, and the modules to read it; None for what has no form."""
    encoder = _values.Encoder()
    try:
        return encoder.value("", value), encoder.leaves, encoder.modules
    except _values.CannotTravel:
        return None


def grad_of(value):
    """Return the gradient of a tensor; None for all else. Only the one of a leaf can be read without a warning."""
    return value.grad if type(value).__name__ in _TENSORS and getattr(value, "is_leaf", False) else None


def owner_of(value):
    """Return the array whose memory an array shows, itself where that is its own; None for what is no array."""
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return None
    while type(value.base) is numpy.ndarray:
        value = value.base
    return value


def _memory_of(value):
    """Return the memory that a tensor shows, with the first and the end of the elements there; None for others."""
    return _near("_lk_tensors").memory_of(value) if type(value).__name__ in _TENSORS else None


@functools.lru_cache(maxsize=None)
def _homes(kind):
    """Return the modules in which a package may keep instances of a class for all who import it."""
    top = kind.__module__.partition(".")[0]
    is_installed = top in getattr(sys, "stdlib_module_names", ()) or _versions.package_of(top)[1] is not None
    return tuple(dict.fromkeys((kind.__module__, top))) if is_installed and top != "builtins" else ()


_kept = {}


def place_of(value):
    """Return module and name of an object that a package has made for all who import it; None for others."""
    for home in _homes(type(value)) if isinstance(type(value).__module__, str) else ():
        names = vars(sys.modules.get(home, types))
        if _kept.get(home, (0,))[0] != len(names):
            _kept[home] = len(names), {id(of): name for name, of in list(names.items())}
        name = _kept[home][1].get(id(value))
        if name is not None and names.get(name) is value and not _is_set_later(home, name):
            return home, name
    return None


@functools.lru_cache(maxsize=None)
def _is_set_later(home, name):
    """Whether a function of a module sets this global name: its value is not the same in every process."""
    codes = (value.__code__ for value in list(vars(sys.modules[home]).values()) if type(value) is types.FunctionType)
    return any(
        found.opname == "STORE_GLOBAL" and found.argval == name
        for code in codes
        if name in code.co_names
        for found in dis.get_instructions(code)
    )


def named(module, name):
    """Return what a module has by this name."""
    return getattr(import_module(module), name)


def words_of(text):
    """Return the words of code: the names of submodules that it may use are among them."""
    return set(re.findall(r"[^\W\d]\w*", text))


def submodules_of(values, words):
    """Return the names of imported submodules of modules that are among the values, where the words name them."""
    modules = {value.__name__ + "." for value in values if isinstance(value, types.ModuleType)}
    tops = tuple(module for module in modules if module.partition(".")[0] not in ("builtins", "__main__"))
    return (
        [name for name in sorted(sys.modules) if name.startswith(tops) and words.issuperset(name.split(".")[1:])]
        if tops
        else []
    )


def _belongs_here(value):
    """Say why what belongs to its process cannot be pickled, even where cloudpickle would; nothing for others."""
    is_file = isinstance(value, io.IOBase) and not isinstance(value, (io.BytesIO, io.StringIO))
    is_once = isinstance(value, (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType))
    is_bound = type(value).__module__ in _values.OF_A_PROCESS
    is_type = type(value) is getattr(sys.modules.get("typing"), "NewType", None) and value.__module__ == "__main__"
    return _values.why_not(value) + IN_SESSION if is_file or is_once or is_bound or is_type else ""


def _has_lost_its_file(function):
    """Whether a function is of a local module whose file was deleted."""
    module = sys.modules.get(function.__module__)
    return _is_local(module) and not os.path.exists(module.__file__)


def _is_local(module):
    """Whether the file of a module is in or below the folder of the code."""
    return str(getattr(module, "__file__", None)).startswith(os.getcwd() + os.sep)


def globals_of(code):
    """Return the global names that code and the functions in it use."""
    names = {found.argval for found in dis.get_instructions(code) if found.opname in _GLOBAL}
    return names.union(*(globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def texts_of(files):
    """Return file → text of what is only known to this process, such as cells: tracebacks show it there too."""
    return {name: "".join(linecache.getlines(name)) for name in sorted(files) if linecache.getlines(name)}


def make_function(packed, place, namespace, name, *rest):
    """Make a function of the notebook; its globals are the namespace of the cell."""
    file, of, line, variables, python = place
    if python == _versions.python():
        code = _versions.loads(packed)
    else:
        found = (code for code in _codes(file) if (code.co_name, code.co_firstlineno) == (of, line))
        code = next((code for code in found if list(code.co_varnames) == variables), None)
    if code is None:
        text = "is a function of Python {}, Python is {} here, and its text is not known: define {} in the cell"
        raise Refused(text.format(python, _versions.python(), name))
    return types.FunctionType(_in_file(code, file), namespace, name, *rest)


def _codes(file):
    """Yield the code of all functions in the text of a cell."""
    text = "".join(linecache.getlines(file))
    waiting = [compile(text, file, "exec", _TOP_LEVEL_AWAIT, True)] if text else []
    while waiting:
        code = waiting.pop()
        inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        waiting += inner
        yield from inner


def _in_file(code, file):
    """Return code with the name of its file, which cloudpickle takes away."""
    constants = tuple(_in_file(inner, file) if isinstance(inner, types.CodeType) else inner for inner in code.co_consts)
    return code.replace(co_filename=file, co_consts=constants)


def make_class(kind, name, bases, own, tracker, more):  # noqa: PLR0917 (as cloudpickle calls it)
    """Make a class that holds nothing yet, as cloudpickle does.

    What the notebook has to be called for each new class was called when it was made first.
    """
    known = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
    if known is not None:
        return known
    found = {base: None for of in types.resolve_bases(bases) for base in of.__mro__ if base.__module__ == "__main__"}
    called = {base: vars(base)[_FOR_SUBCLASSES] for base in found if _FOR_SUBCLASSES in vars(base)}
    for base in called:
        type.__setattr__(base, _FOR_SUBCLASSES, classmethod(lambda cls, **_: None))
    try:
        if kind.__module__ != "__main__":
            return cloudpickle.cloudpickle._make_skeleton_class(kind, name, bases, own, tracker, more)
        maker = next(of for of in kind.__mro__ if of.__module__ != "__main__")
        made = maker.__new__(kind, name, types.resolve_bases(bases), dict(own))
        return cloudpickle.cloudpickle._lookup_class_or_track(tracker, made)
    finally:
        for base, method in called.items():
            type.__setattr__(base, _FOR_SUBCLASSES, method)


_FOR_SUBCLASSES = "__init_subclass__"

#: What Python puts into a class for the slots of its instances.
_OF_SLOTS = types.MemberDescriptorType, types.GetSetDescriptorType


def fill_class(kind, state):
    """Give a class its attributes, as cloudpickle does; what it has only here was deleted there."""
    for name, value in list(vars(kind).items()):
        is_own = not name.startswith(("__", "_abc_")) or type(value) is types.FunctionType
        if is_own and name not in state[0] and not isinstance(value, _OF_SLOTS):
            type.__delattr__(kind, name)
    return cloudpickle.cloudpickle._class_setstate(kind, state)


def _of_enum(kind, make, arguments, state, *_):
    """Reduce an enumeration with its aliases, and with what its members hold: cloudpickle leaves both out."""
    members = dict(kind.__members__)
    given = *arguments[:3], {name: member.value for name, member in members.items()}, *arguments[4:]
    attributes = {name: of for name, of in state[0].items() if name not in members}
    held = {name: _held_by_member(member) for name, member in members.items()}
    return make, given, ((attributes, state[1]), held), None, None, fill_enum


def _held_by_member(member):
    """Return the attributes of a member that are not Python's."""
    return {name: of for name, of in vars(member).items() if not re.fullmatch("_.*_", name)}


def fill_enum(kind, state):
    """Give an enumeration its attributes, and its members theirs."""
    cloudpickle.cloudpickle._class_setstate(kind, state[0])
    for name, held in state[1].items():
        own = vars(kind.__members__[name])
        for key in _held_by_member(kind.__members__[name]):
            del own[key]
        own.update(held)


def fill_function(function, state):
    """Give a function its attributes."""
    for name, value in state[0].items():
        setattr(function, name, value)
    function.__dict__.update(state[1])


def _of_file(file):
    """Reduce an open file of the folder where the code works; None for others."""
    name = file_name(getattr(file, "fid", file))
    if name and hasattr(file, "fid"):  # arrays of numpy, read when they are asked for
        return load_arrays, (name, file.allow_pickle)
    text = (file.encoding, file.errors) if isinstance(file, io.TextIOWrapper) else (None, None)
    return (make_file, (name, file.mode, *text), _held_by_file(file), None, None, go_to) if name else None


def make_file(name, mode, encoding, errors):
    """Open a file as it is open on the other side; what is in it stays."""
    made_here(name)
    made = open(name, re.sub("[wx]", "r+", mode.replace("w+", "w")), encoding=encoding, errors=errors)  # noqa: SIM115
    if encoding:
        made.mode = mode
    return made


#: Name → content of files that come with the values that are read now; they are written later.
_coming = {}


def made_here(name):
    """Write a file that came now, if there is none."""
    parts = os.path.normpath(name).split(os.sep)
    is_near = not os.path.isabs(name) and not any(part.startswith((".", "_lk_")) for part in parts)
    if name in _coming and is_near and not os.path.exists(name):
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        with open(name, "xb") as file:
            file.write(_coming[name])


def _make_modules():
    """Write the modules that came now: values that come too may be theirs."""
    for name in [name for name in _coming if name.endswith(".py")]:
        with suppress(OSError):  # it's said when all files are written
            made_here(name)
        invalidate_caches()


def load_arrays(name, pickle):
    """Open a file of arrays as it is open on the other side."""
    made_here(name)
    return import_module("numpy").load(name, allow_pickle=pickle)


def go_to(value, place):
    """Go to the place in a file where the other side is; close a file that is closed there."""
    if place == _ENDED:
        value.close()
    else:
        value.seek(place)


def make_cached(function, parameters, with_options):
    """Make a function that keeps its answers, as ``functools.lru_cache`` does."""
    return functools.lru_cache(**parameters)(function) if with_options else functools.lru_cache(function)


def _is_own_memo(cached):
    return getattr(getattr(cached, "__wrapped__", None), "__module__", "") == "__main__"


def _of_each_side(value):
    """Whether each side has another one, which the other side must not change."""
    is_formatter = type(value).__module__ == "IPython.core.formatters"
    return bool(is_formatter or _is_shell(value) or _stream(value) or place_of(value))


def _is_shell(value):
    """Whether a value is IPython's shell, which each side has one of."""
    shells = sys.modules.get("IPython.core.interactiveshell")
    return shells is not None and isinstance(value, shells.InteractiveShell)


def shell():
    """Return IPython's shell of this side."""
    try:
        from IPython import get_ipython
    except ImportError:
        raise Refused("holds IPython's shell, and the run has no IPython: add -r ipython") from None
    return get_ipython()


# Widgets: each side has a model of its own, and what it holds travels

_OF_MODELS = {"comm", "keys", "log", "parent", "_msg_callbacks", "_display_callbacks", "_states_to_send"}
_OF_TRAITS = (
    "_trait",
    "_cross_validation_lock",
    "_property_lock",
    "_holding_sync",
    "_model_id",
    "_comm",
    "_Output__counter",
)


def _is_widget(value):
    widgets = sys.modules.get("ipywidgets.widgets.widget")
    return widgets is not None and isinstance(value, widgets.Widget)


def _inside_widget(widget):
    """Return the traits of a widget, its other attributes, what observes it, and whether it is closed."""
    from traitlets.traitlets import EventHandler

    observed = [
        (handler, name, kind)
        for name, kinds in widget._trait_notifiers.items()
        for kind, handlers in kinds.items()
        for handler in handlers
        if not isinstance(handler, EventHandler)
    ]
    return [
        {name: value for name, value in widget._trait_values.items() if name not in _OF_MODELS},
        {name: value for name, value in widget.__dict__.items() if not name.startswith(_OF_TRAITS)},
        observed,
        list(widget._msg_callbacks.callbacks),
        widget.comm is None,
    ]


def _reduced(value):  # noqa: PLR0911 (one for each kind)
    """Reduce what each side has already, or makes for itself; None for others."""
    if type(value) is NamesOf:
        return value.__reduce__()
    if _is_widget(value):
        return make_widget, (type(value), value._model_id), _inside_widget(value), None, None, fill_widget
    if _is_shell(value):
        return shell, ()
    if _is_optimizer(value):
        return make_optimizer, (type(value),), dict(vars(value)), None, None, fill_optimizer
    if _is_database(value):
        return _near(_DATABASES).reduced(value)
    if isinstance(value, types.ModuleType) and type(value) is not types.ModuleType:
        return (import_module, (value.__name__,)) if sys.modules.get(value.__name__) is value else None
    if (
        type(value) is types.GeneratorType
        or (type(value) in _OF_FILES and not _stream(value))
        or type(value).__name__ == "NpzFile"
    ):
        return _near(_GENERATORS).reduced(value) if type(value) is types.GeneratorType else _of_file(value)
    if found := _stream(value) or place_of(value):
        return named, found
    return (
        _of_python(value)
        or _of_error(value)
        or _weak(value)
        or _made_of_parts(value)
        or _of_bokeh(value)
        or _versions.of_datasets(value)
        or _by_state(value)
    )


_VIEWS = {
    type(getattr(made, name)()): name
    for made in ({}, collections.OrderedDict())
    for name in ("keys", "values", "items")
}


_PATHS = {pathlib.PosixPath, pathlib.WindowsPath}


def _of_python(value):
    """Reduce what Python itself doesn't: absolute paths, views of a dict, pairs of items; None for others."""
    kind = type(value)
    if kind in _PATHS:
        return (kind, (str(value),)) if value.is_absolute() else None
    if kind in _VIEWS:
        return view_of, (gc.get_referents(value)[0], _VIEWS[kind])
    if kind is getattr(itertools, "pairwise", None):
        held, empty = ([of for of in gc.get_referents(made) if of is not kind] for made in (value, kind(())))
        more = len(empty) - 1  # later Pythons keep a tuple to give next
        of, *before = held[: len(held) - more] or [iter(())]
        return kind, (itertools.chain(before, of) if before else of,)
    is_formatter = kind.__module__ == "IPython.core.formatters"
    form = next((name for name, of in _formatters().items() if of is value), None) if is_formatter else None
    return (formatter_of, (form,)) if form else None


def view_of(held, name):
    """Return the keys, values or items of a dict."""
    return getattr(held, name)()


def formatter_of(form):
    """Return what shows values in this form here."""
    shell()
    return _formatters()[form]


def _stream(value):
    """Return module and name of a stream that each side has; None for others."""
    return next((("sys", name) for name in ("stdout", "stderr", "stdin") if getattr(sys, name) is value), None)


def _of_error(error):
    """Reduce an exception with the exceptions that it was raised from; None for others."""
    kind = type(error)
    if not issubclass(kind, BaseException):
        return None
    make, arguments, attributes, *more = (*error.__reduce_ex__(PROTOCOL), None)[:4]
    if kind.__setstate__ is not BaseException.__setstate__ or any(part is not None for part in more):
        return None
    if make is kind and kind.__reduce__ is BaseException.__reduce__:
        make, arguments = make_error, (kind, arguments)
    return make, arguments, (attributes, _chain(error)), None, None, fill_error


def _chain(error):
    return error.__cause__, error.__context__, error.__suppress_context__


def make_error(kind, arguments):
    """Make an exception as it is: ``__init__`` of its class may take other arguments than the exception keeps."""
    error = kind.__new__(kind, *arguments)
    base = next(base for base in kind.__mro__ if isinstance(vars(base).get("__init__"), types.WrapperDescriptorType))
    base.__init__(error, *arguments)
    return error


def fill_error(error, state):
    """Give an exception its attributes, and the exceptions that it was raised from."""
    attributes, (error.__cause__, error.__context__, suppresses) = state
    error.__dict__.update(attributes or {})
    error.__suppress_context__ = suppresses


def _weak(value):
    """Reduce what refers weakly to objects that live, a view of a dict, and a cached property; None for others."""
    kind = type(value)
    if kind is functools.cached_property:  # it may have a lock of its own
        return kind, (value.func,), {"attrname": value.attrname}
    if kind is weakref.ref and value() is not None and value.__callback__ is None:
        return kind, (value(),)
    if kind is types.MappingProxyType:
        (inner,) = gc.get_referents(value)
        return (kind, (inner,)) if type(inner) is dict else None
    if kind is weakref.WeakSet:
        return kind, (list(value),)
    return (kind, (), None, None, iter(list(value.items()))) if kind in _WEAK else None


def _made_of_parts(value):
    """Reduce an object of patsy, which allows no pickle of what it could be made of; None for others."""
    kind = type(value)
    if getattr(getattr(kind, "__getstate__", None), "__name__", "") != "no_pickling":
        return None
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return kind, (numpy.asarray(value), value.design_info)
    return copyreg.__newobj__, (kind,), dict(value.__dict__)


def _of_bokeh(value):
    """Reduce what models of bokeh hold their items in, and the document of the notebook; None for others."""
    wrappers = sys.modules.get("bokeh.core.property.wrappers")
    if wrappers is not None and isinstance(value, wrappers.PropertyValueContainer):
        kind = type(value)
        if isinstance(value, dict):
            return kind, (), None, None, iter(value.items())
        return (kind, (), None, iter(value)) if isinstance(value, list) else (kind, (set(value),))
    io = sys.modules.get("bokeh.io")
    return (io.curdoc, ()) if io is not None and value is io.curdoc() else None


def _is_optimizer(value):
    optimizers = sys.modules.get("torch.optim.optimizer")
    return optimizers is not None and isinstance(value, optimizers.Optimizer)


def make_optimizer(kind):
    """Make an optimizer that holds nothing yet: its class runs the hooks of a step from now on."""
    made = kind.__new__(kind)
    made._patch_step_function()
    return made


def fill_optimizer(optimizer, held):
    """Give an optimizer its attributes; pickles leave out the hooks, and that a scheduler follows its steps."""
    vars(optimizer).clear()
    optimizer.__setstate__(held)


def _is_image(value):
    images = sys.modules.get("PIL.Image")
    return images is not None and isinstance(value, images.Image)


def fill_image(image, held):
    """Let an image of Pillow hold this in the memory that it has, where it can: pens draw into that."""
    memory = None if getattr(image, "readonly", 0) or "P" in image.mode else getattr(image, "im", None)
    image.__setstate__(held)
    if memory is not None and (memory.mode, memory.size) == (image.im.mode, image.im.size):
        memory.paste(image.im, (0, 0, *memory.size))
        image.im = memory


#: Model of an Output in the run → the Output here that shows what the code shows inside it, while the run is active.
captures = {}


def capture_of(model):
    """Return the Output here for one in the run, made now or long known. Raises ImportError without ipywidgets."""
    output = import_module("ipywidgets").Output
    known = getattr(sys.modules["ipywidgets.widgets.widget"], "_instances", {}).get(model)
    return known if isinstance(known, output) else captures.setdefault(model, output())


def make_widget(kind, model):
    """Make a widget that holds nothing yet; in a run it keeps the id of its model."""
    made = captures.pop(model, None)
    if type(made) is kind:
        return made
    module = sys.modules["ipywidgets.widgets.widget"]
    is_new = not __package__ and model not in getattr(module, "_instances", {})
    widget = kind.__new__(kind)
    with suppress(import_module("traitlets").TraitError):  # one that must hold something, such as Link, opens later
        module.Widget.__init__(widget, **({"model_id": model} if is_new else {}))
    return widget


def fill_widget(widget, state):
    """Let a widget hold what one of the other side holds, and show it."""
    traits, attributes, observed, callbacks, is_closed = state
    widget._trait_values.update(traits)
    widget.__dict__.update(attributes)
    for handler, name, kind in observed:
        widget.observe(handler, name, kind)
    for callback in callbacks:
        widget.on_msg(callback)
    if is_closed:
        widget.close()
    elif widget.comm is None:
        widget.open()
    else:
        widget.send_state()


#: What each side has of its own: how it is known, what it holds, and how it comes to hold the same.
_MOVED = (
    (_is_widget, _inside_widget, fill_widget),
    (
        _is_database,
        lambda value: _near(_DATABASES).held_by(value),
        lambda value, held: _near(_DATABASES).fill(value, held),
    ),
    (_is_optimizer, lambda value: dict(vars(value)), fill_optimizer),
    (_is_image, lambda image: image.__getstate__(), fill_image),
    (_is_iterator, _held_by_iterator, advance),
    (
        lambda value: type(value) is types.GeneratorType,
        lambda made: _near(_GENERATORS).held_by(made),
        lambda made, held: _near(_GENERATORS).go_to(made, held),
    ),
)


#: What the names begin with under which widgets travel that an output shows; the id of the output follows.
SHOWN = "output "


def show_widget(name, widget):
    """Show a widget, which can be moved here, in the place of its picture."""
    made = shell()
    if hasattr(made, "kernel") and isinstance(widget, sys.modules["ipywidgets.widgets.widget"].Widget):
        data, metadata = made.display_formatter.format(widget)
        transient = {"display_id": name[len(SHOWN) :]}
        made.display_pub.publish(data, metadata, transient=transient, update=True)


# What IPython shows of a value, and its magics, as the code has set them

#: The name under which files travel that the code wrote, which no variable has.
FILES = "files written"

_OF_NOTEBOOKS = {"", "IPython", "builtins", "matplotlib_inline", "lk_jupyter", "ipywidgets", "_lk_shell"}


def formatters():
    """Return MIME type → what shows instances of a class, where that is not IPython's own."""
    found = {}
    for kind, formatter in _formatters().items():
        made = {**formatter.type_printers, **formatter.deferred_printers}
        own = {of: maker for of, maker in made.items() if _package_of(maker) not in _OF_NOTEBOOKS}
        if own:
            found[kind] = own
    plain = _formatters().get("text/plain")
    options = {name: getattr(plain, name) for name, of in _OF_TEXT.items() if getattr(plain, name, of) != of}
    if type(plain).__module__ == _RICH:
        call = type(plain).__call__
        given = {name: cell.cell_contents for name, cell in zip(call.__code__.co_freevars, call.__closure__ or ())}
        options[_RICH] = {name: value for name, value in given.items() if type(value) in _ATOMS}
    if options:
        found[_OPTIONS] = options
    printed = vars(_printed()) if _printed() else {}
    own = {name: maker for name, maker in printed.items() if "<locals>" in getattr(maker, "__qualname__", "")}
    if printed and printed.get("_repr_latex_") is printed.get("_repr_disabled"):
        own["_repr_latex_"] = printed["_repr_disabled"]
    return {**found, _PRINTED: own} if own else found


#: How IPython writes values as text, as ``%precision`` and ``%pprint`` set it, and as it begins.
_OPTIONS, _OF_TEXT = "options", {"float_precision": "", "pprint": True}

#: The module that writes values as text in place of IPython, once it is asked to.
_RICH = "rich.pretty"

#: The class of sympy whose methods its ``init_printing`` replaces.
_PRINTED = "sympy.core._print_helpers"


def _printed():
    return getattr(sys.modules.get(_PRINTED), "Printable", None)


def put_formatters(found):
    """Let IPython show values as the other side does."""
    shell()
    options = {**_OF_TEXT, **found.get(_OPTIONS, {})}
    if _RICH in options:
        import_module(_RICH).install(**options.pop(_RICH))
    if plain := _formatters().get("text/plain"):
        for name, value in options.items():
            setattr(plain, name, value)
    for name, maker in found.get(_PRINTED, {}).items():
        setattr(_printed(), name, maker)
    for kind, made in found.items():
        formatter = _formatters().get(kind)
        for of, maker in made.items() if formatter else ():
            (formatter.deferred_printers if isinstance(of, tuple) else formatter.type_printers)[of] = maker


def _formatters():
    made = _made_shell()
    return made.display_formatter.formatters if made else {}


def _made_shell():
    """Return IPython's shell if it is made already."""
    shells = sys.modules.get("IPython.core.interactiveshell")
    return getattr(getattr(shells, "InteractiveShell", None), "_instance", None)


#: Names that IPython itself gives to its magics, and extensions that are of no use in a run.
_ALIASES, _NO_USE = {"ed", "hist", "rep", "SVG", "HTML", "file"}, {"lk_jupyter", "storemagic", "autoreload"}

#: The option of IPython's shell for which expressions of a cell are shown.
_SHOWS = "ast_node_interactivity"

#: Magics that came before there is a shell to have them.
waiting = {}


def magics():
    """Return the magics that the notebook has defined, the extensions that it has loaded, and what cells show."""
    made = _made_shell()
    shells = sys.modules.get("IPython.core.interactiveshell")
    shown = getattr(made or getattr(shells, "InteractiveShell", None), _SHOWS, None)
    options = {_SHOWS: shown} if isinstance(shown, str) and shown != "last_expr" else {}
    if made is None:
        return {**waiting, **options}
    found = {
        kind: {name: magic for name, magic in known.items() if _is_own(name, magic)}
        for kind, known in made.magics_manager.magics.items()
    }
    extensions = [name for name in sorted(made.extension_manager.loaded) if name.rpartition(".")[2] not in _NO_USE]
    return {**{kind: of for kind, of in [*found.items(), ("extensions", extensions)] if of}, **options}


def _is_own(name, magic):
    is_alias = type(magic).__name__ == "MagicAlias" and name not in _ALIASES
    return is_alias or getattr(magic, "__module__", "") == "__main__"


def put_magics(found):
    """Let IPython have the magics of the other side, now or once there is a shell."""
    made = _made_shell()
    if made is None:
        waiting.update(found)
        return
    waiting.clear()
    for name in found.get("extensions", ()):
        with suppress(Exception):  # whoever uses its magics is told that they are unknown
            made.extension_manager.load_extension(name)
    if _SHOWS in found:
        setattr(made, _SHOWS, found[_SHOWS])
    for kind, known in made.magics_manager.magics.items():
        known.update(found.get(kind, {}))


def accessors():
    """Return what the notebook has added to the classes of pandas: class and name → function or accessor."""
    pandas = sys.modules.get("pandas")
    kinds = [getattr(pandas, name) for name in ("DataFrame", "Series", "Index") if hasattr(pandas, name)]
    return {
        (kind.__name__, name): made
        for kind in kinds
        for name, made in vars(kind).items()
        if getattr(getattr(made, "_accessor", made), "__module__", "") == "__main__"
    }


def put_accessors(found):
    """Add to the classes of pandas what the other side has added."""
    for (kind, name), made in found.items():
        of = getattr(import_module("pandas"), kind)
        setattr(of, name, made)
        if hasattr(made, "_accessor"):
            of._accessors.add(name)


#: Code that sets an attribute: of what, and which.
_SETS = re.compile(
    r"(?<![\w.])([^\W\d][\w.]*)\.([^\W\d]\w*)\s*[-+*/|&]?=(?![=}!:])|\bsetattr\(\s*([\w.]+)\s*,\s*['\"](\w+)['\"]"
)

#: Attributes of ``sys`` that each side has its own of.
_OF_PROCESS = {"path", "stdin", "stdout", "stderr", "displayhook", "excepthook", "modules", "meta_path"}

#: Attributes of modules that the other side has set, by module and name; and modules that are not imported here.
_set_there, _left_there = set(), set()


def attributes():
    """Return what the code has set on modules, and the plain values in its local modules: module and name → value."""
    here = vars(sys.modules["__main__"])
    found = {}
    for of, module in _local_modules().items():
        values = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        found.update(((of, name), value) for name, value in values.items() if _is_plain(value, depth=6, few=_MANY))
    for of, name in _set_there | {(_module_named(of or other, here), name or its) for of, name, other, its in _sets()}:
        module = sys.modules.get(of)
        if module is not None and hasattr(module, name) and not (of == "sys" and name in _OF_PROCESS):
            found[of, name] = getattr(module, name)
    return found


def _local_modules():
    """Return name → module, of the modules in and below the folder of the code that it has imported."""
    modules = [value for value in list(vars(sys.modules["__main__"]).values()) if isinstance(value, types.ModuleType)]
    return {
        module.__name__: module
        for module in modules
        if _is_local(module)
        and sys.modules.get(module.__name__) is module
        and not (module.__name__ in _left_there or module.__name__.startswith("_lk_") or "-packages" in module.__file__)
    }


def _sets():
    """Return what the code of the run sets, or the cells of the notebook."""
    shell = None if _code() else _made_shell()
    texts = [_code()] if shell is None else shell.user_ns.get("In", ())
    return {found for text in texts for found in _SETS.findall(str(text))}


def _module_named(words, namespace):
    """Return the name of the module that code means with these words; nothing for other values."""
    first, *others = words.split(".")
    found = namespace.get(first)
    for word in others:
        found = getattr(found, word, None) if isinstance(found, types.ModuleType) else None
    name = getattr(found, "__name__", "") if isinstance(found, types.ModuleType) else ""
    return name if sys.modules.get(name) is found and name != "__main__" else ""


def put_attributes(found):
    """Set on modules what the other side has set, where the code here may use them."""
    words = words_of(_code())
    for (of, name), value in found.items():
        with suppress(Exception):  # the code that uses it says so
            module = import_module(of) if of.partition(".")[0] in words else sys.modules.get(of)
            if module is None:
                _left_there.add(of)
            elif getattr(module, name, found) is not value:
                setattr(module, name, value)
                _set_there.add((of, name))


#: State without a variable that travels in the stream: its name → what reads it, and what sets it.
NAMELESS = {
    "IPython's formatters": (formatters, put_formatters),
    "IPython's magics": (magics, put_magics),
    "additions to pandas": (accessors, put_accessors),
    "attributes of modules": (attributes, put_attributes),
}


def put_nameless(found):
    """Set such state; ``found`` may hold other values too."""
    for name in NAMELESS.keys() & found.keys():
        NAMELESS[name][1](found[name])


def _package_of(maker):
    return str(getattr(getattr(maker, "func", maker), "__module__", "") or "").partition(".")[0]


def make_cell():
    """Make an empty cell of a closure."""
    return types.CellType()


def fill_cell(cell, state):
    """Put into a cell what it holds."""
    if state:
        cell.cell_contents = state[0]


class NamesOf:
    """Travels in place of the namespace of a module."""

    def __init__(self, module):
        self._module = module

    def __reduce__(self):
        """Become the namespace of the module on the other side."""
        return names_of, (self._module,)


def names_of(module):
    """Return the namespace of a module."""
    return import_module(module).__dict__


def _is_inner(function):
    """Whether a function is made by a function of a module, and so has no name there."""
    module = sys.modules.get(function.__globals__.get("__name__"))
    is_its = module is not None and vars(module) is function.__globals__
    return is_its and "<locals>" in function.__qualname__ and "__file__" in function.__globals__


# Reading


class Reader(_versions.Unpickler):
    """Reads what a Writer has written. ``known`` is token → object of what is here."""

    def __init__(self, stream, content, leaf, known=None):
        self._file = io.BytesIO(stream)
        super().__init__(self._file, stream)
        self._has_formulas = b"statsmodels" in stream
        self._listed = content
        self._leaf = leaf
        self.known = known or {}
        self.values = {}
        self._lost = set()
        self._base = _near("_lk_ambient").base_folder()

    def chunk(self, start, names=()):
        """Return the value that begins there; ``names`` are the variables that were read before it."""
        if self._lost and self._lost & self._numbers(start, "GET"):
            raise pickle.UnpicklingError
        self._file.seek(start)
        return _among(names, self.load) if self._has_formulas else self.load()

    def forget(self, start):
        """Record the parts of a value that could not be read: a later value must not get them half made."""
        memo = self.memo.copy()
        self._lost.update(number for number in self._numbers(start, "PUT") if not _is_imported(memo.get(number)))

    def _numbers(self, start, step):
        """Return the numbers of the parts that a value has (PUT) or refers to (GET)."""
        self._file.seek(start)
        with suppress(Exception):  # a damaged pickle
            return {number for code, number, _ in pickletools.genops(self._file) if code.name.endswith(step)}
        return set()

    def find_class(self, module, name):
        """Return a class or function by its name; ours are in the module where this is."""
        own = module.rpartition(".")[2]
        if own in _OWN:
            return _maker(_near(own), name)
        if name == "_make_skeleton_class":
            return make_class
        return super().find_class(module, name)

    def persistent_load(self, number):
        """Return what is not pickled; a text is a path below the folder of the code."""
        if isinstance(number, str):
            return self._base + number.replace("/", os.sep)
        if number == _MAIN:
            return sys.modules["__main__"].__dict__
        if number >= 0 and number not in self.known:
            raise Refused("refers to what this kernel no longer has: run the cell again")
        if number >= 0:
            return self.known[number]
        at = _FIRST - number
        if at not in self.values:
            self.values[at] = self._read(self._listed["nodes"][at])
        return self.values[at]

    def _read(self, node):
        if "view" in node:
            return self._view(*node["view"])
        if "memory" in node:
            array, shape = self.persistent_load(node["memory"][0]), node["memory"][1]
            return import_module("torch").from_numpy(array).reshape(shape)
        if "part" in node:
            value = _near("_lk_tensors").part_of(self.persistent_load(node["part"][0]), *node["part"][1:])
            if node.get("grad") is not None:
                value.grad = self.persistent_load(node["grad"])
            return value
        first = node["first"]
        decoder = _values.Decoder(lambda number: self._leaf(self._listed["leaves"][first + number]))
        value = decoder.value(node["node"])
        if node.get("grad") is not None:
            value.grad = self.persistent_load(node["grad"])
        return value

    def _view(self, owner, start, shape, strides, dtype):
        import numpy

        memory = self.persistent_load(owner)
        in_order = memory if memory.flags.c_contiguous else memory.T
        return numpy.ndarray(shape, self._read(dtype), in_order, start, strides)

    def tokens(self):
        """Return token → object of all that was read."""
        met = {2 * number: value for number, value in self.memo.copy().items() if number not in self._lost}
        return {**met, **{2 * at + 1: value for at, value in self.values.items()}}


#: Depth of frames at which libraries look for the variables of the code that reads a pickle.
_DEPTH = 6
_AGAIN = (
    "lambda _lk_again, _lk_load, _lk_depth: _lk_again(_lk_again, _lk_load, _lk_depth - 1) if _lk_depth else _lk_load()"
)


def _among(names, load):
    """Read a value as the notebook would: results of formulas look for its variables in the frames that read them."""
    namespace = {**sys.modules["__main__"].__dict__, **dict(names)}
    again = eval(compile(_AGAIN, "<reading>", "eval", 0, True), namespace)
    return again(again, load, _DEPTH)


def formula_names(value):
    """Return the names in the formula of a model, or of its results; nothing for other values."""
    if not str(type(value).__module__).startswith("statsmodels."):
        return set()
    formula = getattr(getattr(value, "model", value), "formula", None)
    return words_of(formula) if isinstance(formula, str) else set()


def _is_imported(part):
    """Whether a part of a value was made by its module, and not by a pickle."""
    return isinstance(part, _IMPORTED) and getattr(part, "__module__", None) != "__main__"


_IMPORTED = str, type, types.FunctionType, types.BuiltinFunctionType


def _maker(module, name):
    """Return a function of ours by its name. Raises Refused for a name that only earlier versions have."""
    if name in _EARLIER:
        return _EARLIER[name]
    if not hasattr(module, name):
        raise Refused("was sent by an earlier version, and no run can get such objects any more" + IN_SESSION)
    return getattr(module, name)


def keep_texts(texts):
    """Let tracebacks and ``inspect`` find the text of cells that ran elsewhere."""
    for name, text in texts.items():
        if name not in linecache.cache and not os.path.exists(name):
            linecache.cache[name] = len(text), None, text.splitlines(True), name


# From one end to the other


class Departing:
    """Values on their way: their pickles, and the message that lists them.

    ``known`` is id → (token, object) of what the other end has.
    """

    def __init__(self, known=None):
        self.message = _messages.Envelope(pickle=True)
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
        found = dict(_versions.package_of(module) for module in self.writer.packages)
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


class Arriving:
    """Values that came. ``refused`` is name → reason for what cannot be read; ``known`` is token → object of here."""

    def __init__(self, content, leaf, known=None, acceptable=dict):
        self.refused = {}
        self._acceptable = acceptable
        self.listed = content["carry"]
        self.content = content
        leaves = content["leaves"]

        def read(found):
            return _values.from_text(found["v"]) if "v" in found else leaf(found)

        stream = bytes(read(leaves[self.listed["stream"]]))
        self.reader = Reader(stream, {"nodes": self.listed["nodes"], "leaves": leaves}, read, known)
        keep_texts(self.listed["texts"])

    def read(self):
        """Yield each entry with its value, in the order in which they were written."""
        names = {}
        for entry in self.listed["entries"]:
            if entry["n"] == "handlers of loggers":  # as earlier versions sent them
                continue
            reason = self._differs(entry) or None
            if reason is None:
                value, reason = self._value(entry, names)
            if reason is None:
                if entry["k"] == "name":
                    names[entry["n"]] = value
                if entry["n"] == FILES:
                    _coming.update(self._acceptable(value))
                    _make_modules()
                yield entry, value
            else:
                self.refused[entry["of"]] = "{} {}".format(entry["of"], reason)
        _coming.clear()  # what is open among the values is open now
        for name in self.listed.get("submodules", ()):
            with suppress(Exception):  # the code that uses it says so
                import_module(name)

    def _value(self, entry, names):
        """Return a value, or the reason why it cannot be read."""
        try:
            return self.reader.chunk(entry["at"], names), None
        except _messages.Failed:
            raise
        except MemoryError as error:
            return None, "does not fit into memory: {}".format(error or "it is full")
        except Exception as error:
            self.reader.forget(entry["at"])
            return None, _why_unread(error)

    def _differs(self, entry):
        """Say which version is another one here, where that matters to what is read."""
        there = {name: version for name, version in self.listed["versions"].items() if name in entry["packages"]}
        strict = {name: of for name, of in there.items() if not _is_steady(name, of)}
        found = _versions.differences(strict, _versions.python())
        return "was made by other versions: {}".format("; ".join(found)) if found else ""


def _why_unread(error):
    if isinstance(error, ImportError):
        return _messages.missing_package(error)
    if isinstance(error, (Refused, _values.CannotTravel, _versions.Unsafe)):
        return str(error)
    if isinstance(error, pickle.UnpicklingError):
        return "shares a part with a variable that wasn't uploaded"
    return "cannot be read ({}: {}): make it in the cell that uses it".format(type(error).__name__, error)


def _is_steady(name, version):
    here = _versions.version_of(name) or ""
    return name in _STEADY and here.partition(".")[0] == version.partition(".")[0]


# In the run


class Visit:
    """The namespace of a run, between what came and what goes back.

    ``refused`` is name → reason for what could not be read; ``hidden`` are names that are not the author's, with their
    values.
    """

    def __init__(self, arriving, namespace, hidden=None):
        self._namespace = namespace
        self._hidden = hidden or {}
        came = {entry["n"]: value for entry, value in arriving.read()}
        self._nameless = {name: came.pop(name, {}) for name in NAMELESS}
        put_nameless({name: found for name, found in self._nameless.items() if found})
        namespace.update(came)
        self.refused = arriving.refused
        self._came = set(came)
        self._known = known_of({**arriving.reader.tokens(), **arriving.reader.known})
        leaves = arriving.content["leaves"]
        self._before = {2 * at + 1: digest_of(node, leaves) for at, node in enumerate(arriving.listed["nodes"])}
        self._own, self._files, self._states = {}, {}, {}

    def begin(self):
        """Record all values, as the last step before the code runs."""
        digests = Digests(self._known)
        for token, value in self._known.values():
            if self._before.get(token) is None:
                self._before[token] = _quietly(digests.of, value)
        self._start = dict(self._namespace)
        for name in self._came:
            if id(self._namespace[name]) not in self._known:
                self._own[name] = _quietly(digests.of_any, self._namespace[name])

    def end(self, limit, asked=(), files=()):
        """Return what has changed, ready to be sent, with name → reason for what cannot be.

        What takes more bytes than the limit stays, unless it was asked for. ``files`` is name → content of files that
        the code wrote.
        """
        self._files = {FILES: dict(files)} if files else {}
        refused, departing = {}, None
        while departing is None:
            departing = self._departing(refused, limit, asked)
        departing.submodules = submodules_of(list(self._namespace.values()), words_of(_code()))
        departing.close()
        return departing, {name: reason for (_, _, name), reason in refused.items()}

    @property
    def gone(self):
        """The names that came and were deleted."""
        return sorted(name for name in self._came if name not in self._namespace)

    def _departing(self, refused, limit, asked):
        """Return what has changed, but for what is refused; None where more is refused now, to start again."""
        departing = Departing(self._known)
        digests = Digests(self._known)
        digests.reached = reached = departing.writer.reached
        changed = self._changed(digests, asked)
        departing.share(list(changed.values()))
        names = {id(self._namespace[name]): name for name in self._came if name in self._namespace}
        seen = set()
        for name in [*changed, *sorted(self._came - changed.keys()), *(NAMELESS.keys() - changed.keys())]:
            if name in changed:
                waiting = [("name", name, changed[name])]
            elif name in NAMELESS:
                _quietly(digests.of_any, self._states[name])
                waiting = []
            else:
                digests.persistent_id(self._namespace.get(name))
                waiting = []
            while waiting or reached.keys() - seen:
                for held in waiting:
                    of = names.get(id(held[2]), name)  # what has a name is not counted for one that only holds it
                    place = (*held[:2], of)
                    if place not in refused:
                        reason = _added(departing, *held, of) or _too_large(
                            departing, of, None if of in asked else limit
                        )
                        if reason:
                            refused[place] = "{} {}".format(name, reason)
                            return None
                tokens = sorted(reached.keys() - seen)
                seen.update(tokens)
                waiting = [found for token in tokens for found in self._held(digests, token)]
        return departing

    def _held(self, digests, token):
        """Yield what an object holds, where that is something else than before; what it refers to is reached then."""
        value = digests.reached[token]
        digest = _quietly(digests.of, value)
        if digest != self._before.get(token):
            yield "leaf" if token % 2 else "inside", token, value

    def _changed(self, digests, asked):
        """Return the names that have another value than before, and the names that were asked for."""
        hidden = self._hidden or getattr(sys.modules.get("_lk_shell"), "hidden", {})
        self._states = {name: read() for name, (read, _) in NAMELESS.items()}
        found = {name: state for name, state in self._states.items() if _is_other(state, self._nameless[name])}
        widgets = getattr(sys.modules.get("_lk_show"), "shown", {})
        found.update((SHOWN + name, widget) for name, widget in widgets.items() if widget is not None)
        named = {
            name: value
            for name, value in list(self._namespace.items())
            if not name.startswith("__")
            and hidden.get(name, hidden) is not value
            and (name != "_" or self._is_sent_unasked(value))
            and (
                name in asked
                or self._start.get(name, self) is not value
                or (name in self._own and _quietly(digests.of_any, value) != self._own[name])
            )
        }
        return {**self._files, **named, **found}  # files first: some are open in the other values

    def _is_sent_unasked(self, value):
        """Whether the last value that was shown is sent without being asked for."""
        is_known = id(value) in self._known or any(
            value is of for name, of in list(self._namespace.items()) if name != "_"
        )
        return _is_plain(value) or Digests(self._known).is_leaf(value) or is_known


def _is_other(state, before):
    try:
        return bool(state != before)
    except Exception:  # such as of two arrays
        return True


def _is_plain(value, depth=3, few=_FEW):
    """Whether a value is a number, text, a path or a short container of such values."""
    if type(value) in _ATOMS or isinstance(value, pathlib.PurePath):
        return True
    if type(value) not in (list, tuple, set, frozenset, dict) or len(value) > few or depth == 0:
        return False
    items = [*value, *value.values()] if type(value) is dict else value
    return all(_is_plain(item, depth - 1, few) for item in items)


def let_live():
    """Call no ``__del__`` of the notebook's classes any more: the process ends, its objects live on in the notebook."""
    waiting, seen = [object], set()
    while waiting:
        kind = waiting.pop()
        found = [of for of in type.__subclasses__(kind) if id(of) not in seen]  # a class may compare as it likes
        seen.update(map(id, found))
        waiting += found
        if kind.__module__ == "__main__" and "__del__" in vars(kind):
            type.__delattr__(kind, "__del__")


def _code():
    """Return the code that runs."""
    return getattr(sys.modules.get("_lk_run"), "_text", "")


def _added(departing, kind, key, value, name):
    """Add a value; return why that cannot be, or nothing."""
    try:
        departing.add(kind, key, inside(value) if kind == "inside" else value, name)
    except Refused as error:
        return str(error)
    except Exception as error:
        return "cannot be read ({}: {})".format(type(error).__name__, error)
    return ""


def _too_large(departing, name, limit):
    size = departing.sizes[name]
    if limit is None or size <= limit:
        return ""
    return TOO_LARGE.format(size, limit, name)


class Kept:
    """What the other end has of a namespace already, by what it holds: the values that have not changed since.

    ``digests`` is name → digest of the value when it was last the same on both sides.
    """

    #: The first token of such values: an even number, above all that a stream gives.
    FIRST = 1 << 40

    def __init__(self, namespace, digests):
        self._names = {id(namespace[name]): name for name in digests if name in namespace}
        self._namespace = namespace
        self._digests = digests
        self._found = {}

    def get(self, number, default=None):
        """Return the token and the value of an object with this id, as ``known`` of a Writer has them."""
        if number not in self._found:
            self._found[number] = self._look(number)
        return self._found[number] or default

    def __contains__(self, number):
        return self.get(number) is not None

    def _look(self, number):
        name = self._names.get(number)
        if name is None or digest_here(self._namespace[name]) != self._digests[name]:
            return None
        token = self.FIRST + 2 * list(self._digests).index(name)
        return token + Writer(None).is_leaf(self._namespace[name]), self._namespace[name]

    @property
    def tokens(self):
        """Token → name of the values that were asked for and have not changed."""
        return {found[0]: self._names[number] for number, found in self._found.items() if found}

    @property
    def values(self):
        """Token → value of the same."""
        return {found[0]: found[1] for found in self._found.values() if found}


def digest_here(value, hash_of=None):
    """Return the digest of a value and all that it holds; None for what cannot be read."""
    digests = Digests({}, hash_of)
    return _quietly(digests.of if digests.is_leaf(value) else digests.of_any, value)


def digests_of(tokens, hash_of=None, wanted=None):
    """Return token → digest of each object that can change in place, or of the ``wanted`` objects."""
    known = known_of(tokens)
    digests = Digests(known, hash_of)
    found = ((token, value) for token, value in known.values() if wanted is None or token in wanted)
    return {token: _quietly(digests.of, value) for token, value in found}


def known_of(tokens):
    """Return id → (token, object) of what can change in place, or holds what can."""
    return {id(value): (token, value) for token, value in tokens.items() if token % 2 or _holds(value)}


def _holds(value):
    try:
        return inside(value) is not None
    except Exception:
        return False


def _quietly(digest, value):
    """Return a digest; None for what cannot be read."""
    try:
        return digest(value)
    except Refused:
        return None
