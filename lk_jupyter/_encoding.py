"""Write to outputs with a limited encoding: similar ASCII replaces the missing characters, where Python would fail."""

from __future__ import annotations

import codecs
import sys
import unicodedata

_NAME = "lk_jupyter.ascii"

#: Characters of our output, of progress bars, tables and prose → similar ASCII.
_NEAR = {
    **dict.fromkeys("◌○", "~"),
    **dict.fromkeys("■▪█▇▆▅▄▃▂▁▉▊▋▌▍▎▏", "#"),
    **dict.fromkeys("·─━\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("├└┌┐┘┤┬┴┼╭╮╰╯", "+"),
    **dict.fromkeys("\u2018\u2019\u201a", "'"),
    **dict.fromkeys("\u201c\u201d\u201e", '"'),
    **dict(zip("●•✓✗\u00d7⚠▶▲▼▾≈µ\u03bc", "**+xx!>^vv~uu", strict=True)),
    "…": "...",
    "≠": "!=",
    "≤": "<=",
    "≥": ">=",
    "±": "+-",
    "→": "->",
    "←": "<-",
}


def _replace_characters(error: UnicodeError) -> tuple[str, int]:
    """Return the ASCII for the part of a text that can't be encoded, as an error handler of Python's codecs."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_nearest_ascii, error.object[error.start : error.end])), error.end


def _nearest_ascii(sign: str) -> str:
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return _NEAR.get(sign) or plain or sign.encode("ascii", "backslashreplace").decode()


codecs.register_error(_NAME, _replace_characters)


def accept_every_sign() -> None:
    """Let stdout and stderr take any text, unless they do, or their user has chosen how."""
    for stream in (sys.stdout, sys.stderr):
        encoding = getattr(stream, "encoding", None) or "utf-8"
        strict = getattr(stream, "errors", None) == "strict"
        if strict and not encoding.lower().startswith("utf") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_NAME)
