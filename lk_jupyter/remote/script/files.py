"""Files of the author: writes uploaded files, and finds files that the code writes. A part of a run."""

from __future__ import annotations

import os
import stat
import sys
from binascii import a2b_base64

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of a file that is sent back, and of all files, on both sides; in a folder with more files, none is sent back.
EACH, ALL, MOST = 5_000_000, 8_000_000, 1000

_STAYS = "{} ({:,} bytes) is too large to be returned: the maximum is {:,} bytes. Write it into the bucket"

#: Reasons for files outside the working directory, and for more files than are compared.
_OUTSIDE = "{} is outside the working folder, so it isn't returned. Write it into this folder or into the bucket"
_TOO_MANY = "files of the run aren't returned: the working folder has more than {:,} files. Write them into the bucket"


def is_hidden(part: str) -> bool:
    """Return whether a part of a path is hidden or internal: such files are never the author's."""
    return part.startswith((".", "_lk_")) or part == "_lk"


def nearby_path(path: str) -> str | None:
    """Return a path relative to the working directory; None for this directory, and for distant paths."""
    parts = os.path.relpath(path or ".").split(os.sep)
    has_hidden_part = any(is_hidden(part) for part in parts if part != "..")
    is_far = parts == ["."] or parts[:2] == ["..", ".."] or parts[-1].endswith("-packages")
    return None if is_far or has_hidden_part else "/".join(parts)


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Write the files next to the uploaded files."""
    folder = os.path.join(driver.FOLDER, "files")
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    write_files(settings)


def write_files(settings: dict[str, Any]) -> None:
    """Make folders and write files, each given in base64, in the folder where the code works."""
    for name in settings.get("folders", ()):
        os.makedirs(name, exist_ok=True)
    for name, content in settings["files"].items():
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        with open(name, "wb") as file:
            file.write(a2b_base64(content))


def _read_state(path: str) -> tuple[int, ...] | None:
    """Return a state of a file that each write changes; None for a folder, a special file and a deleted file."""
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return None
    is_file = stat.S_ISREG(state.st_mode)
    return (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino) if is_file else None


class FolderWatch:
    """The state of the files in the working directory before the code, to find written files."""

    def __init__(self) -> None:
        self._folder = os.getcwd()
        self._before = self._read_states()

    def _read_states(self) -> dict[str, tuple[int, ...] | None] | None:
        """Return file → state that each write changes, and folders; None for too many files."""
        states: dict[str, tuple[int, ...] | None] = {}
        for folder, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if not (is_hidden(name) or name.startswith("__pycache__"))]
            states.update((os.path.join(folder, name, ""), None) for name in folders)
            for path in [os.path.join(folder, name) for name in names if not is_hidden(name)]:
                if state := _read_state(path):
                    states[path] = state
            if len(states) > MOST:
                return None
        return {**self._read_parent_states(), **states}

    def _read_parent_states(self) -> dict[str, tuple[int, ...] | None]:
        """Return file → state of the files next to the working directory, which code names by ``../``."""
        parent = os.path.dirname(self._folder)
        names = [name for name in os.listdir(parent)[:MOST] if not is_hidden(name)]
        paths = [os.path.join(parent, name) for name in names]
        return {path: state for path in paths if (state := _read_state(path))}

    def written_files(self) -> tuple[dict[str, bytes | None], dict[str, str]]:
        """Return name → content of the written files, and name → reason for files that stay.

        Names of folders end in a slash; new folders have no content. The content of deleted files is None.
        """
        contents: dict[str, bytes | None] = {}
        refused: dict[str, str] = {}
        remaining = ALL
        before = self._before
        now = self._read_states() if before is not None else None
        if before is None or now is None:
            return contents, {} if before is None else {"files": _TOO_MANY.format(MOST)}
        names = {path: self._build_relative_name(path) for path in [*before, *now]}
        contents.update(
            (names[path] + "/" * (not state), None)
            for path, state in before.items()
            if path not in now and not names[path].startswith("../")
        )
        for path, state in sorted(now.items()):
            name = names[path]
            if path in before and before[path] == state:
                continue
            if name.startswith("../"):
                refused[name] = _OUTSIDE.format(name)
                continue
            if state is None:
                contents[name + "/"] = b""
                continue
            size = state[2]
            if size > min(EACH, remaining):
                refused[name] = _STAYS.format(name, size, EACH)
                continue
            with open(path, "rb") as file:
                contents[name] = file.read(size)  # the file may grow
            remaining -= size
        return contents, refused

    def _build_relative_name(self, path: str) -> str:
        return os.path.relpath(path, self._folder).replace(os.sep, "/")
