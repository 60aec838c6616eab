"""Make the arguments of argparse from the fields of options: for lines of magics, and for the command line."""

from __future__ import annotations

import re
from argparse import SUPPRESS, BooleanOptionalAction
from typing import Any, get_origin

from pydantic.fields import FieldInfo

from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import extras


def flags(name: str, field: FieldInfo) -> list[str]:
    """Return the spellings of a field on the line, such as ``["-r", "--requirements"]``."""
    extra = extras(field)
    if extra.get("positional"):
        return [name]
    return [*extra.get("flags", ()), "--" + name.replace("_", "-")]


def is_switch(field: FieldInfo) -> bool:
    """Return whether a field takes no value on the line."""
    return field.annotation in {bool, bool | None}


def takes_many(field: FieldInfo) -> bool:
    """Return whether a field takes several values: a list, or pairs."""
    return get_origin(field.annotation) in {list, dict}


#: Messages of argparse → our messages.
_MISUSES = {
    r"argument (?:\S+/)?(\S+): expected .*": "needs a value after {0}",
    r"argument (?:\S+/)?(\S+): ignored explicit argument (.*)": "takes no value for {0}, got {1}",
    r"the following arguments are required: (?:\S+/)?(.*)": "needs {0}",
}


def describe_misuse(message: str) -> str:
    """Return a message of argparse in our words, without a subject."""
    match = next(filter(None, (re.fullmatch(pattern, message) for pattern in _MISUSES)), None)
    return _MISUSES[match.re.pattern].format(*match.groups()) if match else "can't be read"


def argument_settings(name: str, field: FieldInfo, *, greedy: bool) -> dict[str, Any]:
    """Return how an argument is read; ``greedy`` is whether any list may take all the words that follow."""
    extra = extras(field)
    settings: dict[str, Any] = {"help": help_text(field).replace("%", "%%"), "default": SUPPRESS}
    if is_switch(field):
        return {**settings, "action": "store_true" if field.annotation is bool else BooleanOptionalAction}
    settings["metavar"] = extra.get("metavar") or name.upper()
    is_positional = bool(extra.get("positional"))
    if not is_positional:
        settings |= {"dest": name, "required": field.is_required()}
    if takes_many(field):
        if not (greedy or is_positional or extra.get("greedy")):
            return {**settings, "action": "append"}
        return {**settings, "action": "extend", "nargs": "*" if is_positional and not field.is_required() else "+"}
    if is_positional and not field.is_required():
        settings["nargs"] = "?"
    return settings


def argument_value(field: FieldInfo, words: Any, requirement: str) -> Any:
    """Return the value of the words of an argument: a dict for pairs.

    Raises UsageError for a word that is no pair; ``requirement`` is the start of the message.
    """
    if get_origin(field.annotation) is not dict:
        return words
    for pair in words:
        if "=" not in pair:
            raise UsageError(f"{requirement} key=value, got '{pair}'.")
    return dict(pair.split("=", 1) for pair in words)


def help_text(field: FieldInfo) -> str:
    """Return the description of a field with its default."""
    description = field.description or ""
    is_complete = field.is_required() or field.default in (None, False, "") or takes_many(field)
    return description if is_complete else f"{description} Default: {field.default}."
