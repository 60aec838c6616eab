"""IPython's shell, and the formatters and magics that the code has set."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

from ...script import run as driver
from ..base import ATOMS, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_shell(value: Any) -> bool:
    """Return whether a value is IPython's shell: each side has exactly one."""
    shells = sys.modules.get("IPython.core.interactiveshell")
    return shells is not None and isinstance(value, shells.InteractiveShell)


def shell() -> Any:
    """Return IPython's shell of this side."""
    try:
        from IPython import get_ipython
    except ImportError:
        raise Refused("contains IPython's shell, and the run has no IPython: add -r ipython") from None
    return get_ipython()


def formatter_for(form: str) -> Any:
    """Return the formatter of this side for a MIME type."""
    shell()
    return ipython_formatters()[form]


_NOTEBOOK_PACKAGES = {"", "IPython", "builtins", "matplotlib_inline", "lk_jupyter", "ipywidgets", "_lk"}


def formatters() -> dict[str, Any]:
    """Return MIME type → printers by class, without the printers of IPython and the packages of notebooks."""
    printers = {}
    for kind, formatter in ipython_formatters().items():
        makers = {**formatter.type_printers, **formatter.deferred_printers}
        custom = {
            owner: maker for owner, maker in makers.items() if _parse_top_package(maker) not in _NOTEBOOK_PACKAGES
        }
        if custom:
            printers[kind] = custom
    plain = ipython_formatters().get("text/plain")
    options = {
        name: getattr(plain, name)
        for name, default in _TEXT_DEFAULTS.items()
        if getattr(plain, name, default) != default
    }
    if type(plain).__module__ == _RICH:
        call = type(plain).__call__
        closure = {name: cell.cell_contents for name, cell in zip(call.__code__.co_freevars, call.__closure__ or ())}
        options[_RICH] = {name: value for name, value in closure.items() if type(value) in ATOMS}
    if options:
        printers[_OPTIONS] = options
    printed = vars(_find_printable_class()) if _find_printable_class() else {}
    custom = {name: maker for name, maker in printed.items() if "<locals>" in getattr(maker, "__qualname__", "")}
    if printed and printed.get("_repr_latex_") is printed.get("_repr_disabled"):
        custom["_repr_latex_"] = printed["_repr_disabled"]
    return {**printers, _PRINTED: custom} if custom else printers


#: Key of the options of text output, which ``%precision`` and ``%pprint`` set, and the defaults.
_OPTIONS, _TEXT_DEFAULTS = "options", {"float_precision": "", "pprint": True}

#: The module that replaces the text output of IPython after ``rich.pretty.install()``.
_RICH = "rich.pretty"

#: The class of sympy whose methods ``init_printing`` replaces.
_PRINTED = "sympy.core._print_helpers"


def _find_printable_class() -> Any:
    return getattr(sys.modules.get(_PRINTED), "Printable", None)


def put_formatters(printers: dict[str, Any]) -> None:
    """Set the printers of the peer in IPython."""
    shell()
    options = {**_TEXT_DEFAULTS, **printers.get(_OPTIONS, {})}
    if _RICH in options:
        import_module(_RICH).install(**options.pop(_RICH))
    if plain := ipython_formatters().get("text/plain"):
        for name, value in options.items():
            setattr(plain, name, value)
    for name, maker in printers.get(_PRINTED, {}).items():
        setattr(_find_printable_class(), name, maker)
    for kind, makers in printers.items():
        formatter: Any = ipython_formatters().get(kind)
        for owner, maker in makers.items() if formatter else ():
            (formatter.deferred_printers if isinstance(owner, tuple) else formatter.type_printers)[owner] = maker


def ipython_formatters() -> dict[str, Any]:
    """Return MIME type → formatter of IPython's shell; nothing without a shell."""
    ipython = current_shell()
    return ipython.display_formatter.formatters if ipython else {}


def current_shell() -> Any:
    """Return IPython's shell if the shell exists already."""
    shell_class = getattr(sys.modules.get("IPython.core.interactiveshell"), "InteractiveShell", None)
    return shell_class.instance() if shell_class and shell_class.initialized() else None


#: Names that IPython gives to its magics, and extensions without use in a run.
_ALIASES, _NO_USE = {"ed", "hist", "rep", "SVG", "HTML", "file"}, {"lk_jupyter", "storemagic", "autoreload"}

#: The option of IPython's shell for which expressions of a cell are shown.
_SHOWS = "ast_node_interactivity"

#: Magics that arrived before the shell exists.
waiting: dict[str, Any] = {}


def magics() -> dict[str, Any]:
    """Return the magics of the notebook, the loaded extensions, and which expressions cells show."""
    ipython = current_shell()
    shells = sys.modules.get("IPython.core.interactiveshell")
    interactivity = getattr(ipython or getattr(shells, "InteractiveShell", None), _SHOWS, None)
    options = {_SHOWS: interactivity} if isinstance(interactivity, str) and interactivity != "last_expr" else {}
    if ipython is None:
        return {**waiting, **options}
    custom = {
        kind: {name: magic for name, magic in table.items() if _is_notebook_magic(name, magic)}
        for kind, table in ipython.magics_manager.magics.items()
    }
    extensions = [name for name in sorted(ipython.extension_manager.loaded) if name.rpartition(".")[2] not in _NO_USE]
    return {**{kind: entries for kind, entries in [*custom.items(), ("extensions", extensions)] if entries}, **options}


def _is_notebook_magic(name: str, magic: Any) -> bool:
    is_alias = type(magic).__name__ == "MagicAlias" and name not in _ALIASES
    return is_alias or getattr(magic, "__module__", "") == "__main__"


def put_magics(magics_state: dict[str, Any]) -> None:
    """Define the magics of the peer in IPython, now or as soon as the shell exists."""
    ipython = current_shell()
    if ipython is None:
        waiting.update(magics_state)
        driver.shell_hooks[:] = [_put_waiting_magics]
        return
    waiting.clear()
    for name in magics_state.get("extensions", ()):
        with suppress(Exception):  # a cell that uses these magics reports that they are unknown
            ipython.extension_manager.load_extension(name)
    if _SHOWS in magics_state:
        setattr(ipython, _SHOWS, magics_state[_SHOWS])
    for kind, table in ipython.magics_manager.magics.items():
        table.update(magics_state.get(kind, {}))


def _put_waiting_magics() -> None:
    put_magics(dict(waiting))


def _parse_top_package(maker: Any) -> str:
    return str(getattr(getattr(maker, "func", maker), "__module__", "") or "").partition(".")[0]
