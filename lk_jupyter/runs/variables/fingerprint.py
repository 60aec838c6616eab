"""Compute the SHA-256 of bytes, fast for bytes that were hashed before.

SHA-256 takes a second for a gigabyte, so digests are cached by a faster checksum: XXH3 with 128 bits and a secret
seed of this process. Equal checksums mean equal bytes, unless an attacker knows the seed. Each call reads every
byte, since values change in place.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any

import xxhash

#: A function that writes bytes, piece by piece, to its argument.
Write = Callable[[Callable[[Any], object]], object]

_SEED = secrets.randbits(64)
_digests: dict[bytes, str] = {}


def fingerprint(write: Write) -> str:
    """Return the SHA-256 of the bytes of ``write``, as hexadecimal digits."""
    quick = xxhash.xxh3_128(seed=_SEED)
    write(quick.update)
    key = quick.digest()
    if key not in _digests:
        slow = hashlib.sha256()
        write(slow.update)
        _digests[key] = slow.hexdigest()
    return _digests[key]
