"""Jupyter Notebook 7 beside the tests' Lab, which ``python tests/ui/notebook7.py`` sees to.

In their environment its package would change the toolbar of Lab; it lies in a folder of its own, as
the release that belongs to that Lab.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(sys.prefix, "share", "notebook-7")
PROGRAM = ("notebook", "--JupyterNotebookApp.expose_app_in_browser=True")


def variables() -> dict[str, str]:
    """Return what makes ``python -m notebook`` and its extension found."""
    places = {
        "PYTHONPATH": FOLDER,
        "JUPYTER_PATH": FOLDER / "share/jupyter",
        "JUPYTER_CONFIG_PATH": FOLDER / "etc/jupyter",
    }
    return {name: os.pathsep.join(filter(None, [str(place), os.environ.get(name)])) for name, place in places.items()}


def install() -> None:
    """Install it, by uv where the environment has it."""
    minor = version("jupyterlab").split(".")[1]
    wanted = ["--quiet", "--no-deps", "--target", str(FOLDER), f"notebook~=7.{minor}.0"]
    uv = Path(sys.executable).with_name("uv")
    pip = (
        [str(uv), "pip", "install", "--python", sys.executable]
        if uv.exists()
        else [sys.executable, "-m", "pip", "install"]
    )
    subprocess.run([*pip, *wanted], check=True)


if __name__ == "__main__" and not FOLDER.exists():
    install()
