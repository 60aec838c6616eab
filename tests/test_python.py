"""Processes of this package that are started in a folder of another person: no module of the folder runs."""

from __future__ import annotations

import ast
import os
import shlex
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
from lk_jupyter.vms.jump import proxy_line
from lk_jupyter.vms.ssh import SshEndpoint

PACKAGE = Path(lk_jupyter.__file__).parent

#: Names of functions of ``subprocess``, ``os`` and ``asyncio`` that start a program.
STARTS = {"Popen", "run", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "system", "popen"}
STARTS |= {"create_subprocess_exec", "create_subprocess_shell"}

#: Each place on the user's computer that starts a program → why no file of the working folder is executed. The rooms
#: ``remote`` and ``localcloud`` are on the machine of a run, whose code is the user's.
CHILDREN = {
    "code/project_lock.py _export_uv_lock": "uv, which builds nothing: --frozen --offline --no-emit-project",
    "journal/drivers.py _open_driver": "module_command, in the folder of the journal",
    "magics/vms.py _code": "VS Code, without a file of the folder",
    "storage/_preview_process.py __init__": "module_command, in a temporary folder",
    "vms/ssh.py make_key": "ssh-keygen",
}

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


def list_sources():
    """Return the parsed modules that are executed on the user's computer, with their names."""
    paths = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    return [
        (path, ast.parse((PACKAGE / path).read_text("utf-8")))
        for path in paths
        if path.parts[0] not in {"remote", "localcloud"} or path.name == "launch.py"
    ]


def find_starts(path, tree):
    """Yield the places of a module that start a program: file and function."""
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for call in ast.walk(function):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                continue
            owner, name = ast.unparse(call.func.value), call.func.attr
            is_start = (owner in {"subprocess", "os"} and (name in STARTS or name.startswith(("exec", "spawn")))) or (
                owner == "asyncio" and name.startswith("create_subprocess")
            )
            if is_start:
                yield f"{path.as_posix()} {function.name}"


def test_each_program_that_is_started_on_the_users_computer_is_known():
    places = {place for path, tree in list_sources() for place in find_starts(path, tree)}
    assert places - {"localcloud/launch.py _start_process"} == CHILDREN.keys()
    planted = ast.parse("def open_page():\n    subprocess.Popen(['python', '-m', 'http.server'])")
    assert list(find_starts(Path("planted.py"), planted)) == ["planted.py open_page"]


def test_no_command_starts_a_module_of_python_that_the_working_folder_can_replace():
    commands = [
        f"{path.as_posix()}: {ast.unparse(node)}"
        for path, tree in list_sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.List) and [ast.unparse(item) for item in node.elts[:2]] == ["sys.executable", "'-m'"]
    ]
    assert commands == []
    modules = {
        node.args[0].value
        for path, tree in list_sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "module_command" and node.args
        if isinstance(node.args[0], ast.Constant)
    }
    assert modules <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_each_module_that_a_process_executes_imports_nothing_from_the_working_folder(executed, home, module):
    command = [*module_command(module), *MODULES[module]]
    subprocess.run(
        command,
        check=False,
        env=module_environment(),
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
