"""Generators that travel: before they begin, after they have ended, and while they wait at a ``yield``.

Travels with a run and works on both sides. Where a generator waits cannot be set. So another one is made that continues
there: of the same code, with a few steps before it that fetch what the generator holds and jump to its ``yield``.
"""

from __future__ import annotations

import dis
import functools
import gc
import sys
import types
from importlib import import_module

_near = (lambda name: import_module("." + name, __package__)) if __package__ else import_module
_carry = _near("_lk_carry")

BEGINS, ENDED = "begins", "ended"
_VARIED, _KEYWORDS = 0x04, 0x08
_ANY = _VARIED | _KEYWORDS

#: Pythons of which it was seen that code may be made this way: in others such code could end the process.
_SEEN = ((3, 11), (3, 12), (3, 13))

#: What a generator expression names the iterator of its first loop.
_LOOPED = ".0"

#: Generators that were replaced by others: they must not end here, for what they do then is for their successors.
_kept = []


def held_by(made):
    """Return whether a generator begins or has ended, else where it waits and what it holds. Raises Refused.

    An expression with one loop may be anywhere: what it loops over has the place.
    """
    if made.gi_frame is None:
        return [ENDED]
    if _is_one_loop(_own(made.gi_code)[0]):
        return [BEGINS, made.gi_frame.f_locals[_LOOPED]]
    import inspect

    return [BEGINS] if inspect.getgeneratorstate(made) == inspect.GEN_CREATED else _waiting(made)


def _refused(made):
    return _carry.Refused(_carry._values.why_not(made))


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
        return make, (None, (), names, None)
    frame, code = made.gi_frame, made.gi_code
    if frame.f_globals is not sys.modules["__main__"].__dict__:
        return _of_library(made)
    held = held_by(made)
    if held[0] != BEGINS:
        return make, (_function(_own(code)[0], frame, held[-1]), (), names, held)
    values = frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARIED) + bool(code.co_flags & _KEYWORDS)
    arguments = code.co_varnames[:count]
    if not all(name in values for name in (*arguments, *code.co_freevars)):
        return None
    taken = code.replace(co_argcount=count, co_posonlyargcount=0, co_kwonlyargcount=0, co_flags=code.co_flags & ~_ANY)
    function = _function(taken, frame, [types.CellType(values[name]) for name in code.co_freevars])
    return make, (function, tuple(values[name] for name in arguments), names, None)


def _function(code, frame, cells):
    """Return a function of this code; the last of the cells are what it has from outside."""
    outer = tuple(cells)[len(cells) - len(code.co_freevars) :]
    return types.FunctionType(code, frame.f_globals, code.co_name, None, outer)


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
    return (make_of_library, (*place, given)) if len(given) == count else None


def make_of_library(module, name, given):
    """Make a generator by calling a function or method of a module."""
    return functools.reduce(getattr, name.split("."), import_module(module))(**given)


def make(function, arguments, names, held):
    """Make a generator that waits somewhere or begins, or without a function a generator that has ended."""
    if held and function:
        made = _that_waits(function.__code__, function.__globals__, held)
    else:
        made = function(*arguments) if function else (None for _ in ())
    if function is None:
        made.close()
    made.__name__, made.__qualname__ = names
    return made


def go_to(made, held):
    """Let a generator be where one of the other side is. Raises TypeError where another one must be made."""
    if held[0] == ENDED:
        made.close()
    elif held[0] != BEGINS:
        raise TypeError("cannot be moved")


def another(made, moved, done):
    """Return a generator to take the place of this one, which is elsewhere on the other side.

    ``moved`` is id → what such generators hold there, ``done`` id → what was made in their place.
    """
    held = moved[id(made)]
    if id(made) not in done and held[0] != BEGINS:
        _kept.append(made)
        if held[0] != ENDED:
            python, step, values, *others = held
            parts = [values.values(), *others]
            for part in [
                part for of in parts for part in of if type(part) is types.GeneratorType and id(part) in moved
            ]:
                another(part, moved, done)
            values = {name: done.get(id(value), value) for name, value in values.items()}
            held = [python, step, values, *([done.get(id(part), part) for part in of] for of in others)]
        function = None if held[0] == ENDED else _function(_own(made.gi_code)[0], made.gi_frame, held[-1])
        done[id(made)] = make(function, (), (made.__name__, made.__qualname__), held)
    return done.get(id(made), made)


def let_live():
    """Never end the generators that wait: the process ends, they live on in the notebook."""
    import ctypes

    for made in _kept:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))


def _is_kept(made):
    return any(made is of for of in _kept)


def replace(old, new):
    """Put a generator in the place of another one, wherever that can be; return the kinds of what holds the old one."""
    left = set()
    for holder in gc.get_referrers(old):  # the loops below make no cell of the names here, which would be one of them
        kind = type(holder)
        if holder is _kept or kind is types.FrameType:
            continue
        if kind in (list, dict):
            for at, part in list(enumerate(holder) if kind is list else holder.items()):
                if part is old:
                    holder[at] = new
        elif kind is types.CellType:
            holder.cell_contents = new
        elif kind is types.GeneratorType and not _is_kept(holder):
            made = another(holder, {id(holder): held_by(holder)}, {id(old): new})
            left.update(replace(holder, made))
        elif kind is tuple and (type(holder[-1]) is _Before or holder == (old, new)):
            continue
        elif kind is not types.GeneratorType:
            left.add(kind.__name__)
    return sorted(left)


# Where a generator waits


class _Before:
    """The last constant of code that continues at a ``yield``: the code it was made of, and the bytes before it."""

    def __init__(self, code, size):
        self.code, self.size = code, size


def _own(code):
    """Return the code that such code was made of, and the bytes before it; for other code itself and 0."""
    last = code.co_consts[-1] if code.co_consts else None
    return (last.code, last.size) if type(last) is _Before else (code, 0)


def _waiting(made):
    """Return what makes such a generator again: the Python, its step, its variables, iterators and cells.

    Raises Refused for what cannot be made again.
    """
    frame = made.gi_frame
    code, before = _own(made.gi_code)
    if made.gi_running or frame.f_globals is not sys.modules["__main__"].__dict__ or not _works():
        raise _refused(made)
    step = _step_of(made) - before
    values = {name: value for name, value in dict(frame.f_locals).items() if name in code.co_varnames}
    stack, cells = _stack_of(made, values)
    depth = _depth(code, step)
    if len(stack) == depth + 1 and stack[-1] is None:  # the exception that was handled last
        stack.pop()
    if len(stack) != depth or _set_in_both(code):
        raise _refused(made)
    if not __package__:
        _kept.append(made)
    return [_carry._versions.python(), step, values, stack, cells]


def _step_of(made):
    """Return the place of the ``yield`` at which a generator waits: later Pythons name the step behind it."""
    step = made.gi_frame.f_lasti
    return step if made.gi_code.co_code[step] == dis.opmap["YIELD_VALUE"] else step - 2


def _inner_cells(code):
    """Return the variables that inner functions read, but for arguments."""
    return tuple(name for name in code.co_cellvars if name not in code.co_varnames)


def _set_in_both(code):
    """Whether an argument that inner functions read is set: their cells cannot be shared."""
    waiting, arguments = [code], set(code.co_cellvars).intersection(code.co_varnames)
    while waiting and arguments:
        inner = waiting.pop()
        waiting += [part for part in inner.co_consts if isinstance(part, types.CodeType)]
        steps = dis.get_instructions(inner)
        if any(of.opname in ("STORE_DEREF", "DELETE_DEREF") and of.argval in arguments for of in steps):
            return True
    return False


def _stack_of(made, values):
    """Return what a generator holds at its step, such as iterators of loops, and the cells that it shares."""
    code = made.gi_code
    plain = sum(name in values for name in code.co_varnames if name not in code.co_cellvars)
    held = gc.get_referents(made)[_first_variable() :]
    end = plain + len(code.co_cellvars) + len(code.co_freevars)
    return held[end:], held[end - len(_inner_cells(code)) - len(code.co_freevars) : end]


@functools.lru_cache(maxsize=1)
def _first_variable():
    """Return how many objects a generator refers to before its variables."""
    mark = object()

    def marked(mark):
        yield

    made = marked(mark)
    next(made)
    _ = made.gi_frame.f_locals
    return next(at for at, part in enumerate(gc.get_referents(made)) if part is mark)


@functools.lru_cache(maxsize=1)
def _works():
    """Whether this Python can continue at a ``yield``, as seen of one generator."""
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in _SEEN:
        return False

    def tried(first):
        total = first
        for one in (10, 20):
            total += (yield total) + one

    try:
        made = tried(1)
        next(made)
        values = dict(made.gi_frame.f_locals)
        held = [_carry._versions.python(), _step_of(made), values, *_stack_of(made, values)]
        return _that_waits(tried.__code__, {}, held).send(5) == 16
    except Exception:
        return False


_JUMPS = {*dis.hasjrel, *dis.hasjabs}
_ENDS = {
    "RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE",
    "JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_ABSOLUTE",
}  # fmt: skip


@functools.lru_cache(maxsize=64)
def _depth(code, step):
    """Return how many objects are on the stack below what is given at a step, as the steps before it leave them."""
    steps = list(dis.get_instructions(code))
    places = {found.offset: at for at, found in enumerate(steps)}
    waiting = [(places[_start(code) - 2], 0)]
    waiting += [(places[2 * to], (depth >> 1) + 1 + (depth & 1)) for _, _, to, depth in _handlers(code)]
    depths = {}
    while waiting:
        at, depth = waiting.pop()
        if at in depths or at == len(steps):
            continue
        depths[at], of = depth, steps[at]
        if of.opcode in _JUMPS:
            waiting.append((places[of.argval], depth + dis.stack_effect(of.opcode, of.arg, jump=True)))
        if of.opname not in _ENDS:
            waiting.append((at + 1, depth + dis.stack_effect(of.opcode, of.arg, jump=False)))
    return depths[places[step]] - 1


def _start(code):
    """Return the place behind the first steps of a generator, which make it one."""
    return 2 + next(found.offset for found in dis.get_instructions(code) if found.opname == "RESUME")


def _handlers(code):
    """Return the rows of the table of handlers: start, size and target in steps of two bytes, and the depth."""
    numbers, number = [], 0
    for byte in code.co_exceptiontable:
        number = number << 6 | byte & 63
        if not byte & 64:
            numbers.append(number)
            number = 0
    return [numbers[at : at + 4] for at in range(0, len(numbers), 4)]


def _that_waits(code, namespace, held):
    """Make a generator that waits at a step. Raises Refused."""
    python, step, values, stack, cells = held
    if python != _carry._versions.python():
        raise _carry.Refused("is a generator that waits in Python {}: make a list of it".format(python))
    steps, constants = [], list(code.co_consts)

    def fetch(value):
        steps.append(("LOAD_CONST", len(constants)))
        constants.append(value)

    for at, name in [(at, name) for at, name in enumerate(code.co_varnames) if name in values]:
        fetch(values[name])
        steps.append(("STORE_DEREF" if name in code.co_cellvars else "STORE_FAST", at))
    for value in [*stack, None]:
        fetch(value)
    start = _start(code)
    steps.append(("JUMP_FORWARD", (step - start) // 2))
    first = b"".join(_as_bytes(*each) for each in steps)
    size = len(first) // 2
    made = code.replace(
        co_code=_taking_cells(code, start) + first + code.co_code[start:],
        co_cellvars=tuple(name for name in code.co_cellvars if name in code.co_varnames),
        co_freevars=(*_inner_cells(code), *code.co_freevars),
        co_consts=(*constants, _Before(code, len(first))),
        co_argcount=0,
        co_posonlyargcount=0,
        co_kwonlyargcount=0,
        co_flags=code.co_flags & ~_ANY,
        co_stacksize=code.co_stacksize + len(stack) + 1,
        co_linetable=bytes(0xF8 | min(8, size - at) - 1 for at in range(0, size, 8)) + code.co_linetable,
        co_exceptiontable=b"".join(_row(at + size, long, to + size, depth) for at, long, to, depth in _handlers(code)),
    )
    generator = types.FunctionType(made, namespace, code.co_name, None, tuple(cells))()
    next(generator)
    return generator


def _taking_cells(code, end):
    """Return the first steps of a generator, which takes cells that are made where it makes them."""
    inner, made = _inner_cells(code), bytearray(code.co_code[:end])
    for of in dis.get_instructions(code):
        is_taken = of.opname == "MAKE_CELL" and of.argval in inner and inner[0] == of.argval and not code.co_freevars
        if of.offset < end and (is_taken or of.opname == "COPY_FREE_VARS"):
            made[of.offset : of.offset + 2] = _as_bytes("COPY_FREE_VARS", len(inner) + len(code.co_freevars))
        elif of.offset < end and of.opname == "MAKE_CELL" and of.argval in inner:
            made[of.offset : of.offset + 2] = _as_bytes("NOP", 0)
    return bytes(made)


def _as_bytes(name, argument):
    """Return one step as bytes, with those before it that extend its argument."""
    high = [(dis.opmap["EXTENDED_ARG"], argument >> shift & 255) for shift in (24, 16, 8) if argument >> shift]
    return bytes(part for pair in (*high, (dis.opmap[name], argument & 255)) for part in pair)


def _row(*numbers):
    """Return a row of the table of handlers as bytes."""
    made = []
    for number in numbers:
        digits = [number >> shift & 63 for shift in (24, 18, 12, 6) if number >> shift] + [number & 63]
        made += [digit | 64 for digit in digits[:-1]] + digits[-1:]
    return bytes([made[0] | 128, *made[1:]])
