"""Transfers files by signed links to the bucket. A link is a secret: no message contains a link."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of a piece of a file in memory, which has a SHA-256, and seconds without a byte after which a transfer fails.
PIECE, _PATIENCE = 8 << 20, 60


def open_url(request: Any) -> Any:
    """Open a link or a request; links to this machine bypass the proxy of the environment."""
    from ..values.transfer import link_opener

    link = request if isinstance(request, str) else request.full_url
    return link_opener(link).open(request, timeout=_PATIENCE)


def upload_file(link: str, path: str) -> None:
    """Upload a file. Raises OSError."""
    import os
    import urllib.request

    headers = {"Content-Length": str(os.path.getsize(path)), "Content-Type": "application/x-tar"}
    with open(path, "rb") as file:
        open_url(urllib.request.Request(link, data=file, headers=headers, method="PUT")).close()


def download_file(link: str, path: str) -> str:
    """Download a file, and return its SHA-256. Raises OSError."""
    import hashlib

    content = hashlib.sha256()
    with open_url(link) as answer, open(path, "wb") as file:
        for piece in iter(lambda: answer.read(PIECE), b""):
            content.update(piece)
            file.write(piece)
    return content.hexdigest()


def hash_file(path: str) -> str:
    """Return the SHA-256 of a file."""
    import hashlib

    content = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            content.update(piece)
    return content.hexdigest()


def read_piece(file: Any) -> bytes:
    """Read a piece from a file or an answer; the last piece is shorter, and empty at the end."""
    parts, size = [], 0
    while size < PIECE:
        part = file.read(PIECE - size)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def hash_bytes(content: bytes) -> str:
    """Return the SHA-256 of bytes."""
    import hashlib

    return hashlib.sha256(content).hexdigest()


def describe_error(error: BaseException) -> str:
    """Return an error in words, without the link."""
    if hasattr(error, "code"):
        return "HTTP {}".format(error.code)
    return "{}: {}".format(type(error).__name__, getattr(error, "reason", error))
