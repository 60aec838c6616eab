"""Read the last saved moment of a run that ended without returning its variables."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lk_jupyter.errors import NoSuchObject, OperationNotAvailable
from lk_jupyter.protocol.bucket import MOMENT, returned_key
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.remote import sign

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage


@dataclass(frozen=True)
class SavedMoment:
    """A saved moment: ``at`` in seconds since 1970 on the clock of the machine, the message, and its large leaves."""

    at: float
    message: bytes
    leaves: memoryview


def download_moment(storage: Storage, token: str, key: bytes | None) -> SavedMoment | None:
    """Return the last saved moment of a run; None without a moment that the run has signed, and without a bucket.

    Raises StorageError.
    """
    if key is None:
        return None
    try:
        content = memoryview(bytes(storage.get_bytes(returned_key(token, MOMENT))))
    except (NoSuchObject, OperationNotAvailable):
        return None
    try:
        (size,) = struct.unpack_from("!I", content, sign.SIZE)
        header, rest = bytes(content[sign.SIZE + 4 :][:size]), content[sign.SIZE + 4 + size :]
        if not sign.is_signed(key, bytes(content[: sign.SIZE]), sign.MOMENT, header):
            return None
        facts = load_json(header)
        if hashlib.sha256(rest).hexdigest() != facts["sha256"]:
            return None
        return SavedMoment(float(facts["at"]), bytes(rest[: facts["text"]]), rest[facts["text"] :])
    except (struct.error, ValueError, LookupError, TypeError):
        return None
