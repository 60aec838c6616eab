"""IPython's shell, and the formatters and magics that the code has set."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

from ...script import run as driver
from ..base import ATOMS, Refused


def is_shell(value):
    """Whether a value is IPython's shell, which each side has one of."""
    shells = sys.modules.get("IPython.core.interactiveshell")
    return shells is not None and isinstance(value, shells.InteractiveShell)


def shell():
    """Return IPython's shell of this side."""
    try:
        from IPython import get_ipython
    except ImportError:
        raise Refused("holds IPython's shell, and the run has no IPython: add -r ipython") from None
    return get_ipython()


def formatter_of(form):
    """Return what shows values in this form here."""
    shell()
    return ipython_formatters()[form]


_OF_NOTEBOOKS = {"", "IPython", "builtins", "matplotlib_inline", "lk_jupyter", "ipywidgets", "_lk"}


def formatters():
    """Return MIME type → what shows instances of a class, where that is not IPython's own."""
    found = {}
    for kind, formatter in ipython_formatters().items():
        made = {**formatter.type_printers, **formatter.deferred_printers}
        own = {of: maker for of, maker in made.items() if _package_of(maker) not in _OF_NOTEBOOKS}
        if own:
            found[kind] = own
    plain = ipython_formatters().get("text/plain")
    options = {name: getattr(plain, name) for name, of in _OF_TEXT.items() if getattr(plain, name, of) != of}
    if type(plain).__module__ == _RICH:
        call = type(plain).__call__
        given = {name: cell.cell_contents for name, cell in zip(call.__code__.co_freevars, call.__closure__ or ())}
        options[_RICH] = {name: value for name, value in given.items() if type(value) in ATOMS}
    if options:
        found[_OPTIONS] = options
    printed = vars(_printed()) if _printed() else {}
    own = {name: maker for name, maker in printed.items() if "<locals>" in getattr(maker, "__qualname__", "")}
    if printed and printed.get("_repr_latex_") is printed.get("_repr_disabled"):
        own["_repr_latex_"] = printed["_repr_disabled"]
    return {**found, _PRINTED: own} if own else found


#: How IPython writes values as text, as ``%precision`` and ``%pprint`` set it, and as it begins.
_OPTIONS, _OF_TEXT = "options", {"float_precision": "", "pprint": True}

#: The module that writes values as text in place of IPython, once it is asked to.
_RICH = "rich.pretty"

#: The class of sympy whose methods its ``init_printing`` replaces.
_PRINTED = "sympy.core._print_helpers"


def _printed():
    return getattr(sys.modules.get(_PRINTED), "Printable", None)


def put_formatters(found):
    """Let IPython show values as the other side does."""
    shell()
    options = {**_OF_TEXT, **found.get(_OPTIONS, {})}
    if _RICH in options:
        import_module(_RICH).install(**options.pop(_RICH))
    if plain := ipython_formatters().get("text/plain"):
        for name, value in options.items():
            setattr(plain, name, value)
    for name, maker in found.get(_PRINTED, {}).items():
        setattr(_printed(), name, maker)
    for kind, made in found.items():
        formatter = ipython_formatters().get(kind)
        for of, maker in made.items() if formatter else ():
            (formatter.deferred_printers if isinstance(of, tuple) else formatter.type_printers)[of] = maker


def ipython_formatters():
    """Return MIME type → formatter of IPython's shell; nothing without a shell."""
    made = current_shell()
    return made.display_formatter.formatters if made else {}


def current_shell():
    """Return IPython's shell if it is made already."""
    shells = sys.modules.get("IPython.core.interactiveshell")
    return getattr(getattr(shells, "InteractiveShell", None), "_instance", None)


#: Names that IPython itself gives to its magics, and extensions that are of no use in a run.
_ALIASES, _NO_USE = {"ed", "hist", "rep", "SVG", "HTML", "file"}, {"lk_jupyter", "storemagic", "autoreload"}

#: The option of IPython's shell for which expressions of a cell are shown.
_SHOWS = "ast_node_interactivity"

#: Magics that came before there is a shell to have them.
waiting = {}


def magics():
    """Return the magics that the notebook has defined, the extensions that it has loaded, and what cells show."""
    made = current_shell()
    shells = sys.modules.get("IPython.core.interactiveshell")
    shown = getattr(made or getattr(shells, "InteractiveShell", None), _SHOWS, None)
    options = {_SHOWS: shown} if isinstance(shown, str) and shown != "last_expr" else {}
    if made is None:
        return {**waiting, **options}
    found = {
        kind: {name: magic for name, magic in known.items() if _is_own(name, magic)}
        for kind, known in made.magics_manager.magics.items()
    }
    extensions = [name for name in sorted(made.extension_manager.loaded) if name.rpartition(".")[2] not in _NO_USE]
    return {**{kind: of for kind, of in [*found.items(), ("extensions", extensions)] if of}, **options}


def _is_own(name, magic):
    is_alias = type(magic).__name__ == "MagicAlias" and name not in _ALIASES
    return is_alias or getattr(magic, "__module__", "") == "__main__"


def put_magics(found):
    """Let IPython have the magics of the other side, now or once there is a shell."""
    made = current_shell()
    if made is None:
        waiting.update(found)
        driver.shell_hooks[:] = [_put_waiting_magics]
        return
    waiting.clear()
    for name in found.get("extensions", ()):
        with suppress(Exception):  # whoever uses its magics is told that they are unknown
            made.extension_manager.load_extension(name)
    if _SHOWS in found:
        setattr(made, _SHOWS, found[_SHOWS])
    for kind, known in made.magics_manager.magics.items():
        known.update(found.get(kind, {}))


def _put_waiting_magics():
    put_magics(dict(waiting))


def _package_of(maker):
    return str(getattr(getattr(maker, "func", maker), "__module__", "") or "").partition(".")[0]
