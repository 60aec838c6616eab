"""Generators before the start and after the end; a generator that waits at a ``yield`` is refused."""

from __future__ import annotations

import functools
import sys
import types
from importlib import import_module

from ...values import codec
from ..base import IN_SESSION, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BEGINS, ENDED = "begins", "ended"
_VARIED, _KEYWORDS, _IS_GENERATOR = 0x04, 0x08, 0x20
_ANY = _VARIED | _KEYWORDS


#: Name of the first loop's iterator in the code of a generator expression.
_LOOPED = ".0"


_POSITION = (
    "is a generator that the run advanced, and its position can't be set here: create it again, or make a list of it"
)


def generator_state(generator: types.GeneratorType[Any, Any, Any]) -> list[Any]:
    """Return whether a generator is new or has ended. Raises Refused for a suspended generator.

    An expression with one loop may be anywhere: the iterator of the loop has the position.
    """
    if generator.gi_frame is None:
        return [ENDED]
    if _is_one_loop(generator.gi_code):
        return [BEGINS, generator.gi_frame.f_locals[_LOOPED]]
    import inspect

    if inspect.getgeneratorstate(generator) != inspect.GEN_CREATED:
        raise Refused(codec.explain_unsendable(generator) + IN_SESSION)
    return [BEGINS]


@functools.lru_cache(maxsize=64)
def _is_one_loop(code: types.CodeType) -> bool:
    """Return whether code is of a generator expression with one ``for`` and no ``await``."""
    if code.co_name != "<genexpr>" or code.co_varnames[:1] != (_LOOPED,):
        return False
    import dis

    opcodes = [step.opname for step in dis.get_instructions(code)]
    return opcodes.count("FOR_ITER") == 1 and not {"SEND", "YIELD_FROM"}.intersection(opcodes)


def reduce_generator(generator: types.GeneratorType[Any, Any, Any]) -> tuple[Any, ...] | None:
    """Reduce a new generator of the notebook or of a module, or an ended generator; else return None."""
    names = generator.__name__, generator.__qualname__
    if generator.gi_frame is None:
        return make_generator, (None, (), names)
    frame, code = generator.gi_frame, generator.gi_code
    if frame.f_globals is not sys.modules["__main__"].__dict__:
        return _reduce_library_generator(generator)
    generator_state(generator)
    values = frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARIED) + bool(code.co_flags & _KEYWORDS)
    arguments = code.co_varnames[:count]
    if not all(name in values for name in (*arguments, *code.co_freevars)):
        return None
    plain_code = code.replace(
        co_argcount=count, co_posonlyargcount=0, co_kwonlyargcount=0, co_flags=code.co_flags & ~_ANY
    )
    outer = tuple(types.CellType(values[name]) for name in code.co_freevars)
    function = types.FunctionType(plain_code, frame.f_globals, code.co_name, None, outer)
    return make_generator, (function, tuple(values[name] for name in arguments), names)


def _reduce_library_generator(generator: Any) -> tuple[Any, ...] | None:
    """Reduce a new generator that a function or method of a module has made; else return None."""
    code: Any = generator.gi_code
    values = generator.gi_frame.f_locals
    function: Any = sys.modules.get(generator.gi_frame.f_globals.get("__name__"))
    for name in generator.__qualname__.split("."):
        function = vars(function).get(name) if hasattr(function, "__dict__") else None
    is_plain = code.co_posonlyargcount == 0 and not code.co_flags & _ANY
    is_same = getattr(function, "__code__", None) is code
    if not is_same or not is_plain or generator_state(generator) != [BEGINS]:
        return None
    count = code.co_argcount + code.co_kwonlyargcount
    arguments = {name: values[name] for name in code.co_varnames[:count] if name in values}
    place = generator.gi_frame.f_globals["__name__"], generator.__qualname__
    return (make_library_generator, (*place, arguments)) if len(arguments) == count else None


def make_library_generator(module: str, name: str, arguments: dict[str, Any]) -> Any:
    """Call a generator function of a module. Raises Refused for any other function."""
    function: Any = import_module(module)
    for part in name.split("."):
        function = getattr(function, part)
    if not getattr(getattr(function, "__code__", None), "co_flags", 0) & _IS_GENERATOR:
        raise Refused("refers to a function that isn't a generator function")
    return function(**arguments)


def make_generator(function: Any, arguments: tuple[Any, ...], names: tuple[str, str], _waits: Any = None) -> Any:
    """Make a new generator, or without a function an ended generator."""
    if _waits:
        raise Refused("is a generator that has started" + IN_SESSION)
    generator: Any = function(*arguments) if function else (None for _ in ())
    if function is None:
        generator.close()
    generator.__name__, generator.__qualname__ = names
    return generator


def go_to(generator: types.GeneratorType[Any, Any, Any], state: list[Any]) -> None:
    """Close a generator that has ended on the peer. Raises Refused for a position that can't be set here."""
    if state[0] == ENDED:
        generator.close()
    elif len(state) > 1 and (not generator.gi_frame or state[1] is not generator.gi_frame.f_locals[_LOOPED]):
        raise Refused(_POSITION)
