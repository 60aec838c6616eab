"""Builds what a release publishes, twice, and checks it: ``make release-check``, or ``python tests/release.py``.

Each check prints a line. The first that fails ends it with exit code 1; ``dist/`` then holds nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
MOST_BYTES = 1_000_000
#: What belongs to the repository alone.
NOT_PUBLISHED = (".binder/", ".ci/", ".github/", ".gitignore")


class CheckFailed(Exception):
    """What a release has and must not have, or lacks."""


def main() -> int:
    """Build and check; return the exit code."""
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _check(Path(folder))
        except CheckFailed as error:
            print(f"Not fit for a release: {error}")
            return 1
    return 0


def _check(folder: Path) -> None:
    tracked = _tracked()
    no_large_file({name: (ROOT / name).stat().st_size for name in tracked})
    print(f"{len(tracked)} files of the repository, each below 1 MB")
    first, second = (_built(tracked, folder / name / "lk_jupyter") for name in ("one", "two-with-a-longer-name"))
    for name, content in first.items():
        equal(f"{name}, built in two folders", content, second[name])
    print(f"Built twice with equal bytes: {', '.join(f'{name} ({len(first[name]):,} bytes)' for name in first)}")
    DIST.mkdir()
    for name, content in first.items():
        (DIST / name).write_bytes(content)
    sdist, wheel = (next(DIST.glob(pattern)) for pattern in ("*.tar.gz", "*.whl"))
    equal("The wheel of the sources, built without Node", _wheel_of(sdist, folder / "unpacked"), wheel.read_bytes())
    print("The source distribution builds the same wheel without Node")
    complete_sdist(_names_of(sdist), tracked)
    with zipfile.ZipFile(wheel) as archive:
        complete_wheel({entry.filename: entry.file_size for entry in archive.infolist()}, tracked)
        version = archive.read("lk_jupyter/_version.py").decode().split('"')[-2]
        head, _, readme = _of(archive, ".dist-info/METADATA").partition("\n\n")
        lists_what_is_bundled(
            json.loads(_of(archive, "/sboms/sbom.cdx.json")), _of(archive, "THIRD-PARTY-LICENSES.txt")
        )
    print("Both are complete, with the bill of materials and the licences of the bundled JavaScript")
    _run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel)
    no_dead_link(readme)
    print("The metadata is valid, and the README has no relative address")
    if not re.search("^Project-URL: Repository, ", head, re.MULTILINE):
        print("The README has no pictures and no links to files: add Repository to [project.urls] for them")
    _installs(wheel, version, folder)
    print(f"Installed without Node, Jupyter has both extensions of lk-jupyter {version} enabled")


def _tracked() -> list[str]:
    listed = _run("git", "ls-files", "-z", cwd=ROOT)
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def _built(tracked: list[str], copy: Path) -> dict[str, bytes]:
    """Build both distributions in a copy of the sources; return their bytes by their names."""
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    packages = ROOT / "labextension" / "node_modules"
    if packages.is_dir():  # what npm ci would install is there already
        shutil.copytree(packages, copy / "labextension" / "node_modules", symlinks=True, copy_function=os.link)
        _run("npm", "run", "build", cwd=copy / "labextension")
    _run(sys.executable, "-m", "hatchling", "build", "-d", copy.parent / "dist", cwd=copy)
    return {path.name: path.read_bytes() for path in sorted((copy.parent / "dist").iterdir())}


def _wheel_of(sdist: Path, folder: Path) -> bytes:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    env = {**os.environ, "PATH": _without_node()}
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source, env=env)
    return next(folder.glob("*.whl")).read_bytes()


def _without_node() -> str:
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not shutil.which("npm", path=folder))


def _names_of(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def _of(archive: zipfile.ZipFile, end: str) -> str:
    (name,) = [name for name in archive.namelist() if name.endswith(end)]
    return archive.read(name).decode()


def no_large_file(sizes: Mapping[str, int]) -> None:
    """Raise CheckFailed for a file above 1 MB."""
    large = [f"{name} ({size:,} bytes)" for name, size in sizes.items() if size > MOST_BYTES]
    if large:
        raise CheckFailed(f"above 1 MB: {', '.join(large)}")


def equal(what: str, one: bytes, other: bytes) -> None:
    """Raise CheckFailed where bytes differ."""
    if one != other:
        raise CheckFailed(f"{what}, differs: {len(one):,} and {len(other):,} bytes")


def complete_sdist(names: set[str], tracked: list[str]) -> None:
    """Raise CheckFailed when the source distribution lacks a file of the repository."""
    missing = [name for name in tracked if name not in names and not name.startswith(NOT_PUBLISHED)]
    if missing:
        raise CheckFailed(f"the source distribution lacks {', '.join(missing)}")


def complete_wheel(sizes: Mapping[str, int], tracked: list[str]) -> None:
    """Raise CheckFailed when the wheel lacks a file of the package, has a large one, or one that is none of its own."""
    no_large_file(sizes)
    missing = [name for name in tracked if name.startswith("lk_jupyter/") and name not in sizes]
    ends = ("/install.json", "jupyter_server_config.d/lk_jupyter.json", "/licenses/LICENSE", "/entry_points.txt")
    missing += [end for end in ends if not any(name.endswith(end) for name in sizes)]
    if not any(
        re.search(r"/share/jupyter/labextensions/lk-jupyter/static/remoteEntry\.\w+\.js$", name) for name in sizes
    ):
        missing.append("the built extension of JupyterLab")
    if missing:
        raise CheckFailed(f"the wheel lacks {', '.join(missing)}")
    foreign = [name for name in sizes if not re.match(r"lk_jupyter(/|-[^/]+\.(dist-info|data)/)", name)]
    if foreign:
        raise CheckFailed(f"the wheel has {', '.join(foreign)}")


def no_dead_link(readme: str) -> None:
    """Raise CheckFailed for a link or a picture that PyPI can't resolve."""
    tokens = [part for token in MarkdownIt().enable("table").parse(readme) for part in (token, *(token.children or ()))]
    found = [str(token.attrGet(name)) for token in tokens for name in ("href", "src") if token.attrGet(name)]
    html = " ".join(token.content for token in tokens if token.type.startswith("html"))
    found += re.findall(r'\b(?:href|src|srcset)="([^"]+)"', html)
    if dead := [address for address in found if not urlsplit(address).scheme]:
        raise CheckFailed(f"the README has relative addresses: {', '.join(dead)}")


def lists_what_is_bundled(bill: dict, licences: str) -> None:
    """Raise CheckFailed when a bundled package is not listed with its version and its licence in full."""
    names = {part["name"] for part in bill["components"]}
    if missing := {"preact", "uplot"} - names:
        raise CheckFailed(f"the bill of materials lacks {', '.join(sorted(missing))}")
    for part in bill["components"]:
        if not re.search(
            rf"^{re.escape(part['name'])} {re.escape(part['version'])} \(.+\)\n\n\S", licences, re.MULTILINE
        ):
            raise CheckFailed(f"the licence of {part['name']} is missing")


def _installs(wheel: Path, version: str, folder: Path) -> None:
    """Install the wheel into a fresh environment without Node, and ask Jupyter for its extensions."""
    env = {**{name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}, "NO_COLOR": "1"}
    env["PATH"] = _without_node()
    target = folder / "environment"
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    make = [uv, "venv", "--quiet", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    _run(*make, target)
    python = target / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [uv, "pip", "install", "--quiet", "--python", python] if uv else [python, "-m", "pip", "install", "--quiet"]
    _run(*pip, f"{wheel}[lab]", env=env)
    labs = _run(python, "-m", "jupyterlab.labextensions", "list", env=env, cwd=folder)
    if not re.search(rf"lk-jupyter v{re.escape(version)} enabled OK", re.sub(r"\x1b\[\d*m", "", labs)):
        raise CheckFailed(f"the extension of JupyterLab is not enabled:\n{labs}")
    servers = re.sub(r"\x1b\[\d*m", "", _run(python, "-m", "jupyter_server", "extension", "list", env=env, cwd=folder))
    if not re.search(rf"lk_jupyter enabled[\s\S]*lk_jupyter {re.escape(version)} OK", servers):
        raise CheckFailed(f"the extension of the Jupyter server is not enabled:\n{servers}")
    _run(python, "-m", "IPython", "-c", "%load_ext lk_jupyter", env={**env, "HOME": str(folder)}, cwd=folder)


def _run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Return what a program prints. Raises CheckFailed with it where the program fails."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd, env=env
    )
    if done.returncode:
        raise CheckFailed(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
