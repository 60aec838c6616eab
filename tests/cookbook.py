"""The pages of the cookbook: executed on a local cloud, in an environment that has their packages.

python tests/cookbook.py [NAME…] executes pages and prints a line for each; with --store, their outputs are stored.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import books

ROOT = Path(__file__).parents[1]
PAGES = sorted(books.COOKBOOK.glob("*.ipynb"))
REQUIREMENTS = books.COOKBOOK / "requirements.txt"


def python() -> Path:
    """Return the Python of the environment, which is created once and renewed if the requirements change.

    Pip installs it, as the settings of pip choose the build of torch: a build without CUDA, where there is one.
    """
    folder = Path(sys.prefix, "share", "cookbook")
    path = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    requirements, installed = REQUIREMENTS.read_text("utf-8"), folder / REQUIREMENTS.name
    if not installed.exists() or installed.read_text("utf-8") != requirements:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        packages = ["--requirement", REQUIREMENTS, "--editable", f"{ROOT}[demo]"]
        subprocess.run([path, "-m", "pip", "install", "--quiet", *packages], check=True)
        installed.write_text(requirements, "utf-8")
    return path


def site_packages() -> Path:
    """Return the folder with the packages of the environment."""
    command = [python(), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


def execute(names: list[str], *, store: bool = False) -> subprocess.CompletedProcess[str]:
    """Execute pages by their names, each on a local cloud; the output has a line for each page."""
    command = [python(), Path(books.__file__), *([] if store else ["--check"]), *names]
    # Threads of small tensors wait for each other longer than they compute, most of all on a busy machine.
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--store"]
    process = execute(names or [page.stem for page in PAGES], store="--store" in sys.argv)
    print(process.stdout, process.stderr, sep="")
    sys.exit(process.returncode)
