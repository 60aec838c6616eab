"""Sections of the reference, made from the declarations when the site is built."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from textwrap import dedent
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lk_jupyter import errors, widgets
from lk_jupyter._docs import (
    PUBLIC,
    TABLES,
    _format_option_flag,
    _format_table,
    address,
    arguments,
    described,
    example,
    groups,
    inner_members,
    models,
    operations,
    raised,
)
from lk_jupyter.api._endpoint import Endpoint, Group
from lk_jupyter.api._models import Credits, DecimalString
from lk_jupyter.magics._engine.parser import Magic, Subcommands
from lk_jupyter.magics._engine.registry import MAGICS, magic_named
from lk_jupyter.options.arguments import help_text

_EXAMPLES = re.compile(r"\s*^Examples?:+(.*)\Z", re.MULTILINE | re.DOTALL)


def magic_sections() -> str:
    """Return a section for each magic: what it does, its options, examples."""
    return "\n".join(_section(magic_named(row.name)) for row in MAGICS)


def _section(magic: Magic | Subcommands) -> str:
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
    rows = [(_as_typed(name, magic), help_text(field)) for name, field in magic.model.model_fields.items()]
    return _format_table(("Option", "What it does"), rows) if rows else ""


def _as_typed(name: str, magic: Magic) -> str:
    action = next(action for action in magic.parser.actions if action.dest == name)
    return _format_option_flag(name, magic.model.model_fields[name]) if action.option_strings else f"`{action.metavar}`"


def error_sections() -> str:
    """Return a section for each error: what it means, the state it leaves, how to fix it."""
    return "\n".join(
        f"({kind.__name__.lower()})=\n## {kind.__name__}\n\n{_as_markdown(inspect.getdoc(kind) or '')}\n\n"
        f"```{{py:exception}} lk_jupyter.errors.{kind.__name__}\n:no-index-entry:\n```\n"
        for kind in _errors()
    )


def _as_markdown(text: str) -> str:
    return re.sub(r"^Fix:", "**Fix:**", text.replace("``", "`"), flags=re.MULTILINE)


def _errors() -> Iterator[type[errors.LkError]]:
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.LkError):
            yield kind


def error_tree() -> str:
    """Return the tree of the errors as it is drawn in their module."""
    drawn = (errors.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    return f"```text\n{dedent(drawn)}\n```\n"


def python_names() -> str:
    """Return the public names of the Python API, functions first."""
    functions = [_autodoc("function", address(name)) for name, thing in _plain().items() if not inspect.isclass(thing)]
    classes = [
        f"## {name}\n\n"
        + _autodoc("class", address(name), "members", f"exclude-members: {', '.join(sorted(inner_members(thing)))}")
        for name, thing in _plain().items()
        if inspect.isclass(thing)
    ]
    return "\n".join([*functions, *classes])


def _plain() -> dict[str, Any]:
    return {name: thing for name, thing in PUBLIC.items() if name not in [*widgets.__all__, "Form"]}


def widget_sections() -> str:
    """Return a section for each widget: its call, methods, and traits with what each holds."""
    return "\n".join(_widget(name) for name in [*widgets.__all__, "Form"] if inspect.isclass(PUBLIC[name]))


def _widget(name: str) -> str:
    kind = PUBLIC[name]
    hidden = ", ".join(sorted({*inner_members(kind), *kind.class_trait_names(), "component", "pace"}))
    traits = {found: trait for found, trait in kind.class_own_traits().items() if trait.help}
    rows = [(f"`{found}`", f"`{type(trait).__name__}`", trait.help) for found, trait in traits.items()]
    called = _autodoc("class", address(name), "members", f"exclude-members: {hidden}")
    return f"## {name}\n\n{called}\n" + _format_table(("Trait", "Type", "What it holds"), sorted(rows))


def client_sections() -> str:
    """Return a section for each group of operations, with all that is known of each operation."""
    return "\n".join(_group(name, kind) for name, kind in groups().items())


def _group(name: str, kind: type[Group]) -> str:
    about = (inspect.getdoc(kind) or "").partition("\n\nExample:\n")[0]
    shown = f"```python\n{dedent(example(kind)).strip()}\n```\n"
    rows = "\n".join(_operation(name, endpoint) for endpoint in operations(kind))
    return f"(client.{name})=\n## client.{name}\n\n{_linked(about)}\n\n{shown}\n{rows}"


def _operation(group: str, endpoint: Endpoint) -> str:
    name = f"client.{group}.{endpoint.name}"
    rows = [
        (f"`{row.name}`", _type(row.annotation), "" if row.default is row.empty else f"`{row.default!r}`", text)
        for row, text in arguments(endpoint)
    ]
    shown = ", ".join(
        row.name if row.default is row.empty else f"{row.name}={row.default!r}" for row, _ in arguments(endpoint)
    )
    source = f"`{endpoint.method} {endpoint.path}` ({described(endpoint)['x-source']})"
    facts = [
        f"**Returns** {_type(endpoint.returns)}",
        f"**Raises** {', '.join(f'[{error}](errors.md#{error.lower()})' for error in raised(endpoint))}",
        *(["**Cost** credits; see [Cost model](../cost.md)"] if endpoint.effect == "spends" else []),
        f"**Source** {source}",
    ]
    parts = [
        f"({name})=\n### `{name}({shown})`",
        _linked(inspect.cleandoc(endpoint.__doc__ or "")),
        _filled(("Argument", "Type", "Default", "What it is"), rows).rstrip() if rows else "",
        "\n".join(f"- {fact}" for fact in facts),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _filled(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table without the columns that hold nothing: phones are narrow."""
    kept = [number for number in range(len(head)) if any(row[number] for row in rows)]
    head, *rows = [tuple(row[number] for number in kept) for row in [head, *rows]]
    return _format_table(head, rows)


def _linked(text: str) -> str:
    """Return the text of a docstring as Markdown, with its errors as links."""
    names = "|".join(kind.__name__ for kind in _errors())
    return re.sub(rf"\b({names})\b", lambda found: f"[{found[1]}](errors.md#{found[1].lower()})", _as_markdown(text))


def model_sections() -> str:
    """Return a section for each model with its fields: type, unit, default."""
    return "\n".join(_model(kind) for kind in models())


def _model(kind: type[BaseModel]) -> str:
    rows = [
        (f"`{field.alias or name}`", _field_type(field), _default(field), _linked(field.description or ""))
        for name, field in kind.model_fields.items()
    ]
    head = f"({_anchor(kind)})=\n## {kind.__name__}\n\n{_linked(inspect.getdoc(kind) or '')}\n\n"
    source = f"`from {kind.__module__} import {kind.__name__}`\n\n"
    return head + source + (_filled(("Field", "Type", "Default", "What it is"), rows) if rows else "")


def _anchor(kind: type[BaseModel]) -> str:
    return f"model-{kind.__name__.lower()}"


def _field_type(field: FieldInfo) -> str:
    unit = (field.json_schema_extra or {}).get("unit") if isinstance(field.json_schema_extra, dict) else None
    in_credits = any(mark in (*Credits.__metadata__, *DecimalString.__metadata__) for mark in field.metadata)
    return _type(field.annotation) + (f", {unit}" if unit else ", credits" if in_credits else "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "" if field.default_factory or field.default is None else f"`{field.default!r}`"


def _type(annotation: Any) -> str:
    """Return a type in Markdown; a model links to its section."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        in_credits = annotation.__metadata__ in (Credits.__metadata__, DecimalString.__metadata__)
        return _type(parts[0]) + (", credits" if in_credits else "")
    if origin in {Union, UnionType}:
        return " or ".join(_type(part) for part in parts)
    if origin is Literal:
        return " or ".join(f"`{part!r}`" for part in parts)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        element = annotation.__pydantic_generic_metadata__["args"]
        return f"page of {_type(element[0])}" if element else f"[{annotation.__name__}](#{_anchor(annotation)})"
    name = getattr(origin or annotation, "__name__", str(annotation)).replace("NoneType", "None")
    inner = " to ".join(_type(part) for part in parts if part is not ...)
    return f"`{name}` of {inner}" if inner else f"`{name}`"


def _autodoc(kind: str, name: str, *options: str) -> str:
    lines = [f".. auto{kind}:: {name}", *(f"   :{option}:" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```", ""])


SECTIONS: dict[str, Callable[[], str]] = {
    **TABLES,
    "magic_sections": magic_sections,
    "error_sections": error_sections,
    "error_tree": error_tree,
    "python": python_names,
    "client": client_sections,
    "widgets": widget_sections,
    "models": model_sections,
}
