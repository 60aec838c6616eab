"""Classes and enumerations of the notebook, and the state of their instances."""

from __future__ import annotations

import copyreg
import functools
import io
import re
import types
from contextlib import suppress

from ...values.pickle import Unsafe, is_risky
from ..base import PROTOCOL, has_dict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@functools.lru_cache(maxsize=None)
def find_cloudpickle_functions() -> Any:
    """Return cloudpickle's functions ``make_class``, ``set_attributes`` (of a class) and ``make_enum``.

    Only definitions of the notebook need cloudpickle, whose import takes a tenth of the time of a short run.
    """
    import enum

    import cloudpickle

    samples = type("Sample", (), {"__module__": "__main__"}), enum.Enum("SampleEnum", (), module="__main__")
    pickler = cloudpickle.Pickler(io.BytesIO())
    (make_class, *_, set_attributes), (make_enum, *_) = map(pickler.reducer_override, samples)
    return types.SimpleNamespace(make_class=make_class, set_attributes=set_attributes, make_enum=make_enum)


#: The function in pickles of instances without a constructor call.
NEW_OBJECT: Any = copyreg.__newobj__  # type: ignore[attr-defined]


def set_state(value: Any, state: Any, *, clears: bool = True) -> None:
    """Set the state of an instance without calling ``__getattr__`` of the class."""
    has_attributes = hasattr(type(value), "__dict__") and has_dict(value)
    if hasattr(type(value), "__setstate__") and state is not None:
        before = dict(value.__dict__) if has_attributes and clears else {}
        if has_attributes and clears:
            value.__dict__.clear()
        try:
            value.__setstate__(state)
        except BaseException:
            if before:
                value.__dict__.update(before)
            raise
        return
    if state is value:  # a dict that is also the dict of its attributes
        object.__setattr__(value, "__dict__", value)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if has_attributes:
        instance_dict = object.__getattribute__(value, "__dict__")
        if clears:
            instance_dict.clear()
        instance_dict.update(attributes or {})
    for name, inner in (slots or {}).items():
        object.__setattr__(value, name, inner)


def reduce_by_state(value: Any) -> tuple[Any, ...] | None:
    """Reduce an instance of a notebook class that is its own attribute dict, or has ``__getattr__``."""
    kind = type(value)
    is_self_dict = isinstance(value, dict) and has_dict(value) and value.__dict__ is value
    if kind.__module__ != "__main__" or not (is_self_dict or any("__getattr__" in vars(base) for base in kind.__mro__)):
        return None
    reduced = reduce_instance(value)
    if not isinstance(reduced, tuple) or reduced[0] is not NEW_OBJECT or reduced[2:3] in ((), (None,)):
        return None
    return (*(*reduced, None, None)[:5], set_state)


#: Methods that define how an object is pickled.
_PICKLE_METHODS = ("__getstate__", "__getnewargs__", "__getnewargs_ex__", "__reduce__", "__reduce_ex__")


def reduce_instance(value: Any) -> Any:
    """Reduce an object as Python does, without calling ``__getattr__`` of the class for absent attributes."""
    kind = type(value)
    has_pickle_method = any(getattr(kind, name, None) is not getattr(object, name, None) for name in _PICKLE_METHODS)
    if has_pickle_method or not hasattr(kind, "__getattr__"):
        return value.__reduce_ex__(PROTOCOL)
    slots = [
        name
        for base in kind.__mro__
        if "__slots__" in vars(base)
        for name, member in vars(base).items()
        if type(member) is types.MemberDescriptorType
    ]
    plain = object.__basicsize__ + tuple.__itemsize__ * (2 + len(slots))
    if not isinstance(value, (dict, list)) and kind.__basicsize__ > plain:
        raise TypeError("cannot pickle '{}' object".format(kind.__name__))  # the message of Python
    state, slot_values = object.__getattribute__(value, "__dict__") if has_dict(value) else {}, {}
    for name in slots:
        with suppress(AttributeError):
            slot_values[name] = object.__getattribute__(value, name)
    items = iter(value) if isinstance(value, list) else None
    pairs = iter(value.items()) if isinstance(value, dict) else None
    return NEW_OBJECT, (kind,), (state, slot_values) if slot_values else state, items, pairs


#: The function in pickles of instances whose ``__new__`` has keyword arguments, and the first protocol with an opcode.
_NEW_WITH_KEYWORDS: Any = copyreg.__newobj_ex__  # type: ignore[attr-defined]
_KEYWORD_PROTOCOL = 4


def reduce_with_keywords(value: Any) -> tuple[Any, ...] | None:
    """Reduce an instance whose ``__new__`` gets keyword arguments, such as a symbol of sympy; None for other values.

    Earlier protocols call the result of ``functools.partial`` for such an instance, which a reader refuses.
    """
    if not hasattr(type(value), "__getnewargs_ex__"):
        return None
    reduced: Any = value.__reduce_ex__(_KEYWORD_PROTOCOL)
    if not isinstance(reduced, tuple) or reduced[0] is not _NEW_WITH_KEYWORDS:
        return None
    return (make_instance, *reduced[1:])


def make_instance(kind: Any, arguments: Any, keywords: Any) -> Any:
    """Return a new instance of a class, without a call of ``__init__``. Raises Unsafe."""
    if is_risky(kind):
        raise Unsafe(
            "calls '{}.{}', which isn't allowed in a value: nothing was set".format(kind.__module__, kind.__qualname__)
        )
    return kind.__new__(kind, *arguments, **keywords)


def make_class(  # noqa: PLR0917 (as cloudpickle calls it)
    kind: Any, name: str, bases: tuple[Any, ...], attributes: dict[str, Any], tracker: Any, more: Any
) -> Any:
    """Make an empty class, as cloudpickle does.

    ``__init_subclass__`` of the notebook isn't called: the call happened when the class was first made.
    """
    from cloudpickle import cloudpickle

    tracked = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
    if tracked is not None:
        return tracked
    make = find_cloudpickle_functions().make_class
    notebook_bases = {
        base: None
        for resolved in types.resolve_bases(bases)
        for base in resolved.__mro__
        if base.__module__ == "__main__"
    }
    called = {base: vars(base)[_FOR_SUBCLASSES] for base in notebook_bases if _FOR_SUBCLASSES in vars(base)}
    for base in called:
        type.__setattr__(base, _FOR_SUBCLASSES, classmethod(lambda cls, **_: None))
    try:
        if kind.__module__ != "__main__":
            return make(kind, name, bases, attributes, tracker, more)
        maker = next(base for base in kind.__mro__ if base.__module__ != "__main__")
        new_class = maker.__new__(kind, name, types.resolve_bases(bases), dict(attributes))
        return make(lambda *_, **__: new_class, name, bases, {}, tracker, more)
    finally:
        for base, method in called.items():
            type.__setattr__(base, _FOR_SUBCLASSES, method)


_FOR_SUBCLASSES = "__init_subclass__"

#: Descriptors that Python adds to a class for the slots of instances.
_SLOT_DESCRIPTORS = types.MemberDescriptorType, types.GetSetDescriptorType


def fill_class(kind: Any, state: Any) -> Any:
    """Set the attributes of a class, as cloudpickle does, and delete attributes that the peer deleted."""
    for name, value in list(vars(kind).items()):
        is_deletable = not name.startswith(("__", "_abc_")) or type(value) is types.FunctionType
        if is_deletable and name not in state[0] and not isinstance(value, _SLOT_DESCRIPTORS):
            type.__delattr__(kind, name)
    return find_cloudpickle_functions().set_attributes(kind, state)


def reduce_enum(kind: Any, make: Any, arguments: Any, state: Any, *_: Any) -> tuple[Any, ...]:
    """Reduce an enumeration with aliases and attributes of members: cloudpickle omits both."""
    members = dict(kind.__members__)
    class_arguments = *arguments[:3], {name: member.value for name, member in members.items()}, *arguments[4:]
    attributes = {name: value for name, value in state[0].items() if name not in members}
    member_states = {name: _read_member_attributes(member) for name, member in members.items()}
    return make, class_arguments, ((attributes, state[1]), member_states), None, None, fill_enum


def _read_member_attributes(member: Any) -> dict[str, Any]:
    """Return the attributes of a member that are not Python's."""
    return {name: value for name, value in vars(member).items() if not re.fullmatch("_.*_", name)}


def fill_enum(kind: Any, state: Any) -> None:
    """Set the attributes of an enumeration and of the members."""
    find_cloudpickle_functions().set_attributes(kind, state[0])
    for name, member_state in state[1].items():
        attributes = vars(kind.__members__[name])
        for key in _read_member_attributes(kind.__members__[name]):
            del attributes[key]
        attributes.update(member_state)
