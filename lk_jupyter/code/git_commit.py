"""Read the git commit of a folder from the files of its repository.

git isn't started: it would execute commands of the repository's configuration.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"ref: (refs/(?!\S*\.\.)[\w./+@-]{1,500})")

#: Characters of a commit in lists.
COMMIT_SIZE = 12

#: Characters of a packed list of refs, and of the other files.
_MOST_PACKED, _MOST = 10_000_000, 10_000


def read_commit(folder: Path) -> str:
    """Return the id of the commit that is checked out in a folder; empty without a repository or a commit.

    Files that differ from the commit aren't noticed.
    """
    with suppress(OSError, ValueError):
        if repository := _find_repository(folder):
            head = _read_text(repository / "HEAD")
            ref = _REF.fullmatch(head)
            commit = _read_branch(repository, ref[1]) if ref else head
            return commit if _COMMIT.fullmatch(commit) else ""
    return ""


def _find_repository(folder: Path) -> Path | None:
    """Return the folder with HEAD; a linked work tree and a submodule have a file that contains its path."""
    entry = next((path for parent in (folder, *folder.parents) if (path := parent / ".git").exists()), None)
    if entry is None or entry.is_dir():
        return entry
    return entry.parent / _read_text(entry).removeprefix("gitdir: ")


def _read_branch(repository: Path, ref: str) -> str:
    """Return the content of a branch, unchecked; all work trees of a repository share the branches."""
    shared = repository / "commondir"
    common = repository / _read_text(shared) if shared.exists() else repository
    if (common / ref).is_file():
        return _read_text(common / ref)
    packed = _read_text(common / "packed-refs", _MOST_PACKED)
    line = re.search(rf"^({_COMMIT.pattern}) {re.escape(ref)}$", packed, re.MULTILINE)
    return line[1] if line else ""


def _read_text(path: Path, most: int = _MOST) -> str:
    with path.open(encoding="utf-8") as file:
        return file.read(most).strip()
