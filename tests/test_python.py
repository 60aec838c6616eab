"""Processes of this package that are started in a folder of another person: no module of the folder runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from magics.kernels import running_kernel
from patience import PATIENCE
from received_folder import CLOUD_NAMES, importable_names, write_modules
from serverext.conftest import running

import lk_jupyter
from lk_jupyter._python import module_command, module_environment
from lk_jupyter.localcloud import launch


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """The reports of such a folder, which is the working folder."""
    reports = write_modules(tmp_path / "received", importable_names())
    monkeypatch.chdir(tmp_path / "received")
    return reports


@pytest.mark.parametrize("search", [None, "", ".", f"{os.pathsep}/absent", f".{os.pathsep}"])
def test_a_module_of_ours_runs_without_modules_of_the_working_folder(executed, monkeypatch, search):
    if search is not None:
        monkeypatch.setenv("PYTHONPATH", search)
    command = [*module_command("lk_jupyter.localcloud"), "--help"]
    shown = subprocess.run(command, env=module_environment(), capture_output=True, text=True, check=True).stdout
    assert shown.startswith("usage: python -m lk_jupyter.localcloud")
    assert executed.read_text() == ""


@pytest.mark.parametrize("variables", [{}, {"PYTHONPATH": "."}, {"PYTHONSAFEPATH": "1"}], ids=" ".join)
def test_the_local_cloud_starts_without_modules_of_the_working_folder(executed, home, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cloud = launch.start(Path("../data"))
    try:
        with lk_jupyter.connect(cloud.base_url, cloud.api_key) as session:
            assert session.run("print(6 * 7)", machine="cpu").result(PATIENCE).stdout == "42\n"
    finally:
        launch.stop(Path("../data"))
    assert executed.read_text() == ""


@pytest.mark.skipif(sys.platform == "win32", reason="the server is ended by a signal")
def test_a_jupyter_server_uses_the_local_cloud_without_modules_of_its_folder(executed, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    server = shutil.which("jupyter-server", path=str(Path(sys.executable).parent))
    with running(home, program=[server], XDG_DATA_HOME=str(home)) as jupyter:
        assert jupyter.send("POST", "local").json()["state"] == "signed-in"
        assert jupyter.send("DELETE", "local").status_code == 200
    assert executed.read_text() == ""


def test_a_notebook_uses_the_local_cloud_without_modules_of_its_folder(tmp_path):
    executed = write_modules(tmp_path / "received", CLOUD_NAMES)
    variables = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "LK_BASE_URL": "local"}
    cells = ["%load_ext lk_jupyter", "%lk_login --local", "from lk_jupyter.localcloud import launch"]
    cells += ["from lk_jupyter.config import settings", "print(launch.stop(settings.setting('local_data')))"]
    shown = []
    with running_kernel({**os.environ, **variables}, tmp_path / "received") as (_, client):
        for cell in cells:
            client.execute_interactive(cell, timeout=PATIENCE, output_hook=shown.append)
    texts = "".join(message["content"].get("text", "") for message in shown)
    assert texts.endswith("True\n")
    assert executed.read_text() == ""


def test_a_users_own_python_m_imports_nothing_of_the_folder_after_the_package_itself(tmp_path):
    executed = write_modules(tmp_path / "received", CLOUD_NAMES - {"sitecustomize"})
    command = [sys.executable, "-m", "lk_jupyter.localcloud", "--help"]
    subprocess.run(command, cwd=tmp_path / "received", stdout=subprocess.DEVNULL, check=True)
    assert executed.read_text() == ""
