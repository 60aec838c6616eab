"""What is in the bucket, a page at a time, as the bucket has it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from xml.etree import ElementTree as ET

from lk_jupyter.errors import StorageError
from lk_jupyter.storage._sign import Request
from lk_jupyter.storage._wire import Wire
from lk_jupyter.storage.objects import FolderPage, ObjectInfo

Page = list[ObjectInfo]

_SECONDS = len("2026-01-31T12:00:00")  # some servers tell fractions too, of any length


def pages(wire: Wire, prefix: str, *, recursive: bool, size: int = 1000) -> Iterator[Page]:
    """Iterate over the pages of what begins with ``prefix``; the next is asked for when it is wanted.

    Without ``recursive`` what lies deeper is told as its folder, once.
    """
    found = page(wire, prefix, recursive=recursive, size=size)
    yield found.items
    while found.token:
        found = page(wire, prefix, recursive=recursive, size=size, token=found.token)
        yield found.items


def page(wire: Wire, prefix: str, *, recursive: bool, size: int, token: str | None = None) -> FolderPage:
    """Return one page of what begins with ``prefix``: the first, or the one that the token of another leads to."""
    query = {"list-type": "2", "prefix": prefix, "max-keys": str(size)}
    if not recursive:
        query["delimiter"] = "/"
    if token:
        query["continuation-token"] = token
    root = _read(wire, prefix, query)
    is_last = root.findtext(f"{_space(root)}IsTruncated") != "true"
    following = root.findtext(f"{_space(root)}NextContinuationToken")
    return FolderPage(_items(root, prefix), None if is_last else following or None)


def _read(wire: Wire, prefix: str, query: dict[str, str]) -> ET.Element:
    body = wire.need(Request("GET", "", query)).body
    try:
        return ET.fromstring(body)  # noqa: S314 (from the storage that the API named)
    except ET.ParseError as error:
        raise StorageError(f"The list of {prefix!r} cannot be read ({error}).") from None


def _items(root: ET.Element, prefix: str) -> Page:
    space = _space(root)
    found = [_info({cell.tag[len(space) :]: cell.text or "" for cell in row}) for row in root.iter(f"{space}Contents")]
    folders = [ObjectInfo(row.findtext(f"{space}Prefix", ""), 0, None) for row in root.iter(f"{space}CommonPrefixes")]
    objects = [row for row in found if not (row.is_folder and (row.key == prefix or not row.size))]
    return sorted([*folders, *objects], key=lambda row: row.key) if folders else objects


def _info(row: dict[str, str]) -> ObjectInfo:
    written = datetime.fromisoformat(row["LastModified"][:_SECONDS] + "+00:00")
    return ObjectInfo(row["Key"], int(row.get("Size", "0")), written, row.get("ETag", "").strip('"'))


def _space(root: ET.Element) -> str:
    return root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
