"""What a piece of code imports: local modules to ship, installed packages to require."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import lru_cache
from pathlib import Path

from lk_jupyter.errors import UsageError
from lk_jupyter.runs.syntax import parse

if sys.version_info >= (3, 11):
    from importlib import metadata
else:  # that of 3.10 does not know the packages that list their files only in RECORD
    import importlib_metadata as metadata


@lru_cache(maxsize=8)  # a fan-out asks for each of its runs
def imported_names(tree: ast.Module) -> frozenset[str]:
    """Return the top-level names of all modules that the code imports, wherever in it."""
    return frozenset(_names(tree))


def _names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def local_files(names: AbstractSet[str], folder: Path) -> dict[str, Path]:
    """Return the Python files in a folder that these imports need, theirs included.

    Keys are the paths to ship them under, with forward slashes.
    """
    found: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        for file in _module_files(folder, waiting.pop()):
            key = file.relative_to(folder).as_posix()
            if key not in found:
                found[key] = file
                waiting.extend(imported_names(_parse(file)))
    return found


def _module_files(folder: Path, name: str) -> list[Path]:
    module = folder / f"{name}.py"
    if module.is_file():
        return [module]
    package = folder / name
    return sorted(package.rglob("*.py")) if (package / "__init__.py").is_file() else []


def _parse(file: Path) -> ast.Module:
    try:
        return parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file}, which the code imports, is not valid Python: {error}.") from None


def providers() -> dict[str, list[str]]:
    """Return the packages of this kernel by the imports that they provide."""
    return dict(metadata.packages_distributions())


def installed_requirements(names: AbstractSet[str]) -> list[str]:
    """Return ``package==version`` of this kernel for each import that is not of Python itself.

    Raises UsageError naming the imports that no installed package provides.
    """
    provided = providers()
    foreign = sorted(names - set(sys.stdlib_module_names))
    unknown = [name for name in foreign if name not in provided]
    if unknown:
        raise UsageError(
            f"-r auto: no package installed here provides {', '.join(unknown)}. "
            f"Name the package: -r {unknown[0]}, or a requirements file."
        )
    packages = {package for name in foreign for package in provided[name]}
    return [f"{package}=={_public_version(package)}" for package in sorted(packages)]


def _public_version(package: str) -> str:
    """Return the version without its local part (2.6.0 of 2.6.0+cu124), which no index serves."""
    return metadata.version(package).partition("+")[0]
