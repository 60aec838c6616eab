"""Folders of another member whose files are executed by the programs that a user starts: name → program and files."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import NamedTuple

#: Each executes if a program executes or obeys its file. ``MARK`` is the path of the file with the reports.
PYTHON = "open('MARK', 'a').write('x')\n"
SHELL = "#!/bin/sh\necho x >> 'MARK'\nexit 1\n"
LINES = f"c.InteractiveShellApp.exec_lines = [{PYTHON.strip()!r}]\n{PYTHON}"
HOOK = '[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "sh -c \\"echo x >> \'MARK\'\\""\n'
PLUGIN = {"evil_plugin.py": PYTHON}
INI = "[{}]\naddopts = -p evil_plugin\npythonpath = .\n"
ENTRY = "[pytest11]\nevil = evil_plugin\n"
SITE = f".local/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
TAG = sys.implementation.cache_tag


def build_repository(folder: str, head: str = "ref: refs/heads/main\n") -> dict[str, str]:
    """Return the files of a repository of git whose configuration starts a program."""
    names = {"HEAD": head, "config": HOOK, "objects/info/packs": "", "refs/heads/none": ""}
    return {f"{folder}{name}": text for name, text in names.items()}


def compile_mark(mark: Path, flags: int) -> bytes:
    """Return byte code, which Python doesn't compare with a source text."""
    code = compile(PYTHON.replace("MARK", str(mark)), "evil", "exec")
    return MAGIC_NUMBER + flags.to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


#: Content that stands for byte code.
CODE, CACHE = "code", "cache"


class Hostile(NamedTuple):
    """The program that executes the files, None if none of PROGRAMS does in its tested version, and the files."""

    program: str | None
    files: dict[str, str]


HOSTILE = {
    "a repository": Hostile("git", build_repository(".git/")),
    "a file that leads to a repository": Hostile("git", {".git": "gitdir: store\n", **build_repository("store/")}),
    "a bare repository": Hostile("git", {**build_repository(""), "config": f"{HOOK}\tbare = false\n\tworktree = .\n"}),
    "a nested repository": Hostile("git", build_repository("sub/.git/")),
    "a nested bare repository": Hostile(
        "git", {**build_repository("sub/"), "sub/config": f"{HOOK}\tbare = false\n\tworktree = .\n"}
    ),
    "a hook of git": Hostile("git commit", {".git/hooks/pre-commit": SHELL}),
    "settings of git in the home": Hostile("git", {".gitconfig": HOOK}),
    "settings of git below .config": Hostile("git", {".config/git/config": HOOK}),
    "a filter of git": Hostile(
        "git commit",
        {".gitattributes": "* filter=evil\n", ".gitconfig": "[core]\n\thooksPath = hooks\n", "hooks/pre-commit": SHELL},
    ),
    ".bashrc": Hostile("bash -i", {".bashrc": SHELL}),
    ".bash_profile": Hostile("bash -l", {".bash_profile": SHELL}),
    ".bash_login": Hostile("bash -l", {".bash_login": SHELL}),
    ".profile": Hostile("bash -l", {".profile": SHELL}),
    ".bash_logout": Hostile("bash -l", {".bash_logout": SHELL}),
    "programs": Hostile("ls", dict.fromkeys(("git", "ls", "pytest", "pip", "python", "jupyter", "ipython"), SHELL)),
    "a module of the standard library": Hostile("python", {"json.py": PYTHON, "random.py": PYTHON}),
    "a package of the standard library": Hostile("python", {"json/__init__.py": PYTHON}),
    "a module of another library": Hostile("python", {"numpy.py": PYTHON, "pandas/__init__.py": PYTHON}),
    "a package before the user's module": Hostile("python", {"tools/__init__.py": PYTHON}),
    "the user's module": Hostile("python", {"tools.py": PYTHON}),
    "byte code of the user's module": Hostile("python", {f"__pycache__/tools.{TAG}.pyc": CACHE}),
    "byte code without a source": Hostile("python", {"json.pyc": CODE}),
    "an extension module": Hostile(None, {f"json{sysconfig.get_config_var('EXT_SUFFIX')}": "x", "tools.abi3.so": "x"}),
    "sitecustomize": Hostile("python with a path", {"sitecustomize.py": PYTHON}),
    "usercustomize": Hostile("python of the system", {f"{SITE}/usercustomize.py": PYTHON}),
    "a .pth of the user": Hostile("python of the system", {f"{SITE}/evil.pth": f"import sys; {PYTHON}"}),
    "__main__": Hostile("python .", {"__main__.py": PYTHON}),
    ".pdbrc": Hostile("pdb", {".pdbrc": f"!{PYTHON}"}),
    ".pythonrc.py": Hostile("python with a start", {".pythonrc.py": PYTHON}),
    "conftest": Hostile("pytest", {"conftest.py": PYTHON}),
    "a nested conftest": Hostile("pytest", {"sub/deep/conftest.py": PYTHON, "sub/deep/rows.csv": "1\n"}),
    "tests": Hostile("pytest", {"test_evil.py": PYTHON}),
    "tests with the other name": Hostile("pytest", {"sub/evil_test.py": PYTHON}),
    "examples": Hostile("pytest", {"test_notes.txt": f">>> _ = {PYTHON}"}),
    "pytest.ini": Hostile("pytest", {**PLUGIN, "pytest.ini": INI.format("pytest")}),
    "pytest.toml": Hostile(
        "pytest", {**PLUGIN, "pytest.toml": '[pytest]\naddopts = ["-p", "evil_plugin"]\npythonpath = ["."]\n'}
    ),
    "tox.ini": Hostile("pytest", {**PLUGIN, "tox.ini": INI.format("pytest")}),
    "setup.cfg": Hostile("pytest", {**PLUGIN, "setup.cfg": INI.format("tool:pytest")}),
    "pyproject.toml": Hostile(
        "pytest",
        {**PLUGIN, "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "-p evil_plugin"\npythonpath = ["."]\n'},
    ),
    "a distribution": Hostile(
        "python -m pytest",
        {**PLUGIN, "x-1.0.dist-info/entry_points.txt": ENTRY, "x-1.0.dist-info/METADATA": "Name: x\n"},
    ),
    "an egg": Hostile(
        "python -m pytest", {**PLUGIN, "x.egg-info/entry_points.txt": ENTRY, "x.egg-info/PKG-INFO": "Name: x\n"}
    ),
    "settings of IPython": Hostile(None, {"ipython_config.py": LINES}),
    "settings of IPython as JSON": Hostile(
        None,
        {"ipython_config.json": '{"InteractiveShellApp": {"exec_lines": ["' + PYTHON.strip() + '"]}}'},
    ),
    "the profile of IPython": Hostile("ipython", {".ipython/profile_default/ipython_config.py": LINES}),
    "a start script of IPython": Hostile("ipython", {".ipython/profile_default/startup/00.py": PYTHON}),
    "settings of Jupyter": Hostile(None, {"jupyter_config.py": PYTHON}),
    "settings of the Jupyter server": Hostile(None, {"jupyter_server_config.py": PYTHON}),
    "settings of Jupyter in the home": Hostile("jupyter", {".jupyter/jupyter_server_config.py": PYTHON}),
    "a kernel": Hostile(
        None, {".local/share/jupyter/kernels/python3/kernel.json": "{}", "kernels/x/kernel.json": "{}"}
    ),
    "settings of pip": Hostile("pip", {".config/pip/pip.conf": "[global]\npython = ./runner.sh\n", "runner.sh": SHELL}),
    "old settings of pip": Hostile("pip", {".pip/pip.conf": "[global]\npython = ./runner.sh\n", "runner.sh": SHELL}),
    "settings of lk_jupyter": Hostile(None, {".config/lk_jupyter/config.json": '{"base_url": "https://evil.example"}'}),
    "files of other tools": Hostile(
        None,
        dict.fromkeys(
            (".env", ".envrc", ".npmrc", "package.json", "Makefile", ".vscode/tasks.json", ".ssh/config"), "x"
        ),
    ),
    "names in other cases": Hostile(
        None, {"JSON.PY": PYTHON, ".GIT/config": HOOK, "Conftest.py": PYTHON, "SETUP.CFG": "x"}
    ),
    "names that lead elsewhere": Hostile(
        None,
        {"sub/../conftest.py": PYTHON, "..\\conftest.py": PYTHON, "sub//conftest.py": PYTHON, ".git./config": HOOK},
    ),
}

#: Name → words. The first Python is that of the tests, which has Jupyter, pytest and pip.
_IMPORTS = "import json, random, tools\ntry:\n    import numpy, pandas\nexcept ImportError:\n    pass"
_COMMIT = ["git", "-c", "user.name=me", "-c", "user.email=me@x.y", "commit", "--allow-empty", "-qm", "x"]
PROGRAMS: dict[str, list[str]] = {
    "git": ["git", "status"],
    "git commit": _COMMIT,
    "ls": ["ls"],
    "bash -l": ["bash", "-lc", "exit"],
    "bash -i": ["bash", "-ic", "true"],
    "python": ["python", "-c", _IMPORTS],
    "python .": ["python", "."],
    "python with a path": ["python", "-c", "pass"],
    "python with a start": ["python", "-i"],
    "python of the system": [str(Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}")), "-c", "pass"],
    "pdb": ["python", "-m", "pdb", "-c", "q", "tools.py"],
    "ipython": ["ipython", "-c", "1"],
    "jupyter": ["jupyter", "server", "--show-config"],
    "pytest": ["pytest", "-q"],
    "python -m pytest": ["python", "-m", "pytest", "-q"],
    "pip": ["pip", "list"],
}
VARIABLES = {"python with a path": {"PYTHONPATH": "."}, "python with a start": {"PYTHONSTARTUP": ".pythonrc.py"}}

#: The files of a user's folder.
MINE = {"tools.py": "x = 1\n", "mine.csv": "1,2\n"}


def encode_files(files: dict[str, str], mark: Path) -> dict[str, bytes]:
    """Return name → content, which reports an execution in ``mark``."""
    codes = {CODE: compile_mark(mark, 0), CACHE: compile_mark(mark, 1)}
    return {name: codes.get(text) or text.replace("MARK", str(mark)).encode() for name, text in files.items()}


def unite_folders() -> dict[str, str]:
    """Return the files of all folders in one folder, without files that have the name of a folder."""
    files = {name: text for hostile in HOSTILE.values() for name, text in hostile.files.items()}
    return {name: text for name, text in files.items() if not any(other.startswith(f"{name}/") for other in files)}


def make_folder(folder: Path, files: Iterable[str] = ()) -> None:
    """Create a folder of the user: a repository of git, unless these files are one."""
    folder.mkdir(parents=True)
    for name, text in MINE.items():
        (folder / name).write_text(text)
    if {".git", ".git/HEAD", "HEAD"}.isdisjoint(files):
        subprocess.run(["git", "init", "-q", "-b", "main", folder], check=True, env=build_environment(folder.parent))


def build_environment(home: Path) -> dict[str, str]:
    """Return an environment whose PATH starts with the working folder."""
    path = os.pathsep.join([".", str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"])
    return {"PATH": path, "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "PYTHONDONTWRITEBYTECODE": "1", "TERM": "dumb"}


def start_programs(folder: Path, names: list[str]) -> None:
    """Start programs in a folder, which is the home too; git in the folders below it too."""
    for name in names:
        below = [path for path in folder.rglob("*") if path.is_dir() and ".git" not in path.parts]
        for place in (folder, *(below if name == "git" else [])):
            subprocess.run(
                PROGRAMS[name],
                cwd=place,
                env={**build_environment(folder), **VARIABLES.get(name, {})},
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                start_new_session=True,
                timeout=120,
            )
