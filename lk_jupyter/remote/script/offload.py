"""Stores outputs that are too large for the log in the bucket, if the run has the bucket as a folder."""

from __future__ import annotations

import json
import os
import zlib
from hashlib import sha256

from . import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Where outputs are kept in the bucket.
FOLDER = ".lk_jupyter/outputs"

#: Places of the bucket. The name is split: a cloud that searches for the name would mount the bucket for every run.
PLACES = (os.environ.get("LK_" + "STORAGE", ""), os.sep.join(("", "mnt", "s3")))


def store_payload(kind: str, payload: dict[str, Any]) -> bool:
    """Write the payload of a frame to the bucket and send the place; return whether both succeeded."""
    place = next((place for place in PLACES if place and os.path.isdir(place)), None)
    if place is None:
        return False
    data = zlib.compress(json.dumps(payload).encode(), 1)
    folder = FOLDER + "/" + sha256(driver._nonce.encode()).hexdigest()[:32]
    key = "{}/{}".format(folder, driver.next_id())
    try:
        os.makedirs(os.path.join(place, *folder.split("/")), exist_ok=True)
        with open(os.path.join(place, *key.split("/")), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    facts = {"kind": kind, "key": key, "size": len(data), "sha256": sha256(data).hexdigest(), "id": payload.get("id")}
    facts["plain"] = str(payload["data"].get("text/plain", ""))[:10_000]
    driver.frame("stored", facts)
    return True
