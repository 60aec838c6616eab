"""The forms of ids: a server may write ids in another form, and a recording has the forms, but no id.

A form is a pattern with the class and the length of each part, such as ``[0-9a-f]{8}-[0-9a-f]{4}``, or a number with
the same count of digits.
"""

from __future__ import annotations

import hashlib
import re
from itertools import islice

#: A pattern, or a number for ids that are numbers.
IdForm = str | int

#: Characters of a part of an id, the narrowest class first.
_CLASSES = {
    "0-9": "0123456789",
    "0-9a-f": "0123456789abcdef",
    "0-9A-F": "0123456789ABCDEF",
    "a-z": "abcdefghijklmnopqrstuvwxyz",
    "A-Z": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0-9a-z": "0123456789abcdefghijklmnopqrstuvwxyz",
    "0-9A-Z": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "0-9A-Za-z": "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
}

_PART = re.compile(r"\[([0-9A-Za-z-]+)\]\{([1-9]\d{0,2})\}|([-_.:~/?]+)")

#: Maximum characters of an id, and maximum digits of a number that JSON readers keep exactly.
_LONGEST, _MOST_DIGITS = 200, 15


def describe_id_form(value: IdForm) -> IdForm:
    """Return the form of an id."""
    if isinstance(value, int):
        return int("1".ljust(len(str(abs(value))), "0"))
    plain = re.sub(r"[^0-9A-Za-z]", "", value)
    shared = next((name for name in ("0-9", "0-9a-f", "0-9A-F") if re.fullmatch(f"[{name}]+", plain)), "")
    return "".join(_describe_part(part, shared) for part in re.findall(r"[0-9A-Za-z]+|[^0-9A-Za-z]+", value))


def _describe_part(part: str, shared: str) -> str:
    if not part[0].isascii() or not part[0].isalnum():
        return re.sub(r"[^-_.:~/]", "?", part)
    name = shared or next(name for name in _CLASSES if re.fullmatch(f"[{name}]+", part))
    return f"[{name}]{{{len(part)}}}"


def require_id_form(form: IdForm) -> IdForm:
    """Return a form. Raises ValueError if no id can have the form."""
    if isinstance(form, int):
        if not 0 < form < 10**_MOST_DIGITS:
            raise ValueError(f"not a number of 1 to {_MOST_DIGITS} digits")
        return form
    length = sum(count or len(text) for text, count in _split_form(form))
    if not 0 < length <= _LONGEST:
        raise ValueError(f"not a form of 1 to {_LONGEST} characters")
    return form


def write_id(value: str, form: IdForm) -> IdForm:
    """Return an id in another form. The digits of a UUID stay if the form has place for exactly these digits."""
    digits = value.replace("-", "").lower()
    stream = "".join(hashlib.sha256(f"{count}:{digits}".encode()).hexdigest() for count in range(20))
    if isinstance(form, int):
        least = int("1".ljust(len(str(form)), "0"))
        return least + int(stream[:30], 16) % (9 * least)
    parts = _split_form(form)
    classes = {text for text, count in parts if count}
    if classes in ({"0-9a-f"}, {"0-9A-F"}) and sum(count for _, count in parts) == len(digits):
        signs = iter(digits.upper() if "0-9A-F" in classes else digits)
        return "".join("".join(islice(signs, count)) if count else text for text, count in parts)
    numbers = (int(stream[at : at + 6], 16) for at in range(0, len(stream), 6))
    return "".join(
        "".join(_CLASSES[text][next(numbers) % len(_CLASSES[text])] for _ in range(count)) if count else text
        for text, count in parts
    )


def _split_form(form: str) -> list[tuple[str, int]]:
    """Return the parts of a form: a class and its count of characters, or other text and 0. Raises ValueError."""
    parts, end = list[tuple[str, int]](), 0
    while end < len(form):
        match = _PART.match(form, end)
        if match is None or (match[1] and match[1] not in _CLASSES):
            raise ValueError("not a form of an id")
        parts.append((match[1], int(match[2])) if match[1] else (match[3], 0))
        end = match.end()
    return parts
