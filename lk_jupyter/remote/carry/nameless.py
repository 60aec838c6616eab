"""State without a variable: formatters, magics, additions to pandas, and attributes of modules."""

from __future__ import annotations

import re
import sys
import types
import warnings
from contextlib import suppress
from importlib import import_module

from .base import MANY_ITEMS, code_words, is_local, is_plain, read_running_code
from .kinds.ipython import current_shell, formatters, magics, put_formatters, put_magics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: The name of the files that the code wrote, in the stream: no variable refers to files.
FILES = "files written"


def accessors() -> dict[tuple[str, str], Any]:
    """Return the notebook's additions to classes of pandas: class and name → function or accessor."""
    pandas = sys.modules.get("pandas")
    kinds = [getattr(pandas, name) for name in ("DataFrame", "Series", "Index") if hasattr(pandas, name)]
    return {
        (kind.__name__, name): addition
        for kind in kinds
        for name, addition in vars(kind).items()
        if getattr(_find_accessor_class(addition, kind) or addition, "__module__", "") == "__main__"
    }


def _find_accessor_class(addition: Any, kind: Any) -> Any:
    """Return the class of an accessor; None for any other attribute of a class of pandas."""
    is_accessor = type(addition).__module__ == "pandas.core.accessor" and hasattr(addition, "__get__")
    return addition.__get__(None, kind) if is_accessor else None


def put_accessors(additions: dict[tuple[str, str], Any]) -> None:
    """Add the peer's additions to the classes of pandas."""
    for (kind, name), addition in additions.items():
        pandas: Any = import_module("pandas")
        owner = getattr(pandas, kind)
        accessor = _find_accessor_class(addition, owner)
        if accessor is not None:
            register = getattr(pandas.api.extensions, "register_{}_accessor".format(kind.lower()))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an earlier attribute of this name is replaced
                register(name)(accessor)
        setattr(owner, name, addition)


#: Code that sets an attribute: the object and the attribute.
_SETS = re.compile(
    r"(?<![\w.])([^\W\d][\w.]*)\.([^\W\d]\w*)\s*[-+*/|&]?=(?![=}!:])|\bsetattr\(\s*([\w.]+)\s*,\s*['\"](\w+)['\"]"
)

#: Attributes of ``sys`` that differ between processes.
_PROCESS_ATTRIBUTES = {"path", "stdin", "stdout", "stderr", "displayhook", "excepthook", "modules", "meta_path"}

#: Attributes of modules that the peer has set, by module and name; and modules that are not imported in this process.
_remote_attributes: set[tuple[str, str]] = set()
_missing_modules: set[str] = set()

#: The attributes that this side has sent last: the peer returns unchanged attributes too.
_last_attributes: dict[tuple[str, str], Any] = {}


def attributes() -> dict[tuple[str, str], Any]:
    """Return module and name → value of attributes that code has set, and of plain values in local modules.

    The name of an attribute of a library's class has the path of the class: ``Fraction.double``.
    """
    namespace = vars(sys.modules["__main__"])
    values: dict[tuple[str, str], Any] = {}
    for module_name, module in _list_local_modules().items():
        module_values = {name: value for name, value in vars(module).items() if not name.startswith("__")}
        values.update(
            ((module_name, name), value)
            for name, value in module_values.items()
            if is_plain(value, depth=6, few=MANY_ITEMS)
        )
    for module_name, name in _remote_attributes | {
        (module_name, path + (name or attribute))
        for owner, name, expression, attribute in _list_assignments()
        for module_name, path in [_find_owner(owner or expression, namespace)]
    }:
        path, _, attribute = name.rpartition(".")
        owner = _resolve_path(module_name, path)
        if owner is not None and hasattr(owner, attribute) and not _belongs_to_process(module_name, name):
            values[module_name, name] = vars(owner).get(attribute, getattr(owner, attribute))
    _last_attributes.clear()
    _last_attributes.update(values)
    return values


def _belongs_to_process(module_name: str, name: str) -> bool:
    return module_name == "sys" and name in _PROCESS_ATTRIBUTES


def _resolve_path(module_name: str, path: str) -> Any:
    """Return a module, or the class at a path in the module, such as ``Outer.Inner``; None for any other path."""
    owner: Any = sys.modules.get(module_name)
    for name in filter(None, path.split(".")):
        owner = getattr(owner, name, None)
    return owner


def _list_local_modules() -> dict[str, types.ModuleType]:
    """Return name → module of the imported modules in and below the working directory."""
    modules = [value for value in list(vars(sys.modules["__main__"]).values()) if isinstance(value, types.ModuleType)]
    return {
        module.__name__: module
        for module in modules
        if is_local(module)
        and sys.modules.get(module.__name__) is module
        and not (
            module.__name__ in _missing_modules
            or module.__name__.partition(".")[0] == "_lk"
            or "-packages" in str(module.__file__)
        )
    }


def _list_assignments() -> set[tuple[str, str, str, str]]:
    """Return the assignments to attributes in the code of the run, or in the cells of the notebook."""
    shell = None if read_running_code() else current_shell()
    texts = [read_running_code()] if shell is None else shell.user_ns.get("In", ())
    return {assignment for text in texts for assignment in _SETS.findall(str(text))}


def _find_owner(words: str, namespace: dict[str, Any]) -> tuple[str, str]:
    """Return the module that an expression refers to, and the path of a class in the module with a final dot.

    Both texts are empty for any other value.
    """
    first, *attribute_names = words.split(".")
    value = namespace.get(first)
    for word in attribute_names:
        value = getattr(value, word, None) if isinstance(value, (types.ModuleType, type)) else None
    if isinstance(value, type):
        path = value.__qualname__
        return (value.__module__, path + ".") if _resolve_path(value.__module__, path) is value else ("", "")
    name = getattr(value, "__name__", "") if isinstance(value, types.ModuleType) else ""
    return (name if sys.modules.get(name) is value and name != "__main__" else "", "")


def put_attributes(values: dict[tuple[str, str], Any]) -> None:
    """Set the attributes of modules and classes of the peer, if code of this side may use the modules.

    An attribute that the peer hasn't changed stays as code of this side has set it meanwhile.
    """
    words = code_words(read_running_code())
    for (module_name, name), value in values.items():
        if _last_attributes.get((module_name, name), values) is value:
            continue
        with suppress(Exception):  # the code that uses the module reports the error
            module = (
                import_module(module_name) if module_name.partition(".")[0] in words else sys.modules.get(module_name)
            )
            if module is None:
                _missing_modules.add(module_name)
                continue
            path, _, attribute = name.rpartition(".")
            owner = _resolve_path(module_name, path)
            if vars(owner).get(attribute, values) is not value:
                setattr(owner, attribute, value)
                _remote_attributes.add((module_name, name))


#: State without a variable: name in the stream → function that reads, function that sets the state.
NAMELESS: dict[str, tuple[Callable[[], Any], Callable[[Any], None]]] = {
    "IPython's formatters": (formatters, put_formatters),
    "IPython's magics": (magics, put_magics),
    "additions to pandas": (accessors, put_accessors),
    "attributes of modules": (attributes, put_attributes),
}


def put_nameless(states: dict[str, Any]) -> None:
    """Set state without a variable; ``states`` may contain more values."""
    for name in NAMELESS.keys() & states.keys():
        NAMELESS[name][1](states[name])
