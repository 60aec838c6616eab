"""Packages that only some of our extras bring."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lk_jupyter._threads import import_safely
from lk_jupyter.errors import UsageError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_DISTRIBUTION = "lk-jupyter"


def library(module: str, extra: str, what: str = "This") -> Any:
    """Return a module of an optional package. Raises UsageError with the packages to install.

    Warnings of its import are for its developers: a new release of a package that it uses is no news for a user.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_safely(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UsageError(f"{what} needs {name}: {build_extra_command(extra)}") from None


def build_extra_command(extra: str) -> str:
    """Return the command that installs the missing packages of an extra, however lk_jupyter was installed."""
    return build_install_command(*list_packages(extra))


def list_packages(extra: str) -> list[str]:
    """Return the requirements of an extra that this Python lacks; all, if it has each of them."""
    requirements = {str(requirement): requirement for requirement in _iterate_requirements(extra)}
    missing = [text for text, requirement in requirements.items() if not _is_installed(requirement)]
    return sorted(missing or requirements) or [f"{_DISTRIBUTION}[{extra}]"]


def _iterate_requirements(extra: str) -> Iterator[Requirement]:
    from packaging.requirements import Requirement  # noqa: PLC0415 (only if a package is missing)

    for text in metadata.requires(_DISTRIBUTION) or ():
        requirement = Requirement(text)
        if not requirement.marker or requirement.marker.evaluate({"extra": ""}):
            continue
        if requirement.marker.evaluate({"extra": extra}):
            if requirement.name == _DISTRIBUTION:
                for part in requirement.extras:
                    yield from _iterate_requirements(part)
            else:
                requirement.marker = None
                yield requirement


def _is_installed(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def build_install_command(*requirements: str) -> str:
    """Return the command that installs packages for this Python: a line for a notebook, or for a shell."""
    is_notebook = _is_notebook()
    python = shlex.quote(sys.executable)
    packages = " ".join(f'"{requirement}"' for requirement in requirements)
    if find_spec("pip") is None:  # an environment of uv
        return f"{'!' if is_notebook else ''}uv pip install --python {python} {packages}"
    return f"%pip install {packages}" if is_notebook else f"{python} -m pip install {packages}"


def _is_notebook() -> bool:
    """Return whether this process executes cells."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
