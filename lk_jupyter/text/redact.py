"""Text as a notebook may keep it: without what looks like a secret.

A notebook is committed, mailed and published, so whatever is shown there goes through here: log,
rich output, stderr, messages of errors. The log file is not touched: it holds what the run
printed, byte for byte, because a new connection is joined to it byte by byte; it is in a folder
that only its owner can read, and in no notebook.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from lk_jupyter.config.settings import setting
from lk_jupyter.text import secrets
from lk_jupyter.text.secrets import MARKS, SHAPES, SecretPattern, find, possible

MARK = "…[redacted]"

#: What a terminal takes for a colour.
COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_BEGIN, _END = "PRIVATE KEY", "-----END "

#: A last word that may become a secret when its rest comes: marks that no ordinary word holds, and passwords.
_TELLING = (mark for shape in SHAPES for mark in shape.marks if re.search(r"[_=-]|[a-z][A-Z]|[A-Z]{4}", mark))
_BEGUN = re.compile("|".join(map(re.escape, _TELLING)))

#: Characters of a secret in use from which on it is taken for one that has begun.
_FEW = 4


def redact(text: str, shapes: Iterable[SecretPattern] = SHAPES) -> str:
    """Return the text with a mark in place of each secret; with the setting secret_guard off, of those in use."""
    clean = without_secrets(text, shapes)
    return clean if clean is text or setting("secret_guard") != "off" else without_secrets(text, ())


def without_secrets(text: str, shapes: Iterable[SecretPattern] = SHAPES) -> str:
    """Return the text with a mark in place of each secret, whatever the settings are.

    Text with secrets loses its colors: they may be in the middle of a secret.
    """
    plain = COLOUR.sub("", text) if "\x1b" in text else text
    if _is_clean(plain):
        return text
    found = find(plain, shapes=shapes)
    if not found:
        return text
    parts, at = [], 0
    for secret in found:
        parts += [plain[at : secret.start], secret.keep, MARK]
        at = secret.end
    return "".join([*parts, plain[at:]])


def _is_clean(plain: str) -> bool:
    """Whether it is plain to see that the text holds no secret: most hold not even a mark of one."""
    return not MARKS.search(plain) and not any(secret in plain for secret in secrets.in_use)


def _begun_at(line: str) -> int:
    """Return where at the end of a line a secret may have begun; the length of the line where none has."""
    last = len(line) - len(line.rpartition(" ")[2].rpartition("\t")[2])
    found = _BEGUN.search(line, last)
    begun = [found.start()] if found else []
    address = line.rfind("://", last) + 3
    if address >= 3 + last and ":" in line[address + 1 :] and not set(line[address:]) & set("/@"):
        begun.append(address)
    for secret in secrets.in_use:
        lengths = range(min(len(secret), len(line)), _FEW - 1, -1)
        begun += [len(line) - length for length in lengths if line.endswith(secret[:length])][:1]
    return min(begun, default=len(line))


def redact_bundle(data: dict[str, Any]) -> dict[str, Any]:
    """Return a MIME bundle with its texts redacted, at any depth; pictures are left as they are."""
    pictures = {mime for mime in data if mime.startswith("image/") and mime != "image/svg+xml"}
    return {mime: value if mime in pictures else redact_values(value) for mime, value in data.items()}


def redact_values(value: Any, clean: Callable[[str], str] = redact) -> Any:
    """Return JSON with every text in it cleaned, names included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(name)): redact_values(inner, clean) for name, inner in value.items()}
    return [redact_values(inner, clean) for inner in value] if isinstance(value, (list, tuple)) else value


class LineRedactor:
    """Redacts lines as they come, a private key over many of them too."""

    def __init__(self) -> None:
        self._in_key = False

    def lines(self, lines: Iterable[str]) -> list[str]:
        """Return finished lines as they may be shown; a key's own lines are one."""
        waiting = list(lines)
        text = "\n".join(waiting)
        plain = COLOUR.sub("", text) if "\x1b" in text else text
        if not self._in_key and _is_clean(plain):
            return waiting
        shapes = possible(plain)
        return [shown for line in waiting for shown in self._line(line, shapes)]

    def live(self, line: str) -> str:
        """Return an unfinished line as it may be shown: nothing of a last word that is or may become a secret."""
        if self._in_key:
            return ""
        shown = redact(line)
        return shown[: _begun_at(shown)]

    def _line(self, line: str, shapes: tuple[SecretPattern, ...]) -> list[str]:
        if self._in_key:
            self._in_key = _END not in line
            return []
        shown = redact(line, shapes)
        self._in_key = _BEGIN in line and shown is not line and _END not in line
        return [shown]
