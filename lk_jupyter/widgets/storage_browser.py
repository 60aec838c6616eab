"""The bucket in a notebook: folders that open page by page, a look into files, and files moved both ways."""

from __future__ import annotations

import shlex
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import uuid4

from traitlets import Dict, Int, Unicode

from lk_jupyter.config.files import working_folder
from lk_jupyter.errors import InsufficientMemory, StorageError, UsageError
from lk_jupyter.session import current
from lk_jupyter.storage._listing import list_pages
from lk_jupyter.storage._plan import is_file_name
from lk_jupyter.storage.load import SAMPLE, LoadRequest, code_for
from lk_jupyter.storage.load import load as value_of
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.preview import preview, preview_content
from lk_jupyter.storage.progress import Progress
from lk_jupyter.storage.remote import remote_path
from lk_jupyter.storage.storage import Storage
from lk_jupyter.text.units import count_label, size_label
from lk_jupyter.views.picture import StaticView
from lk_jupyter.widgets import _browser_picture
from lk_jupyter.widgets._namespace import check_name, free_name, set_variable
from lk_jupyter.widgets._upload import WidgetUpload
from lk_jupyter.widgets._view import View, background_action, user_action

#: Items of a folder that are loaded together, and the maximum of a single S3 request.
PAGE, MOST = 200, 1000

#: An empty object that preserves a folder without files; Lab's file browser uses the same name.
KEEP = ".keep"

#: The largest file that is sent to the browser as a single piece; the kernel downloads larger files.
BLOB = 20_000_000


class StorageBrowser(View):
    """The bucket of your organization: browse, preview files, load tables, upload and download.

    Folders open a page at a time. Files that you drop are uploaded. A loaded file becomes a variable of the notebook,
    and the
    code that does the same is shown.

    Args:
        folder: Folder at the top. Default: the bucket.

    Example:
        >>> from lk_jupyter.widgets import StorageBrowser
        >>> _ = session.storage.put(b"x,y", "shown/a.csv")
        >>> browser = StorageBrowser("shown")
        >>> browser.load()
        >>> browser.open_folder("shown/")
        >>> browser.more("shown/")
        >>> browser.look("shown/a.csv")
        >>> browser.load_value("shown/a.csv", "frame")
        >>> browser.fetch("shown/a.csv")
        {...}
        >>> browser.make_folder("shown/", "new")
        >>> browser.close_folder("shown/")
        >>> browser.delete("shown/a.csv")
    """

    component = "storage_browser"

    every = Int(20_000).tag(sync=True)
    root = Unicode(help="the folder at the top, with a slash at its end; empty for the bucket").tag(sync=True)
    folders = Dict(help="for each open folder: its loaded items, the token of the next page, and the filter").tag(
        sync=True
    )
    seen = Dict(help="the selected file: its kind and a preview").tag(sync=True)
    loaded = Dict(help="result or error of the last load").tag(sync=True)
    transfer = Unicode(help="progress of the file that the kernel downloads").tag(sync=True)

    def __init__(self, folder: str = "", **traits: Any) -> None:
        root = folder.removeprefix("lk://").strip("/")
        root = f"{root}/" if root else ""
        super().__init__(root=root, folders={root: _unread_listing()}, **traits)
        self._changing = threading.Lock()
        self._uploads: dict[str, WidgetUpload] = {}

    def load(self) -> None:
        """List the open folders again."""
        for folder, listing in self.folders.items():
            self._list_folder(folder, listing["begins"], len(listing["items"]))

    @user_action
    def open_folder(self, folder: str, begins: str = "") -> None:
        """Open a folder.

        Args:
            folder: Key of the folder.
            begins: Show only names that start with this text. Default: all.
        """
        with self._changing:
            self.folders = {**self.folders, folder: self.folders.get(folder) or _unread_listing()}
        self._list_folder(folder, begins)

    @user_action
    def close_folder(self, folder: str) -> None:
        """Close a folder and its subfolders.

        Args:
            folder: Key of the folder.
        """
        with self._changing:
            self.folders = {name: listing for name, listing in self.folders.items() if not name.startswith(folder)}

    @user_action
    def more(self, folder: str) -> None:
        """Add the next page of a folder.

        Args:
            folder: Key of the folder.
        """
        state = self.folders[folder]
        page = self._storage.ls_page(begins=folder + state["begins"], token=state["token"] or None, size=PAGE)
        items = [*state["items"], *map(_item_row, _visible_objects(page.items))]
        self._show_listing(folder, {**state, "items": items, "token": page.token or ""})

    @user_action
    def look(self, key: str) -> None:
        """Preview a file: schema and first rows, an image, or the start of a text.

        Args:
            key: Key of the file.
        """
        content = preview(self._storage, key)
        self.loaded = {}
        self.seen = {**preview_content(content), **_item_row(content.info), "free": free_name(key)}

    @user_action
    def load_value(self, key: str, name: str, sample: int = 0) -> None:
        """Load a file into a new variable of the notebook. If the file doesn't fit into memory, a sample is offered.

        Args:
            key: Key of the file.
            name: Name of the variable.
            sample: Rows of a sample. Default: 0, all rows.
        """
        name, wish = check_name(name), LoadRequest(None, sample or None)
        try:
            value = value_of(self._storage, key, sample=wish.sample)
        except InsufficientMemory as problem:
            words = f"{str(problem).partition('. ')[0]}."
            self.loaded = {"key": key, "words": words, "offer": SAMPLE}
            return
        set_variable(name, value)
        self.loaded = {"key": key, "words": f"{name}: {_describe_value(value)}", "code": _loading_code(name, key, wish)}
        if self.seen.get("key") == key:  # another object may be looked at by now
            self.seen = {**self.seen, "free": free_name(key)}

    @user_action
    def make_folder(self, folder: str, name: str) -> None:
        """Create a folder.

        Args:
            folder: Key of the parent folder.
            name: Name of the new folder.
        """
        if not is_file_name(name):
            raise UsageError(f"'{name}' can't be the name of a folder. Nothing was created.")
        self._storage.put(b"", f"{_require_plain_key(folder)}{name}/{KEEP}", overwrite=False)
        self._list_around(f"{folder}{name}")

    @user_action
    def weigh(self, key: str) -> str:
        """Return the amount to delete, in words; of a large folder only the amount of its first page."""
        if not key.endswith("/"):
            return size_label(self._storage.info(key).size)
        infos = next(list_pages(self._storage._wire, key, recursive=True, size=MOST))
        size = size_label(sum(info.size for info in infos))
        return f"{len(infos):,} files or more" if len(infos) == MOST else f"{count_label(len(infos), 'file')}, {size}"

    @user_action
    def delete(self, key: str) -> None:
        """Delete a file, or a folder with its contents.

        Args:
            key: Key of the file, or of the folder with a slash at its end.
        """
        count = self._storage.remove(_require_plain_key(key))
        if key.endswith("/"):
            self.close_folder(key)
        if self.seen.get("key", "").startswith(key):
            self.seen, self.loaded = {}, {}
        self._list_around(key.rstrip("/"), deleted=key)
        self.say(f"Deleted {key} ({count_label(count, 'file')}).")

    @user_action
    def begin_upload(self, key: str, size: int, *, replace: bool = False, keep_both: bool = False) -> dict[str, Any]:
        """Prepare an upload in pieces; return its id, or that an object with this key exists.

        With ``keep_both``, the file gets a free key.
        """
        if keep_both:
            key = self._storage.free_key(_require_plain_key(key))
        elif not replace and self._storage.exists(_require_plain_key(key)):
            return {"taken": True}
        upload_id = uuid4().hex
        self._uploads[upload_id] = WidgetUpload(self._storage, key, size, overwrite=replace)
        return {"id": upload_id}

    @background_action
    def add_piece(self, upload_id: str, content: list[memoryview]) -> None:
        """Take the next piece of a file."""
        for piece in content:
            self._uploads[upload_id].add(bytes(piece))

    @user_action
    def end_upload(self, upload_id: str) -> None:
        """Store a file that has come completely."""
        upload = self._uploads.pop(upload_id)
        done = upload.end()
        self._list_around(upload.key)
        if self.seen.get("key") == upload.key:
            self.look(upload.key)
        self.say(f"✓ {upload.key}: {done}. A run opens the file as {remote_path(upload.key)}")

    @user_action
    def stop_upload(self, upload_id: str) -> None:
        """Store nothing of a file that was to come."""
        upload = self._uploads.pop(upload_id)
        upload.stop()
        self.say(f"{upload.key} wasn't stored.")

    @user_action
    def fetch(self, key: str, *, replace: bool = False) -> dict[str, Any]:
        """Download a file or a folder into the working folder.

        Args:
            key: Key of the file, or of the folder with a slash at its end.
            replace: Replace a file with the same name. Default: False: return that the file exists.

        Returns:
            A dict: empty after the download, or ``taken`` with the name of an existing file.
        """
        name = _require_plain_key(key).rstrip("/").rpartition("/")[2]
        if not is_file_name(name):
            raise UsageError(f"'{name}' can't be a file name here. Choose a file name: %lk_get KEY FILE")
        target = working_folder() / name
        if not replace and target.exists():
            return {"taken": name}
        try:
            self._storage.get(key, target, progress=self._show_progress)
        finally:
            self.transfer = ""
        self.say(f"✓ Downloaded {key}: {target}")
        return {}

    @user_action
    def content(self, key: str) -> str:
        """Return a small file for the browser to save, as base64."""
        size = self._storage.info(key).size
        if size > BLOB:
            raise UsageError(
                f"{key} has {size_label(size)}; the browser takes up to {size_label(BLOB)}. Download it in the "
                "notebook."
            )
        return b64encode(self._storage.get_bytes(key)).decode()

    def picture(self) -> StaticView:
        """Draw the folders that were open and the file that was looked at."""
        return _browser_picture.draw_browser(self.root, self.folders, self.seen, self.loaded, self.notice["text"])

    @property
    def _storage(self) -> Storage:
        return current().storage

    def _list_folder(self, folder: str, begins: str, count: int = 0) -> None:
        """List a folder from its first page, with at least ``count`` items."""
        items, token = list[dict[str, Any]](), None
        while not items or (token and len(items) < count):
            size = min(MOST, max(PAGE, count - len(items)))
            page = self._storage.ls_page(begins=folder + begins, token=token, size=size)
            items += map(_item_row, _visible_objects(page.items))
            token = page.token
            if not token:
                break
        self._show_listing(folder, {"items": items, "token": token or "", "begins": begins, "is_read": True})

    def _list_around(self, key: str, deleted: str = "") -> None:
        """List the innermost open folder of a key without ``deleted``, which some servers still list."""
        folder = next((folder for folder in _parent_folders(key) if folder in self.folders), None)
        if folder is None:
            return
        state = self.folders[folder]
        self._list_folder(folder, state["begins"], len(state["items"]))
        state = self.folders[folder]
        self._show_listing(folder, {**state, "items": [item for item in state["items"] if item["key"] != deleted]})

    def _show_listing(self, folder: str, listing: dict[str, Any]) -> None:
        """Show a listing, unless its folder was closed meanwhile."""
        with self._changing:
            if folder in self.folders:
                self.folders = {**self.folders, folder: listing}

    def _show_progress(self, progress: Progress) -> None:
        self.transfer = str(progress)


def _visible_objects(infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    """Iterate over the objects that are shown."""
    return (info for info in infos if info.key.rpartition("/")[2] != KEEP)


def _unread_listing() -> dict[str, Any]:
    return {"items": [], "token": "", "begins": "", "is_read": False}


def _item_row(info: ObjectInfo) -> dict[str, Any]:
    written = f"{info.modified.astimezone():%d %b %Y %H:%M}" if info.modified else ""
    return {
        "key": info.key,
        "size": "" if info.is_folder else size_label(info.size),
        "written": written,
        "bytes": info.size or 0,  # these two put a page in order
        "at": info.modified.timestamp() if info.modified else 0,
    }


def _parent_folders(key: str) -> Iterator[str]:
    """Iterate over the folders that contain a key, from the inside out."""
    while key:
        key = key.rpartition("/")[0]
        yield f"{key}/" if key else ""


def _require_plain_key(key: str) -> str:
    """Return a key that can be named here. Raises StorageError for an odd key of another program."""
    if "//" in key or key.startswith("/"):
        raise StorageError(f"{key!r} contains a folder without a name, so it can only be shown in the list.")
    return key


def _describe_value(value: Any) -> str:
    kind = type(value).__name__
    shape: tuple[int, ...] = getattr(value, "shape", ())
    if kind == "DataFrame":
        return f"DataFrame, {count_label(shape[0], 'row')}, {count_label(shape[1], 'column')}"
    return f"{kind}, {' by '.join(f'{n:,}' for n in shape)}" if shape else kind


def _loading_code(name: str, key: str, wish: LoadRequest) -> str:
    """Return code that does the same in a cell."""
    call = code_for(key, wish)
    if call:
        return f"import pandas as pd\n\n{name} = {call}"
    sample = f" --sample {wish.sample}" if wish.sample else ""
    return f"%lk_load {shlex.quote(key)} --as {name}{sample}"
