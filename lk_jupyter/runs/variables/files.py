"""Write files that a run wrote into the folder of the kernel: names, limits and the files here are checked first.

Nothing is replaced or removed but files and folders that the run got with the same content, or that a run wrote. A
file that Python, Jupyter or a test runner would execute unasked gets another name.
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
from lk_jupyter.storage._executed import execution_risk
from lk_jupyter.storage._plan import is_file_name
from lk_jupyter.text.units import size_label

#: What is added to a name whose variable or file is another one here.
MEANWHILE = "_from_run"

#: The value of a folder among the files that a run got or wrote.
FOLDER = ""

#: File or folder → SHA-256 of what a run of this kernel has written there last.
_written: dict[Path, str] = {}

#: Reasons that are listed one by one.
_MOST_REASONS = 20

#: Errors of names that this system doesn't accept, and of links that lead to themselves.
_REFUSALS = (OSError, ValueError, RuntimeError)

_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class NotWritten(Exception):
    """A file of a run can't be written or deleted; the text is the reason, after the name of the file."""


@dataclass
class FileChanges:
    """``written`` is name → name here, ``removed`` the deleted names, ``missing`` name → reason in a sentence."""

    written: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def digests_of(paths: Mapping[str, Path], folders: Iterable[str]) -> dict[str, str]:
    """Return what a run gets: the SHA-256 of files, and folders with those above them."""
    files = {name: _hash(path.read_bytes()) for name, path in paths.items()}
    above = {parent.as_posix() for name in (*files, *folders) for parent in PurePath(name).parents}
    return {**files, **{f"{folder}/": FOLDER for folder in (*folders, *above)}}


def acceptable_files(files: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Return the files that may be written under their own names, if there are none of these names."""
    found, left = {}, ALL
    for name, content in list(files.items())[:MOST]:
        try:
            path = _checked_path(name)
            if content and len(content) <= min(EACH, left) and execution_risk(path) is None:
                found[name] = content
                left -= len(content)
        except (NotWritten, *_REFUSALS):
            continue
    return found


def write_files(files: Mapping[str, bytes | None], sent: Mapping[str, str]) -> FileChanges:
    """Write and delete files as a run did.

    ``files`` is name → content, None for a deleted one; names of folders end in a slash. ``sent`` is name → SHA-256
    of what the run got.
    """
    changes, left = FileChanges(), ALL
    listed = sorted(files.items(), key=_order)
    for name, content in listed[:MOST]:
        try:
            path = _checked_path(name)
            if content is None:
                changes.removed += [name] if _delete(name, path, sent) else []
            elif name.endswith("/"):
                _make_folders(path)
            else:
                left = _left_after(content, left)
                _write(changes, name, path, content, sent.get(name))
        except NotWritten as reason:
            changes.missing[name] = f"{name} {reason}"
        except _REFUSALS as error:
            changes.missing[name] = f"{name} can't be written here ({error})"
    changes.missing.update(
        (name, f"{name} stays: a run changes up to {MOST:,} files here") for name, _ in listed[MOST:]
    )
    return _shortened(changes)


def _order(item: tuple[str, bytes | None]) -> tuple[bool, int]:
    """Return what sorts deletions last, and the content of a folder before the folder."""
    name, content = item
    return content is None, -name.strip("/").count("/")


def _shortened(changes: FileChanges) -> FileChanges:
    reasons = list(changes.missing.items())
    if len(reasons) > _MOST_REASONS:
        more = f"{len(reasons) - _MOST_REASONS:,} more files weren't written or deleted"
        changes.missing = {**dict(reasons[:_MOST_REASONS]), "": more}
    return changes


def _checked_path(name: str) -> Path:
    """Return the path of a file in the working folder. Raises NotWritten, OSError, ValueError."""
    if not is_file_name(name.removesuffix("/")):
        raise NotWritten("wasn't written: this isn't the name of a file in this folder")
    folder = Path.cwd().resolve()  # which may have been deleted meanwhile
    path = (folder / name).resolve()
    if folder not in path.parents:
        raise NotWritten("wasn't written: it is outside of this folder")
    if any(
        part.startswith(".") or is_reserved(part) or part == "__pycache__" for part in path.relative_to(folder).parts
    ):
        raise NotWritten("wasn't written: its name is hidden, or belongs to Python or lk_jupyter")
    return path


def _left_after(content: bytes, left: int) -> int:
    if len(content) > min(EACH, left):
        raise NotWritten(
            f"({size_label(len(content))}) wasn't written: a run writes files of up to {size_label(EACH)} here, "
            f"{size_label(ALL)} in total"
        )
    return left - len(content)


def _write(changes: FileChanges, name: str, path: Path, content: bytes, sent: str | None) -> None:
    """Write a file, under another name if it would be executed unasked or if the file here is another one."""
    folder = Path.cwd().resolve()
    risk = execution_risk(path)
    if risk:
        path = _renamed(path, risk.index)
    _make_folders(path.parent)
    while not _replace(path, content, {sent, _written.get(path)}):
        path = _renamed(path, len(path.parts) - 1)
    _written[path] = _hash(content)
    place = path.relative_to(folder).as_posix()
    if risk:
        changes.missing[name] = f"{name} {risk.words}, so it is in {place}. Check it before you rename it"
    else:
        changes.written[name] = place


def _replace(path: Path, content: bytes, known: set[str | None]) -> bool:
    """Write a file that is new or whose content is known; return False for another file, which stays.

    The content is checked and replaced in the same open file, so that nothing can take its place meanwhile.
    """
    try:
        descriptor, is_new = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o666), True
    except FileExistsError:
        if not path.is_file():
            return False
        descriptor, is_new = os.open(path, _OPEN), False
    with os.fdopen(descriptor, "r+b") as file:
        if not is_new:
            present = _read(file)
            if present == content:
                return True
            if present is None or _hash(present) not in known or _is_notebook(path):
                return False
            file.seek(0)
            file.truncate()
        file.write(content)
    return True


def _read(file: IO[bytes]) -> bytes | None:
    """Return the content of an open file; None for a device and for more bytes than a run gets."""
    state = os.fstat(file.fileno())
    return file.read() if stat.S_ISREG(state.st_mode) and state.st_size <= ALL else None


def _delete(name: str, path: Path, sent: Mapping[str, str]) -> bool:
    """Delete a file or a folder that the run got with this content, or that a run wrote; return whether it was here.

    Raises NotWritten, OSError.
    """
    if not path.exists():
        return False
    if path.is_dir():
        if FOLDER not in {sent.get(f"{name.removesuffix('/')}/"), _written.get(path)}:
            raise NotWritten("was deleted by the run, which didn't get this folder: it stays")
        if any(path.iterdir()):
            raise NotWritten("was deleted by the run, and contains other files here: it stays")
        path.rmdir()
        return True
    present = None
    if path.is_file():
        with path.open("rb") as file:
            present = _read(file)
    if present is None or _hash(present) not in {sent.get(name), _written.get(path)} or _is_notebook(path):
        raise NotWritten("was deleted by the run, and is another file here: it stays")
    path.unlink()
    return True


def _make_folders(path: Path) -> None:
    """Make a folder with the folders above it, and remember the new folders."""
    for folder in [*reversed(path.parents), path]:
        if not folder.exists():
            folder.mkdir()
            _written[folder] = FOLDER


def _is_notebook(path: Path) -> bool:
    """Return whether this is the notebook of the cell that runs."""
    notebook = current_cell().notebook
    return notebook is not None and Path(notebook).resolve() == path


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _renamed(path: Path, index: int) -> Path:
    """Return the path with another name in this part: data_from_run.csv, and start.pth_from_run, which isn't read."""
    stem, dot, suffixes = path.parts[index].partition(".")
    is_last = index == len(path.parts) - 1
    if is_last and path.suffix == ".pth":
        name = path.name + MEANWHILE
    elif is_last and path.suffix and not path.name.endswith(tuple(all_suffixes())):
        name = path.stem + MEANWHILE + path.suffix
    else:
        name = f"{stem}{MEANWHILE}{dot}{suffixes}" if is_last else path.parts[index] + MEANWHILE
    return Path(*path.parts[:index], name, *path.parts[index + 1 :])
