"""Buckets: a bucket for each organization, on the S3 server of this cloud, and credentials for a single bucket."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode

from fastapi import HTTPException

from lk_jupyter.localcloud.buckets.seaweedfs import REGION, ROLE, Server, Weed, ask

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta
    from obstore.store import S3Store

#: Actions that temporary credentials allow in their bucket, and forbidden actions, such as the deletion of the bucket.
_ACTIONS = ("s3:Get*", "s3:Put*", "s3:Delete*", "s3:List*", "s3:AbortMultipartUpload")
_NEVER = ("s3:DeleteBucket*", "s3:PutBucket*", "s3:PutEncryption*", "s3:PutLifecycle*", "s3:PutReplication*")

#: Seconds in which a server that has just started can make a bucket, and between two tries.
_READY_SECONDS, _PAUSE_SECONDS = 20.0, 0.1

_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 4


class BucketStorage:
    """The storage of a data folder. The server starts at the first use.

    ``capacity`` is the maximum size of a bucket through REST, in bytes; None is limited by the disk only.
    """

    def __init__(self, folder: Path, credential_seconds: int, capacity: int | None) -> None:
        self._weed = Weed(folder, credential_seconds)
        self._capacity = capacity
        self._buckets: dict[tuple[Server, str], Bucket] = {}
        self._making = threading.Lock()

    @property
    def is_used(self) -> bool:
        """Return whether the storage was ever used."""
        return self._weed.is_used

    def get_or_create_bucket(self, org_id: str) -> Bucket:
        """Return the bucket of an organization, and create it if missing."""
        server, name = self._weed.get_or_start_server(), _format_bucket_name(org_id)
        with self._making:  # SeaweedFS may fail at simultaneous creations
            if (server, name) not in self._buckets:
                make_bucket(server, name)
                self._buckets[server, name] = Bucket(name, _open_object_store(server, name), self._capacity)
            return self._buckets[server, name]

    def issue_credentials(self, org_id: str) -> dict[str, Any]:
        """Issue temporary credentials for the bucket of an organization, and for nothing else."""
        return self._issue_credentials(self.get_or_create_bucket(org_id).name)

    def bucket_name(self, org_id: str) -> str:
        """Return the name of the bucket of an organization."""
        return _format_bucket_name(org_id)

    def exists(self, org_id: str) -> bool:
        """Whether the bucket of an organization was made."""
        return ask(self._weed.get_or_start_server(), "HEAD", f"/{_format_bucket_name(org_id)}")[0] == http.client.OK

    def _issue_credentials(self, name: str, *, creating: bool = False) -> dict[str, Any]:
        server = self._weed.get_or_start_server()
        answer = _assume_role(server, _build_policy(name, creating=creating))
        return {
            "access_key": answer["AccessKeyId"],
            "secret_key": answer["SecretAccessKey"],
            "session_token": answer["SessionToken"],
            "endpoint": server.endpoint,
            "bucket_name": name,
            "region": REGION,
            "expires_at": answer["Expiration"],
        }

    def mount_folder(self, org_id: str) -> Path | None:
        """Return the folder that is the bucket of an organization, or None where the system can show none."""
        name = self.get_or_create_bucket(org_id).name
        buckets = self._weed.mount_folder()
        return buckets / name if buckets else None

    def forget(self, org_id: str) -> None:
        """Remove the files of an organization that is deleted, in the background; called in the event loop."""
        if self.is_used:
            asyncio.get_running_loop().run_in_executor(
                None, lambda: self.get_or_create_bucket(org_id).delete_folder("")
            )

    def recover(self) -> None:
        """Clear up after an unclean end."""
        self._weed.recover()

    def close(self) -> None:
        """End the storage; acknowledged objects are on disk."""
        self._weed.close()


@dataclass(frozen=True)
class Bucket:
    """The objects of an organization. FileNotFoundError for a key without an object."""

    name: str
    _store: S3Store
    _capacity: int | None

    def put(self, key: str, file: BinaryIO) -> ObjectMeta:
        """Store a file piece by piece; the object appears when this method returns. 400 without enough room."""
        self._check_room(file)
        self._store.put(_require_key(key), file, chunk_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE)
        return self._store.head(key)

    def open(self, key: str) -> GetResult:
        """Return an object, to be read piece by piece."""
        return self._store.get(_check_read_key(key))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._store.head(_check_read_key(key))
        self._store.delete(key)

    def delete_folder(self, prefix: str) -> int:
        """Remove all objects whose key starts with the prefix and return their number."""
        keys = [row["path"] for row in self.list(prefix)]
        if keys:
            self._store.delete(keys)
        return len(keys)

    def list(self, prefix: str = "") -> Iterator[ObjectMeta]:
        """Iterate over the objects whose key starts like this."""
        folder = prefix.rpartition("/")[0]
        if folder and not _is_valid_key(folder):
            return
        for page in self._store.list(folder or None):
            yield from (row for row in page if row["path"].startswith(prefix))

    def _check_room(self, file: BinaryIO) -> None:
        if self._capacity is None:
            return
        room = self._capacity - sum(row["size"] for row in self.list())
        size = file.seek(0, 2)
        file.seek(0)
        if size > room:
            raise no_room_error(size, room)


def no_room_error(size: int | None, room: int) -> HTTPException:
    """Return the answer to a file that does not fit."""
    need = "The file is larger" if size is None else f"The file has {size} bytes"
    return HTTPException(400, f"{need}: the storage has room for {max(0, room)} more. Delete files, then try again")


def _is_valid_key(key: str) -> bool:
    """Return whether the server stores a key unchanged; further slashes and dots are dropped or refused."""
    parts = key.split("/")
    plain = key.isprintable() and "\\" not in key and all(part.strip(".") or len(part) > len("..") for part in parts)
    return plain and all(0 < len(part.encode("utf-8", "replace")) <= 255 for part in parts) and len(key) <= 1024


def _require_key(key: str) -> str:
    if not _is_valid_key(key):
        raise HTTPException(
            400, f"{key[:100]!r} is not a key: give a relative path such as data/train.csv, with names up to 255 bytes"
        )
    return key


def _check_read_key(key: str) -> str:
    if not _is_valid_key(key):
        raise FileNotFoundError(key)
    return key


def _format_bucket_name(org_id: str) -> str:
    return f"org-{org_id}"


def _open_object_store(server: Server, bucket: str) -> S3Store:
    from obstore.store import S3Store  # noqa: PLC0415 (most starts of a cloud never need it)

    # Proxies of the environment are for remote hosts; the library only excludes hosts if a proxy is set.
    direct: Any = {"allow_http": True, "proxy_url": server.endpoint, "proxy_excludes": "127.0.0.1"}
    return S3Store(
        bucket,
        endpoint=server.endpoint,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
        region=REGION,
        virtual_hosted_style_request=False,
        client_options=direct,
    )


def _build_policy(bucket: str, *, creating: bool) -> str:
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    rows = [
        {"Effect": effect, "Action": actions, "Resource": resources}
        for effect, actions in (("Allow", [*_ACTIONS, *(["s3:CreateBucket"] if creating else [])]), ("Deny", _NEVER))
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": rows})


def make_bucket(server: Server, name: str) -> None:
    """Create a bucket; a server that answers already may need a moment more until it can."""
    deadline = time.monotonic() + _READY_SECONDS
    while (answer := ask(server, "PUT", f"/{name}"))[0] not in {200, 409}:
        status, body = answer
        if time.monotonic() > deadline or (status < 500 and status != http.client.NOT_FOUND):
            raise HTTPException(
                503, f"The storage could not make a bucket: {_parse_element(body, 'Message') or status}"
            )
        time.sleep(_PAUSE_SECONDS)


def _assume_role(server: Server, policy: str) -> dict[str, str]:
    fields = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": ROLE, "RoleSessionName": "storage"}
    status, body = ask(server, "POST", "/", urlencode({**fields, "Policy": policy}))
    if status != http.client.OK:
        raise HTTPException(503, f"The storage gave no credentials: {_parse_element(body, 'Message') or status}")
    return {
        name: _parse_element(body, name) for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    }


def _parse_element(body: str, name: str) -> str:
    match = re.search(f"<{name}>(.*?)</{name}>", body)
    return match[1] if match else ""
