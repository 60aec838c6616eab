"""List the bucket by pages, in the order of the bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from lk_jupyter.errors import StorageError
from lk_jupyter.storage._parts import FILES_AT_ONCE
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._sign import Request
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage.objects import FolderPage, ObjectInfo

Page = list[ObjectInfo]

#: The server of the local cloud, which lists a folder for up to a minute after its last object was deleted.
_LISTS_EMPTY_FOLDERS = "SeaweedFS"

#: Prefix of our own tokens, made from the last key of a page: servers with the older listing send no tokens.
_AFTER = "after="

#: Digits that a size has fewer than.
_MOST_DIGITS = 20

_SECONDS = len("2026-01-31T12:00:00")  # some servers send fractions of a second, of any length


def list_pages(wire: Wire, prefix: str, *, recursive: bool, size: int = 1000) -> Iterator[Page]:
    """Iterate over the pages of keys that start with ``prefix``; each page is requested when needed.

    Without ``recursive``, deeper keys are listed once, as their folder.
    """
    listing = request_page(wire, prefix, recursive=recursive, size=size)
    yield listing.items
    tokens: set[str] = set()
    while listing.token:
        if listing.token in tokens:
            raise _build_repeated_page_error(prefix)
        tokens.add(listing.token)
        listing = request_page(wire, prefix, recursive=recursive, size=size, token=listing.token)
        yield listing.items


def _build_repeated_page_error(prefix: str) -> StorageError:
    return StorageError(f"Can't read the list of {prefix!r}: the bucket repeats a page.")


def request_page(wire: Wire, prefix: str, *, recursive: bool, size: int, token: str | None = None) -> FolderPage:
    """Return a page of the keys that start with ``prefix``: the first page, or the page of a token."""
    query = {"list-type": "2", "prefix": prefix, "max-keys": str(size)}
    if not recursive:
        query["delimiter"] = "/"
    if token:
        query.update(_build_page_parameters(token))
    answer = wire.need(Request("GET", "", query))
    root = _parse_listing(answer.body, prefix)
    following = _read_next_page_token(root)
    if following and following == token:
        raise _build_repeated_page_error(prefix)
    items = _parse_items(root, prefix)
    if answer.headers.get("server", "").startswith(_LISTS_EMPTY_FOLDERS):
        items = _remove_empty_folders(wire, items)
    return FolderPage(items, following)


def _build_page_parameters(token: str) -> dict[str, str]:
    """Return the query parameters for the page of a token."""
    if not token.startswith(_AFTER):
        return {"continuation-token": token}
    key = token.removeprefix(_AFTER)
    return {"marker": key, "start-after": key}


def _read_next_page_token(root: ET.Element) -> str | None:
    """Return the token of the next page; None on the last page."""
    space = _read_namespace(root)
    if root.findtext(f"{space}IsTruncated", "").strip().lower() != "true":
        return None
    if token := root.findtext(f"{space}NextContinuationToken"):
        return token
    places = (f"{space}Contents/{space}Key", f"{space}CommonPrefixes/{space}Prefix")
    read = _choose_key_decoder(root)
    keys = [read(row.text or "") for place in places for row in root.iterfind(place)]
    last = read(root.findtext(f"{space}NextMarker", "")) or max(keys, default="")
    if not last:
        raise StorageError("Can't read the list of the bucket: the address of the next page is missing.")
    return f"{_AFTER}{last}"


def list_folder_markers(wire: Wire, prefix: str) -> list[str]:
    """Return the keys below a folder that end with a slash: empty objects with which other programs create folders."""
    query = {"list-type": "2", "prefix": prefix}
    marker_keys: list[str] = []
    starts: set[str | None] = {None}
    while True:
        root = _parse_listing(wire.need(Request("GET", "", query)).body, prefix)
        space = _read_namespace(root)
        keys = map(
            _choose_key_decoder(root), (row.findtext(f"{space}Key", "") for row in root.iter(f"{space}Contents"))
        )
        marker_keys += [key for key in keys if key.endswith("/")]
        following = _read_next_page_token(root)
        if following is None or following in starts:
            return marker_keys
        starts.add(following)
        query.update(_build_page_parameters(following))


def is_prefix(wire: Wire, prefix: str) -> bool:
    """Return whether a key starts with this text, markers of empty folders included."""
    query = {"list-type": "2", "prefix": prefix, "max-keys": "1"}
    root = _parse_listing(wire.need(Request("GET", "", query)).body, prefix)
    return next(root.iter(f"{_read_namespace(root)}Contents"), None) is not None


def _remove_empty_folders(wire: Wire, items: Page) -> Page:
    folders = [row.key for row in items if row.is_folder]
    folders_with_files: set[str] = set()

    def look(folder: str) -> None:
        if is_prefix(wire, folder):
            folders_with_files.add(folder)

    if folders:
        call_for_each(folders, look, min(len(folders), FILES_AT_ONCE), halt=CancelToken())
    return [row for row in items if not row.is_folder or row.key in folders_with_files]


def _parse_listing(body: bytes, prefix: str) -> ET.Element:
    try:
        root = ET.fromstring(body)  # noqa: S314 (from the storage that the API named)
    except ET.ParseError as error:
        raise StorageError(f"Can't read the list of {prefix!r} ({error}).") from None
    if root.tag.rpartition("}")[2] != "ListBucketResult":  # other XML would count as an empty list
        raise StorageError(f"Can't read the list of {prefix!r}: the answer isn't a list.")
    return root


def _choose_key_decoder(root: ET.Element) -> Callable[[str], str]:
    """Return a function that decodes the keys of a list: some servers quote keys as in URLs and declare that."""
    return unquote_plus if root.findtext(f"{_read_namespace(root)}EncodingType") == "url" else str


def _parse_items(root: ET.Element, prefix: str) -> Page:
    space = _read_namespace(root)
    read = _choose_key_decoder(root)
    cells = ({cell.tag[len(space) :]: cell.text or "" for cell in row} for row in root.iter(f"{space}Contents"))
    rows = [_parse_object({**row, "Key": read(row.get("Key", ""))}) for row in cells]
    names = (read(row.findtext(f"{space}Prefix", "")) for row in root.iter(f"{space}CommonPrefixes"))
    folders = [ObjectInfo(name, 0, None) for name in names]
    objects = [row for row in rows if not (row.is_folder and (row.key == prefix or not row.size))]
    return sorted([*folders, *objects], key=lambda row: row.key) if folders else objects


def _parse_object(row: dict[str, str]) -> ObjectInfo:
    written = None
    with suppress(ValueError):
        written = datetime.fromisoformat(row.get("LastModified", "")[:_SECONDS] + "+00:00")
    size = row.get("Size", "0").strip()
    if not (size.isascii() and size.isdecimal() and len(size) < _MOST_DIGITS):
        raise StorageError(f"Can't read the list of the bucket: it reports {size[:40]!r} as a size.")
    return ObjectInfo(row["Key"], int(size), written, row.get("ETag", "").strip('"'))


def _read_namespace(root: ET.Element) -> str:
    return root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
