"""Functions of the notebook, their code, cells and memos."""

from __future__ import annotations

import functools
import os
import sys
import types
from importlib import import_module

from ...values import pickle as pickles
from ..base import Refused, is_local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

FUNCTION_ATTRIBUTES = ("__qualname__", "__module__", "__kwdefaults__", "__doc__", "__annotations__")

_GLOBAL = {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"}

_TOP_LEVEL_AWAIT = 0x2000

CACHED = type(functools.lru_cache(len))


def is_filled(cell: types.CellType) -> bool:
    """Return whether a cell of a closure has a value."""
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True


def has_lost_file(function: Any) -> bool:
    """Return whether a function belongs to a local module whose file was deleted."""
    module: Any = sys.modules.get(function.__module__)
    return is_local(module) and not os.path.exists(module.__file__)


def global_names(code: types.CodeType) -> set[str]:
    """Return the global names that code and the nested functions use."""
    import dis

    names = {step.argval for step in dis.get_instructions(code) if step.opname in _GLOBAL}
    return names.union(*(global_names(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def source_texts(files: Iterable[str]) -> dict[str, str]:
    """Return file → source of cells and similar code without a file, so that tracebacks of the peer show the lines."""
    if not files:
        return {}
    import linecache

    return {name: "".join(linecache.getlines(name)) for name in sorted(files) if linecache.getlines(name)}


def make_function(
    packed: bytes, place: Sequence[Any], namespace: dict[str, Any], name: str, *rest: Any
) -> types.FunctionType:
    """Make a function of the notebook, with the namespace of the cell as globals."""
    file, code_name, line, variables, python = place
    if python == pickles.code_python_version():
        code = pickles.loads(packed)
    else:
        candidates = (
            code for code in _yield_function_codes(file) if (code.co_name, code.co_firstlineno) == (code_name, line)
        )
        code = next((code for code in candidates if list(code.co_varnames) == variables), None)
    if code is None:
        text = (
            "was defined in Python {}, but this is Python {}, and the function's source text is missing: define {} "
            "in the cell"
        )
        raise Refused(text.format(python, pickles.code_python_version(), name))
    return types.FunctionType(_set_file_name(code, file), namespace, name, *rest)


def _yield_function_codes(file: str) -> Iterator[types.CodeType]:
    """Yield the code of all functions in the text of a cell."""
    import linecache

    text = "".join(linecache.getlines(file))
    waiting = [compile(text, file, "exec", _TOP_LEVEL_AWAIT, True)] if text else []
    while waiting:
        code = waiting.pop()
        inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        waiting += inner
        yield from inner


def _set_file_name(code: types.CodeType, file: str) -> types.CodeType:
    """Return code with its file name, which cloudpickle removes."""
    constants = tuple(
        _set_file_name(inner, file) if isinstance(inner, types.CodeType) else inner for inner in code.co_consts
    )
    return code.replace(co_filename=file, co_consts=constants)


def fill_function(function: Any, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set the attributes of a function."""
    for name, value in state[0].items():
        setattr(function, name, value)
    function.__dict__.update(state[1])


def make_cached(function: Any, parameters: dict[str, Any], with_options: bool) -> Any:
    """Make a memoized function, as ``functools.lru_cache`` does."""
    return functools.lru_cache(**parameters)(function) if with_options else functools.lru_cache(function)


def is_notebook_memo(cached: Any) -> bool:
    """Return whether a function with a memo is of the notebook."""
    return getattr(getattr(cached, "__wrapped__", None), "__module__", "") == "__main__"


def make_cell() -> types.CellType:
    """Make an empty cell of a closure."""
    return types.CellType()


def fill_cell(cell: types.CellType, state: list[Any]) -> None:
    """Set the content of a closure cell."""
    if state:
        cell.cell_contents = state[0]


class NamespaceReference:
    """Replaces the namespace of a module in a pickle."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __reduce__(self) -> tuple[Any, ...]:
        """Reduce to the namespace of the same module on the peer."""
        return module_namespace, (self._module,)


def module_namespace(module: str) -> dict[str, Any]:
    """Return the namespace of a module."""
    return import_module(module).__dict__


def is_inner_function(function: Any) -> bool:
    """Return whether a function is defined inside a function of a module: the module has no such name."""
    module = sys.modules.get(function.__globals__.get("__name__"))
    has_globals = module is not None and vars(module) is function.__globals__
    return has_globals and "<locals>" in function.__qualname__ and "__file__" in function.__globals__


def register_source_texts(texts: dict[str, str]) -> None:
    """Let tracebacks and ``inspect`` find the text of cells that ran elsewhere."""
    if not texts:
        return
    import linecache

    for name, text in texts.items():
        if name not in linecache.cache and not os.path.exists(name):
            linecache.cache[name] = len(text), None, text.splitlines(True), name
