"""What browser tests need beside the tests' environment, which it would change: ``python tests/ui/beside.py``.

Each lies in a folder of its own, and is found by the variables that it has.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Beside:
    """Packages in a folder of their own below the environment."""

    name: str
    wanted: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return Path(sys.prefix, "share", f"beside-{self.name}")

    @property
    def variables(self) -> dict[str, str]:
        """What makes its modules found, its extensions too."""
        places = {
            "PYTHONPATH": self.folder,
            "JUPYTER_PATH": self.folder / "share/jupyter",
            "JUPYTER_CONFIG_PATH": self.folder / "etc/jupyter",
        }
        return {name: os.pathsep.join(filter(None, [str(to), os.environ.get(name)])) for name, to in places.items()}

    def install(self) -> None:
        """Install it, by uv where the environment has it."""
        uv = Path(sys.executable).with_name("uv")
        by_uv = [str(uv), "pip", "install", "--python", sys.executable]
        pip = by_uv if uv.exists() else [sys.executable, "-m", "pip", "install"]
        subprocess.run([*pip, "--quiet", "--target", str(self.folder), *self.wanted], check=True)


#: The release that belongs to the tests' Lab, whose toolbar it would change.
NOTEBOOK = Beside("notebook", ("--no-deps", f"notebook~=7.{version('jupyterlab').split('.')[1]}.0"))
#: With a proxy that needs no Node.
HUB = Beside("hub", ("jupyterhub>=5", "configurable-http-proxy"))
#: On the server of the tests' environment.
VOILA = Beside("voila", ("--no-deps", "voila>=0.5", "websockets"))
#: Its ranges of versions would change the environment, which has all that it needs but these packages.
SCHEDULER = Beside("scheduler", ("--no-deps", "jupyter-scheduler==2.12.0", "sqlalchemy", "croniter", "pytz", "tzlocal"))


if __name__ == "__main__":
    for each in (NOTEBOOK, HUB, VOILA, SCHEDULER):
        if not each.folder.exists():
            each.install()
