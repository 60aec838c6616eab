"""Outputs that were too large for the log: read from the bucket, where the run put them."""

from __future__ import annotations

import json
import time
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import LkError, NoSuchObject
from lk_jupyter.runs.frames import Frame

if TYPE_CHECKING:
    from lk_jupyter.runs.session import Session

STORED = "stored"
FOLDER = ".lk_jupyter/outputs"

#: Looks for an object that may not be there yet, and seconds between them.
LOOKS = 5
PAUSE = 0.5

#: Bytes that an output may have when it is unpacked.
MOST = 1 << 28


def fetched(session: Session, nonce: str, frame: Frame) -> Frame:
    """Return the frame that stands for one that was put in the bucket; its text, where that cannot be read."""
    facts = frame.payload
    try:
        payload = _read(session, _key(nonce, facts), facts)
    except (LkError, ValueError, zlib.error) as problem:
        text = f"{facts.get('plain', '')}\n(an output of {facts.get('size', 0):,} bytes, not shown: {problem})"
        payload = {"data": {"text/plain": text.strip()}, "metadata": {}, "id": facts.get("id")}
    if payload.get("id") is None:
        payload.pop("id", None)
    return Frame(str(facts.get("kind")), payload, frame.seq)


def _key(nonce: str, facts: dict[str, Any]) -> str:
    """Return the key, which must be of this run's own."""
    key = str(facts.get("key"))
    if not key.startswith(f"{FOLDER}/{sha256(nonce.encode()).hexdigest()[:32]}/"):
        raise ValueError(f"{key} is not of this run")
    return key


def _read(session: Session, key: str, facts: dict[str, Any]) -> dict[str, Any]:
    data = _bytes(session, key)
    if zlib.crc32(data) != facts.get("crc"):
        raise ValueError("it was changed in the bucket")
    unpacked = zlib.decompressobj()
    text = unpacked.decompress(data, MOST)
    if not unpacked.eof:
        raise ValueError(f"it has more than {MOST:,} bytes")
    payload: dict[str, Any] = json.loads(text)
    return payload


def _bytes(session: Session, key: str) -> bytes:
    for _ in range(LOOKS - 1):
        try:
            return bytes(session.storage.get_bytes(key))
        except NoSuchObject:
            time.sleep(PAUSE)
    return bytes(session.storage.get_bytes(key))
