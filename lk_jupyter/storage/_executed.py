"""Files that a program would execute or obey unasked, or that Python would import in place of another module."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import all_suffixes
from importlib.util import find_spec
from pathlib import Path

from lk_jupyter.config.files import config_file

#: Modules that Python and pytest import unasked, and files whose code Jupyter and IPython execute at their start.
_EXECUTED = {"sitecustomize", "usercustomize", "conftest"}
_CONFIG = re.compile(r"(?:jupyter|ipython)\w*_config\.(?:py|json)")

#: Folders that Python reads as byte code or as an installed package, and folders of kernels and of start scripts.
_LOADED_FOLDERS = re.compile(
    r"__pycache__|.*\.(?:dist-info|egg-info|egg|data-info)|kernels|startup|nbextensions|labextensions"
)

#: Files that a tool obeys in whose folder it is started, or executes at an import: byte code, extension modules,
#: configuration of test, build and package tools, of editors and of desktops.
_LOADED_FILES = re.compile(
    r".*\.(?:pth|pyc|pyo|pyd|so|dylib|dll|egg-link|ini|cfg|toml|code-workspace|desktop|service|inf|lnk)"
    r"|(?:setup|noxfile|fabfile|tasks|dodo|manage|wscript|sconstruct)\.py"
    r"|(?:package|package-lock|composer|tsconfig|jsconfig|devcontainer|kernel|pyrightconfig)\.json"
    r"|(?:make|gnumake|docker|vagrant|just|rake|gem|proc|jenkins|tilt|snake)file(?:\..*)?"
    r"|(?:compose|docker-compose|environment|_config)\.ya?ml|cmakelists\.txt|build|workspace|sconstruct"
)


@dataclass(frozen=True)
class Risk:
    """Why a download must not create a file: the reason, and the index of the path's part that causes the risk."""

    words: str
    index: int


def find_name_risk(name: str) -> Risk | None:
    """Return why a file isn't only data; None without a risk. ``name`` is its path below a folder, with ``/``.

    Programs read such a file whenever they start in the folder. So a download of the folder skips it, and a run writes
    it under another name. ``index`` counts the parts of ``name``.
    """
    *folders, last = name.lower().split("/")
    for index, part in enumerate((*folders, last)):
        pattern = _LOADED_FOLDERS if index < len(folders) else _LOADED_FILES
        if part.startswith("."):
            return Risk("has a hidden part, which programs may obey", index)
        if pattern.fullmatch(part):
            return Risk("may be executed or obeyed by a program in this folder", index)
    return None


def explain_skip(path: Path, name: str) -> str:
    """Return why a download of a folder skips the file at ``path``; empty if it doesn't.

    ``name`` is its path below the folder. Other members can write into the bucket, so a file that a program would
    execute or obey unasked is downloaded only by its own name, also if the file exists.
    """
    resolved = path.resolve()
    if config_file().parent.resolve() in resolved.parents:
        return "would change the settings of lk_jupyter"
    risk = execution_risk(resolved) or find_name_risk(name)
    return risk.words if risk else ""


def execution_risk(path: Path) -> Risk | None:
    """Return why Python would execute the file at this resolved path; None without a risk. Nothing is imported."""
    last, name = len(path.parts) - 1, path.name.lower()
    if name.endswith(".pth") or _CONFIG.fullmatch(name):
        return Risk("would be executed when Python or Jupyter starts in this folder", last)
    if not name.endswith(tuple(all_suffixes())):
        return None
    working, entries = Path.cwd().resolve(), _resolve_folders(tuple(sys.path))
    bases = [folder for folder in path.parents if folder == working or folder in entries]
    first = min((len(folder.parts) for folder in bases), default=last)
    for index in range(first, last + 1):
        if _build_module_name(path.parts[index]).lower() in _EXECUTED:
            return Risk("would be executed when Python or pytest starts in this folder", index)
    for base in bases:
        index = len(base.parts)
        module = _build_module_name(path.parts[index])
        if module.isidentifier() and _is_elsewhere(module, base / path.parts[index]):
            return Risk(f"would be imported here in place of the module {module}", index)
    return None


@lru_cache(8)
def _resolve_folders(entries: tuple[str, ...]) -> frozenset[Path]:
    """Return the folders of these entries; an empty entry is the working folder, which is always checked."""
    return frozenset(Path(entry).resolve() for entry in entries if entry)


def _build_module_name(part: str) -> str:
    return part.partition(".")[0]


def _is_elsewhere(module: str, path: Path) -> bool:
    """Return whether a module of this name is importable from another place than this file or folder."""
    if module in sys.stdlib_module_names:
        return True
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):  # a module that was made in this process has no spec
        return module in sys.modules
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location and spec.origin else []
    folders = list(spec.submodule_search_locations or ())
    return path not in {Path(place).resolve() for place in (*places, *folders)}
