"""Reads the state that a writer has written."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import sys
import types
from contextlib import suppress
from importlib import import_module

from .. import ambient
from ..values import codec, envelope
from ..values import pickle as pickles
from .base import IN_SESSION, Refused, code_words
from .kinds.classes import make_class
from .kinds.files import coming, write_modules
from .kinds.functions import register_source_texts
from .kinds.table import MAKERS
from .nameless import FILES, NAMELESS
from .writer import FIRST, MAIN, NAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

#: Packages whose pickles are read by all versions with the same first number.
_STEADY = {"numpy", "pandas"}

#: Modules of earlier versions whose functions pickles refer to → renamed functions.
_EARLIER = {
    "_lk_carry": {},
    "_lk_generators": {"make": "make_generator", "make_of_library": "make_library_generator"},
    "_lk_databases": {"make": "open_database"},
}


class Reader(pickles.Unpickler):
    """Reads the stream of a Writer. ``common`` is token → object that this side has."""

    def __init__(
        self,
        stream: bytes,
        content: dict[str, Any],
        leaf: Callable[[Any], Any],
        common: Mapping[int, Any] | None = None,
    ) -> None:
        self._file = io.BytesIO(stream)
        super().__init__(self._file, stream)
        self._has_formulas = b"statsmodels" in stream
        self._listed = content
        self._leaf = leaf
        self.common = common or {}
        self.values: dict[int, Any] = {}
        self._lost: set[int] = set()
        self._base = ambient.base_folder()

    def chunk(self, start: int, names: Any = ()) -> Any:
        """Return the value at a position; ``names`` are the variables that were read earlier."""
        if self._lost and self._lost & self._list_part_numbers(start, "GET"):
            raise pickle.UnpicklingError
        self._file.seek(start)
        return _load_in_deep_frames(names, self.load) if self._has_formulas else self.load()

    def forget(self, start: int) -> None:
        """Mark the parts of an unreadable value: a later value must not get incomplete parts."""
        memo = self.memo.copy()
        self._lost.update(
            number for number in self._list_part_numbers(start, "PUT") if not _is_imported(memo.get(number))
        )

    def restore(self) -> None:
        """Allow the parts of unreadable values again, before these values are read once more."""
        self._lost.clear()

    def _list_part_numbers(self, start: int, step: str) -> set[Any]:
        """Return the numbers of the parts that a value has (PUT) or refers to (GET)."""
        self._file.seek(start)
        with suppress(Exception):  # a damaged pickle
            return {number for code, number, _ in pickletools.genops(self._file) if code.name.endswith(step)}
        return set()

    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function by its name; earlier versions wrote functions of this package by name."""
        module_name = module.rpartition(".")[2]
        if module_name in _EARLIER:
            return _find_maker(_EARLIER[module_name].get(name, name))
        if name == "_make_skeleton_class":
            return make_class
        return super().find_class(module, name)

    def persistent_load(self, number: Any) -> Any:
        """Return an object that isn't pickled; a text is a path below the base folder, or the name of a maker."""
        if isinstance(number, str) and number.endswith(NAN):
            return getattr(import_module("numpy" if number == "numpy" + NAN else "math"), "nan")
        if isinstance(number, str):
            return self._base + number.replace("/", os.sep) if number[:1] in ("", "/") else _find_maker(number)
        if number == MAIN:
            return sys.modules["__main__"].__dict__
        if number >= 0 and number not in self.common:
            raise Refused("refers to an object that this kernel no longer has: run the cell again")
        if number >= 0:
            return self.common[number]
        at = FIRST - number
        if at not in self.values:
            self.values[at] = self._read_node(self._listed["nodes"][at])
        return self.values[at]

    def _read_node(self, node: dict[str, Any]) -> Any:
        if "view" in node:
            return _make_read_only(node, self._read_view(*node["view"]))
        if "memory" in node:
            array, shape = self.persistent_load(node["memory"][0]), node["memory"][1]
            return import_module("torch").from_numpy(array).reshape(shape)
        if "part" in node:
            value = codec.families["torch"]().tensor_part(self.persistent_load(node["part"][0]), *node["part"][1:])
            if node.get("grad") is not None:
                value.grad = self.persistent_load(node["grad"])
            return value
        first = node["first"]
        decoder = codec.Decoder(lambda number: self._leaf(self._listed["leaves"][first + number]))
        value = _make_read_only(node["node"], decoder.value(node["node"]))
        if node.get("grad") is not None:
            value.grad = self.persistent_load(node["grad"])
        return value

    def _read_view(self, owner: int, start: int, shape: list[int], strides: list[int], dtype: dict[str, Any]) -> Any:
        import numpy

        memory = self.persistent_load(owner)
        in_order = memory if memory.flags.c_contiguous else memory.T
        return numpy.ndarray(shape, self._read_node(dtype), in_order, start, strides)

    def tokens(self) -> dict[int, Any]:
        """Return token → object of all that was read."""
        met = {2 * number: value for number, value in self.memo.copy().items() if number not in self._lost}
        return {**met, **{2 * at + 1: value for at, value in self.values.items()}}


def _make_read_only(node: dict[str, Any], array: Any) -> Any:
    """Make an array read-only if its node states this."""
    if node.get("readonly"):
        array.flags.writeable = False
    return array


#: Depth of frames at which libraries look for the variables of the code that reads a pickle.
_DEPTH = 6

_AGAIN = (
    "lambda _lk_again, _lk_load, _lk_depth: _lk_again(_lk_again, _lk_load, _lk_depth - 1) if _lk_depth else _lk_load()"
)


def _load_in_deep_frames(names: Any, load: Callable[[], Any]) -> Any:
    """Read a value inside deep frames: results of formulas search the calling frames for variables."""
    namespace = {**sys.modules["__main__"].__dict__, **dict(names)}
    again = eval(compile(_AGAIN, "<reading>", "eval", 0, True), namespace)
    return again(again, load, _DEPTH)


def formula_names(value: Any) -> set[str]:
    """Return the names in the formula of a model or of its results; empty for any other value."""
    if not str(type(value).__module__).startswith("statsmodels."):
        return set()
    formula = getattr(getattr(value, "model", value), "formula", None)
    return code_words(formula) if isinstance(formula, str) else set()


def _is_imported(part: Any) -> bool:
    """Return whether a part of a value was made by its module, and not by a pickle."""
    return isinstance(part, _IMPORTED) and getattr(part, "__module__", None) != "__main__"


_IMPORTED = str, type, types.FunctionType, types.BuiltinFunctionType


def _find_maker(name: str) -> Any:
    """Return a function of this package by its name in a pickle. Raises Refused for a removed function."""
    if name == "keep_answers":
        return _ignore_answers
    if name not in MAKERS:
        raise Refused("was sent by an earlier version of lk_jupyter; runs no longer support that version" + IN_SESSION)
    return MAKERS[name]


def _ignore_answers(_function: Any, _answers: Any) -> None:
    """Leave the answers of a memo that an earlier version sent."""


class Arriving:
    """Received values. ``refused`` is name → reason of unreadable values; ``common`` is token → object of this side."""

    def __init__(
        self,
        content: dict[str, Any],
        leaf: Callable[[Any], Any],
        common: Mapping[int, Any] | None = None,
        acceptable: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    ) -> None:
        self.refused: dict[str, str] = {}
        self._lacks_name = False
        self._acceptable = acceptable
        self.listed = content["carry"]
        self.content = content
        leaves = content["leaves"]

        def read(message_leaf: dict[str, Any]) -> Any:
            return codec.decode_leaf_text(message_leaf["v"]) if "v" in message_leaf else leaf(message_leaf)

        stream = bytes(read(leaves[self.listed["stream"]]))
        self.reader = Reader(stream, {"nodes": self.listed["nodes"], "leaves": leaves}, read, common)
        register_source_texts(self.listed["texts"])

    def read(self, namespace: dict[str, Any] | None = None) -> Iterator[tuple[dict[str, Any], Any]]:
        """Iterate over each entry with its value, in the order of the stream.

        Names are set in ``namespace`` as soon as each is read: a method that restores a value may use variables.
        Values that lack one are read again after all others.
        """
        names: dict[str, Any] = {}
        entries = [entry for entry in self.listed["entries"] if entry["n"] != "handlers of loggers"]  # earlier versions
        while entries:
            failed: list[dict[str, Any]] = []
            self._lacks_name = False
            for entry in entries:
                reason = self._describe_differences(entry) or None
                if reason is None:
                    value, reason = self._read_value(entry, names)
                if reason is None:
                    self.refused.pop(entry["of"], None)
                    if entry["k"] == "name":
                        names[entry["n"]] = value
                    if entry["k"] == "name" and namespace is not None and entry["n"] not in NAMELESS:
                        namespace[entry["n"]] = value
                    if entry["n"] == FILES:
                        coming.update(self._acceptable(value))
                        write_modules()
                    yield entry, value
                else:
                    self.refused[entry["of"]] = "{} {}".format(entry["of"], reason)
                    failed.append(entry)
            if not self._lacks_name or namespace is None or len(failed) == len(entries):
                break
            self.reader.restore()
            entries = failed
        coming.clear()  # files of the values are open now
        for name in self.listed.get("submodules", ()):
            with suppress(Exception):  # the code that uses the module reports the error
                import_module(name)

    def _read_value(self, entry: dict[str, Any], names: dict[str, Any]) -> tuple[Any, str | None]:
        """Return a value, or the reason why the value is unreadable."""
        try:
            return self.reader.chunk(entry["at"], names), None
        except envelope.Failed:
            raise
        except MemoryError as error:
            return None, "does not fit into memory: {}".format(error or "it is full")
        except Exception as error:
            self.reader.forget(entry["at"])
            self._lacks_name |= isinstance(error, NameError)
            return None, _explain_read_error(error, entry["of"])

    def _describe_differences(self, entry: dict[str, Any]) -> str:
        """Return which required versions differ from the versions of this side; empty if none."""
        versions = {name: version for name, version in self.listed["versions"].items() if name in entry["packages"]}
        strict = {name: version for name, version in versions.items() if not _is_steady(name, version)}
        differences = pickles.list_differences(strict, pickles.code_python_version())
        return "was created with other versions: {}".format("; ".join(differences)) if differences else ""


def _explain_read_error(error: BaseException, name: str) -> str:
    if isinstance(error, ImportError):
        return envelope.missing_package(error, name)
    if isinstance(error, (Refused, codec.CannotTravel, pickles.Unsafe)):
        return str(error)
    if isinstance(error, pickle.UnpicklingError):
        return "shares a part with a value that this Python process doesn't have"
    return "can't be read ({}: {}): create it in the cell that uses it".format(type(error).__name__, error)


def _is_steady(name: str, version: str) -> bool:
    installed = pickles.installed_version(name) or ""
    return name in _STEADY and installed.partition(".")[0] == version.partition(".")[0]
