"""State without a variable: formatters, magics, additions to pandas, and attributes of modules."""

from __future__ import annotations

import re
import sys
import types
from contextlib import suppress
from importlib import import_module

from .base import MANY_ITEMS, is_local, is_plain, running_code, words_of
from .kinds.ipython import current_shell, formatters, magics, put_formatters, put_magics

#: The name under which files travel that the code wrote, which no variable has.
FILES = "files written"


def accessors():
    """Return what the notebook has added to the classes of pandas: class and name → function or accessor."""
    pandas = sys.modules.get("pandas")
    kinds = [getattr(pandas, name) for name in ("DataFrame", "Series", "Index") if hasattr(pandas, name)]
    return {
        (kind.__name__, name): made
        for kind in kinds
        for name, made in vars(kind).items()
        if getattr(getattr(made, "_accessor", made), "__module__", "") == "__main__"
    }


def put_accessors(found):
    """Add to the classes of pandas what the other side has added."""
    for (kind, name), made in found.items():
        of = getattr(import_module("pandas"), kind)
        setattr(of, name, made)
        if hasattr(made, "_accessor"):
            of._accessors.add(name)


#: Code that sets an attribute: of what, and which.
_SETS = re.compile(
    r"(?<![\w.])([^\W\d][\w.]*)\.([^\W\d]\w*)\s*[-+*/|&]?=(?![=}!:])|\bsetattr\(\s*([\w.]+)\s*,\s*['\"](\w+)['\"]"
)

#: Attributes of ``sys`` that each side has its own of.
_OF_PROCESS = {"path", "stdin", "stdout", "stderr", "displayhook", "excepthook", "modules", "meta_path"}

#: Attributes of modules that the other side has set, by module and name; and modules that are not imported here.
_set_there, _left_there = set(), set()


def attributes():
    """Return what the code has set on modules, and the plain values in its local modules: module and name → value."""
    here = vars(sys.modules["__main__"])
    found = {}
    for of, module in _local_modules().items():
        values = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        found.update(((of, name), value) for name, value in values.items() if is_plain(value, depth=6, few=MANY_ITEMS))
    for of, name in _set_there | {(_module_named(of or other, here), name or its) for of, name, other, its in _sets()}:
        module = sys.modules.get(of)
        if module is not None and hasattr(module, name) and not (of == "sys" and name in _OF_PROCESS):
            found[of, name] = getattr(module, name)
    return found


def _local_modules():
    """Return name → module, of the modules in and below the folder of the code that it has imported."""
    modules = [value for value in list(vars(sys.modules["__main__"]).values()) if isinstance(value, types.ModuleType)]
    return {
        module.__name__: module
        for module in modules
        if is_local(module)
        and sys.modules.get(module.__name__) is module
        and not (
            module.__name__ in _left_there
            or module.__name__.partition(".")[0] == "_lk"
            or "-packages" in module.__file__
        )
    }


def _sets():
    """Return what the code of the run sets, or the cells of the notebook."""
    shell = None if running_code() else current_shell()
    texts = [running_code()] if shell is None else shell.user_ns.get("In", ())
    return {found for text in texts for found in _SETS.findall(str(text))}


def _module_named(words, namespace):
    """Return the name of the module that code means with these words; nothing for other values."""
    first, *others = words.split(".")
    found = namespace.get(first)
    for word in others:
        found = getattr(found, word, None) if isinstance(found, types.ModuleType) else None
    name = getattr(found, "__name__", "") if isinstance(found, types.ModuleType) else ""
    return name if sys.modules.get(name) is found and name != "__main__" else ""


def put_attributes(found):
    """Set on modules what the other side has set, where the code here may use them."""
    words = words_of(running_code())
    for (of, name), value in found.items():
        with suppress(Exception):  # the code that uses it says so
            module = import_module(of) if of.partition(".")[0] in words else sys.modules.get(of)
            if module is None:
                _left_there.add(of)
            elif getattr(module, name, found) is not value:
                setattr(module, name, value)
                _set_there.add((of, name))


#: State without a variable that travels in the stream: its name → what reads it, and what sets it.
NAMELESS = {
    "IPython's formatters": (formatters, put_formatters),
    "IPython's magics": (magics, put_magics),
    "additions to pandas": (accessors, put_accessors),
    "attributes of modules": (attributes, put_attributes),
}


def put_nameless(found):
    """Set such state; ``found`` may hold other values too."""
    for name in NAMELESS.keys() & found.keys():
        NAMELESS[name][1](found[name])
