"""Write the list of the files that a run stages, with links, into the bucket just before the start.

The links read single objects. The list is in the bucket, because a request has a maximum size.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from datetime import timedelta
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.bucket import stage_key
from lk_jupyter.storage._executed import explain_name
from lk_jupyter.storage._plan import is_file_name

if TYPE_CHECKING:
    from lk_jupyter.storage.objects import ObjectInfo
    from lk_jupyter.storage.storage import Storage

#: The maximum number of files: their list must fit in the memory of a small machine.
MOST_FILES = 200_000

#: The maximum number of skipped files that the log of the run lists.
MOST_REASONS = 20


def upload_stage_list(
    storage: Storage, token: str, pairs: Iterable[tuple[str, str]], life: timedelta
) -> dict[str, Any]:
    """Upload the list of the files to stage, and return the link to the list, its size and its SHA-256.

    ``pairs`` are keys and folders. As other members can write into the bucket, a folder brings only data: another file
    is staged by its own key. Raises UsageError, StorageError.
    """
    pairs = list(pairs)
    listings = [_list_objects(storage, key) for key, _ in pairs]
    count = sum(map(len, listings))
    if count > MOST_FILES:
        raise UsageError(
            f"--stage: {count:,} files are too many; a run stages up to {MOST_FILES:,}. Nothing was sent. Pack them "
            "into tar files of about 1 GB."
        )
    rows, skipped = [], []
    for (key, folder), objects in zip(pairs, listings, strict=True):
        for name, info in objects.items():
            if not is_file_name(name, windows=False):
                skipped.append(f"{info.key!r} can't be a file name")
            elif info.key != key and (reason := explain_name(name)):
                skipped.append(f"{info.key!r} {reason}. Check it, then: --stage {quote(f'lk://{info.key}:{folder}')}")
            else:
                rows.append((folder, name, info))
    if len(skipped) > MOST_REASONS:
        skipped[MOST_REASONS:] = [f"{len(skipped) - MOST_REASONS:,} more files, for the same reasons"]
    listed = {**_sign_links(storage, rows, life), "skipped": skipped}
    content = zlib.compress(json.dumps(listed).encode(), 1)
    key = stage_key(token)
    storage.put(content, key)
    link = storage.presign(key, life=life)
    return {"get": link.url, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _sign_links(storage: Storage, rows: list[tuple[str, str, ObjectInfo]], life: timedelta) -> dict[str, Any]:
    """Return a row for each object: folder, name, path, size, ETag, time, signature; and the rest of the links.

    All links are signed in the same second, so only their paths and signatures differ.
    """
    links = [urlsplit(link.url) for link in storage.presign_all([info.key for *_, info in rows], life=life)]
    queries = [link.query.rpartition("=") for link in links]
    files = [
        [folder, name, link.path, info.size, info.etag, info.modified.timestamp() if info.modified else 0, signature]
        for (folder, name, info), link, (_, _, signature) in zip(rows, links, queries, strict=True)
    ]
    first = links[0] if links else urlsplit("")
    return {"origin": f"{first.scheme}://{first.netloc}", "query": queries[0][0] + "=" if links else "", "files": files}


def _list_objects(storage: Storage, key: str) -> dict[str, ObjectInfo]:
    """Return name → object of a folder, or of a single file. Raises UsageError without any."""
    objects = {info.key[len(key) + 1 :]: info for info in storage.ls(key)}
    if not objects and (info := storage.find(key)):
        objects = {info.name: info}
    if not objects:
        raise UsageError(f"--stage: no files in 'lk://{key}'. Nothing was sent. List the bucket: %lk_ls")
    return objects
