"""Processes of this package that are started in a folder of another person: no module of the folder runs."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
from magics.kernels import running_kernel
from patience import PATIENCE
from received_folder import CLOUD_NAMES, importable_names, write_modules
from serverext.conftest import running

import lk_jupyter
from lk_jupyter._python import (
    IsolatedSpawn,
    child_environment,
    find_program,
    has_browser,
    module_command,
    open_page,
)
from lk_jupyter.code.project_lock import find_project_lock
from lk_jupyter.localcloud import launch
from lk_jupyter.vms.jump import jump_command, open_jump, proxy_line
from lk_jupyter.vms.ssh import SshEndpoint

PACKAGE = Path(lk_jupyter.__file__).parent

#: Each module that a process executes → arguments with which it ends at once.
MODULES = {
    "lk_jupyter.cli.driver": ["no-run"],
    "lk_jupyter.kernels.bridge": ["--help"],
    "lk_jupyter.localcloud": ["--help"],
    "lk_jupyter.storage._preview_child": [],
    "lk_jupyter.vms.tunnel": ["--help"],
}


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
    shown = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=True).stdout
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


def test_each_module_of_a_command_is_tried_below():
    commands = [
        node.args[0]
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "module_command" and node.args
    ]
    modules = {command.value for command in commands if isinstance(command, ast.Constant)}
    assert modules - {"pip", "venv"} <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_each_module_that_a_process_executes_imports_nothing_from_the_working_folder(executed, home, module):
    command = [*module_command(module), *MODULES[module]]
    subprocess.run(
        command,
        check=False,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert executed.read_text() == ""


def test_ssh_starts_the_tunnel_without_modules_of_the_folder_in_which_ssh_was_started(executed, home, monkeypatch):
    monkeypatch.setenv("LK_SSH_JUMP", "http://127.0.0.1:9")
    line = proxy_line("3f0c", SshEndpoint("127.0.0.1", 22)).replace("%%", "%")
    done = subprocess.run(shlex.split(line), check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert executed.read_text() == ""


@pytest.fixture
def planted(executed, monkeypatch):
    """Programs in the working folder that report their start, before all others on PATH."""
    for name in ("git", "ssh", "ssh-keygen", "uv", "code", "xdg-open", "x-www-browser", "weed", "bash"):
        program = Path(name)
        program.write_text(f"#!/bin/sh\necho {name} >> '{executed}'\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join(["", ".", "bin", str(Path(sys.executable).parent), os.environ["PATH"]]))
    return executed


@pytest.mark.skipif(os.name != "posix", reason="needs shell scripts")
def test_a_program_of_the_working_folder_is_never_found(planted):
    assert shutil.which("ssh") == "ssh"  # the search of Python
    assert find_program("ssh") != "ssh"
    assert find_program("uv", ".") != "uv"
    assert find_program("no-such-program") is None
    words = [find_program("bash"), "-c", "git --version; ssh -V"]
    subprocess.run(words, env=child_environment(), check=False, capture_output=True)
    assert planted.read_text() == ""


@pytest.mark.skipif(os.name != "posix" or shutil.which("ssh") is None, reason="needs ssh")
def test_a_jump_starts_no_ssh_of_the_working_folder(planted):
    with open_jump(["ssh", "-W", "vm:22", "-p", "1", "-o", "ProxyCommand=git; sleep 0", "127.0.0.1"]) as command:
        done = subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 255  # of the real ssh
    assert planted.read_text() == ""


@pytest.mark.skipif(os.name != "posix", reason="needs env")
@pytest.mark.parametrize("search", [".", f".{os.pathsep}/absent"])
def test_a_jump_through_jupyter_imports_no_module_of_the_working_folder(executed, home, monkeypatch, search):
    monkeypatch.setenv("LK_SSH_JUMP", "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONPATH", search)
    with open_jump(jump_command("3f0c", SshEndpoint("127.0.0.1", 22))) as command:
        done = subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert executed.read_text() == ""


@pytest.mark.skipif(os.name != "posix", reason="needs shell scripts")
def test_no_browser_of_the_working_folder_opens_a_page(planted, monkeypatch):
    monkeypatch.delenv("BROWSER", raising=False)
    monkeypatch.setenv("DISPLAY", ":9")
    assert not has_browser()
    open_page("https://example.org").join(PATIENCE)
    assert planted.read_text() == ""


def test_the_environment_of_a_child_has_no_folder_relative_to_the_working_folder(tmp_path):
    absolute = str(tmp_path)
    variables = {"PATH": f":.{os.pathsep}bin{os.pathsep}{absolute}", "LD_LIBRARY_PATH": f"{absolute}{os.pathsep}"}
    variables |= {"PYTHONSTARTUP": "start.py", "PYTHONPYCACHEPREFIX": "cache", "PYTHONUSERBASE": absolute, "A": "."}
    assert child_environment(variables) == {
        "PATH": absolute,
        "LD_LIBRARY_PATH": absolute,
        "PYTHONUSERBASE": absolute,
        "A": ".",
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no safe path")
@pytest.mark.parametrize("earlier", [None, "", "1"])
def test_a_process_of_multiprocessing_starts_without_modules_of_the_working_folder(executed, monkeypatch, earlier):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    if earlier is not None:
        monkeypatch.setenv("PYTHONSAFEPATH", earlier)
    with IsolatedSpawn():
        process = get_context("spawn").Process(target=os.getpid)
        process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert executed.read_text() == ""
    assert os.environ.get("PYTHONSAFEPATH") == earlier


@pytest.mark.skipif(os.name != "posix", reason="needs shell scripts")
def test_the_export_of_a_lock_executes_nothing_of_the_project(planted):
    """The project brings a Python, a build backend, settings of uv, and a file with variables."""
    script = f"#!/bin/sh\necho python >> '{planted}'\nexit 1\n"
    backend = "[build-system]\nrequires = []\nbuild-backend = 'build'\nbackend-path = ['.']\n"
    files = {"pyproject.toml": f"[project]\nname = 'p'\nversion = '0'\ndependencies = []\n{backend}"}
    files |= {"uv.lock": "version = 1\nrevision = 3\nrequires-python = '>=3.10'\n\n[[package]]\nname = 'p'\n"}
    files["uv.lock"] += "version = '0'\nsource = { editable = '.' }\n"
    files |= {".venv/pyvenv.cfg": "home = .\n", ".venv/bin/python": script, ".venv/bin/python3": script}
    files |= {"evil": script, ".python-version": "./evil\n", ".env": "UV_PYTHON=./evil\n"}
    for name, text in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    assert find_project_lock(Path.cwd()).versions == {}
    assert planted.read_text() == ""
