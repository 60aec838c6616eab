"""Read the lock of a project as requirements: exact versions, with hashes where the lock has them.

``-r project`` uses the first of these files in the folder of the notebook or a folder above it: ``pylock.toml``,
``uv.lock`` and ``requirements.txt``. The lock of a run must suit Linux on x86-64, the platform of the cloud's machines.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.markers import Marker
from packaging.utils import parse_wheel_filename

from lk_jupyter._python import child_environment, find_program
from lk_jupyter.code.packages import normalize_name
from lk_jupyter.errors import UsageError

if TYPE_CHECKING:
    from packaging.pylock import Package

#: Values of markers on a machine of the cloud; the run's Python isn't known, so markers see the Python of this kernel.
_RUN_MARKERS = {
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "sys_platform": "linux",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}

#: Platform tags of wheels that a machine of the cloud installs.
_RUN_PLATFORM = re.compile(r"any|(many)?linux[0-9_]*_x86_64|manylinux(1|2010|2014)_x86_64")

#: Files and folders that end the search upwards: the root of a project.
_ROOTS = ("pyproject.toml", ".git")

_EXPORT = ("--frozen", "--offline", "--no-dev", "--no-emit-project", "--no-header")
_EXPORT_SECONDS = 60

#: Lines of a requirements file that refer to files of this machine.
_LOCAL_LINE = re.compile(r"(-r|-c|-e|--requirement|--constraint|--editable)\b|\.{0,2}/|\.$|[A-Za-z]:\\|.*@\s*file:")

_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)

_EXAMPLE = "uv export --format pylock.toml -o pylock.toml"


@dataclass(frozen=True)
class ProjectLock:
    """The lock of a project: the file, and its content as the text of a requirements file."""

    path: Path
    requirements: str

    @property
    def has_hashes(self) -> bool:
        """Whether the installation compares hashes, so that each package of the run needs one."""
        return "--hash=" in self.requirements

    @cached_property
    def versions(self) -> dict[str, str]:
        """Return normalized name → exact version of each package that the lock pins."""
        return {normalize_name(match[1]): match[2] for match in _PIN.finditer(self.requirements)}

    @property
    def label(self) -> str:
        """Return the name of the file with a digest of its requirements, as the record of a run has it."""
        return f"{self.path.name} sha256:{sha256(self.requirements.encode()).hexdigest()}"


def find_project_lock(folder: Path) -> ProjectLock:
    """Return the lock next to the notebook, or in the nearest folder above it, up to the root of the project.

    Raises UsageError without a lock, and for a lock that a run can't install.
    """
    for place in (folder.absolute(), *folder.absolute().parents):
        for name, read in _READERS.items():
            if (path := place / name).is_file():
                return ProjectLock(path, read(path))
        if any((place / root).exists() for root in _ROOTS) or place == Path.home():
            break
    names = ", ".join(_READERS)
    raise UsageError(
        f"-r project: no lock file ({names}) in '{folder}' or above it. Nothing was sent. Write one: {_EXAMPLE}"
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _build_error(path, f"the lock can't be read ({error})", "Write it again.") from None


def _build_error(path: Path, problem: str, fix: str) -> UsageError:
    return UsageError(f"-r project: '{path}': {problem}. Nothing was sent. {fix}")


def _read_requirements(path: Path) -> str:
    text = _read_text(path)
    for number, line in enumerate(text.splitlines(), 1):
        if _LOCAL_LINE.match(line.strip()):
            problem = f"line {number}: '{line.strip()[:60]}' refers to a file that isn't in the run"
            raise _build_error(path, problem, "List the packages in the file itself.")
    return text.rstrip() + "\n"


def _export_uv_lock(path: Path) -> str:
    uv = find_program("uv")
    if uv is None:
        raise _build_error(path, "uv isn't installed here, and only uv reads its lock", "Install it: %pip install uv")
    command = [uv, "export", *_EXPORT, "--directory", str(path.parent)]
    try:
        export = subprocess.run(
            command, env=child_environment(), capture_output=True, text=True, check=False, timeout=_EXPORT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _build_error(path, f"uv export didn't finish ({error})", f"Run it in a shell: {_EXAMPLE}") from None
    if export.returncode:
        last = (export.stderr.strip().splitlines() or ["no message"])[-1]
        raise _build_error(path, f"uv export failed: {last[:300]}", "Update the lock: uv lock")
    lines = [line for line in export.stdout.splitlines() if not line.lstrip().startswith("#")]
    for line in lines:
        if _LOCAL_LINE.match(line):
            fix = "Publish the package, or send its modules with --files."
            raise _build_error(path, f"'{line[:60]}' is a folder on this machine, not a published package", fix)
    return "\n".join([*lines, ""])


def _read_pylock(path: Path) -> str:
    try:
        from packaging import pylock  # noqa: PLC0415 (packaging below 26 has no such module)
    except ImportError:
        raise _build_error(
            path, "this lock needs the package 'packaging', version 26 or later", "%pip install 'packaging>=26'"
        ) from None
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 (few runs have a lock)
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        lock = pylock.Pylock.from_dict(tomllib.loads(_read_text(path)))
    except (tomllib.TOMLDecodeError, pylock.PylockValidationError, RecursionError) as error:
        raise _build_error(path, f"the lock isn't valid: {str(error)[:300]}", f"Write it again: {_EXAMPLE}") from None
    if lock.environments and not any(map(_is_for_runs, lock.environments)):
        environments = "; ".join(map(str, lock.environments))[:200]
        raise _build_error(
            path, f"the lock is for another platform ({environments})", "Lock the project for Linux on x86-64 too."
        )
    return "".join(line for package in lock.packages for line in _iterate_pylock_lines(path, package))


def _iterate_pylock_lines(path: Path, package: Package) -> Iterator[str]:
    """Yield the lines of a package: exact version, marker and the hashes of its files. Raises UsageError."""
    is_needed = package.marker is None or _is_for_runs(package.marker)
    marker = "" if package.marker is None else str(package.marker)
    if any(variable in marker for variable in ("extras", "dependency_groups")):  # pip doesn't know these
        marker = ""
        if not is_needed:
            return
    if package.directory is not None and package.directory.path in {".", ""}:
        return  # the project itself: modules that the code imports are uploaded
    if is_needed:
        _check_files(path, package)
    files: list[Any] = [*(package.wheels or ()), *([package.sdist] if package.sdist else [])]
    hashes = [f"--hash={kind}:{digest}" for file in files for kind, digest in file.hashes.items() if kind in _HASHES]
    if is_needed and not hashes:
        raise _build_error(path, f"'{package.name}' has no sha256 hash", f"Write it again: {_EXAMPLE}")
    if hashes and package.version is not None:
        first = f"{package.name}=={package.version}{f' ; {marker}' if marker else ''}"
        yield " \\\n    ".join([first, *dict.fromkeys(hashes)]) + "\n"


def _check_files(path: Path, package: Package) -> None:
    """Refuse a package that a machine of the cloud can't install with a hash. Raises UsageError."""
    if not (package.wheels or package.sdist) or package.version is None:
        problem = f"'{package.name}' has no version on a package index, so it can't be installed with a hash"
        raise _build_error(path, problem, f"Lock a published version of '{package.name}'.")
    names = [_read_file_name(wheel) for wheel in package.wheels or ()]
    if package.sdist is None and not any(map(_has_run_platform, names)):
        problem = f"'{package.name}' {package.version} has no wheel for Linux on x86-64 ({', '.join(names)[:200]})"
        raise _build_error(path, problem, "Lock the project for Linux too, or lock another version.")


#: Kinds of hashes that pip compares.
_HASHES = {"sha256", "sha384", "sha512"}


def _read_file_name(file: Any) -> str:
    """Return the name of a wheel: by name, path or address."""
    return str(file.name or re.split(r"[/\\]", (file.path or file.url or "").partition("#")[0])[-1])


def _has_run_platform(wheel: str) -> bool:
    return any(_RUN_PLATFORM.fullmatch(tag.platform) for tag in parse_wheel_filename(wheel)[3])


def _is_for_runs(marker: Marker) -> bool:
    environment: dict[str, str | AbstractSet[str]] = {**_RUN_MARKERS, "extras": set(), "dependency_groups": set()}
    return marker.evaluate(environment, context="lock_file")


#: Name of a lock → the function that returns its requirements, in the order of preference.
_READERS: dict[str, Callable[[Path], str]] = {
    "pylock.toml": _read_pylock,
    "uv.lock": _export_uv_lock,
    "requirements.txt": _read_requirements,
}
