"""What runs in the processes that the tests fork: local clouds and kernels."""

import atexit
import gc
import os
import sys
import threading
from multiprocessing import process
from multiprocessing.connection import Connection
from pathlib import Path

from lk_jupyter.localcloud.__main__ import main
from lk_jupyter.localcloud.runs import notebook_run

#: What multiprocessing takes a kernel for: a main process, as it is imported in that which forks.
MAIN = process.current_process()

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


def be_kernel(arguments: list[str], env: dict[str, str], folder: str, started: Connection) -> None:
    """Do as ``python -m ipykernel_launcher`` does in a new session of this folder with this environment."""
    from ipykernel.kernelapp import launch_new_instance  # noqa: PLC0415 (clouds need none)

    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    tests = Path(__file__).parent
    sys.path[:] = [path for path in sys.path if path and tests not in (Path(path), *Path(path).parents)]
    threading.Thread(target=end_with, args=[process.parent_process()], daemon=True).start()
    process._current_process, process._parent_process = MAIN, None
    sys.argv = ["ipykernel_launcher", *arguments]
    gc.freeze()
    started.close()
    try:
        launch_new_instance(parent_handle=os.getppid())  # as the managers of kernels tell by the environment
    finally:
        atexit._run_exitfuncs()


def end_with(tests: process.BaseProcess) -> None:
    """End this kernel with the process of the tests, however that ends."""
    tests.join()
    os._exit(1)
