"""Iterators, views, weak references and exceptions."""

from __future__ import annotations

import collections
import functools
import gc
import itertools
import operator
import pathlib
import sys
import types
import weakref

from ..base import PROTOCOL


def is_iterator(value):
    """Whether a value gives the items of a container, without calling a function for each."""
    kind = type(value)
    is_known = kind.__name__.endswith("iterator") and kind.__module__ in ("builtins", "_collections", "array")
    return kind is reversed or (is_known and kind.__name__ != "callable_iterator")


def iterator_state(iterator):
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


WEAK_KINDS = weakref.WeakKeyDictionary, weakref.WeakValueDictionary

VIEW_KINDS = {
    type(getattr(made, name)()): name
    for made in ({}, collections.OrderedDict())
    for name in ("keys", "values", "items")
}

PATH_KINDS = {pathlib.PosixPath, pathlib.WindowsPath}


def view_of(held, name):
    """Return the keys, values or items of a dict."""
    return getattr(held, name)()


def reduce_error(error):
    """Reduce an exception with the exceptions that it was raised from; None for others."""
    kind = type(error)
    if not issubclass(kind, BaseException):
        return None
    make, arguments, attributes, *more = (*error.__reduce_ex__(PROTOCOL), None)[:4]
    if kind.__setstate__ is not BaseException.__setstate__ or any(part is not None for part in more):
        return None
    if make is kind and kind.__reduce__ is BaseException.__reduce__:
        make, arguments = make_error, (kind, arguments)
    return make, arguments, (attributes, chain_of(error)), None, None, fill_error


def chain_of(error):
    """Return the cause and the context of an exception, and whether the context is hidden."""
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


def reduce_weak(value):
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
    return (kind, (), None, None, iter(list(value.items()))) if kind in WEAK_KINDS else None
