"""Packages that only some of our extras bring."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from typing import Any

from lk_jupyter._threads import import_safely
from lk_jupyter.errors import UsageError


def library(module: str, extra: str, what: str = "This") -> Any:
    """Return a module of an optional package. Raises UsageError with the extra to install."""
    try:
        return import_safely(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UsageError(f"{what} needs {name}: {build_install_command(f'lk-jupyter[{extra}]')}") from None


def build_install_command(requirement: str) -> str:
    """Return the command that installs a package for this Python: a line for a notebook, or for a shell."""
    is_notebook = _is_notebook()
    python = shlex.quote(sys.executable)
    if find_spec("pip") is None:  # an environment of uv
        return f'{"!" if is_notebook else ""}uv pip install --python {python} "{requirement}"'
    return f'%pip install "{requirement}"' if is_notebook else f'{python} -m pip install "{requirement}"'


def _is_notebook() -> bool:
    """Return whether this process executes cells."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None
