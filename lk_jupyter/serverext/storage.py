"""``lk/storage/…``: operations of a file browser that the API doesn't have.

The API lists keys from a prefix, and has neither folders nor moves. An empty folder is represented by a separate
object, ``.keep``, which no listing shows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from lk_jupyter.errors import LkError
from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    import httpx

    from lk_jupyter.serverext.upstream import Upstream

#: Maximum number of keys that are read of a folder, and of items in an answer.
MOST_KEYS, MOST_ITEMS = 10_000, 1000

#: Size of the largest file for a preview, and of the largest file that a preview keeps in memory, in bytes.
MOST_PREVIEWED, MOST_IN_MEMORY = 50_000_000, 8_000_000

KEEP = ".keep"


class ListingHandler(Handler):
    """A folder."""

    @guarded
    async def get(self) -> None:
        """Return the content of ``folder``: ``limit`` items from ``offset``, folders first, each group by name."""
        folder = _check_folder(self.get_query_argument("folder", "", strip=False))
        limit, offset = self.number("limit", 200, MOST_ITEMS), self.number("offset", 0)
        files = await _list_files(await self.desk.upstream(), folder)
        items = _build_items(folder, files)
        content = {"folder": folder, "total": len(items), "truncated": len(files) >= MOST_KEYS}
        self.finish({**content, "items": items[offset : offset + limit]})


class Info(Handler):
    """The file or folder of a name."""

    @guarded
    async def get(self) -> None:
        """Return the file ``key``, or the folder of that name."""
        key = _check_key(self.get_query_argument("key", strip=False).rstrip("/"))
        upstream = await self.desk.upstream()
        if (files := await _list_files(upstream, key, 1)) and files[0]["key"] == key:
            self.finish(_build_file(files[0], key.rpartition("/")[2]))
        elif await _list_files(upstream, f"{key}/", 1):
            self.finish({"key": f"{key}/", "name": key.rpartition("/")[2], "is_folder": True})
        else:
            raise RequestProblem("refused", f"No file '{key}' in the bucket.", 404)


class PreviewHandler(Handler):
    """The start of a file."""

    @guarded
    async def get(self) -> None:
        """Return a preview of the file ``key``, or the reason for a missing preview in words."""
        key = _check_key(self.get_query_argument("key", strip=False))
        upstream = await self.desk.upstream()
        files = await _list_files(upstream, key, 1)
        if not files or files[0]["key"] != key:
            raise RequestProblem("refused", f"No file '{key}' in the bucket.", 404)
        with SpooledTemporaryFile(MOST_IN_MEMORY) as file:
            if files[0]["size"] <= MOST_PREVIEWED:
                async with _open_download(upstream, key) as response:
                    async for piece in response.aiter_raw():
                        file.write(piece)
                        if file.tell() > MOST_PREVIEWED:  # the file has grown since the listing
                            files[0]["size"] = file.tell()
                            break
                file.seek(0)
            self.finish(await asyncio.to_thread(file_preview, files[0], file))


class Folder(Handler):
    """A new folder."""

    @guarded
    async def post(self) -> None:
        """Create the folder."""
        from lk_jupyter.serverext.models import FolderBody  # noqa: PLC0415 (at first use)

        folder = _check_folder(self.read(FolderBody).folder)
        if not folder:
            raise RequestProblem("bad-request", "Give the folder a name.")
        upstream = await self.desk.upstream()
        if await _list_files(upstream, folder, 1):
            raise RequestProblem("refused", f"The folder '{folder}' already exists. Nothing was changed.", 409)
        await put(upstream, folder + KEEP, 0, _yield_nothing())
        self.finish({"objects": 1})


class Move(Handler):
    """A file or a folder under another name, or under two."""

    @guarded
    async def post(self) -> None:
        """Copy, then delete: a failure in between leaves the source complete."""
        from lk_jupyter.serverext.models import MoveBody  # noqa: PLC0415 (at first use)

        body = self.read(MoveBody)
        upstream = await self.desk.upstream()
        moves = await _plan_moves(upstream, body.source, body.target)
        if not body.overwrite:
            await _refuse_existing(upstream, body.target)
        for source, target in moves:
            await _copy_file(upstream, source, target)
        for source, _ in () if body.keep else moves:
            await _delete_file(upstream, source)
        self.finish({"objects": len(moves)})


#: Keys that objects are on their way to which may replace none.
_claimed: set[tuple[Upstream, str]] = set()


@asynccontextmanager
async def claim(upstream: Upstream, key: str) -> AsyncIterator[None]:
    """Claim a key for an object that may not replace another, until the object is stored. Raises RequestProblem.

    The API's upload has no condition, so two pages of this server are separated here.
    """
    conflict = RequestProblem("refused", f"'{key[:200]}' already exists in the bucket. Nothing was uploaded.", 412)
    if (upstream, key) in _claimed:
        raise conflict
    _claimed.add((upstream, key))
    try:
        if (files := await _list_files(upstream, key, 1)) and files[0]["key"] == key:
            raise conflict
        yield
    finally:
        _claimed.discard((upstream, key))


async def _list_files(upstream: Upstream, folder: str, most: int = MOST_KEYS) -> list[dict[str, Any]]:
    from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415 (at first use, like all below)
    from lk_jupyter.api.storage import StorageGroup  # noqa: PLC0415

    rows: list[dict[str, Any]] = await upstream.call(
        endpoint_of(StorageGroup.list_files), prefix=folder, max_files=most
    )
    return rows


def _build_items(folder: str, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    folders: dict[str, dict[str, Any]] = {}
    children = []
    for file in files:
        name, slash, _ = file["key"][len(folder) :].partition("/")
        if slash:
            folders[name] = {"key": f"{folder}{name}/", "name": name, "is_folder": True}
        elif name not in {"", KEEP}:
            children.append(_build_file(file, name))
    return [*sorted(folders.values(), key=_build_sort_key), *sorted(children, key=_build_sort_key)]


def _build_file(file: dict[str, Any], name: str) -> dict[str, Any]:
    facts = {"size": file["size"], "last_modified": file["last_modified"]}
    return {"key": file["key"], "name": name, "is_folder": False, **facts}


def file_preview(row: dict[str, Any], file: Any) -> dict[str, Any]:
    """Return the preview of a file as JSON for the browser."""
    from lk_jupyter.serverext.models import StorageItem, StoragePreview  # noqa: PLC0415 (at first use, like all below)
    from lk_jupyter.storage.objects import ObjectInfo  # noqa: PLC0415
    from lk_jupyter.storage.preview import Preview, preview_content, preview_object  # noqa: PLC0415

    item = StorageItem.model_validate(_build_file(row, row["key"]))
    info = ObjectInfo(item.key, item.size or 0, item.last_modified)
    if info.size > MOST_PREVIEWED:
        most = f"previews go up to {MOST_PREVIEWED // 1_000_000} MB"
        preview = Preview(
            info, f"This file is too large: {most}. Preview it in a notebook, where only the start of the file is read."
        )
    else:
        try:
            preview = preview_object(info, file)
        except LkError as problem:
            from lk_jupyter._extras import build_extra_command  # noqa: PLC0415 (few files need a missing package)

            needs = str(problem).partition(":")[0]
            words = (
                f"{needs} in the environment of the Jupyter server. Load the file in a notebook, or install it there:"
            )
            preview = Preview(info, f"{words} {build_extra_command('pandas')}")
    return StoragePreview.model_validate(preview_content(preview)).model_dump()


def _build_sort_key(item: dict[str, Any]) -> tuple[str, str]:
    return item["name"].casefold(), item["name"]


async def _plan_moves(upstream: Upstream, source: str, target: str) -> list[tuple[str, str]]:
    """Return every key with the new key."""
    if source.endswith("/") != target.endswith("/"):
        raise RequestProblem(
            "bad-request",
            "A folder ends with a slash and a file doesn't. Source and target must both be folders, or both be files.",
        )
    if not source.endswith("/"):
        return [(_check_key(source), _check_key(target))]
    source, target = _check_folder(source), _check_folder(target)
    if not source or not target or target.startswith(source):
        raise RequestProblem("bad-request", "A folder can't be moved into itself, and the bucket can't be moved.")
    files = await _list_files(upstream, source)
    if len(files) >= MOST_KEYS:
        raise RequestProblem(
            "refused", f"This folder has {MOST_KEYS:,} files or more. Move it: session.storage.move(…)"
        )
    if not files:
        raise RequestProblem("refused", f"No folder '{source}'.", 404)
    return [(file["key"], target + file["key"][len(source) :]) for file in files]


async def _refuse_existing(upstream: Upstream, target: str) -> None:
    files = await _list_files(upstream, target, 1)
    if files and (target.endswith("/") or files[0]["key"] == target):
        raise RequestProblem("refused", f"'{target}' already exists. Nothing was moved.", 409)


async def _copy_file(upstream: Upstream, source: str, target: str) -> None:
    async with _open_download(upstream, source) as response:
        size = _read_size(response)
        if size is None:
            raise RequestProblem("refused", f"The server doesn't report the size of '{source}', so it can't be moved.")
        await put(upstream, target, size, response.aiter_raw())


async def _delete_file(upstream: Upstream, key: str) -> None:
    from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415
    from lk_jupyter.api.storage import StorageGroup  # noqa: PLC0415

    await upstream.call(endpoint_of(StorageGroup.delete), file_key=key)


def _open_download(upstream: Upstream, key: str) -> Any:
    from lk_jupyter.api._endpoint import endpoint_of  # noqa: PLC0415
    from lk_jupyter.api.storage import StorageGroup  # noqa: PLC0415

    call = endpoint_of(StorageGroup.download).call(key)
    return upstream.open(call.endpoint, call.path, headers={"Accept": "*/*", "Accept-Encoding": "identity"})


async def put(upstream: Upstream, key: str, size: int, pieces: AsyncIterator[bytes]) -> None:
    """Store an object, piece by piece as they come."""
    from lk_jupyter.api._endpoint import EXTERNAL, endpoint_of  # noqa: PLC0415
    from lk_jupyter.api.storage import StorageGroup  # noqa: PLC0415

    boundary = uuid4().hex
    name = quote(key.rpartition("/")[2], safe=" ")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    async def form() -> AsyncIterator[bytes]:
        yield head
        async for piece in pieces:
            yield piece
        yield tail

    endpoint = endpoint_of(StorageGroup.upload)
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head) + size + len(tail)),
    }
    await upstream.json(endpoint, EXTERNAL + endpoint.path, query={"key": key}, headers=headers, content=form())


async def _yield_nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def _read_size(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


def _check_folder(folder: str) -> str:
    return _check_key(folder.rstrip("/")) + "/" if folder.strip("/") else ""


def _check_key(key: str) -> str:
    """Return a key that a path can carry. Raises RequestProblem."""
    from lk_jupyter.serverext.allowlist import leads_elsewhere  # noqa: PLC0415

    if not all(key.split("/")) or leads_elsewhere(key) or not key.isprintable():
        raise RequestProblem(
            "bad-request",
            f"'{key[:100]}' isn't a valid name. A name can't contain empty parts, parts with only dots, or "
            "control characters.",
        )
    return key
