"""A magic's line becomes its options.

A magic is a function below ``@magic(Model)``, where Model is one of lk_jupyter.options::

    @magic(StatusOptions)
    def lk_status(options: StatusOptions, shell: InteractiveShell) -> None:
        '''Tell the state of a run.

        Example: ``%lk_status 3f0c``
        '''

A cell magic takes ``cell: str`` as its third argument. The docstring and the model's fields make
the help that ``%lk_status?`` shows. A field is an option ``--its-name``: bool is a switch, one that
may be None has a ``--no-its-name`` beside it, list
takes several values and may be repeated, dict takes ``key=value`` pairs. ``_flag(...)`` on a field
adds a short form, a metavar, a completer (a name in ``_completion.COMPLETERS``), or makes the
field a positional argument. Row the magic up in ``lk_jupyter.magics.MAGICS`` and it is there.
"""

from __future__ import annotations

import inspect
import os
import shlex
from argparse import SUPPRESS, BooleanOptionalAction
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NoReturn, cast, get_origin

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic_arguments import MagicArgumentParser
from pydantic.fields import FieldInfo

from lk_jupyter.errors import UsageError
from lk_jupyter.options import Options, check, extras


@dataclass(frozen=True)
class Magic:
    """What one magic does, and the options it takes."""

    model: type[Options]
    function: Callable[..., Any]

    def __call__(self, shell: InteractiveShell, line: str, cell: str | None = None) -> Any:
        options = self.parse(line)
        return self.function(options, shell) if cell is None else self.function(options, shell, cell)

    @property
    def title(self) -> str:
        """The name as it is typed, such as ``%%lk_run``."""
        takes_cell = "cell" in inspect.signature(self.function).parameters
        return ("%%" if takes_cell else "%") + self.function.__name__

    def parse(self, line: str) -> Any:
        """Read a line into the options. Raises UsageError with what does not fit."""
        found, unknown = self.parser.parse_known_args(split(line))
        if unknown:
            raise UsageError(self._not_understood(unknown))
        return check(self.model, {name: self._value(name, value) for name, value in vars(found).items()})

    def help(self) -> str:
        """Usage, what it does, options with their defaults, examples."""
        return "Usage" + self.parser.format_help()

    @cached_property
    def parser(self) -> MagicArgumentParser:
        """IPython's own argument parser, with an argument for each field of the model."""
        parser: Any = _Parser(self.title[1:], description=inspect.getdoc(self.function))  # type: ignore[no-untyped-call]
        parser.allow_abbrev = False
        parser.color = False  # 3.14 colours help for terminals; this one is also shown in notebooks
        for name, field in self.model.model_fields.items():
            parser.add_argument(*flags(name, field), **_settings(name, field))
        return cast("MagicArgumentParser", parser)

    def _value(self, name: str, given: Any) -> Any:
        if get_origin(self.model.model_fields[name].annotation) is not dict:
            return given
        for pair in given:
            if "=" not in pair:
                raise UsageError(f"{self.title}: --{name} takes key=value, not {pair!r}.")
        return dict(pair.split("=", 1) for pair in given)

    def _not_understood(self, unknown: list[str]) -> str:
        word = next((word for word in unknown if word.startswith("-")), unknown[0]).partition("=")[0]
        options = [flag for action in self.parser._actions for flag in action.option_strings]
        near = get_close_matches(word, options, n=1) or get_close_matches(f"--{word}", options, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"{self.title}? shows what it takes."
        what = "has no option" if word.startswith("-") else "does not know what to do with"
        return f"{self.title} {what} {word}. {hint}"


def magic(model: type[Options]) -> Callable[[Callable[..., Any]], Magic]:
    """Make a function the magic of its name, with the model's fields as its options."""
    return lambda function: Magic(model, function)


def split(line: str) -> list[str]:
    """Split a line into words as a shell does; on Windows a backslash is only part of a path."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if os.name == "nt":
        lexer.escape = ""
    try:
        return list(lexer)
    except ValueError as error:
        raise UsageError(f"The line cannot be read ({str(error).lower()}): {line.strip()}") from None


def flags(name: str, field: FieldInfo) -> list[str]:
    """Return what stands on the line for a field, such as ``["-r", "--requirements"]``."""
    extra = extras(field)
    if extra.get("positional"):
        return [name]
    return [*extra.get("flags", ()), "--" + name.replace("_", "-")]


def is_switch(field: FieldInfo) -> bool:
    """Whether a field takes no value on the line."""
    return field.annotation in {bool, bool | None}


def takes_many(field: FieldInfo) -> bool:
    """Whether a field takes several values: a list, or pairs."""
    return get_origin(field.annotation) in {list, dict}


class _Parser(MagicArgumentParser):
    """``prog`` lacks the first %, which IPython's help adds."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%{self.prog}: {message}. %{self.prog}? shows what it takes.")


def _settings(name: str, field: FieldInfo) -> dict[str, Any]:
    extra = extras(field)
    said: dict[str, Any] = {"help": _help(field).replace("%", "%%"), "default": SUPPRESS}
    if is_switch(field):
        return {**said, "action": "store_true" if field.annotation is bool else BooleanOptionalAction}
    said["metavar"] = extra.get("metavar") or name.upper()
    if not extra.get("positional"):
        said["dest"] = name
    if takes_many(field):
        positional = extra.get("positional")
        return {**said, "action": "extend", "nargs": "*" if positional and not field.is_required() else "+"}
    if extra.get("positional") and not field.is_required():
        said["nargs"] = "?"
    return said


def _help(field: FieldInfo) -> str:
    said = field.description or ""
    return said if field.default in (None, False, ...) or takes_many(field) else f"{said} Default: {field.default}."
