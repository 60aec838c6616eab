"""What is installed from a wheel, in an environment that has nothing of ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

import pytest
from conftest import WITHOUT

ROOT = Path(__file__).parents[1]


def told(*command):
    """Return what a command prints; colours are off."""
    command, env = list(map(str, command)), _environment()
    with tempfile.TemporaryDirectory() as folder:  # "python -m" imports modules from its working folder first
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env=env, cwd=folder)
    return ran.stdout + ran.stderr


def _environment():
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    return {**kept, "NO_COLOR": "1", "PYTHONPATH": WITHOUT}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The Python of a fresh environment with our wheel; the libraries that we need are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    told(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("lk_jupyter-*.whl")
    venv.create(folder / "env", symlinks=True)
    bin_ = "Scripts" if os.name == "nt" else "bin"
    python = folder / "env" / bin_ / Path(sys.executable).name
    told(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel)
    site = Path(told(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.mark.nightly  # make release-check installs it too
@pytest.mark.timeout(900)
def test_jupyter_finds_both_extensions_where_the_wheel_is_installed(fresh):
    assert str(ROOT) not in told(fresh, "-c", "import lk_jupyter; print(lk_jupyter.__file__)")
    labs = re.sub(r"\x1b\[\d*m", "", told(fresh, "-m", "jupyterlab.labextensions", "list"))
    assert re.search(rf"{re.escape(str(fresh.parents[1]))}\S*\n(?:.*\n)*?\s+lk-jupyter v\S+ enabled OK", labs), labs
    servers = re.sub(r"\x1b\[\d*m", "", told(fresh, "-m", "jupyter_server", "extension", "list"))
    assert re.search(r"lk_jupyter enabled", servers), servers
    assert re.search(r"lk_jupyter \S+ OK", servers), servers
