"""The code that a session executes first: it writes the modules of ``remote`` and starts ``script.session``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lk_jupyter.protocol.parts import module_files, with_code
from lk_jupyter.runs.variables.payload import CARRY_NEEDS, NEEDS

#: The module of a session in its Python, as an expression.
SESSION_MODULE = "__import__('_lk.script.session').script.session"

#: Modules for a session, besides those for variables.
_MODULES = ("script.run", "script.variables", "script.moment", "sign", "script.session")

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
    texts = with_code(module_files([*NEEDS, *CARRY_NEEDS, *_MODULES]))
    return f"exec({_PREPARE!r}, {{'texts': {texts!r}, 'settings': {settings!r}}})"
