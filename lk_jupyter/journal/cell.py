"""Where a run is started from: the notebook, the cell and the kernel session, as far as the front end reports them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CellContext:
    """A cell of a notebook; each part is None where it is not known, such as outside of a kernel."""

    notebook: str | None = None
    cell_id: str | None = None
    session: str | None = None


def current_cell() -> CellContext:
    """Return the place of the code that runs now."""
    shell = _shell()
    kernel = getattr(shell, "kernel", None)
    return CellContext(_notebook(shell), _cell_id(kernel), _session(kernel))


def _shell() -> Any:
    """Return the running IPython, if any; it is not imported for that."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None


def _notebook(shell: Any) -> str | None:
    """VS Code puts the path into the user's names, a Jupyter server into the environment."""
    named = getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    return str(named) if named and shell is not None else None


def _cell_id(kernel: Any) -> str | None:
    """Front ends send the id of a cell with the request to execute it."""
    try:
        metadata = kernel.get_parent("shell").get("metadata") or {}
    except (AttributeError, TypeError, LookupError):
        return None
    found = metadata.get("cellId")
    return str(found) if found else None


def _session(kernel: Any) -> str | None:
    found = getattr(getattr(kernel, "session", None), "session", None)
    return str(found) if found else None
