"""Iterators, views, weak references and exceptions."""

from __future__ import annotations

import collections
import functools
import gc
import itertools
import operator
import sys
import types
import weakref

from ..base import PROTOCOL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def is_iterator(value: Any) -> bool:
    """Return whether a value iterates over a container without calling a function for each item."""
    kind = type(value)
    is_builtin = kind.__name__.endswith("iterator") and kind.__module__ in ("builtins", "_collections", "array")
    return kind in (reversed, _ORDERED) or (is_builtin and kind.__name__ != "callable_iterator")


#: The type of iterators over an ``OrderedDict``, which don't know their length.
_ORDERED: type = type(iter(collections.OrderedDict()))

#: Iterators whose position isn't in their state alone: in place, they would continue at another item.
_REBUILT = {itertools.accumulate, itertools.cycle, itertools.islice, itertools.zip_longest}


def is_rebuilt(iterator: Any, arguments: tuple[Any, ...], is_value: Callable[[Any], bool]) -> bool:
    """Return whether a run must return an iterator of ``itertools`` as a new object, as its position is in arguments.

    ``is_value`` returns whether a run returns an argument as a new object.
    """
    kind = type(iterator)
    return kind.__module__ == "itertools" and (
        kind in _REBUILT or any(hasattr(type(argument), "__next__") and is_value(argument) for argument in arguments)
    )


def iterator_state(iterator: Any) -> list[Any]:
    """Return the rest of an iterator: the container, the position, and the number of items."""
    _, container, *place = iterator.__reduce__()
    is_by_place = type(iterator).__name__ == "iterator"  # a class of the notebook may count the calls for items
    return [container, *(place or [None]), 1 if place and is_by_place else _count_rest(iterator)]


def _count_rest(iterator: Any) -> int:
    return len(iterator.__reduce__()[1][0]) if type(iterator) is _ORDERED else operator.length_hint(iterator)


def advance(iterator: Any, state: list[Any]) -> None:
    """Advance an iterator to the position of the peer's iterator."""
    _, place, remaining = state
    if place is not None and hasattr(iterator, "__setstate__"):
        iterator.__setstate__(place)
    elif type(iterator).__name__ == "iterator":  # an iterator past all positions has ended
        iterator.__setstate__(sys.maxsize - 1)
        next(iterator, None)
    elif remaining:
        collections.deque(itertools.islice(iterator, _count_rest(iterator) - remaining), 0)
    else:
        collections.deque(iterator, 0)


WEAK_KINDS = weakref.WeakKeyDictionary, weakref.WeakValueDictionary

_MAPPINGS: tuple[dict[str, str], ...] = {}, collections.OrderedDict()

VIEW_KINDS = {type(getattr(mapping, name)()): name for mapping in _MAPPINGS for name in ("keys", "values", "items")}


def is_path(value: Any) -> bool:
    """Return whether a value is a path of this system; the import of ``pathlib`` takes long, and few runs need it."""
    paths = sys.modules.get("pathlib")
    return paths is not None and type(value) in (paths.PosixPath, paths.WindowsPath)


def dict_view(mapping: dict[Any, Any], name: str) -> Any:
    """Return the keys, values or items of a dict."""
    return getattr(mapping, name)()


def reduce_error(error: BaseException) -> tuple[Any, ...] | None:
    """Reduce an exception with its cause and context; None for any other value."""
    kind = type(error)
    if not issubclass(kind, BaseException):
        return None
    make, arguments, attributes, *more = (*error.__reduce_ex__(PROTOCOL), None)[:4]
    if kind.__setstate__ is not BaseException.__setstate__ or any(part is not None for part in more):
        return None
    if make is kind and kind.__reduce__ is BaseException.__reduce__:
        make, arguments = make_error, (kind, arguments)
    return make, arguments, (attributes, error_chain(error)), None, None, fill_error


def error_chain(error: BaseException) -> tuple[Any, ...]:
    """Return the cause and the context of an exception, and whether the context is hidden."""
    return error.__cause__, error.__context__, error.__suppress_context__


def make_error(kind: Any, arguments: tuple[Any, ...]) -> Any:
    """Make an exception without ``__init__`` of the class, which may expect different arguments."""
    error = kind.__new__(kind, *arguments)
    base = next(base for base in kind.__mro__ if isinstance(vars(base).get("__init__"), types.WrapperDescriptorType))
    base.__init__(error, *arguments)
    return error


def fill_error(error: BaseException, state: tuple[Any, ...]) -> None:
    """Set the attributes of an exception, and its cause and context."""
    attributes, (error.__cause__, error.__context__, suppresses) = state
    error.__dict__.update(attributes or {})
    error.__suppress_context__ = suppresses


def reduce_weak(value: Any) -> tuple[Any, ...] | None:
    """Reduce a weak reference, a weak container, a dict view or a cached property; None for any other value."""
    kind = type(value)
    if kind is functools.cached_property:  # the property may contain a lock
        return kind, (value.func,), {"attrname": value.attrname}
    if kind is weakref.ref and value() is not None and value.__callback__ is None:
        return kind, (value(),)
    if kind is types.MappingProxyType:
        (inner,) = gc.get_referents(value)
        return (kind, (inner,)) if type(inner) is dict else None
    if kind is weakref.WeakSet:
        return kind, (list(value),)
    return (kind, (), None, None, iter(list(value.items()))) if kind in WEAK_KINDS else None
