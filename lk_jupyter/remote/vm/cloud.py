"""Requests of a VM to the cloud: store results and checkpoints in the bucket, and delete the VM."""

from __future__ import annotations

import json
import os
import time

from .files import LOG, LONGEST_PAUSE, OBJECTS, PIECE, SAVE_TRIES, STATE, read_pieces
from .objects import object_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: Answers without the VM that prove its end, and the least seconds between the first and the last of them.
ABSENCES, ABSENCE_SECONDS = 3, 10.0

#: Answers to an upload that another attempt doesn't change → their reason.
REFUSALS = {
    401: "the API key of the VM was revoked, so keep Jupyter on until the run ends",
    402: "no credits are left, so buy some: %lk_billing checkout 50",
    403: "the API key of the VM may not store files",
    413: "the bucket accepts no file of this size",
    507: "the bucket is full, so free space: %lk_bucket usage",
}


class ObjectMissing(Exception):
    """The bucket doesn't have the object."""


class VmCloud:
    """The requests of the supervisor to the cloud: store results, and delete its VM."""

    def __init__(self, api: Mapping[str, str]) -> None:
        self._api = api

    def save(self, prefix: str) -> None:
        """Store the state, the log and all objects in the bucket."""
        for name in sorted(os.listdir(OBJECTS)):
            self._upload_file(object_key(name), os.path.join(OBJECTS, name))
        self._upload_file(prefix + "log", LOG)
        self._upload_file(prefix + "state", STATE)

    def delete(self, vm_id: str) -> None:
        """Delete the VM, repeatedly, until the cloud reports its end, or no VM several times in ABSENCE_SECONDS."""
        from urllib.parse import quote

        path, pause, absences, first_absence = "/vms/" + quote(vm_id, safe=""), 1.0, 0, 0.0
        while True:
            self._send_request("DELETE", path)
            status, answer = self._send_request("GET", path + "/status")
            if answer.get("status") in ("terminated", "deleted", "destroyed"):
                return
            if status != 404:
                absences = 0
            else:
                first_absence = first_absence if absences else time.monotonic()
                absences += 1
                if absences >= ABSENCES and time.monotonic() - first_absence >= ABSENCE_SECONDS:
                    return
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _upload_file(self, key: str, path: str) -> None:
        self.upload(key, path, 0, os.path.getsize(path))

    def upload(self, key: str, path: str, start: int, size: int) -> int:
        """Store a part of a file in the bucket, with several attempts; return the HTTP status of the last attempt."""
        from itertools import chain
        from urllib.parse import quote

        mark = "lk-" + os.urandom(16).hex()
        head = '--{}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n\r\n'.format(mark).encode()
        tail = "\r\n--{}--\r\n".format(mark).encode()
        headers = {"Content-Type": "multipart/form-data; boundary=" + mark}
        headers["Content-Length"] = str(len(head) + size + len(tail))
        status = 599
        for attempt in range(SAVE_TRIES):
            with open(path, "rb") as file:
                file.seek(start)
                body = chain([head], read_pieces(file, size), [tail])
                status = self._send_request("POST", "/storage/upload?key=" + quote(key, safe=""), body, headers)[0]
            if status < 300 or status in REFUSALS:
                break
            time.sleep(2.0**attempt)
        return status

    def download(self, key: str, path: str) -> str:
        """Append an object of the bucket to a file, and return its SHA-256. Raises OSError, ObjectMissing."""
        import hashlib
        import urllib.error
        import urllib.request
        from urllib.parse import quote

        digest = hashlib.sha256()
        request = urllib.request.Request(
            self._api["url"] + "/storage/download/" + quote(key), headers=self._build_headers()
        )
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as refusal:
            refusal.close()
            if refusal.code == 404:
                raise ObjectMissing(key)
            raise
        with answer, open(path, "ab") as file:
            for piece in iter(lambda: answer.read(PIECE), b""):
                digest.update(piece)
                file.write(piece)
        return digest.hexdigest()

    def remove(self, key: str) -> None:
        """Delete an object of the bucket; an object that can't be deleted is left to the clean-up of the notebook."""
        from urllib.parse import quote

        self._send_request("DELETE", "/storage/delete/" + quote(key))

    def _build_headers(self) -> dict[str, str]:
        headers = {"Authorization": "Bearer " + self._api["key"], "Accept": "application/json"}
        headers.update({"X-Org-Slug": self._api["org"]} if self._api.get("org") else {})
        return headers

    def _send_request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return status and content of an answer; status 599 without an answer."""
        import urllib.error
        import urllib.request

        headers = dict(self._build_headers(), **(headers or {}))
        request = urllib.request.Request(self._api["url"] + path, data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content = json.loads(answer.read() or b"{}")
                return answer.status, content if isinstance(content, dict) else {}
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return refusal.code, {}
        except (OSError, ValueError):
            return 599, {}
