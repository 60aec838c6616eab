"""The bucket in a notebook: folders that open page by page, a look into files, and files moved both ways."""

from __future__ import annotations

import shlex
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

from traitlets import Dict, Int, Unicode

from lk_jupyter.errors import DoesNotFit, StorageError, UsageError
from lk_jupyter.runs.redact import redact
from lk_jupyter.runs.session import current
from lk_jupyter.storage._listing import pages
from lk_jupyter.storage._plan import is_file_name
from lk_jupyter.storage.load import SAMPLE, Wish, code_for, is_loadable, is_table
from lk_jupyter.storage.load import load as value_of
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.preview import preview
from lk_jupyter.storage.progress import Progress, size_label
from lk_jupyter.storage.remote import remote_path
from lk_jupyter.storage.storage import Storage
from lk_jupyter.widgets import _browser_picture
from lk_jupyter.widgets._namespace import checked_name, free_name, set_variable
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets._upload import Upload
from lk_jupyter.widgets._view import View, action, errand

#: Items of a folder that are fetched at a time, and the most that one request of S3 brings.
PAGE, MOST = 200, 1000

#: The largest file that goes to the browser whole; larger ones are fetched by the kernel.
BLOB = 20_000_000


class StorageBrowser(View):
    """The bucket of your organization: look around, look into files, load tables, move files both ways.

    Folders open a page at a time, however large they are. ``folder`` is where it begins. Files dropped on it
    are uploaded. What is loaded becomes a variable of the notebook, and the code that does the same is shown.
    """

    component = "storage_browser"

    every = Int(20_000).tag(sync=True)
    root = Unicode(help="the folder at the top, with a slash at its end; empty for the bucket").tag(sync=True)
    folders = Dict(help="open folder → its items so far, the token of those after them, what they begin with").tag(
        sync=True
    )
    seen = Dict(help="the file that is looked at: what it is and its begin").tag(sync=True)
    loaded = Dict(help="what the last load made, or why it did not").tag(sync=True)
    transfer = Unicode(help="how far the kernel is with fetching").tag(sync=True)

    def __init__(self, folder: str = "", **traits: Any) -> None:
        root = folder.removeprefix("lk://").strip("/")
        root = f"{root}/" if root else ""
        super().__init__(root=root, folders={root: _unread()}, **traits)
        self._changing = threading.Lock()
        self._uploads: dict[str, Upload] = {}

    def load(self) -> None:
        """List again what is open, as far as it was listed."""
        for folder, listing in self.folders.items():
            self._list(folder, listing["begins"], len(listing["items"]))

    @action
    def open_folder(self, folder: str, begins: str = "") -> None:
        """Open a folder, or show only names in it that begin so."""
        with self._changing:
            self.folders = {**self.folders, folder: self.folders.get(folder) or _unread()}
        self._list(folder, begins)

    @action
    def close_folder(self, folder: str) -> None:
        """Close a folder and those below it."""
        with self._changing:
            self.folders = {name: listing for name, listing in self.folders.items() if not name.startswith(folder)}

    @action
    def more(self, folder: str) -> None:
        """Add the next page of a folder."""
        known = self.folders[folder]
        page = self._storage.ls_page(begins=folder + known["begins"], token=known["token"] or None, size=PAGE)
        items = [*known["items"], *map(_item, page.items)]
        self._keep(folder, {**known, "items": items, "token": page.token or ""})

    @action
    def look(self, key: str) -> None:
        """Show what is in a file: its schema and first rows, an image, or the begin of a text."""
        found = preview(self._storage, key)
        facts = {name: value for name, value in asdict(found).items() if name != "info"}
        facts |= {"text": redact(found.text), "rows": [[redact(cell) for cell in row] for row in found.rows]}
        kind = "table" if is_table(key) else "value" if is_loadable(key) else ""
        self.loaded = {}
        self.seen = {**facts, **_item(found.info), "kind": kind, "remote": remote_path(key), "free": free_name(key)}

    @action
    def load_value(self, key: str, name: str, sample: int = 0) -> None:
        """Load a file into a new variable of the notebook; a sample is offered where it does not fit."""
        name, wish = checked_name(name), Wish(None, sample or None)
        try:
            value = value_of(self._storage, key, sample=wish.sample)
        except DoesNotFit as problem:
            words = f"{str(problem).partition('. ')[0]}."
            self.loaded = {"key": key, "words": words, "offer": SAMPLE}
            return
        set_variable(name, value)
        self.loaded = {"key": key, "words": f"{name}: {_words(value)}", "code": _code(name, key, wish)}
        if self.seen.get("key") == key:  # another object may be looked at by now
            self.seen = {**self.seen, "free": free_name(key)}

    @action
    def weigh(self, key: str) -> str:
        """Return how much it is that is to be deleted, in words; of a large folder its first page tells."""
        if not key.endswith("/"):
            return size_label(self._storage.info(key).size)
        found = next(pages(self._storage._wire, key, recursive=True, size=MOST))
        size = size_label(sum(info.size for info in found))
        return f"{len(found):,} files or more" if len(found) == MOST else f"{_files(len(found))}, {size}"

    @action
    def delete(self, key: str) -> None:
        """Delete a file, or a folder and all that is in it."""
        count = self._storage.remove(_plain(key))
        if key.endswith("/"):
            self.close_folder(key)
        if self.seen.get("key", "").startswith(key):
            self.seen, self.loaded = {}, {}
        self._list_around(key.rstrip("/"), gone=key)
        self.say(f"Deleted {key} ({_files(count)}).")

    @action
    def begin_upload(self, key: str, size: int, *, replace: bool = False) -> dict[str, Any]:
        """Get ready for a file that comes in pieces; return its id, or that there is an object of that key."""
        if not replace and self._storage.exists(_plain(key)):
            return {"taken": True}
        upload_id = uuid4().hex
        self._uploads[upload_id] = Upload(self._storage, key, size)
        return {"id": upload_id}

    @errand
    def add_piece(self, upload_id: str, content: list[memoryview]) -> None:
        """Take the next piece of a file."""
        for piece in content:
            self._uploads[upload_id].add(bytes(piece))

    @action
    def end_upload(self, upload_id: str) -> None:
        """Store a file that has come whole."""
        upload = self._uploads.pop(upload_id)
        done = upload.end()
        self._list_around(upload.key)
        self.say(f"✓ {upload.key}: {done}. A run opens it as {remote_path(upload.key)}")

    @action
    def stop_upload(self, upload_id: str) -> None:
        """Store nothing of a file that was to come."""
        upload = self._uploads.pop(upload_id)
        upload.stop()
        self.say(f"{upload.key} was not stored.")

    @action
    def fetch(self, key: str, *, replace: bool = False) -> dict[str, Any]:
        """Write a file or a folder beside the notebook; or return that there is something of that name."""
        name = _plain(key).rstrip("/").rpartition("/")[2]
        if not is_file_name(name):
            raise UsageError(f"{name!r} can be no file here: %lk_get takes the name that it shall have.")
        target = Path.cwd() / name
        if not replace and target.exists():
            return {"taken": name}
        try:
            self._storage.get(key, target, progress=self._tell)
        finally:
            self.transfer = ""
        self.say(f"✓ Fetched {key}: {target}")
        return {}

    @action
    def content(self, key: str) -> str:
        """Return a small file for the browser to save, as base64."""
        size = self._storage.info(key).size
        if size > BLOB:
            raise UsageError(
                f"{key} has {size_label(size)}; up to {size_label(BLOB)} go through the browser. Fetch it."
            )
        return b64encode(self._storage.get_bytes(key)).decode()

    def picture(self) -> Picture:
        """Draw the folders that were open and the file that was looked at."""
        return _browser_picture.draw(self.root, self.folders, self.seen, self.loaded, self.notice["text"])

    @property
    def _storage(self) -> Storage:
        return current().storage

    def _list(self, folder: str, begins: str, count: int = 0) -> None:
        """List the first page of a folder; more of them where more was listed before."""
        items, token = list[dict[str, str]](), None
        while not items or (token and len(items) < count):
            size = min(MOST, max(PAGE, count - len(items)))
            page = self._storage.ls_page(begins=folder + begins, token=token, size=size)
            items += map(_item, page.items)
            token = page.token
            if not page.items:
                break
        self._keep(folder, {"items": items, "token": token or "", "begins": begins, "is_read": True})

    def _list_around(self, key: str, gone: str = "") -> None:
        """List the innermost open folder that holds this key; some servers go on to list a folder that is gone."""
        folder = next((folder for folder in _above(key) if folder in self.folders), None)
        if folder is None:
            return
        known = self.folders[folder]
        self._list(folder, known["begins"], len(known["items"]))
        known = self.folders[folder]
        self._keep(folder, {**known, "items": [item for item in known["items"] if item["key"] != gone]})

    def _keep(self, folder: str, listing: dict[str, Any]) -> None:
        """Show a listing, unless its folder was closed meanwhile."""
        with self._changing:
            if folder in self.folders:
                self.folders = {**self.folders, folder: listing}

    def _tell(self, progress: Progress) -> None:
        self.transfer = str(progress)


def _unread() -> dict[str, Any]:
    return {"items": [], "token": "", "begins": "", "is_read": False}


def _item(info: ObjectInfo) -> dict[str, str]:
    written = f"{info.modified.astimezone():%d %b %Y %H:%M}" if info.modified else ""
    return {"key": info.key, "size": "" if info.is_folder else size_label(info.size), "written": written}


def _above(key: str) -> Iterator[str]:
    """Iterate over the folders that hold a key, from the inside out."""
    while key:
        key = key.rpartition("/")[0]
        yield f"{key}/" if key else ""


def _plain(key: str) -> str:
    """Return a key that can be named here. Raises StorageError for one that another program has made oddly."""
    if "//" in key or key.startswith("/"):
        raise StorageError(f"{key!r} has a folder without a name, which can be shown here and no more.")
    return key


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _words(value: Any) -> str:
    kind = type(value).__name__
    shape: tuple[int, ...] = getattr(value, "shape", ())
    if kind == "DataFrame":
        return f"DataFrame, {shape[0]:,} rows, {shape[1]:,} columns"
    return f"{kind}, {' by '.join(f'{n:,}' for n in shape)}" if shape else kind


def _code(name: str, key: str, wish: Wish) -> str:
    """Return code that does the same in a cell."""
    call = code_for(key, wish)
    if call:
        return f"import pandas as pd\n\n{name} = {call}"
    sample = f" --sample {wish.sample}" if wish.sample else ""
    return f"%lk_load {shlex.quote(key)} --as {name}{sample}"
