"""Parse a magic's line into its options.

A magic is a function below ``@magic(Model)``, where Model is one of lk_jupyter.options.runs::

    @magic(StatusOptions)
    def lk_status(options: StatusOptions, shell: InteractiveShell) -> None:
        '''Show the state of a run.

        Example: ``%lk_status 3f0c``
        '''

A cell magic takes ``cell: str`` as its third argument. The docstring and the model's fields make
the help that ``%lk_status?`` shows. A field is an option ``--its-name``: bool is a switch, with
``--no-its-name`` too if it may be None; list takes several values and may be repeated; dict takes
``key=value`` pairs. A field is declared with ``option``, ``switch`` or ``word`` of lk_jupyter.options.fields:
they take a short form, a metavar and a completer (a name in ``_completion.COMPLETERS``). Add a row for the
magic to ``lk_jupyter.magics._engine.registry.MAGICS``.

A magic of several verbs has one function for each verb. The first function also handles ``%lk_vm`` alone::

    lk_vm = Subcommands("lk_vm", "Machines with GPUs, reached over SSH.")

    @lk_vm.verb("list", NoOptions)
    def _list(options: NoOptions, shell: InteractiveShell) -> None:
        '''List the machines.'''

``%lk_vm?`` shows all verbs, ``%lk_vm list?`` shows one; each is completed like a separate magic.
"""

from __future__ import annotations

import inspect
import os
import shlex
from argparse import Action
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NoReturn, cast

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic_arguments import MagicArgumentParser
from IPython.core.page import page

from lk_jupyter.config.settings import one_reading
from lk_jupyter.errors import UsageError, page_address
from lk_jupyter.options.arguments import argument_settings, argument_value, describe_misuse, flags
from lk_jupyter.options.groups import COMMON, option_groups
from lk_jupyter.options.runs import Options, StartOptions, check, current_name, extras


@dataclass(frozen=True)
class Magic:
    """A magic: the function and the model of the options."""

    model: type[Options]
    function: Callable[..., Any]
    name: str

    def __call__(self, shell: InteractiveShell, line: str, cell: str | None = None) -> Any:
        words = line.split()
        if words and HELP & {words[0], words[-1]}:  # a question of %lk_chat can contain these words in its middle
            page(self.help())
            return None
        options = self.parse(line)
        with one_reading():
            return self.function(options, shell) if cell is None else self.function(options, shell, cell)

    @property
    def title(self) -> str:
        """The name as typed by users, such as ``%%lk_run``."""
        takes_cell = "cell" in inspect.signature(self.function).parameters
        return ("%%" if takes_cell else "%") + self.name

    @property
    def doc(self) -> str:
        """The description of the magic, with examples."""
        return inspect.getdoc(self.function) or ""

    def parse(self, line: str) -> Any:
        """Parse a line into the options. Raises UsageError for unknown options and wrong values."""
        namespace, unknown = self.parser.parse_known_args(list(map(self._replace_old_option, split(line))))
        if unknown:
            raise UsageError(self._describe_unknown(unknown))
        values = {
            name: argument_value(self.model.model_fields[name], value, f"{self.title}: --{name} takes")
            for name, value in vars(namespace).items()
        }
        options = check(self.model, values)
        variable = getattr(options, "save", None)
        if variable is not None and not variable.isidentifier():
            flag = flags("save", self.model.model_fields["save"])[0]
            raise UsageError(f"{flag} takes a variable name, got '{variable}'.")
        return options

    def _replace_old_option(self, word: str) -> str:
        """Return the word with the current name of its option, if the word contains a renamed option."""
        flag, equals, value = word.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        new = current_name(self.model, name) if flag.startswith("--") else name
        return word if new == name else "--" + new.replace("_", "-") + equals + value

    def help(self) -> str:
        """Return the help text: usage, description, options with defaults, examples."""
        text = "Usage" + self.parser.format_help()
        return text + f"\nAll options, in groups with examples: {page_address('options')}\n" if self._is_run else text

    def usage(self) -> str:
        """Return the usage line: name, options and arguments."""
        return self.parser.format_usage().removeprefix("::").strip()

    @cached_property
    def parser(self) -> _Parser:
        """IPython's own argument parser, with an argument for each field of the model."""
        is_grouped = issubclass(self.model, StartOptions)
        description = _describe_common_options(self.doc) if self._is_run else self.doc
        parser: Any = _Parser(self.title[1:], description=description)
        parser.allow_abbrev = False
        parser.color = False  # Python 3.14 colors help for terminals; notebooks show this help too
        fields = self.model.model_fields.items()
        greedy = not any(extras(field).get("positional") and field.is_required() for _, field in fields)
        places = _add_option_groups(parser, self.model, with_examples=self._is_run) if is_grouped else {}
        for name, field in fields:
            group = places.get(name, parser)
            action = group.add_argument(*flags(name, field), **argument_settings(name, field, greedy=greedy))
            parser.actions.append(action)
        if is_grouped:
            words = [action.metavar for action in parser.actions if not action.option_strings]
            parser.usage = " ".join(["%(prog)s", "[OPTIONS]", *words])
        return cast("_Parser", parser)

    @property
    def option_flags(self) -> list[str]:
        """All options as written on the line, such as ``-r`` and ``--requirements``."""
        return [flag for action in self.parser.actions for flag in action.option_strings]

    @property
    def _is_run(self) -> bool:
        """Whether the examples of the groups are lines of this magic."""
        return self.name == "lk_run"

    def _describe_unknown(self, unknown: list[str]) -> str:
        word = next((word for word in unknown if word.startswith("-")), unknown[0]).partition("=")[0]
        options = self.option_flags
        near = [_SPELLINGS[word]] if _SPELLINGS.get(word) in options else []
        near = near or get_close_matches(word, options, n=1) or get_close_matches(f"--{word}", options, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"All options: {self.title}?"
        what = "has no option" if word.startswith("-") else "takes no"
        return f"{self.title} {what} '{word}'. {hint}"


def _describe_common_options(doc: str) -> str:
    """Return the description of ``%%lk_run`` with the options that most runs need in place of its examples."""
    width = max(len(example.line) for example in COMMON.values())
    lines = (f"    {example.line:{width}}  # {example.comment}" for example in COMMON.values())
    return "\n".join([doc.partition("Examples::")[0] + "Most used::\n", *lines])


def _add_option_groups(parser: Any, model: type[Options], *, with_examples: bool) -> dict[str, Any]:
    """Add the groups of the options to a parser, and return option → group. Words without dashes have no group."""
    names = [name for name, field in model.model_fields.items() if not extras(field).get("positional")]
    places = {}
    for title, example, members in option_groups(names):
        line = f"{example.line}  # {example.comment}" if example and with_examples else None
        places.update(dict.fromkeys(members, parser.add_argument_group(title, line)))
    return places


def magic(model: type[Options]) -> Callable[[Callable[..., Any]], Magic]:
    """Return a decorator that turns a function into the magic of the same name, with the model's fields as options."""
    return lambda function: Magic(model, function, function.__name__)


class Subcommands:
    """A magic with several verbs, such as ``%lk_vm create``; each verb is a magic too."""

    def __init__(self, name: str, doc: str) -> None:
        self.name = name
        self.title = "%" + name
        self.doc = doc
        self.verbs: dict[str, Magic] = {}

    def verb(self, name: str, model: type[Options]) -> Callable[[Callable[..., Any]], Magic]:
        """Return a decorator that turns a function into the verb ``name``, with the model's fields as options."""

        def declare(function: Callable[..., Any]) -> Magic:
            self.verbs[name] = Magic(model, function, f"{self.name} {name}")
            return self.verbs[name]

        return declare

    def __call__(self, shell: InteractiveShell, line: str, cell: str | None = None) -> Any:
        if line.strip() in HELP:
            page(self.help())
            return None
        verb, rest = self.split(line)
        return verb(shell, rest, cell)

    def split(self, line: str) -> tuple[Magic, str]:
        """Return the verb of a line and the text after the verb. Raises UsageError for an unknown verb."""
        name, _, rest = line.strip().partition(" ")
        if not name:
            return next(iter(self.verbs.values())), ""
        if name in self.verbs:
            return self.verbs[name], rest
        near = get_close_matches(name, self.verbs, n=1)
        hint = f"Did you mean {self.title} {near[0]}?" if near else f"Subcommands: {', '.join(self.verbs)}."
        raise UsageError(f"{self.title} has no subcommand '{name}'. {hint}")

    def help(self) -> str:
        """Return the help text: the description of the magic, and each verb with usage and summary."""
        verbs = "\n\n".join(f"{magic.usage()}\n    {first_sentence(magic.doc)}" for magic in self.verbs.values())
        first = next(iter(self.verbs))
        more = (
            f"Without a subcommand, {self.title} runs {self.title} {first}. To see the options of a subcommand, add "
            f"a question mark: {self.title} {first}?"
        )
        return f"Usage::\n\n  {self.title} VERB\n\n{self.doc}\n\n{more}\n\n{verbs}\n"


#: Options of the cloud's own command line → our options.
_SPELLINGS = {"-m": "--machine", "-t": "--timeout", "-f": "--files"}

#: Words that show the help of a magic or a subcommand, and start nothing.
HELP = frozenset({"--help", "-h"})


def first_sentence(doc: str) -> str:
    """Return the first paragraph of a docstring, in a single line."""
    return doc.partition("\n\n")[0].replace("\n", " ")


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
        raise UsageError(f"Can't read the line ({str(error).lower()}): {line.strip()}") from None


class _Parser(MagicArgumentParser):
    """Parses the line of a magic. ``prog`` lacks the first %, which IPython adds; ``actions`` are the arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.actions: list[Action] = []

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"%{self.prog} {describe_misuse(message)}. All options: %{self.prog}?")
