"""Files of a run on its VM, in the folder above this package, and the state of the run."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOG, TIMES, STATE, CONTACT, ABORT, PID, GUARD_PID = (
    os.path.join(FOLDER, name) for name in ("log", "times", "state.json", "contact", "abort", "pid", "guard-pid")
)
OBJECTS, WORK = os.path.join(FOLDER, "objects"), os.path.join(FOLDER, "work")
CHECKPOINTS, STAGED = os.path.join(FOLDER, "checkpoints"), os.path.join(FOLDER, "staged")

#: Seconds between two looks at the code, and between SIGTERM and SIGKILL.
LOOK, TERM = 0.1, 5.0

#: Attempts to save a result, and the most seconds between two attempts to delete the VM.
SAVE_TRIES, LONGEST_PAUSE = 5, 60.0

#: Seconds without a change after which the files of the checkpoint folder are complete, if the code doesn't report it.
QUIET = 2.0

#: Seconds of changes without a stored checkpoint after which files that were unchanged for a moment are complete, and
#: that moment: code may replace its files every second.
RESTLESS, MOMENT = 120.0, 0.3

#: The signed text that comes with the list of a checkpoint.
SIGNED = b"checkpoint list"

#: Bytes of a file in memory.
PIECE = 1 << 20

#: Files that keep space for the end of the log and for the state of a run whose code fills the disk → their bytes.
LOG_RESERVE, STATE_RESERVE = (os.path.join(FOLDER, name) for name in ("reserve-log", "reserve-state"))
RESERVES = {LOG_RESERVE: 1 << 18, STATE_RESERVE: 1 << 16}

#: Seconds in which a full disk may get space again, before its code is ended.
FULL_SECONDS = 10.0


def reserve_space() -> None:
    """Keep space on the disk. Raises OSError."""
    for path, size in RESERVES.items():
        with open(path, "wb") as file:
            file.write(os.urandom(size))


def free_reserve(path: str) -> bool:
    """Free the space of a reserve; return whether it still existed."""
    try:
        os.remove(path)
    except OSError:
        return False
    return True


def write_state(state: Mapping[str, Any]) -> None:
    """Replace the state of the run."""
    write_text(STATE, json.dumps(state))


def write_text(path: str, text: str) -> None:
    """Replace a file in one step, on a full disk too. Raises OSError."""
    draft = path + ".new"
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        if not free_reserve(STATE_RESERVE):
            raise
        with open(draft, "w", encoding="utf-8") as file:
            file.write(text)
    os.replace(draft, path)


def read_state() -> dict[str, Any]:
    """Return the state of the run; empty before the start. Without its supervisor, the run has failed."""
    try:
        with open(STATE, encoding="utf-8") as file:
            state: dict[str, Any] = json.load(file)
    except (OSError, ValueError):
        return {}
    if not state.get("is_final") and not has_supervisor():
        failure = {"status": "system_failure", "is_final": True, "details": "The supervisor on the VM has ended"}
        state.update(failure, ended=os.path.getmtime(STATE))
    return state


def has_supervisor() -> bool:
    """Return whether the supervisor is active, or starts; a process that has ended may remain in the table."""
    try:
        with open(PID, encoding="ascii") as file:
            pid = int(file.read())
        os.kill(pid, 0)
        with open("/proc/{}/stat".format(pid), encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (ProcessLookupError, PermissionError):
        return False
    except (OSError, ValueError):  # not written yet, or a system without this file
        return True


def last_contact() -> float:
    """Return the moment of the last contact of a notebook, in Unix seconds."""
    try:
        return max(os.path.getmtime(CONTACT), os.path.getmtime(STATE))
    except OSError:
        return os.path.getmtime(STATE)


def touch() -> None:
    """Record the contact of a notebook."""
    with open(CONTACT, "ab"):
        os.utime(CONTACT)


def read_pieces(file: Any, size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes of an open file in pieces. Raises OSError if the file has fewer."""
    while size > 0:
        piece = file.read(min(PIECE, size))
        if not piece:
            raise OSError("the file became shorter")
        size -= len(piece)
        yield piece


def hash_part(path: str, start: int, size: int) -> str:
    """Return the SHA-256 of ``size`` bytes of a file."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(start)
        for piece in read_pieces(file, size):
            digest.update(piece)
    return digest.hexdigest()
