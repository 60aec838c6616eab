"""Compute the SHA-256 of bytes, fast for bytes that were hashed before.

SHA-256 takes a second for a gigabyte, so digests are cached by a faster checksum: XXH3 with 128 bits and a secret
seed of this process. Equal checksums mean equal bytes, unless an attacker knows the seed. Each call reads every
byte, since values change in place.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import xxhash

#: A function that writes bytes, piece by piece, to its argument.
Write = Callable[[Callable[[Any], object]], object]

_SEED = secrets.randbits(64)
_digests: dict[bytes, str] = {}


def fingerprint(write: Write) -> str:
    """Return the SHA-256 of the bytes of ``write``, as hexadecimal digits."""
    key = _compute_checksum(write)
    if key not in _digests:
        _digests[key] = _compute_sha256(write)
    return _digests[key]


def fingerprint_parts(parts: Sequence[Write], joined: Write) -> tuple[list[str], str]:
    """Return the SHA-256 of each part and of ``joined``, the bytes of all parts.

    The checksums of the parts identify all bytes, so bytes that were hashed before are read only once.
    """
    keys = [_compute_checksum(part) for part in parts]
    all_keys = b"".join(keys)
    with ThreadPoolExecutor(1, thread_name_prefix="lk-hash") as thread:  # hashing releases Python's lock
        digest = None if all_keys in _digests else thread.submit(_compute_sha256, joined)
        for key, part in zip(keys, parts, strict=True):
            if key not in _digests:
                _digests[key] = _compute_sha256(part)
    if digest:
        _digests[all_keys] = digest.result()
    return [_digests[key] for key in keys], _digests[all_keys]


def _compute_checksum(write: Write) -> bytes:
    quick = xxhash.xxh3_128(seed=_SEED)
    write(quick.update)
    return quick.digest()


def _compute_sha256(write: Write) -> str:
    slow = hashlib.sha256()
    write(slow.update)
    return slow.hexdigest()
