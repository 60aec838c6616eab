"""The files with this user's settings: ours, and the file of the cloud's command line tool (read only); locks."""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lk_jupyter.errors import UsageError

DEFAULT_SERVER = "https://api.lyceum.technology"

#: The value of a server setting for the local cloud, and the hosts of this machine.
LOCAL = "local"
LOOPBACK = {"127.0.0.1", "localhost", "::1", "[::1]"}

#: Variables that hold a key, and the prefix of an assumption among the settings.
KEY_VARIABLES = ("LK_API_KEY", "LYCEUM_API_KEY")
GUESS = "guess."

CONFIG_FILE = "config file"

#: Settings that an administrator fixes for all users of this machine.
ADMINISTRATOR = "administrator"
SITE_FILE = Path(
    os.environ.get("PROGRAMDATA", r"C:\ProgramData") if sys.platform == "win32" else "/etc", "lk_jupyter", "config.json"
)

LYCEUM = "~/.lyceum/config.json"


def platform_path(kind: str, *parts: str) -> Path:
    """Return our folder of a kind (config, data, log), where this platform keeps such things."""
    import platformdirs  # noqa: PLC0415 (only needed when a path is asked for)

    base: Path = getattr(platformdirs, f"user_{kind}_path")("lk_jupyter", appauthor=False)
    return base.joinpath(*parts)


def working_folder() -> Path:
    """Return the folder that relative paths start from. Raises UsageError if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("The working folder was deleted. Nothing was sent. Change to another folder: %cd ~") from None


def config_file() -> Path:
    """Return the path of the user's config file; the file may be missing."""
    return platform_path("config", "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file, empty for a missing file. Raises UsageError for a broken file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):  # a home may be /dev/null
        return {}
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise UsageError(f"The file {path} is broken ({where}). Repair or delete it.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Can't read the file {path} ({error}). Repair or delete it.") from None
    if not isinstance(content, dict):
        raise UsageError(f"The file {path} is broken (line 1: not a JSON object). Repair or delete it.")
    return content


def change_config(changes: dict[str, Any]) -> None:
    """Write these values into the config file, all or none; None deletes a value. Raises UsageError on failure."""
    path = config_file()
    try:
        write_json(path, {name: value for name, value in {**read_json(path), **changes}.items() if value is not None})
    except OSError as error:
        raise UsageError(
            f"Can't write '{path}' ({error.strerror}). Nothing was stored. "
            "Use an environment variable instead, such as LK_BASE_URL or LK_API_KEY."
        ) from None


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file that only its owner can read, completely or not at all. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    write_private(path, json.dumps(content, indent=2))


def write_private(path: Path, text: str) -> None:
    """Write text as UTF-8 to a file that only its owner can read, completely or not at all. Raises OSError."""
    write_private_bytes(path, text.encode())


def write_private_bytes(path: Path, content: bytes) -> None:
    """Write bytes to a file that only its owner can read, completely or not at all. Raises OSError."""
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent)  # readable by its owner only
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        put_in_place(Path(unfinished), path)
    finally:
        with suppress(FileNotFoundError):
            Path(unfinished).unlink()


def put_in_place(draft: Path, path: Path) -> None:
    """Rename a finished file. Windows refuses while a program reads the old file: try again after a pause."""
    for pause in (0.01, 0.05, 0.2, 0.5, 1):
        try:
            draft.replace(path)
        except PermissionError:
            if sys.platform != "win32":
                raise
            time.sleep(pause)
        else:
            return
    draft.replace(path)


def lyceum_file() -> dict[str, Any]:
    """Return the content of the command line tool's file: api_key, refresh_token, base_url and more."""
    return read_json(Path(LYCEUM).expanduser())


def lyceum_server() -> str:
    """Return the server that the tool's key is for."""
    return strip_api_path(str(lyceum_file().get("base_url") or DEFAULT_SERVER))


def strip_api_path(address: str) -> str:
    """Return the host part of an address, as in our settings."""
    return address.rstrip("/").removesuffix("/api/v2/external")


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 40, os.SEEK_SET)  # a locked byte can't be read either
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_LOCK_ERRORS = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}


def take_lock(descriptor: int) -> bool:
    """Lock an open file until it closes; False if another process has the lock. True where locks aren't supported."""
    try:
        _lock(descriptor)
    except OSError as error:
        return error.errno not in _LOCK_ERRORS
    return True


def open_locked(path: Path, flags: int = 0) -> int | None:
    """Open and lock a file that its user deletes; None if another process has locked or just deleted the file."""
    descriptor = os.open(path, os.O_RDWR | flags, 0o600)
    with suppress(OSError):
        if take_lock(descriptor) and os.path.samestat(path.stat(), os.fstat(descriptor)):
            return descriptor
    os.close(descriptor)
    return None


def is_locked(path: Path) -> bool:
    """Return whether another process has the lock of a file. Raises OSError if the file can't be opened."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        return not take_lock(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def lock_beside(path: Path) -> Iterator[bool]:
    """Lock a small file next to this one; return whether the lock was free."""
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield take_lock(descriptor)
    finally:
        os.close(descriptor)
