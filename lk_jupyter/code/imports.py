"""Imports of a piece of code: local modules to upload, and the packages of this kernel."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from lk_jupyter.code.syntax import parse
from lk_jupyter.errors import UsageError

if sys.version_info >= (3, 11):
    from importlib import metadata
else:  # metadata of 3.10 doesn't know packages that list files only in RECORD
    import importlib_metadata as metadata


@lru_cache(maxsize=8)  # a fan-out calls this for each run
def imported_names(tree: ast.Module) -> frozenset[str]:
    """Return the top-level names of all modules that the code imports, at any place."""
    return frozenset(_iterate_imported_names(tree))


def _iterate_imported_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def local_files(names: AbstractSet[str], folder: Path, more_folders: Iterable[str] = ()) -> dict[str, Path]:
    """Return the Python files in a folder that these imports need, and the files that these files import.

    Keys are the paths of the files in the run, with forward slashes. ``more_folders`` are paths in ``folder``.
    """
    folders = [folder, *(folder / other for other in more_folders)]
    files: dict[str, Path] = {}
    reached = set(names)
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        for file in next(filter(None, (_list_module_files(place, name) for place in folders)), []):
            key = Path(os.path.relpath(file, folder)).as_posix()
            if key not in files:
                files[key] = file
                status = file.stat()
                imports = _read_imports(file, status.st_mtime_ns, status.st_size) - reached
                reached |= imports
                waiting.extend(imports)
    return files


def _list_module_files(folder: Path, name: str) -> list[Path]:
    module = folder / f"{name}.py"
    if module.is_file():
        return [module]
    package = folder / name
    return sorted(package.rglob("*.py")) if (package / "__init__.py").is_file() else []


@lru_cache(maxsize=10_000)  # a fan-out reads the same files for each run, a notebook for each cell
def _read_imports(file: Path, _modified_at: int, _size: int) -> frozenset[str]:
    """Return the top-level names of all modules that a file imports. Raises UsageError if it isn't valid Python."""
    return frozenset(_iterate_imported_names(_parse_file(file)))


def _parse_file(file: Path) -> ast.Module:
    try:
        return parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"'{file}', which the code imports, isn't valid Python: {error}. Nothing was sent.") from None


def providers() -> dict[str, list[str]]:
    """Return the packages of this kernel by the imports that they provide."""
    return _read_providers(tuple((folder, _modified_at(folder)) for folder in sys.path))


@lru_cache(maxsize=1)  # each call of an executor uses this, and it takes half a second
def _read_providers(_folders: tuple[tuple[str, int], ...]) -> dict[str, list[str]]:
    """Return the packages in the folders of imports; an installation changes the times of the folders."""
    return dict(metadata.packages_distributions())


def _modified_at(folder: str) -> int:
    """Return the time of the last change of a folder in nanoseconds, 0 if the folder is missing."""
    with suppress(OSError):
        return Path(folder).stat().st_mtime_ns
    return 0


def local_version(package: str) -> str:
    """Return a package's local version without the local label (2.6.0 of 2.6.0+cu124), which no index serves."""
    return metadata.version(package).partition("+")[0]


def has_package(package: str) -> bool:
    """Return whether a package is installed in this kernel."""
    with suppress(metadata.PackageNotFoundError):
        return bool(metadata.version(package))
    return False
