"""Load public names of a package on first use, so that the import of the package stays fast."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose names are in these modules."""

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(_import_safely(homes[name]), name)

    return get, lambda: sorted({*vars(sys.modules[package]), *homes})


def _import_safely(name: str) -> ModuleType:
    from lk_jupyter._threads import import_safely  # noqa: PLC0415 (loading the extension starts no threads)

    return import_safely(name)


def make_callable(module: ModuleType, home: str) -> None:
    """Make a module callable as the function of the same name in the module ``home``, which the first call imports.

    The import system sets a submodule as an attribute of its package, whenever it is first imported. So a public
    function with the name of a submodule must be the module itself.
    """
    name = module.__name__.rpartition(".")[2]

    def load() -> Any:
        return getattr(_import_safely(home), name)

    class CallableModule(ModuleType):
        __doc__ = property(lambda _: load().__doc__)  # help shows the function
        __signature__ = property(lambda _: inspect.signature(load()))

        def __call__(self, *args: Any, **options: Any) -> Any:
            return load()(*args, **options)

    module.__class__ = CallableModule


def moved(old: str, new: str) -> Callable[[str], Any]:
    """Return ``__getattr__`` of a module that has moved: names are loaded from the new module, with a warning."""

    def get(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        warnings.warn(f"{old} has moved to {new}.", DeprecationWarning, stacklevel=2)
        return getattr(import_module(new), name)

    return get


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return ``__getattr__`` of a module with renamed names; an old name warns and returns the new object."""

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warnings.warn(f"{name} is now {names[name]}.", FutureWarning, stacklevel=2)
        return getattr(sys.modules[module], names[name])

    return get


def old_name(name: str, new: str) -> Any:
    """Return a property that reads another property, with a warning."""

    def get(owner: object) -> Any:
        warnings.warn(f"{name} is now {new}.", FutureWarning, stacklevel=2)
        return getattr(owner, new)

    return property(get, doc=f"Old name of ``{new}``.")
