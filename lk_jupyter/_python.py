"""Child processes that use nothing of the working folder, which may belong to another person.

``python -m`` looks for modules in the working folder first, where a ``uvicorn.py`` may be. A variable of the
environment with a relative folder leads there too: PATH to a program, LD_LIBRARY_PATH to a library.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing may execute a module of the folder
if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

#: Removes the working folder, which ``-c`` adds as an empty text, before the first import from a file. From Python 3.11
#: on, ``-P`` does that too, but a kernel spec may start an older Python than the Python that wrote the spec.
_BOOT = (
    "import sys; sys.path[:] = filter(None, sys.path); "
    "import runpy; runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)

#: Variables with a list of folders from which programs, libraries and modules are loaded, and variables with a single
#: folder or file. An empty item of a list is the working folder.
_LISTS = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_SINGLE = ("PYTHONHOME", "PYTHONPYCACHEPREFIX", "PYTHONSTARTUP", "PYTHONUSERBASE")

#: The variable that lets Python 3.11 and later leave out the working folder.
_SAFE_PATH = "PYTHONSAFEPATH"


def leave_working_folder() -> None:
    """Import nothing more from the working folder, which a user's own ``python -m`` puts first."""
    if sys.path and sys.path[0] == os.getcwd():  # noqa: PTH109 (pathlib may be the folder's)
        del sys.path[0]


def module_command(module: str, python: str = sys.executable) -> list[str]:
    """Return the command that runs a module as ``python -m`` does, without modules of the working folder."""
    return [python, "-c", _BOOT, module]


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a child process: the variables without folders relative to the working folder."""
    cleaned = {**environment, **{name: _keep_absolute(environment[name]) for name in _LISTS if name in environment}}
    relative = [name for name in _SINGLE if not os.path.isabs(cleaned.get(name, "/"))]  # noqa: PTH117 (as above)
    return {name: value for name, value in cleaned.items() if name not in relative}


def clean_command(command: list[str]) -> list[str]:
    """Return the command with the variables of ``child_environment``, for a caller that can't give variables."""
    cleaned = child_environment()
    changed = [f"{name}={value}" for name, value in cleaned.items() if os.environ[name] != value]
    removed = [word for name in os.environ if name not in cleaned for word in ("-u", name)]
    program = find_program("env") if changed or removed else None
    return [program, *removed, *changed, *command] if program else command


def find_program(name: str, folders: str = "") -> str | None:
    """Return the path of a program in ``folders`` or on PATH; None if it isn't installed.

    Neither a relative folder of PATH nor, on Windows, the working folder is searched.
    """
    import shutil  # noqa: PLC0415 (may be the folder's)

    for each in (folders, os.environ.get("PATH", os.defpath)):
        program = shutil.which(name, path=_keep_absolute(each))
        if program and os.path.isabs(program):  # noqa: PTH117 (as above)
            return program
    return None


def has_browser() -> bool:
    """Return whether a page can be opened. Python finds browsers on PATH, which must have no relative folder."""
    import webbrowser  # noqa: PLC0415 (may be the folder's)

    path = os.environ.get("PATH", "")
    if path != _keep_absolute(path):
        return False
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def open_page(address: str) -> threading.Thread:
    """Open a page in the user's browser, if there is one, in a thread, and return the thread."""
    import threading  # noqa: PLC0415 (may be the folder's)
    import webbrowser  # noqa: PLC0415

    def open_if_possible() -> None:
        if has_browser():
            webbrowser.open(address)

    thread = threading.Thread(target=open_if_possible, daemon=True)
    thread.start()
    return thread


class IsolatedSpawn:
    """A block in which processes of ``multiprocessing`` start without modules of the working folder.

    Python 3.10 has no such mode.
    """

    def __enter__(self) -> None:
        self._earlier = os.environ.get(_SAFE_PATH)
        os.environ[_SAFE_PATH] = "1"

    def __exit__(self, *_: object) -> None:
        if self._earlier is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = self._earlier


def _keep_absolute(folders: str) -> str:
    """Return the absolute folders of a list of folders."""
    return os.pathsep.join(folder for folder in folders.split(os.pathsep) if os.path.isabs(folder))  # noqa: PTH117
