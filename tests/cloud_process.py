"""What runs in the process of a local cloud of the tests."""

import os
import sys
from multiprocessing.connection import Connection

from lk_jupyter.localcloud.__main__ import main
from lk_jupyter.localcloud.runs import notebook_run

#: Lab and extensions of others take most of a Jupyter server's start.
OTHERS = ("jupyter_lsp", "jupyter_server_terminals", "jupyterlab", "notebook", "notebook_shim")


def alone(**extensions: bool) -> str:
    """Return the option of a Jupyter server that has these extensions only."""
    return f"--ServerApp.jpserver_extensions={extensions | dict.fromkeys(OTHERS, False)}"


def serve(arguments: list[str], env: dict[str, str], stdout: Connection, *, has_lab: bool) -> None:
    """Do as ``python -m lk_jupyter.localcloud`` does in a new process with this environment.

    Notebook runs are Jupyter servers without Lab where their page isn't looked at.
    """
    if not has_lab:
        notebook_run._SERVER = "jupyter_server"
        notebook_run._QUICK = [alone(lk_jupyter=False)]
    os.environ.clear()
    os.environ.update(env)
    os.dup2(stdout.fileno(), sys.stdout.fileno())
    stdout.close()
    sys.argv = ["lk_jupyter.localcloud", *arguments]
    sys.exit(main())
