"""Sections of the guide's reference, made from the declarations: what stands between the marks of its pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from textwrap import dedent

import lk_jupyter
from lk_jupyter import errors
from lk_jupyter._docs import TABLES, _on_the_line, _table
from lk_jupyter.magics import MAGICS, magic_named
from lk_jupyter.magics._parser import Magic, Verbs, _help

_MEMBERS = ("members", "exclude-members: follower, frames, learn, nonce, seen, sent, speaks_to, submit, whole")
_EXAMPLES = re.compile(r"\s*^Examples?:+(.*)\Z", re.MULTILINE | re.DOTALL)


def magic_sections() -> str:
    """Return a section for each magic: what it does, its options, examples."""
    return "\n".join(_section(magic_named(row.name)) for row in MAGICS)


def _section(magic: Magic | Verbs) -> str:
    head = f"({magic.name})=\n## `{magic.title}`\n\n"
    if isinstance(magic, Magic):
        return head + _described(magic)
    verbs = (f"### `{verb.title}`\n\n{_described(verb)}" for verb in magic.verbs.values())
    return "\n".join([f"{head}{magic.doc}\n", *verbs])


def _described(magic: Magic) -> str:
    said, examples = _EXAMPLES.sub("", magic.doc), _EXAMPLES.search(magic.doc)
    shown = examples and f"```ipython\n{dedent(examples[1]).strip().strip('`')}\n```"
    return "\n\n".join(filter(None, [said, _options(magic), shown])) + "\n"


def _options(magic: Magic) -> str:
    rows = [(_as_typed(name, magic), _help(field)) for name, field in magic.model.model_fields.items()]
    return _table(("Option", "What it does"), rows) if rows else ""


def _as_typed(name: str, magic: Magic) -> str:
    action = next(action for action in magic.parser._actions if action.dest == name)
    return _on_the_line(name, magic.model.model_fields[name]) if action.option_strings else f"`{action.metavar}`"


def error_table() -> str:
    """Return every error with what it means and what its message advises."""
    rows = [(f"`{kind.__name__}`", _meaning(kind), getattr(kind, "next_step", "")) for kind in _errors()]
    return _table(("Error", "It means", "Its message advises"), rows)


def _errors() -> Iterator[type[errors.LkError]]:
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.LkError):
            yield kind


def _meaning(kind: type[errors.LkError]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")


def error_tree() -> str:
    """Return the tree of the errors as it is drawn in their module."""
    drawn = (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    return f"```text\n{dedent(drawn)}\n```\n"


def python_names() -> str:
    """Return what the package itself serves, functions first."""
    things = [getattr(lk_jupyter, name) for name in lk_jupyter.__all__]
    functions = [_autodoc("function", f"lk_jupyter.{thing.__name__}") for thing in things if not inspect.isclass(thing)]
    classes = [
        f"## {thing.__name__}\n\n{_autodoc('class', f'lk_jupyter.{thing.__name__}', *_MEMBERS)}"
        for thing in things
        if inspect.isclass(thing)
    ]
    return "\n".join([*functions, *classes])


def _autodoc(kind: str, name: str, *options: str) -> str:
    lines = [f".. auto{kind}:: {name}", *(f"   :{option}:" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```", ""])


SECTIONS: dict[str, Callable[[], str]] = {
    **TABLES,
    "magic_sections": magic_sections,
    "errors": error_table,
    "error_tree": error_tree,
    "python": python_names,
}
