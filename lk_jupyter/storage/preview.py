"""Preview an object by its first bytes, read by range: a large object is never read completely."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import PurePosixPath
from typing import Any

from lk_jupyter.errors import LkError
from lk_jupyter.storage._preview_process import PROCESS, PreviewFailed
from lk_jupyter.storage._preview_readers import (
    COLUMNS,
    IN_CHILD,
    LETTERS,
    LIBRARIES,
    ROWS,
    TEXT,
    WORDS,
    find_reader,
    preview_facts,
)
from lk_jupyter.storage._preview_readers import Preview as Preview  # noqa: PLC0414 (public in this module)
from lk_jupyter.storage.load import is_loadable, is_table, require_library
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.remote import remote_path
from lk_jupyter.storage.storage import Storage
from lk_jupyter.text.secrets import redact


def preview(storage: Storage, key: str) -> Preview:
    """Return a preview of a file in the bucket. A broken or unknown file isn't an error: ``words`` contains the reason.

    Args:
        storage: The bucket: ``session.storage``.
        key: Key of the file.

    Returns:
        A Preview. Of a large file only the start is read.

    Raises:
        NoSuchObject: The bucket has no such file.
        StorageError: The bucket can't be read.

    Example:
        >>> from lk_jupyter.storage.preview import preview
        >>> _ = session.storage.put(b"hello", "notes/hello.txt")
        >>> preview(session.storage, "notes/hello.txt").text
        'hello'
    """
    with storage.open(key) as file:
        return preview_object(file.info, file)


def preview_object(info: ObjectInfo, file: Any) -> Preview:
    """Return the preview of an open file. Raises StorageError if a library is missing.

    Libraries that may crash, and all unpacking, run in a child process with limits.
    """
    if not info.size:
        return Preview(info, "Empty file.")
    show, suffix, unpack = find_reader(info.key)
    try:
        if not unpack and show not in IN_CHILD:
            unchecked = show(info, file)
            return replace(_limit_preview(info, preview_facts(unchecked)), image=unchecked.image, mime=unchecked.mime)
        if name := LIBRARIES.get(show):
            require_library(name)
        result = PROCESS.preview(info, file)
        if words := result.get("broken"):
            return _build_unreadable_preview(info, suffix, str(words))
        return _limit_preview(info, result)
    except LkError:
        raise
    except PreviewFailed as failure:
        name = PurePosixPath(info.key).name
        return Preview(info, f"Can't preview '{name}': {failure}. Download it: %lk_get {shlex.quote(info.key)}")
    except Exception as error:  # noqa: BLE001 (each library has its own)
        return _build_unreadable_preview(info, suffix, str(error) or type(error).__name__)


def _build_unreadable_preview(info: ObjectInfo, suffix: str, error: str) -> Preview:
    words = " ".join(error.split())[:LETTERS].rstrip(".")
    return Preview(info, f"Can't read this as {suffix.lstrip('.') or 'text'}: {words}.")


def _limit_preview(info: ObjectInfo, result: dict[str, Any]) -> Preview:
    """Return a preview within the limits, for any result of a reader or the child process."""
    columns = [
        (_make_encodable(name, LETTERS), _make_encodable(kind, LETTERS)) for name, kind in result["columns"][:COLUMNS]
    ]
    rows = [[_make_encodable(cell, LETTERS) for cell in row[:COLUMNS]] for row in result["rows"][:ROWS]]
    words, text = _make_encodable(result["words"], WORDS), _make_encodable(result["text"], TEXT)
    return Preview(info, words, columns, rows, text, is_part=bool(result["is_part"]))


def _make_encodable(value: Any, most: int) -> str:
    """Return the start of a text with a "?" for each half of a surrogate pair, which JSON can state and UTF-8 can't."""
    return str(value)[:most].encode("utf-8", "replace").decode()


def preview_content(preview: Preview) -> dict[str, Any]:
    """Return a preview as the data of a page, without apparent secrets."""
    info = preview.info
    facts = {name: value for name, value in asdict(preview).items() if name != "info"}
    return {
        **facts,
        "key": info.key,
        "written": f"{info.modified.astimezone():%d %b %Y %H:%M}" if info.modified else "",
        "text": redact(preview.text),
        "rows": [[redact(cell) for cell in row] for row in preview.rows],
        "kind": "table" if is_table(info.key) else "value" if is_loadable(info.key) else "",
        "remote": remote_path(info.key),
    }
