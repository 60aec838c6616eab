"""Classes and enumerations of the notebook, and the state of their instances."""

from __future__ import annotations

import copyreg
import re
import types
from contextlib import suppress

import cloudpickle

from ..base import PROTOCOL, has_dict


def set_state(value, state, *, clears=True):
    """Let an instance hold this, without asking it for what it has: its class may answer as it likes."""
    has_own = hasattr(type(value), "__dict__") and has_dict(value)
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
        instance_dict = object.__getattribute__(value, "__dict__")
        if clears:
            instance_dict.clear()
        instance_dict.update(attributes or {})
    for name, inner in (slots or {}).items():
        object.__setattr__(value, name, inner)


def reduce_by_state(value):
    """Reduce an instance of the notebook that is its own dict, or whose class answers for any attribute."""
    kind = type(value)
    is_own = isinstance(value, dict) and has_dict(value) and value.__dict__ is value
    if kind.__module__ != "__main__" or not (is_own or any("__getattr__" in vars(base) for base in kind.__mro__)):
        return None
    reduced = reduce_instance(value)
    if not isinstance(reduced, tuple) or reduced[0] is not copyreg.__newobj__ or reduced[2:3] in ((), (None,)):
        return None
    return (*(*reduced, None, None)[:5], set_state)


#: By these an object says how it is pickled.
_OF_PICKLES = ("__getstate__", "__getnewargs__", "__getnewargs_ex__", "__reduce__", "__reduce_ex__")


def reduce_instance(value):
    """Reduce an object as Python does, without asking ``__getattr__`` of its class for what it does not have."""
    kind = type(value)
    is_own = any(getattr(kind, name, None) is not getattr(object, name, None) for name in _OF_PICKLES)
    if is_own or not hasattr(kind, "__getattr__"):
        return value.__reduce_ex__(PROTOCOL)
    slots = copyreg._slotnames(kind)
    plain = object.__basicsize__ + tuple.__itemsize__ * (2 + len(slots))
    if not isinstance(value, (dict, list)) and kind.__basicsize__ > plain:
        raise TypeError("cannot pickle '{}' object".format(kind.__name__))  # as Python says it
    state, slot_values = object.__getattribute__(value, "__dict__") if has_dict(value) else {}, {}
    for name in slots:
        with suppress(AttributeError):
            slot_values[name] = object.__getattribute__(value, name)
    items = iter(value) if isinstance(value, list) else None
    pairs = iter(value.items()) if isinstance(value, dict) else None
    return copyreg.__newobj__, (kind,), (state, slot_values) if slot_values else state, items, pairs


def make_class(kind, name, bases, own, tracker, more):  # noqa: PLR0917 (as cloudpickle calls it)
    """Make a class that holds nothing yet, as cloudpickle does.

    What the notebook has to be called for each new class was called when it was made first.
    """
    tracked = cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
    if tracked is not None:
        return tracked
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
            return cloudpickle.cloudpickle._make_skeleton_class(kind, name, bases, own, tracker, more)
        maker = next(base for base in kind.__mro__ if base.__module__ != "__main__")
        new_class = maker.__new__(kind, name, types.resolve_bases(bases), dict(own))
        return cloudpickle.cloudpickle._lookup_class_or_track(tracker, new_class)
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


def reduce_enum(kind, make, arguments, state, *_):
    """Reduce an enumeration with its aliases, and with what its members hold: cloudpickle leaves both out."""
    members = dict(kind.__members__)
    class_arguments = *arguments[:3], {name: member.value for name, member in members.items()}, *arguments[4:]
    attributes = {name: value for name, value in state[0].items() if name not in members}
    member_states = {name: _held_by_member(member) for name, member in members.items()}
    return make, class_arguments, ((attributes, state[1]), member_states), None, None, fill_enum


def _held_by_member(member):
    """Return the attributes of a member that are not Python's."""
    return {name: value for name, value in vars(member).items() if not re.fullmatch("_.*_", name)}


def fill_enum(kind, state):
    """Give an enumeration its attributes, and its members theirs."""
    cloudpickle.cloudpickle._class_setstate(kind, state[0])
    for name, member_state in state[1].items():
        attributes = vars(kind.__members__[name])
        for key in _held_by_member(kind.__members__[name]):
            del attributes[key]
        attributes.update(member_state)
