"""Python environments: an environment for each requirements text, created once, then reused.

Each environment sees the packages of the server's environment, so only missing packages and other versions are
installed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
import venv
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from lk_jupyter._python import find_program, module_command

#: A function that runs a command and returns exit code and output.
Execute = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]


@dataclass(frozen=True)
class Installed:
    """The outcome of an install; ``python`` runs code in the environment."""

    python: str
    return_code: int
    log: str


class Environments:
    """The environments below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get_or_install(self, requirements: str, execute: Execute) -> Installed:
        """Return the environment for a requirements text, and install the environment if new."""
        name = hashlib.sha256(f"{sys.version}\n{requirements}".encode()).hexdigest()[:24]
        async with self._locks[name]:
            folder = self._folder / name
            log = folder / "install.log"
            if log.exists():
                return Installed(python_path(folder), 0, await asyncio.to_thread(log.read_text, "utf-8"))
            return await self._install_environment(folder, requirements, execute)

    async def _install_environment(self, folder: Path, requirements: str, execute: Execute) -> Installed:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        code, log = await execute([*module_command("venv"), "--without-pip", str(folder)])
        if code == 0:
            _add_server_packages(folder)
            (folder / "requirements.txt").write_text(requirements, "utf-8")
            log = await asyncio.to_thread(_build_pip_message, requirements)
            code, log = (0, log) if log else await execute(_build_install_command(folder))
        if code == 0:
            (folder / "install.log").write_text(log, "utf-8")
        return Installed(python_path(folder), code, log)


def create_environment(folder: Path) -> Path:
    """Create an environment that sees the server's packages, and return its folder of packages."""
    venv.EnvBuilder(symlinks=os.name != "nt").create(folder)
    _add_server_packages(folder)
    return next(folder.rglob("site-packages"))


def python_path(folder: Path) -> str:
    """Return the Python of a virtual environment."""
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def _list_server_folders() -> list[str]:
    return [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]


def _add_server_packages(folder: Path) -> None:
    """Add the server's package folders behind the environment's own, editable installs included."""
    target = next(folder.rglob("site-packages"))
    lines = "".join(f"import site; site.addsitedir({path!a})\n" for path in _list_server_folders())
    (target / "_own_packages.pth").write_text(lines, "ascii")  # each Python reads these files in another encoding


def _build_pip_message(requirements: str) -> str:
    """Return pip's message for requirements that the server's packages satisfy; pip itself would take seconds.

    Returns "" if a package is missing, or if a requirement has more than name and version.
    """
    lines = [line for text in requirements.splitlines() if (line := text.partition(" #")[0].strip()) and line[0] != "#"]
    checked: set[tuple[str, str]] = set()
    try:
        waiting = [requirement for requirement in map(Requirement, lines) if _is_needed(requirement, "")]
        while waiting:
            requirement = waiting.pop()
            installed = next(iter(Distribution.discover(name=requirement.name, path=_list_server_folders())), None)
            if (
                requirement.url
                or installed is None
                or not requirement.specifier.contains(installed.version, prereleases=True)
            ):
                return ""
            for extra in {"", *requirement.extras}:
                if (requirement.name, extra) not in checked:
                    checked.add((requirement.name, extra))
                    waiting += [need for need in map(Requirement, installed.requires or ()) if _is_needed(need, extra)]
    except InvalidRequirement:
        return ""
    return "".join(f"Requirement already satisfied: {line}\n" for line in lines)


def _is_needed(need: Requirement, extra: str) -> bool:
    """Return whether a requirement applies here, for an extra of its package."""
    return need.marker is None or need.marker.evaluate({"extra": extra})


def _build_install_command(folder: Path) -> list[str]:
    requirements = str(folder / "requirements.txt")
    if find_spec("pip"):
        pip = [*module_command("pip"), "--python", python_path(folder)]
        return [*pip, "install", "--disable-pip-version-check", "--no-input", "-r", requirements]
    if uv := find_program("uv"):
        return [uv, "pip", "install", "--python", python_path(folder), "-r", requirements]
    return [sys.executable, "-c", "raise SystemExit('pip and uv are missing. Install pip next to lk_jupyter.')"]
