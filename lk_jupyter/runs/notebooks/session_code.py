"""The code that a session executes first: it writes the modules of ``remote`` and starts ``script.session``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lk_jupyter.protocol.parts import module_files
from lk_jupyter.runs.variables.payload import CARRY_NEEDS, NEEDS

#: The module of a session in its Python, as an expression.
SESSION_MODULE = "__import__('_lk.script.session').script.session"

#: Modules for a session, besides those for variables.
_MODULES = ("script.run", "script.variables", "script.moment", "sign", "script.session", "script.call")

#: Minimum and maximum seconds between a server's checks of an idle kernel, which are a tenth of the limit apart.
_SOONEST, _LATEST = 1, 60

#: Seconds between a server's checks whether a kernel is alive, and restarts after which a dead kernel stays dead.
_DEATH_PACE, _MOST_RESTARTS = 0.5, 1000

#: Seconds after the limit at which a server ends a kernel, which saves variables before.
SAVING_SECONDS = 300

#: Seconds after which a server without a kernel ends: a kernel can take long to start on a busy machine.
_UNUSED_SECONDS = 120

_PREPARE = """
import os, sys, tempfile
if "_lk.script.session" not in sys.modules:
    folder = tempfile.mkdtemp(prefix="lk_session_")
    for name, text in texts.items():
        path = os.path.join(folder, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    sys.path.insert(0, folder)
    import _lk.script.session, IPython
    _lk.script.session.begin(settings, IPython.get_ipython())
"""


def begin_code(settings: Mapping[str, Any]) -> str:
    """Return the code that prepares a Python as a session with these settings."""
    texts = module_files([*NEEDS, *CARRY_NEEDS, *_MODULES])
    return f"exec({_PREPARE!r}, {{'texts': {texts!r}, 'settings': {settings!r}}})"


def server_flags(minutes: float) -> list[str]:
    """Return the flags with which a server stops an idle kernel, and then itself, if the kernel doesn't stop."""
    seconds = max(1, round(60 * minutes))
    pace = min(max(_SOONEST, seconds // 10), _LATEST)
    kernels = {"cull_idle_timeout": seconds + SAVING_SECONDS, "cull_interval": pace, "cull_connected": True}
    restarts = {"time_to_dead": _DEATH_PACE, "restart_limit": _MOST_RESTARTS}
    return [
        *(f"--MappingKernelManager.{name}={value}" for name, value in kernels.items()),
        *(f"--KernelRestarter.{name}={value}" for name, value in restarts.items()),
        f"--ServerApp.shutdown_no_activity_timeout={_UNUSED_SECONDS}",
    ]
