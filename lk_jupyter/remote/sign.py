"""Sign messages with a key that only the notebook and the run know. Works on both sides, and is uploaded with runs."""

from __future__ import annotations

#: Bytes of a signature.
SIZE = 32

#: Kinds of frames that decide which values are read, written or set in the notebook, or which packages later runs
#: import: these frames are signed.
KINDS = frozenset({"returned", "call", "checkpoint", "cell", "stored", "packages", "relay"})

#: The text whose signature is the content of the object that requests the end of a run.
STOP = b"stop"

#: The text that is signed with the header of a saved moment.
MOMENT = b"moment"

#: Exit codes of code that was interrupted at such a request, or shortly before the time limit or the end of the key.
STOPPED, TIMED_OUT, LEASE_OVER = 130, 124, 123

#: The exit code of a run whose files are missing, so that the code didn't start.
NO_FILES = 97


def saving_seconds(limit: float) -> float:
    """Return the seconds before a time limit, in seconds, that are left for sending variables back."""
    return max(min(2.0, limit / 2), min(15.0, limit / 10))


def session_margin(seconds: float) -> float:
    """Return how long before its end a session saves its variables, in seconds; it has ``seconds`` in total.

    A slow start leaves little time, and saving takes time. A machine with a short limit still runs its cell.
    """
    return min(60, max(20, seconds / 4), seconds / 2)


def signature(key: bytes, *parts: bytes) -> bytes:
    """Return the HMAC-SHA256 of parts with lengths, so that different lists of parts have different signatures."""
    import hmac  # like json in the driver, not at the start of a run

    digest = hmac.new(key, digestmod="sha256")
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


def is_signed(key: bytes, claimed: bytes, *parts: bytes) -> bool:
    """Return whether this is the signature of these parts; the comparison takes the same time for each answer."""
    import hmac

    return hmac.compare_digest(signature(key, *parts), claimed)


def sign_message(key: bytes, request: str, kind: str, content: object) -> bytes:
    """Return the signature of a message of Jupyter: of the kind, the answered request, and the content."""
    import json

    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return signature(key, request.encode(), kind.encode(), text.encode())
