"""Functions of the notebook, their code, cells and memos."""

from __future__ import annotations

import dis
import functools
import linecache
import os
import sys
import types
from importlib import import_module

from ...values import pickle as pickles
from ..base import Refused, is_local

FUNCTION_ATTRIBUTES = ("__qualname__", "__module__", "__kwdefaults__", "__doc__", "__annotations__")

_GLOBAL = {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"}

_TOP_LEVEL_AWAIT = 0x2000

CACHED = type(functools.lru_cache(len))


def is_filled(cell):
    """Return whether a cell of a closure has a value."""
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True


def has_lost_file(function):
    """Whether a function is of a local module whose file was deleted."""
    module = sys.modules.get(function.__module__)
    return is_local(module) and not os.path.exists(module.__file__)


def globals_of(code):
    """Return the global names that code and the functions in it use."""
    names = {found.argval for found in dis.get_instructions(code) if found.opname in _GLOBAL}
    return names.union(*(globals_of(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def texts_of(files):
    """Return file → text of what is only known to this process, such as cells: tracebacks show it there too."""
    return {name: "".join(linecache.getlines(name)) for name in sorted(files) if linecache.getlines(name)}


def make_function(packed, place, namespace, name, *rest):
    """Make a function of the notebook; its globals are the namespace of the cell."""
    file, of, line, variables, python = place
    if python == pickles.python():
        code = pickles.loads(packed)
    else:
        found = (code for code in _codes(file) if (code.co_name, code.co_firstlineno) == (of, line))
        code = next((code for code in found if list(code.co_varnames) == variables), None)
    if code is None:
        text = "is a function of Python {}, Python is {} here, and its text is not known: define {} in the cell"
        raise Refused(text.format(python, pickles.python(), name))
    return types.FunctionType(_in_file(code, file), namespace, name, *rest)


def _codes(file):
    """Yield the code of all functions in the text of a cell."""
    text = "".join(linecache.getlines(file))
    waiting = [compile(text, file, "exec", _TOP_LEVEL_AWAIT, True)] if text else []
    while waiting:
        code = waiting.pop()
        inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        waiting += inner
        yield from inner


def _in_file(code, file):
    """Return code with the name of its file, which cloudpickle takes away."""
    constants = tuple(_in_file(inner, file) if isinstance(inner, types.CodeType) else inner for inner in code.co_consts)
    return code.replace(co_filename=file, co_consts=constants)


def fill_function(function, state):
    """Give a function its attributes."""
    for name, value in state[0].items():
        setattr(function, name, value)
    function.__dict__.update(state[1])


def make_cached(function, parameters, with_options):
    """Make a function that keeps its answers, as ``functools.lru_cache`` does."""
    return functools.lru_cache(**parameters)(function) if with_options else functools.lru_cache(function)


def is_notebook_memo(cached):
    """Return whether a function with a memo is of the notebook."""
    return getattr(getattr(cached, "__wrapped__", None), "__module__", "") == "__main__"


def make_cell():
    """Make an empty cell of a closure."""
    return types.CellType()


def fill_cell(cell, state):
    """Put into a cell what it holds."""
    if state:
        cell.cell_contents = state[0]


class NamesOf:
    """Travels in place of the namespace of a module."""

    def __init__(self, module):
        self._module = module

    def __reduce__(self):
        """Become the namespace of the module on the other side."""
        return names_of, (self._module,)


def names_of(module):
    """Return the namespace of a module."""
    return import_module(module).__dict__


def is_inner_function(function):
    """Whether a function is made by a function of a module, and so has no name there."""
    module = sys.modules.get(function.__globals__.get("__name__"))
    is_its = module is not None and vars(module) is function.__globals__
    return is_its and "<locals>" in function.__qualname__ and "__file__" in function.__globals__


def keep_texts(texts):
    """Let tracebacks and ``inspect`` find the text of cells that ran elsewhere."""
    for name, text in texts.items():
        if name not in linecache.cache and not os.path.exists(name):
            linecache.cache[name] = len(text), None, text.splitlines(True), name
