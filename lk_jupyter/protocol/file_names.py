"""File names that no other run has, made of the token of a request."""

from __future__ import annotations

import re
from pathlib import PurePath

#: Characters of a token that are part of a name.
MARK = 12

#: What of a name is the token.
MARKED = re.compile(rf"-[0-9a-f]{{{MARK}}}(?=(?:\.\w+)?$)")


def own_name(name: str, token: str) -> str:
    """Return a file name that no other run has."""
    path = PurePath(name)
    return f"{path.stem}-{token[:MARK]}{path.suffix}"


def plain_name(name: str) -> str:
    """Return a file name as its author knows it."""
    return MARKED.sub("", name)
