"""Read outputs that were too large for the log from the bucket, where the run stored them."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from lk_jupyter.errors import LkError, NoSuchObject
from lk_jupyter.protocol.frames import Frame, unpack_json

STORED = "stored"
FOLDER = ".lk_jupyter/outputs"

#: Number of attempts to read an object that may not exist yet, and seconds between attempts.
LOOKS = 5
PAUSE = 0.5

#: Maximum bytes of an unpacked output.
MOST = 1 << 26


def fetch_content(read: Callable[[str], bytes | bytearray], nonce: str, frame: Frame) -> Frame:
    """Return the frame whose content is in the bucket, or a text frame if the content can't be read.

    ``read`` returns the bytes of a key, and raises NoSuchObject for a missing key.
    """
    facts = frame.payload
    try:
        payload = _read_payload(read, _read_checked_key(nonce, facts), facts)
    except (LkError, ValueError, RecursionError, zlib.error) as problem:
        size = facts.get("size")
        size_text = f"{size:,} bytes" if isinstance(size, int) else "unknown size"
        text = f"{facts.get('plain', '')}\n(an output of {size_text}, not shown: {problem})"
        payload = {"data": {"text/plain": text.strip()}, "metadata": {}, "id": facts.get("id")}
    if payload.get("id") is None:
        payload.pop("id", None)
    return Frame(str(facts.get("kind")), payload, frame.seq)


def _read_checked_key(nonce: str, facts: dict[str, Any]) -> str:
    """Return the key, which must be of this run's own."""
    key = str(facts.get("key"))
    if not key.startswith(f"{FOLDER}/{sha256(nonce.encode()).hexdigest()[:32]}/"):
        raise ValueError(f"{key} doesn't belong to this run")
    return key


def _read_payload(read: Callable[[str], bytes | bytearray], key: str, facts: dict[str, Any]) -> dict[str, Any]:
    data = _read_with_retries(read, key)
    if len(data) != facts.get("size") or sha256(data).hexdigest() != facts.get("sha256"):
        raise ValueError("the output was changed in the bucket")
    payload = unpack_json(data, MOST, MOST)
    if not isinstance(payload, dict):
        raise ValueError("it isn't an output")  # noqa: TRY004 (as whatever else is wrong with it)
    return payload


def _read_with_retries(read: Callable[[str], bytes | bytearray], key: str) -> bytes | bytearray:
    for _ in range(LOOKS - 1):
        try:
            return read(key)
        except NoSuchObject:
            time.sleep(PAUSE)
    return read(key)
