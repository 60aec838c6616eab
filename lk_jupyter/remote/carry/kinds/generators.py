"""Generators that travel: before they start, and after they have ended.

Travels with a run and works on both sides.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from importlib import import_module

from ...values import codec
from ..base import IN_SESSION, Refused

BEGINS, ENDED = "begins", "ended"
_VARIED, _KEYWORDS, _IS_GENERATOR = 0x04, 0x08, 0x20
_ANY = _VARIED | _KEYWORDS


#: What a generator expression names the iterator of its first loop.
_LOOPED = ".0"


def held_by(made):
    """Return whether a generator begins or has ended. Raises Refused for a generator that waits at a ``yield``.

    An expression with one loop may be anywhere: what it loops over has the place.
    """
    if made.gi_frame is None:
        return [ENDED]
    if _is_one_loop(made.gi_code):
        return [BEGINS, made.gi_frame.f_locals[_LOOPED]]
    import inspect

    if inspect.getgeneratorstate(made) != inspect.GEN_CREATED:
        raise Refused(codec.why_not(made) + IN_SESSION)
    return [BEGINS]


@functools.lru_cache(maxsize=64)
def _is_one_loop(code):
    """Whether this is the code of a generator expression with one ``for`` and no ``await``."""
    if code.co_name != "<genexpr>" or code.co_varnames[:1] != (_LOOPED,):
        return False
    found = [step.opname for step in dis.get_instructions(code)]
    return found.count("FOR_ITER") == 1 and not {"SEND", "YIELD_FROM"}.intersection(found)


def reduced(made):
    """Reduce a generator of the notebook, or a generator that begins and is of a module; None for others."""
    names = made.__name__, made.__qualname__
    if made.gi_frame is None:
        return make_generator, (None, (), names)
    frame, code = made.gi_frame, made.gi_code
    if frame.f_globals is not sys.modules["__main__"].__dict__:
        return _of_library(made)
    held_by(made)
    values = frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARIED) + bool(code.co_flags & _KEYWORDS)
    arguments = code.co_varnames[:count]
    if not all(name in values for name in (*arguments, *code.co_freevars)):
        return None
    taken = code.replace(co_argcount=count, co_posonlyargcount=0, co_kwonlyargcount=0, co_flags=code.co_flags & ~_ANY)
    outer = tuple(types.CellType(values[name]) for name in code.co_freevars)
    function = types.FunctionType(taken, frame.f_globals, code.co_name, None, outer)
    return make_generator, (function, tuple(values[name] for name in arguments), names)


def _of_library(made):
    """Reduce a generator that begins, which a function or method of a module has made; None for others."""
    code, values = made.gi_code, made.gi_frame.f_locals
    found = sys.modules.get(made.gi_frame.f_globals.get("__name__"))
    for name in made.__qualname__.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    is_plain = code.co_posonlyargcount == 0 and not code.co_flags & _ANY
    if getattr(found, "__code__", None) is not code or not is_plain or held_by(made) != [BEGINS]:
        return None
    count = code.co_argcount + code.co_kwonlyargcount
    given = {name: values[name] for name in code.co_varnames[:count] if name in values}
    place = made.gi_frame.f_globals["__name__"], made.__qualname__
    return (make_library_generator, (*place, given)) if len(given) == count else None


def make_library_generator(module, name, given):
    """Make a generator by calling a generator function of a module. Raises Refused for other functions."""
    function = functools.reduce(getattr, name.split("."), import_module(module))
    if not getattr(getattr(function, "__code__", None), "co_flags", 0) & _IS_GENERATOR:
        raise Refused("refers to a function that makes no generator")
    return function(**given)


def make_generator(function, arguments, names, _waits=None):
    """Make a generator that begins, or without a function a generator that has ended."""
    if _waits:
        raise Refused("is a generator that has started" + IN_SESSION)
    made = function(*arguments) if function else (None for _ in ())
    if function is None:
        made.close()
    made.__name__, made.__qualname__ = names
    return made


def go_to(made, held):
    """End a generator that has ended on the other side."""
    if held[0] == ENDED:
        made.close()
