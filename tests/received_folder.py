"""A folder of another person: each of its modules reports that it was executed."""

import os
import sys
from importlib.metadata import packages_distributions

#: What the local cloud imports, and a notebook's kernel doesn't.
CLOUD_NAMES = {"argon2", "fastapi", "jwt", "psutil", "pyotp", "sitecustomize", "starlette", "uvicorn"}


def importable_names():
    """Return all that a Python of this environment may import, and what it imports when it starts."""
    return {*sys.stdlib_module_names, *packages_distributions(), "sitecustomize", "usercustomize"}


def write_modules(folder, names):
    """Write a module for each name; return the file with the reports."""
    folder.mkdir()
    executed, model = folder.with_name("executed"), folder.with_name("model.py")
    executed.touch()
    model.write_text(f"import io\nwith io.open({str(executed)!r}, 'a') as file:\n    file.write(__name__ + ' ')\n")
    for name in filter(str.isidentifier, names):
        os.link(model, folder / f"{name}.py")
    return executed
