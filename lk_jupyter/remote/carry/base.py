"""Basics of this package: refusals, plain values, and the running code."""

from __future__ import annotations

import os
import re
import sys
import threading
import types
from contextlib import contextmanager, suppress
from importlib import import_module

from ..script import run as driver
from ..values import pickle as pickles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

#: The last protocol that writes the number of each object: a pickle that cannot be read leaves the rest readable.
PROTOCOL = 3

#: Text and bytes longer than this are leaves.
LONG = 65_536

#: Items of a container that is sent as the last value without a request, and of a container in a local module.
FEW_ITEMS, MANY_ITEMS = 1000, 10_000

ATOMS = {type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented)}

TENSOR_KINDS = {"Tensor", "Parameter"}

EMPTY = "empty cell"

ENDED = "ended"


class Refused(Exception):
    """Part of a state cannot be sent; the text gives the part and the reason."""


#: Ends the reason of each object that no run can get, and a session keeps.
IN_SESSION = ", or keep it in a session: --session NAME"


@contextmanager
def suppress_prints() -> Iterator[None]:
    """Suppress prints of this thread inside a ``with`` block: pickle methods of classes may print."""
    thread = threading.get_ident()
    methods: list[tuple[Any, Any]] = []

    streams: tuple[Any, ...] = sys.stdout, sys.stderr

    def muted(write: Callable[[str], Any]) -> Callable[[str], Any]:
        return lambda text: len(text) if threading.get_ident() == thread else write(text)

    for stream in {id(stream): stream for stream in streams}.values():
        if hasattr(stream, "__dict__"):
            methods.append((stream, vars(stream).get("write")))
            with suppress(AttributeError):  # a read-only stream
                stream.write = muted(stream.write)
    try:
        yield
    finally:
        for stream, write in methods:
            vars(stream).pop("write", None)
            if write is not None:
                stream.write = write


def has_dict(value: Any) -> bool:
    """Return whether an object has a dict of attributes, without calling methods of the class."""
    try:
        return isinstance(object.__getattribute__(value, "__dict__"), dict)
    except AttributeError:
        return False


_CODE = types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType


def named(module: str, name: str) -> Any:
    """Return the object that a module has by this name. Raises Refused for code: pickles name objects and streams."""
    value = getattr(import_module(module), name)
    if isinstance(value, _CODE) or (callable(value) and pickles.is_risky(value)):
        raise Refused("contains a reference to code, which isn't allowed in a value")
    return value


def code_words(text: str) -> set[str]:
    """Return the words of code, which include the names of all submodules that the code may use."""
    return set(re.findall(r"[^\W\d]\w*", text))


def is_local(module: Any) -> bool:
    """Return whether the file of a module is in or below the working directory."""
    return str(getattr(module, "__file__", None)).startswith(os.getcwd() + os.sep)


def is_plain(value: Any, depth: int = 3, few: Any = FEW_ITEMS) -> bool:
    """Return whether a value is a number, a text, a path or a short container of such values."""
    if type(value) in ATOMS or isinstance(value, getattr(sys.modules.get("pathlib"), "PurePath", ())):
        return True
    if type(value) not in (list, tuple, set, frozenset, dict) or len(value) > few or depth == 0:
        return False
    items = [*value, *value.values()] if type(value) is dict else value
    return all(is_plain(item, depth - 1, few) for item in items)


def read_running_code() -> str:
    """Return the code that runs."""
    return driver._text
