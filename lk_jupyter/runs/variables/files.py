"""Write the files of a run into the folder of the kernel, after checks of names, limits and present files.

Only files and folders that the run got with the same content, or that a run wrote, are replaced or removed. A file
that a program would execute or obey without a request gets another name, unless the run got the file.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import all_suffixes
from pathlib import Path, PurePath
from typing import IO

from lk_jupyter.journal.entry import current_cell
from lk_jupyter.protocol.parts import is_reserved
from lk_jupyter.remote.script.files import ALL, EACH, MOST
from lk_jupyter.storage._executed import execution_risk, find_name_risk
from lk_jupyter.storage._plan import is_file_name
from lk_jupyter.text.units import size_label

#: The suffix of a name whose variable or file changed in this kernel during the run.
MEANWHILE = "_from_run"

#: The value of a folder among the files that a run got or wrote.
FOLDER = ""

#: File or folder → SHA-256 of the content that a run of this kernel wrote last.
_written: dict[Path, str] = {}

#: The maximum number of listed reasons.
_MOST_REASONS = 20

#: Errors of names that this system doesn't accept, and of links that lead to themselves.
_REFUSALS = (OSError, ValueError, RuntimeError)

_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class NotWritten(Exception):
    """Report why a file of a run isn't written or deleted; the text follows the name of the file."""


@dataclass
class FileChanges:
    """The effect of a run on files of the kernel.

    ``written`` is name → name in the kernel's folder, ``removed`` lists deleted names, ``missing`` is name → reason in
    a sentence.
    """

    written: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def digest_files(paths: Mapping[str, Path], folders: Iterable[str]) -> dict[str, str]:
    """Return name → SHA-256 of the files that a run gets, and its folders with all folders above them."""
    files = {name: _hash_content(path.read_bytes()) for name, path in paths.items()}
    above = {parent.as_posix() for name in (*files, *folders) for parent in PurePath(name).parents}
    return {**files, **{f"{folder}/": FOLDER for folder in (*folders, *above)}}


def acceptable_files(files: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return the files that may be written under their names, unless files of these names exist."""
    accepted, budget = {}, ALL
    for name, content in list(files.items())[:MOST]:
        try:
            path = _resolve_path(name)
            if content and len(content) <= min(EACH, budget) and not _has_risk(path, name, content):
                accepted[name] = content
                budget -= len(content)
        except (NotWritten, *_REFUSALS):
            continue
    return accepted


def _has_risk(path: Path, name: str, content: bytes) -> bool:
    return bool(execution_risk(path) or find_name_risk(name, content))


def write_files(files: Mapping[str, bytes | None], uploaded: Mapping[str, str]) -> FileChanges:
    """Write and delete files as a run did.

    ``files`` is name → content, None for a deleted file; names of folders end in a slash. ``uploaded`` is name →
    SHA-256 of the files that the run got.
    """
    changes, budget = FileChanges(), ALL
    listed = sorted(files.items(), key=_compute_deletion_order)
    for name, content in listed[:MOST]:
        try:
            path = _resolve_path(name)
            if content is None:
                changes.removed += [name] if _delete_item(name, path, uploaded) else []
            elif name.endswith("/"):
                _make_folders(path)
            else:
                budget = _subtract_size(content, budget)
                _write_file(changes, name, path, content, uploaded.get(name))
        except NotWritten as reason:
            changes.missing[name] = f"{name} {reason}"
        except _REFUSALS as error:
            changes.missing[name] = f"{name} can't be written here ({error})"
    changes.missing.update(
        (name, f"{name} is unchanged, because a run can change at most {MOST:,} files here")
        for name, _ in listed[MOST:]
    )
    return _shorten_reasons(changes)


def _compute_deletion_order(item: tuple[str, bytes | None]) -> tuple[bool, int]:
    """Return a sort key: deletions last, and the content of a folder before the folder."""
    name, content = item
    return content is None, -name.strip("/").count("/")


def _shorten_reasons(changes: FileChanges) -> FileChanges:
    reasons = list(changes.missing.items())
    if len(reasons) > _MOST_REASONS:
        more = f"{len(reasons) - _MOST_REASONS:,} more files weren't written or deleted"
        changes.missing = {**dict(reasons[:_MOST_REASONS]), "": more}
    return changes


def _resolve_path(name: str) -> Path:
    """Return the path of a file in the working folder. Raises NotWritten, OSError, ValueError."""
    if not is_file_name(name.removesuffix("/")):
        raise NotWritten("wasn't written, because its name isn't valid for a file in this folder")
    folder = Path.cwd().resolve()  # raises if the folder was deleted meanwhile
    path = (folder / name).resolve()
    if folder not in path.parents:
        raise NotWritten("wasn't written: it is outside of this folder")
    if any(
        part.startswith(".") or is_reserved(part) or part == "__pycache__" for part in path.relative_to(folder).parts
    ):
        raise NotWritten("wasn't written: a part of its path is hidden, or is reserved for Python or lk_jupyter")
    return path


def _subtract_size(content: bytes, budget: int) -> int:
    if len(content) > min(EACH, budget):
        raise NotWritten(
            f"({size_label(len(content))}) wasn't written: a run can write files of up to {size_label(EACH)} here, "
            f"{size_label(ALL)} in total"
        )
    return budget - len(content)


def _write_file(changes: FileChanges, name: str, path: Path, content: bytes, uploaded: str | None) -> None:
    """Write a file, under another name if a program would obey it unasked, or if another file has the name."""
    folder = Path.cwd().resolve()
    if risk := execution_risk(path):
        path = _build_new_path(path, risk.index)
    while uploaded is None and (name_risk := find_name_risk(path.relative_to(folder).as_posix(), content)):
        risk = risk or name_risk
        path = _build_new_path(path, len(folder.parts) + name_risk.index)
    _make_folders(path.parent)
    while not _replace_file(path, content, {uploaded, _written.get(path)}):
        path = _build_new_path(path, len(path.parts) - 1)
    _written[path] = _hash_content(content)
    place = path.relative_to(folder).as_posix()
    if risk:
        changes.missing[name] = (
            f"{name} {risk.words}, so the file was renamed to {place}. Check it before you use the old name"
        )
    else:
        changes.written[name] = place


def _replace_file(path: Path, content: bytes, digests: set[str | None]) -> bool:
    """Write a new file, or replace a file whose digest is in ``digests``; return False for any other file, which stays.

    The content is checked and replaced in the same open file, so that no link can replace the file meanwhile.
    """
    try:
        descriptor, is_new = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        if not path.is_file():
            return False
        descriptor, is_new = os.open(path, _OPEN), False
    with os.fdopen(descriptor, "r+b") as file:
        if not is_new:
            present = _read_file(file)
            if present == content:
                return True
            if present is None or _hash_content(present) not in digests or _is_notebook(path):
                return False
            file.seek(0)
            file.truncate()
        file.write(content)
    return True


def _read_file(file: IO[bytes]) -> bytes | None:
    """Return the content of an open file; None for a device and for more bytes than a run gets."""
    state = os.fstat(file.fileno())
    return file.read() if stat.S_ISREG(state.st_mode) and state.st_size <= ALL else None


def _delete_item(name: str, path: Path, uploaded: Mapping[str, str]) -> bool:
    """Delete a file or a folder that the run got with this content, or that a run wrote; return whether it existed.

    Raises NotWritten, OSError.
    """
    if not path.exists():
        return False
    if path.is_dir():
        if FOLDER not in {uploaded.get(f"{name.removesuffix('/')}/"), _written.get(path)}:
            raise NotWritten("was deleted by the run but stays here: the folder wasn't sent to the run")
        if any(path.iterdir()):
            raise NotWritten("was deleted by the run but stays here: the folder contains other files")
        path.rmdir()
        return True
    present = None
    if path.is_file():
        with path.open("rb") as file:
            present = _read_file(file)
    if present is None or _hash_content(present) not in {uploaded.get(name), _written.get(path)} or _is_notebook(path):
        raise NotWritten("was deleted by the run but stays here: the file has changed")
    path.unlink()
    return True


def _make_folders(path: Path) -> None:
    """Make a folder with the folders above it, and remember the new folders."""
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            folder.mkdir()
            _written[folder] = FOLDER


def _is_notebook(path: Path) -> bool:
    """Return whether the path is the notebook of the active cell."""
    notebook = current_cell().notebook
    return notebook is not None and Path(notebook).resolve() == path


def _hash_content(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _build_new_path(path: Path, index: int) -> Path:
    """Return the path with a new name in one part: data_from_run.csv; start.pth_from_run, which Python ignores."""
    stem, dot, suffixes = path.parts[index].partition(".")
    is_last = index == len(path.parts) - 1
    if is_last and path.suffix and not path.name.endswith(tuple(all_suffixes())):
        stem, dot, suffixes = path.stem, "", path.suffix
    name = f"{stem}{MEANWHILE}{dot}{suffixes}"
    if not is_last or find_name_risk(name):
        name = path.parts[index] + MEANWHILE
    return Path(*path.parts[:index], name, *path.parts[index + 1 :])
