"""Open files of the folder where the code works, streams, and files that come with values."""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import suppress
from importlib import import_module, invalidate_caches

from ...script.files import is_hidden
from ...values import codec
from ..base import ENDED, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of an open file that is sent with the object.
MOST_BYTES = 5_000_000

FILE_KINDS = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom)


def file_name(file: Any) -> str | None:
    """Return the name of a small open file in the working directory; None for any other file."""
    if not (isinstance(file, FILE_KINDS) and isinstance(getattr(file, "name", None), str)):
        return None
    name = os.path.relpath(os.path.abspath(file.name), os.getcwd())
    hidden = any(map(is_hidden, name.split(os.sep)))
    is_small = os.path.isfile(name) and os.path.getsize(name) <= MOST_BYTES
    return name.replace(os.sep, "/") if is_small and not hidden else None


def flush_file(value: Any) -> None:
    """Write the buffer of an open file; do nothing for any other value."""
    if isinstance(value, FILE_KINDS) and not stream_name(value):
        with suppress(OSError, ValueError):  # a closed file, or a full disk, which the code reports
            if value.writable():
                value.flush()


def end_gap(value: Any) -> bool:
    """Move a position behind the end of a file to the end, since a write would leave NUL bytes; return whether."""
    if not isinstance(value, FILE_KINDS) or stream_name(value):
        return False
    with suppress(OSError, ValueError):  # a closed file, or a text that is read line by line
        if value.writable() and value.tell() > os.fstat(value.fileno()).st_size:
            value.seek(0, os.SEEK_END)
            return True
    return False


def file_state(file: Any) -> Any:
    """Return the position in a file, or that the file is closed."""
    if file_name(file) is None:
        raise Refused(codec.explain_unsendable(file))
    if file.closed:
        return ENDED
    try:
        if file.writable():
            file.flush()
        return _find_position(file)
    except (OSError, ValueError):
        raise Refused(codec.explain_unsendable(file)) from None


def _find_position(file: Any) -> Any:
    """Return the place in an open file. If the file is read line by line, find the place by the text that is left."""
    try:
        return file.tell()
    except OSError:
        if not isinstance(file, io.TextIOWrapper):
            raise
    rest = "".join(file)
    file.seek(0)
    before = len(file.read()) - len(rest)
    file.seek(0)
    file.read(before)
    return file.tell()


def reduce_file(file: Any) -> tuple[Any, ...] | None:
    """Reduce an open file of the working directory; None for any other value."""
    name = file_name(getattr(file, "fid", file))
    if name and hasattr(file, "fid"):  # arrays of numpy, loaded on access
        return load_arrays, (name, file.allow_pickle)
    text = (file.encoding, file.errors) if isinstance(file, io.TextIOWrapper) else (None, None)
    return (make_file, (name, file.mode, *text), file_state(file), None, None, go_to) if name else None


def make_file(name: str, mode: str, encoding: str | None, errors: str | None) -> Any:
    """Open a file in the mode of the peer; the content stays."""
    write_arrived(name)
    file: Any = open(name, re.sub("[wx]", "r+", mode.replace("w+", "w")), encoding=encoding, errors=errors)  # noqa: SIM115
    if encoding:
        file.mode = mode
    return file


#: Name → content of files that come with the values that are read now; they are written later.
coming: dict[str, bytes] = {}


def write_arrived(name: str) -> None:
    """Write a file that came now, if there is none."""
    parts = os.path.normpath(name).split(os.sep)
    is_near = not os.path.isabs(name) and not any(map(is_hidden, parts))
    if name in coming and is_near and not os.path.exists(name):
        os.makedirs(os.path.dirname(os.path.abspath(name)), exist_ok=True)
        with open(name, "xb") as file:
            file.write(coming[name])


def write_modules() -> None:
    """Write the modules that came now: values that come too may be theirs."""
    for name in [name for name in coming if name.endswith(".py")]:
        with suppress(OSError):  # reported when all files are written
            write_arrived(name)
        invalidate_caches()


def load_arrays(name: str, pickle: bool) -> Any:
    """Open a file of arrays as the peer has opened the file."""
    write_arrived(name)
    return import_module("numpy").load(name, allow_pickle=pickle)


def go_to(value: Any, place: Any) -> None:
    """Seek the position of the peer in a file; close a file that the peer closed."""
    if place == ENDED:
        value.close()
    else:
        value.seek(place)


def stream_name(value: Any) -> tuple[str, str] | None:
    """Return module and name of a standard stream; None for any other value."""
    return next((("sys", name) for name in ("stdout", "stderr", "stdin") if getattr(sys, name) is value), None)
