"""Files of the author: puts them where the code works, and finds files that the code writes there. A part of a run."""

from __future__ import annotations

import os
import stat
import sys
from binascii import a2b_base64

from . import run as driver

#: Bytes of a file that is sent back, and of all files, on both sides; in a folder with more files, none is sent back.
EACH, ALL, MOST = 5_000_000, 8_000_000, 1000

_STAYS = "{} ({:,} bytes) stays on the machine, as up to {:,} bytes come back: write it into the bucket"


def is_hidden(part):
    """Whether a part of a path is hidden or ours: such files are never the author's."""
    return part.startswith((".", "_lk_")) or part == "_lk"


def before(settings, namespace):
    """Write the files, in the folder of the other files that came along."""
    folder = os.path.join(driver.HERE, "files")
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    put(settings)


def put(settings):
    """Make folders and write files, each given in base64, in the folder where the code works."""
    for name in settings.get("folders", ()):
        os.makedirs(name, exist_ok=True)
    for name, content in settings["files"].items():
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        with open(name, "wb") as file:
            file.write(a2b_base64(content))


class FolderWatch:
    """The files in the folder where the code works: what it writes is known at the end."""

    def __init__(self):
        self._folder = os.getcwd()
        self._before = self._seen()

    def _seen(self):
        """Return file → what is another one once it was written, and folders; nothing where there are too many."""
        found = {}
        for folder, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if not (is_hidden(name) or name.startswith("__pycache__"))]
            found.update((os.path.join(folder, name, ""), None) for name in folders)
            for path in [os.path.join(folder, name) for name in names if not is_hidden(name)]:
                state = os.lstat(path)
                if stat.S_ISREG(state.st_mode):
                    found[path] = state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino
            if len(found) > MOST:
                return None
        return found

    def written(self):
        """Return name → content of the files that were written, and name → reason for files that stay.

        Names of folders end in a slash; new folders have no content. What was deleted is None.
        """
        found, refused, left = {}, {}, ALL
        now = self._seen() if self._before is not None else None
        if now is not None:
            found = {
                self._name(path) + "/" * (not state): None for path, state in self._before.items() if path not in now
            }
        for path, state in sorted((now or {}).items()):
            name = self._name(path)
            if self._before.get(path, self) == state:
                continue
            if state is None:
                found[name + "/"] = b""
                continue
            size = state[2]
            if size > min(EACH, left):
                refused[name] = _STAYS.format(name, size, EACH)
                continue
            with open(path, "rb") as file:
                found[name] = file.read(size)  # it may grow
            left -= size
        return found, refused

    def _name(self, path):
        return os.path.relpath(path, self._folder).replace(os.sep, "/")
