"""Commands that start a Python of this package, with an environment: neither imports from the working folder.

``python -m`` looks for modules in the working folder first. The folder may belong to another person, and contain a
``uvicorn.py``.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing may execute a module of the folder
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Removes the working folder, which ``-c`` adds as an empty text, before the first import from a file. From Python 3.11
#: on, ``-P`` does that too, but a kernel spec may start an older Python than the Python that wrote the spec.
_BOOT = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def leave_working_folder() -> None:
    """Import nothing more from the working folder, which a user's own ``python -m`` puts first."""
    if sys.path and sys.path[0] == os.getcwd():  # noqa: PTH109 (pathlib may be the folder's)
        del sys.path[0]


def module_command(module: str, python: str = sys.executable) -> list[str]:
    """Return the command that runs a module as ``python -m`` does, without modules of the working folder."""
    return [python, "-c", _BOOT, module]


def module_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment for such a command: PYTHONPATH without entries relative to the working folder."""
    folders = environment.get("PYTHONPATH", "").split(os.pathsep)
    absolute = os.pathsep.join(folder for folder in folders if os.path.isabs(folder))  # noqa: PTH117 (as above)
    return {**environment, "PYTHONPATH": absolute} if "PYTHONPATH" in environment else dict(environment)
