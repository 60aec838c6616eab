"""The browser half, by its own tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(900)
def test_the_browser_half_passes_its_own_tests():
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # Node may come with the tests
    npm = shutil.which("npm", path=path)
    assert npm, "npm is missing: make .venv/dev.stamp installs it"
    command = [npm, "--prefix", "labextension", "test", "--silent"]
    env = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
