"""Run notebook cells on the GPUs of Lyceum Cloud.

In a notebook: ``%load_ext lk_jupyter``, then ``%%lk_run --gpu A100`` on top of a cell.
In Python: ``lk_jupyter.connect()`` gives a Session.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lk_jupyter._lazy import lazily, make_callable

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from lk_jupyter._version import __version__ as __version__
    from lk_jupyter.account.login import login
    from lk_jupyter.executor import Executor
    from lk_jupyter.inference.clients import anthropic, openai
    from lk_jupyter.joblib_backend import register_joblib
    from lk_jupyter.remote.checkpoints import Checkpoint, checkpoint_folder
    from lk_jupyter.remote_function import remote
    from lk_jupyter.runs.run import Run
    from lk_jupyter.session import Session, connect, history
    from lk_jupyter.storage.remote import remote_path
    from lk_jupyter.views.receipts import receipts

__all__ = [
    "Checkpoint",
    "Executor",
    "Run",
    "Session",
    "anthropic",
    "checkpoint_folder",
    "connect",
    "history",
    "login",
    "openai",
    "receipts",
    "register_joblib",
    "remote",
    "remote_path",
]

_HOMES = {
    "Checkpoint": "lk_jupyter.remote.checkpoints",
    "Executor": "lk_jupyter.executor",
    "Run": "lk_jupyter.runs.run",
    "Session": "lk_jupyter.session",
    "__version__": "lk_jupyter._version",
    "anthropic": "lk_jupyter.inference.clients",
    "checkpoint_folder": "lk_jupyter.remote.checkpoints",
    "connect": "lk_jupyter.session",
    "history": "lk_jupyter.session",
    "login": "lk_jupyter.account.login",
    "openai": "lk_jupyter.inference.clients",
    "receipts": "lk_jupyter.views.receipts",
    "register_joblib": "lk_jupyter.joblib_backend",
    "remote": "lk_jupyter.remote_function",
    "remote_path": "lk_jupyter.storage.remote",
}

_get, __dir__ = lazily(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    """Return a public name; in marimo, which loads no extension, our objects are shown from then on."""
    value = import_module("lk_jupyter.remote") if name == "remote" else _get(name)
    if "marimo" in sys.modules:
        import_module("lk_jupyter.views.formatters").register_in_marimo()
    return value


class _Package(ModuleType):
    """Make the module ``remote`` callable as the decorator of this name: each import of it sets this attribute."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "remote":
            make_callable(value, _HOMES[name])
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to a running IPython: ``%load_ext lk_jupyter``."""
    import_module("lk_jupyter.magics").load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again: ``%unload_ext lk_jupyter``."""
    import_module("lk_jupyter.magics").unload(shell)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Return the module of this package that a Jupyter server loads."""
    return [{"module": "lk_jupyter.serverext"}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Return the folder of the built extension, for ``jupyter labextension develop``."""
    return [{"src": "labextension", "dest": "lk-jupyter"}]
