"""The secrets that this process uses: whatever their shape, no output and no journal shows them.

Keys, session tokens, credentials of the bucket and what was typed unseen are added where they enter.
"""

from __future__ import annotations

import json
import threading
from html import escape
from urllib.parse import quote

#: A shorter one would be found in ordinary words.
SHORTEST = 8

#: Secrets that are kept: credentials of the bucket change every hour.
_MOST = 200

_lock = threading.Lock()
_kept: dict[str, None] = {}
_forms: tuple[str, ...] = ()


def use(*secrets: str | None) -> None:
    """Show these nowhere from now on, as they are or as JSON, HTML and addresses write them."""
    global _forms  # noqa: PLW0603 (a process has one set of secrets)
    fresh = [secret for secret in secrets if secret and len(secret) >= SHORTEST and secret not in _kept]
    if not fresh:
        return
    with _lock:
        _kept.update(dict.fromkeys(fresh))
        for oldest in list(_kept)[:-_MOST]:
            del _kept[oldest]
        forms = {form for secret in _kept for form in _written(secret)}
        _forms = tuple(sorted(forms, key=len, reverse=True))


def in_use() -> tuple[str, ...]:
    """Return all that is to be shown nowhere, the longest first."""
    return _forms


def _written(secret: str) -> set[str]:
    return {secret, escape(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")}
