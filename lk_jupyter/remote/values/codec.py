"""Values as a tree of JSON with leaves of bytes, and back: equal in type and content.

A node is None, a bool, a str, a small int, a finite float, or an object with a kind ``t``. The module of KINDS writes
and reads a kind of a library, such as ``numpy.array``. A repeated object is written once and referenced.
"""

from __future__ import annotations

import base64
import collections
import datetime
import enum
import importlib
import io
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    #: Writes bytes of a leaf.
    Sink = Callable[[Any], Any]
    LeafWriter = Callable[[Sink], Any]
    EncodeNode = Callable[["Encoder", dict[str, Any], Any], Any]
    DecodeNode = Callable[["Decoder", dict[str, Any]], Any]

#: Libraries with a module in this package, which has ``encode`` and ``decode``: the first part of a type's module.
KINDS = {"numpy", "torch", "pandas", "polars", "pyarrow"}

#: Library → function that imports the module with ``encode`` and ``decode``: ``families`` fills the table.
families: dict[str, Callable[[], Any]] = {}

#: Text and bytes longer than this are leaves.
LONG = 4096

#: Parts of a key that are visited at most, and types whose hash visits their parts.
MAX_KEY = 100_000
_NESTED = (tuple, frozenset, slice)

#: Modules whose objects belong to one process.
PROCESS_MODULES = {
    "_thread", "threading", "multiprocessing.synchronize", "multiprocessing.pool", "multiprocessing.context",
    "concurrent.futures.thread", "concurrent.futures.process", "asyncio.locks", "_asyncio", "_socket", "socket",
    "_queue", "queue", "subprocess", "sqlite3", "_sqlite3",
}  # fmt: skip


#: The key of a node for the memory layout of a frame, which changes when pandas reads the frame.
LAYOUT = "blocks"

_AS_IS = (type(None), bool, str)
_WORDS = {Ellipsis: "Ellipsis", NotImplemented: "NotImplemented"}
_FILLED = {"list", "dict", "OrderedDict", "Counter", "defaultdict", "deque"}


class CannotTravel(Exception):
    """A value can't be sent; the text gives the part, the reason and the fix."""


class Encoder:
    """Makes nodes of values. ``leaves`` are functions that write the bytes of one leaf to ``sink(bytes)``."""

    def __init__(self, pickle: bool = False) -> None:
        self.pickle = pickle
        self.leaves: list[LeafWriter] = []
        self.modules: set[str] = set()
        self.pickled: dict[str, str] = {}
        self._nodes: dict[int, dict[str, Any]] = {}
        self._shared = 0
        self._open: set[int] = set()
        self._alive: list[Any] = []
        self._path: list[str] = []

    def value(self, name: str, value: Any) -> Any:
        """Return the node of a named value. Raises CannotTravel."""
        self._path = [name]
        leaves, nodes = len(self.leaves), dict(self._nodes)
        try:
            return self.node(value)
        except RecursionError:
            error = CannotTravel("{} is nested too deeply: create it in the cell that uses it".format(name))
        except CannotTravel as refused:
            error = refused
        except ImportError as missing:
            error = CannotTravel(
                "{} can't be sent without {}: install the package here".format(name, missing.name or missing)
            )
        del self.leaves[leaves:]
        self._nodes, self._open = nodes, set()
        raise error

    def node(self, value: Any) -> Any:
        """Return the node of a value."""
        kind = type(value)
        if kind in _AS_IS:
            return value if kind is not str or len(value) <= LONG else self._encode_tagged(kind, value)
        if kind is int:
            return value if -(2**63) <= value < 2**63 else {"t": "int", "v": hex(value)}
        if kind is float:
            return value if value - value == 0 else {"t": "float", "v": repr(value)}
        return self._encode_tagged(kind, value)

    def _encode_tagged(self, kind: Any, value: Any) -> dict[str, Any]:
        previous = self._nodes.get(id(value))
        if previous is not None:
            return self._encode_reference(previous)
        node: dict[str, Any] = {}
        self._nodes[id(value)] = node
        self._alive.append(value)
        self._open.add(id(node))
        self._fill_node(node, kind, value)
        self._open.discard(id(node))
        return node

    def _encode_reference(self, node: dict[str, Any]) -> dict[str, Any]:
        if id(node) in self._open and node.get("t") not in _FILLED:
            raise self.refusal("contains itself")
        if "id" not in node:
            self._shared += 1
            node["id"] = self._shared
        return {"t": "same", "n": node["id"]}

    def _fill_node(self, node: dict[str, Any], kind: Any, value: Any) -> None:
        encode_plain = _PLAIN.get(kind) or _IMPORTED.get((str(kind.__module__).partition(".")[0], kind.__name__))
        if encode_plain:
            encode_plain(self, node, value)
            return
        encode, depth = _find_encoder(kind), len(self._path)
        try:
            done = encode is not None and encode(self, node, value)
        except CannotTravel:
            if not self.pickle:
                raise
            done = False
            del self._path[depth:]
        if not done:
            node.clear()
            self._fill_by_import_or_pickle(node, value)

    def _fill_by_import_or_pickle(self, node: dict[str, Any], value: Any) -> None:
        """Fill the node of an object without a native form: by its import name, or pickled if requested."""
        from . import pickle as pickles

        module = import_name(value)
        if reason := pickles.reason_to_stay(value):
            raise self.refusal(reason)
        if module is not None:
            self.modules.add(module[0].partition(".")[0])
            node.update(t="global", m=module[0], q=module[1])
        elif self.pickle and not isinstance(value, types.ModuleType):
            self._fill_by_pickle(node, value)
        else:
            raise self.refusal(explain_unsendable(value))

    def _fill_by_pickle(self, node: dict[str, Any], value: Any) -> None:
        from . import pickle as pickles

        try:
            content = pickles.dumps(value)
            modules = pickles.list_modules(content)
            self.pickled.update(pickles.list_packages(content))
        except Exception as error:
            raise self.refusal("cannot be pickled ({}: {})".format(type(error).__name__, error)) from None
        if "__main__" in modules:
            raise self.refusal("is defined in this notebook: install cloudpickle here, or define it in the cell")
        if any(map(pickles.is_run_module, modules)):
            raise self.refusal("contains an output of the run, which can't be returned")
        self.modules.update(modules)
        node.update(t="pickle", leaf=self.leaf(lambda sink: sink(content)))

    def child(self, step: str, value: Any) -> Any:
        """Return the node of a part of the current value; ``step`` shows the part in errors."""
        return self.child_with(step, self.node, value)

    def child_with(self, step: str, make: Callable[[Any], Any], value: Any) -> Any:
        """Return the result of ``make`` for a part of the current value, and record the place for errors."""
        self._path.append(step)
        node = make(value)
        self._path.pop()
        return node

    def children(self, values: Iterable[Any]) -> list[Any]:
        """Return the nodes of the items of a sequence."""
        return [self.child("[{}]".format(at), value) for at, value in enumerate(values)]

    def leaf(self, write: LeafWriter) -> int:
        """Add the writer of a leaf's bytes, and return the number of the leaf."""
        self.leaves.append(write)
        return len(self.leaves) - 1

    @property
    def place(self) -> str:
        """Return the current part, in words."""
        return "".join(self._path)

    def refusal(self, reason: str) -> CannotTravel:
        """Return the error for the part that is being made."""
        return CannotTravel("{} {}".format(self.place, reason))


class Decoder:
    """Makes values of nodes. ``leaf(number)`` returns the writable bytes of a leaf.

    ``no_pickle`` is the reason why pickles are not read; empty if read. ``imports`` is whether a name may import its
    module, ``names`` whether functions and classes are read by name. The decoder calls no function that a message
    refers to, whoever has written the message; code that uses a value may.
    """

    def __init__(
        self, leaf: Callable[[int], Any], no_pickle: str = "", imports: bool = True, names: bool = True
    ) -> None:
        self.leaf = leaf
        self.no_pickle = no_pickle
        self.imports = imports
        self.names = names
        self._values_by_id: dict[int, Any] = {}

    def inner(self, leaf: Callable[[int], Any]) -> Decoder:
        """Return a decoder with the same rules for a tree inside a leaf."""
        return Decoder(leaf, self.no_pickle, self.imports, self.names)

    def value(self, node: Any) -> Any:
        """Return the value of a node."""
        if not isinstance(node, dict):
            return node
        if node["t"] == "same":
            if node["n"] not in self._values_by_id:
                raise CannotTravel("shares a part with a value that this Python process doesn't have")
            return self._values_by_id[node["n"]]
        kind = node["t"]
        family = _find_library(kind)
        value = families[family]().decode(self, node) if family else _READ[kind](self, node)
        if "id" in node:
            self._values_by_id[node["id"]] = value
        return value

    def values(self, nodes: Iterable[Any]) -> list[Any]:
        """Return the values of nodes, as a list."""
        return [self.value(node) for node in nodes]

    def register_empty(self, node: dict[str, Any], empty: Any) -> Any:
        """Register the value of the current node before its parts, which may contain the value."""
        if "id" in node:
            self._values_by_id[node["id"]] = empty
        return empty


def encode_leaf_text(write: LeafWriter) -> str:
    """Return the bytes of a leaf as text, for where they are few."""
    pieces = []
    write(lambda piece: pieces.append(bytes(piece)))
    return base64.b64encode(b"".join(pieces)).decode()


def decode_leaf_text(text: str) -> bytearray:
    """Return the bytes of a leaf from text; they may be changed."""
    return bytearray(base64.b64decode(text))


def _find_library(kind: str) -> str | None:
    """Return the library whose module reads a kind of node; None for plain values."""
    library, dot, _ = kind.partition(".")
    return library if dot and library in KINDS else None


def _find_encoder(kind: Any) -> Any:
    for base in kind.__mro__:
        library = str(base.__module__).partition(".")[0]
        if library in KINDS:
            return families[library]().encode
        if library == "pytz":
            return _encode_pytz
    return _encode_enum if issubclass(kind, enum.Enum) else None


def import_name(value: Any) -> tuple[str, str] | None:
    """Return module and name of a function or class that can be imported, else None."""
    if isinstance(value, types.ModuleType) and value.__name__ != "__main__":
        return (value.__name__, "") if sys.modules.get(value.__name__) is value else None
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__":
        return None
    target = sys.modules.get(module)
    for part in name.split("."):
        target = getattr(target, part, None)
    return (module, name) if target is value and target is not None else None


def explain_unsendable(value: Any) -> str:  # noqa: PLR0911 (one for each reason)
    """Return why a value can't be sent, and the fix."""
    kind = type(value)
    if isinstance(value, types.ModuleType):
        return "is a module that cannot be imported by its name"
    if isinstance(value, (types.FunctionType, type)):
        what = "a class" if isinstance(value, type) else "a function"
        where = "define it in the cell, or in a local .py file that the cell imports, or add --pickle"
        return "is {} of this notebook: {}".format(what, where)
    if isinstance(value, (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)):
        return "is a generator, which gives its values only once: make a list of it"
    if hasattr(value, "__next__") and not isinstance(value, io.IOBase):
        return "is an iterator ({}), which gives its values only once: make a list of it".format(kind.__name__)
    if isinstance(value, io.IOBase):
        return "is an open file, which belongs to this process: send its path or its content"
    if kind.__module__ in PROCESS_MODULES:
        return "is a {}, which belongs to this process: create it in the cell that uses it".format(kind.__name__)
    if any(base.__module__ == "torch.nn.modules.module" for base in kind.__mro__):
        return "is a torch module: send its state_dict(), and create the module in the cell"
    where = "" if kind.__module__ in ("__main__", None) else kind.__module__ + "."
    return "is a {}{}, which can't be sent: convert it to plain values, or add --pickle".format(
        where, kind.__qualname__
    )


# Plain values: how each becomes a node


def _make_attributes_encoder(name: str, *parts: str) -> EncodeNode:
    """Return an encoder of some attributes of a value."""

    def encode(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
        node.update(t=name, v=[encoder.node(getattr(value, part)) for part in parts])

    return encode


def _make_items_encoder(name: str) -> EncodeNode:
    def encode(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
        node["t"] = name
        node["v"] = encoder.children(value)

    return encode


def _make_set_encoder(name: str) -> EncodeNode:
    def encode(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
        node["t"] = name
        node["v"] = sorted((encoder.child("{...}", item) for item in value), key=repr)

    return encode


def _make_mapping_encoder(name: str) -> EncodeNode:
    def encode(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
        node["t"] = name
        if name == "defaultdict":
            node["f"] = encoder.child(".default_factory", value.default_factory)
        if all(type(key) is str for key in value):
            node["o"] = {key: encoder.child("[{!r}]".format(key), item) for key, item in list(value.items())}
        else:
            node["v"] = [
                [encoder.child(" key {!r:.40}".format(key), key), encoder.child("[{!r:.40}]".format(key), item)]
                for key, item in list(value.items())
            ]

    return encode


def _encode_deque(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    node.update(t="deque", m=value.maxlen)
    node["v"] = encoder.children(value)


def _encode_bytes(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    node["t"] = type(value).__name__
    if len(value) <= LONG:
        node["v"] = base64.b64encode(value).decode()
    else:
        node["leaf"] = encoder.leaf(lambda sink: sink(value))


def _encode_text(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    node.update(t="str", leaf=encoder.leaf(lambda sink: sink(value.encode("utf-8", "surrogatepass"))))


def _make_text_encoder(name: str) -> EncodeNode:
    def encode(_encoder: Encoder, node: dict[str, Any], value: Any) -> None:
        node.update(t=name, v=str(value))

    return encode


def _encode_complex(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    node.update(t="complex", v=[encoder.node(value.real), encoder.node(value.imag)])


def _encode_moment(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    zone = value.tzinfo
    node["t"] = type(value).__name__
    if hasattr(zone, "localize"):  # one zone of pytz is several objects, chosen by the moment
        utc = value.astimezone(datetime.timezone.utc) if isinstance(value, datetime.datetime) else value
        node.update(v=utc.replace(tzinfo=None).isoformat(), z=encoder.child(".tzinfo", zone))
    else:
        node.update(v=value.replace(tzinfo=None).isoformat(), z=encoder.child(".tzinfo", zone), f=value.fold)


def _encode_timezone(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    offset = value.utcoffset(None)
    plain = datetime.timezone(offset)
    node.update(t="timezone", v=encoder.node(offset))
    if value.tzname(None) != plain.tzname(None):
        node["n"] = value.tzname(None)


def _encode_zone(encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    if value.key is None:
        raise encoder.refusal("is a time zone from a file: use ZoneInfo(name)")
    node.update(t="ZoneInfo", v=value.key)


def _encode_pytz(_encoder: Encoder, node: dict[str, Any], value: Any) -> bool:
    if not isinstance(value, datetime.tzinfo):
        return False
    name = getattr(value, "zone", None)
    offset = value.utcoffset(None) if name is None else None
    node.update(t="pytz", v=name, m=None if offset is None else offset // datetime.timedelta(minutes=1))
    return node["v"] is not None or node["m"] is not None


def _encode_enum(encoder: Encoder, node: dict[str, Any], value: Any) -> bool:
    if import_name(type(value)) is None:
        raise encoder.refusal(explain_unsendable(type(value)))
    node.update(t="enum", c=encoder.node(type(value)), v=encoder.node(value.value))
    return True


def _encode_constant(_encoder: Encoder, node: dict[str, Any], value: Any) -> None:
    node["t"] = _WORDS[value]


_PLAIN: dict[Any, EncodeNode] = {
    str: _encode_text,
    list: _make_items_encoder("list"),
    tuple: _make_items_encoder("tuple"),
    set: _make_set_encoder("set"),
    frozenset: _make_set_encoder("frozenset"),
    dict: _make_mapping_encoder("dict"),
    collections.OrderedDict: _make_mapping_encoder("OrderedDict"),
    collections.defaultdict: _make_mapping_encoder("defaultdict"),
    collections.Counter: _make_mapping_encoder("Counter"),
    collections.deque: _encode_deque,
    bytes: _encode_bytes,
    bytearray: _encode_bytes,
    complex: _encode_complex,
    datetime.date: _make_text_encoder("date"),
    datetime.datetime: _encode_moment,
    datetime.time: _encode_moment,
    datetime.timedelta: _make_attributes_encoder("timedelta", "days", "seconds", "microseconds"),
    datetime.timezone: _encode_timezone,
    range: _make_attributes_encoder("range", "start", "stop", "step"),
    slice: _make_attributes_encoder("slice", "start", "stop", "step"),
    type(Ellipsis): _encode_constant,
    type(NotImplemented): _encode_constant,
    types.SimpleNamespace: lambda encoder, node, value: _make_mapping_encoder("SimpleNamespace")(
        encoder, node, vars(value)
    ),
}

#: The same for types of modules that take long to import, by package and name: few runs need these modules.
_IMPORTED: dict[tuple[str, str], EncodeNode] = {
    ("decimal", "Decimal"): _make_text_encoder("Decimal"),
    ("fractions", "Fraction"): _make_attributes_encoder("Fraction", "numerator", "denominator"),
    ("uuid", "UUID"): _make_text_encoder("UUID"),
    ("pathlib", "PosixPath"): _make_text_encoder("Path"),
    ("pathlib", "WindowsPath"): _make_text_encoder("Path"),
    ("pathlib", "PurePosixPath"): _make_text_encoder("PurePosixPath"),
    ("pathlib", "PureWindowsPath"): _make_text_encoder("PureWindowsPath"),
    ("zoneinfo", "ZoneInfo"): _encode_zone,
}


# And back


def _read_items(decoder: Decoder, node: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    if "o" in node:
        return ((key, decoder.value(item)) for key, item in node["o"].items())
    return ((_require_hashable(decoder.value(key)), decoder.value(item)) for key, item in node["v"])


def _require_hashable(value: Any) -> Any:
    """Return a key or an item of a set. Raises CannotTravel for nested values with a slow hash.

    A short message can nest shared tuples so that a hash visits the tuples 2 ** 50 times.
    """
    waiting, count = [value] if type(value) in _NESTED else [], 0
    while waiting:
        item = waiting.pop()
        count += 1
        if count > MAX_KEY:
            raise CannotTravel("has a key of too many parts")
        if type(item) is slice:
            waiting += (item.start, item.stop, item.step)
        elif type(item) in _NESTED:
            waiting += item
    return value


def _make_pairs_decoder(make: Callable[..., Any]) -> DecodeNode:
    def decode(decoder: Decoder, node: dict[str, Any]) -> Any:
        value = decoder.register_empty(node, make(decoder, node))
        for key, item in _read_items(decoder, node):
            value[key] = item
        return value

    return decode


def _read_list(decoder: Decoder, node: dict[str, Any]) -> Any:
    value = decoder.register_empty(node, [])
    value.extend(map(decoder.value, node["v"]))
    return value


def _read_deque(decoder: Decoder, node: dict[str, Any]) -> Any:
    value = decoder.register_empty(node, collections.deque(maxlen=node["m"]))
    value.extend(map(decoder.value, node["v"]))
    return value


def _make_bytes_decoder(make: Callable[..., Any]) -> DecodeNode:
    return lambda decoder, node: make(decoder.leaf(node["leaf"]) if "leaf" in node else base64.b64decode(node["v"]))


def _make_moment_decoder(make: Any) -> DecodeNode:
    def decode(decoder: Decoder, node: dict[str, Any]) -> Any:
        moment, zone = make.fromisoformat(node["v"]), decoder.value(node["z"])
        if "f" in node:
            return moment.replace(tzinfo=zone, fold=node["f"])
        return zone.fromutc(moment.replace(tzinfo=zone)) if make is datetime.datetime else moment.replace(tzinfo=zone)

    return decode


def _read_timezone(decoder: Decoder, node: dict[str, Any]) -> Any:
    offset = decoder.value(node["v"])
    if "n" in node:
        return datetime.timezone(offset, node["n"])
    return datetime.timezone(offset) if offset else datetime.timezone.utc


def _read_zone(_decoder: Decoder, node: dict[str, Any]) -> Any:
    import zoneinfo

    return zoneinfo.ZoneInfo(node["v"])


def _read_pytz(_decoder: Decoder, node: dict[str, Any]) -> Any:
    import pytz

    return pytz.timezone(node["v"]) if node["v"] else pytz.FixedOffset(node["m"])


def _read_global(decoder: Decoder, node: dict[str, Any]) -> Any:
    if not decoder.names:
        raise CannotTravel("contains code, and code is accepted only from runs of this notebook")
    if not decoder.imports and node["m"] not in sys.modules:
        raise CannotTravel("belongs to the module {0}, which isn't imported here: import {0} first".format(node["m"]))
    value = importlib.import_module(node["m"])
    for part in filter(None, node["q"].split(".")):
        value = getattr(value, part)
    return value


def _read_enum(decoder: Decoder, node: dict[str, Any]) -> Any:
    kind = decoder.value(node["c"])
    if not (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        raise CannotTravel("the class is not an enumeration")
    return kind(decoder.value(node["v"]))


def _read_pickle(decoder: Decoder, node: dict[str, Any]) -> Any:
    if decoder.no_pickle:
        raise CannotTravel("is pickled, and " + decoder.no_pickle)
    from . import pickle as pickles

    return pickles.loads(decoder.leaf(node["leaf"]))


def _make_constructor_decoder(make: Callable[..., Any]) -> DecodeNode:
    return lambda decoder, node: make(*decoder.values(node["v"]))


def _read_fraction(decoder: Decoder, node: dict[str, Any]) -> Any:
    parts = decoder.values(node["v"])
    if not all(type(part) is int for part in parts):  # the text "1e999999999" would make Fraction compute all digits
        raise ValueError("a part of a fraction isn't an int")
    return importlib.import_module("fractions").Fraction(*parts)


def _make_parser_decoder(make: Callable[..., Any]) -> DecodeNode:
    return lambda _decoder, node: make(node["v"])


def _make_import_decoder(module: str, name: str) -> DecodeNode:
    """Return a decoder that calls a class of a module with a text."""
    return lambda _decoder, node: getattr(importlib.import_module(module), name)(node["v"])


_READ: dict[str, DecodeNode] = {
    "int": lambda _decoder, node: int(node["v"], 16),
    "float": _make_parser_decoder(float),
    "str": lambda decoder, node: bytes(decoder.leaf(node["leaf"])).decode("utf-8", "surrogatepass"),
    "list": _read_list,
    "tuple": lambda decoder, node: tuple(decoder.values(node["v"])),
    "set": lambda decoder, node: set(map(_require_hashable, decoder.values(node["v"]))),
    "frozenset": lambda decoder, node: frozenset(map(_require_hashable, decoder.values(node["v"]))),
    "dict": _make_pairs_decoder(lambda _decoder, _node: {}),
    "OrderedDict": _make_pairs_decoder(lambda _decoder, _node: collections.OrderedDict()),
    "Counter": _make_pairs_decoder(lambda _decoder, _node: collections.Counter()),
    "defaultdict": _make_pairs_decoder(lambda decoder, node: collections.defaultdict(decoder.value(node["f"]))),
    "deque": _read_deque,
    "bytes": _make_bytes_decoder(bytes),
    "bytearray": _make_bytes_decoder(bytearray),
    "complex": _make_constructor_decoder(complex),
    "Decimal": _make_import_decoder("decimal", "Decimal"),
    "Fraction": _read_fraction,
    "date": _make_parser_decoder(datetime.date.fromisoformat),
    "datetime": _make_moment_decoder(datetime.datetime),
    "time": _make_moment_decoder(datetime.time),
    "timedelta": _make_constructor_decoder(datetime.timedelta),
    "timezone": _read_timezone,
    "ZoneInfo": _read_zone,
    "pytz": _read_pytz,
    "UUID": _make_import_decoder("uuid", "UUID"),
    "range": _make_constructor_decoder(range),
    "slice": _make_constructor_decoder(slice),
    "Path": _make_import_decoder("pathlib", "Path"),
    "PurePosixPath": _make_import_decoder("pathlib", "PurePosixPath"),
    "PureWindowsPath": _make_import_decoder("pathlib", "PureWindowsPath"),
    "Ellipsis": lambda _decoder, _node: Ellipsis,
    "NotImplemented": lambda _decoder, _node: NotImplemented,
    "SimpleNamespace": lambda decoder, node: types.SimpleNamespace(**dict(_read_items(decoder, node))),
    "global": _read_global,
    "enum": _read_enum,
    "pickle": _read_pickle,
}
