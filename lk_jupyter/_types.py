"""Write ``labextension/src/types.ts``: the JSON of our routes and of the API, from the Python models.

``python -m lk_jupyter._docs`` calls this module. A field with a default may be missing in an answer.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, RootModel
from pydantic.json_schema import models_json_schema

from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.serverext import allowlist, models

TYPES = Path(__file__).parent.parent / "labextension" / "src" / "types.ts"

_HEAD = "// Made from the Python models by `make docs`: change those.\n"
_WIDTH = 120
_SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def render() -> str:
    """Return the current content of the file."""
    model_types = sorted(set(_iterate_models()), key=lambda model: model.__name__)
    _, schema = models_json_schema([(model, "serialization") for model in model_types])
    named = {_format_type_name(key): part for key, part in schema["$defs"].items()}
    return _HEAD + "".join(
        f"\n{_format_comment(part)}{_declare_type(name, part)}\n" for name, part in sorted(named.items())
    )


def _iterate_models() -> Iterator[type[BaseModel]]:
    for _, kind in inspect.getmembers(models, inspect.isclass):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            yield kind
    for endpoint in ENDPOINTS:
        if endpoint.title not in allowlist.REFUSED and not endpoint.downloads:
            for kind in [endpoint.returns, *(row.annotation for row in endpoint.signature.parameters.values())]:
                yield from _iterate_models_in(kind)


def _iterate_models_in(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in an annotation; a list yields the models of its elements."""
    if parts := get_args(kind):  # first: Python 3.10 takes list[Run] for a class
        for part in parts:
            yield from _iterate_models_in(part)
    elif inspect.isclass(kind) and issubclass(kind, RootModel):
        yield from _iterate_models_in(kind.model_fields["root"].annotation)
    elif inspect.isclass(kind) and issubclass(kind, BaseModel):
        yield kind


def _format_type_name(key: str) -> str:
    return key.replace("_", "")


def _format_comment(schema: dict[str, Any], indent: str = "") -> str:
    text = " ".join(str(schema.get("description", "")).replace("``", "`").split())
    if not text:
        return ""
    line = f"{indent}/** {text} */\n"
    if len(line) <= _WIDTH:
        return line
    lines, at = [f"{indent} *"], 0
    for word in text.split():
        if len(lines[at]) + len(word) >= _WIDTH:
            lines.append(f"{indent} *")
            at += 1
        lines[at] += f" {word}"
    return "\n".join([f"{indent}/**", *lines, f"{indent} */\n"])


def _declare_type(name: str, schema: dict[str, Any]) -> str:
    if schema.get("type") != "object" or "properties" not in schema:
        return f"export type {name} = {_format_type(schema)};"
    needed = schema.get("required", ())
    rows = [
        f"{_format_comment(part, '  ')}  {_format_key(key)}{'' if key in needed else '?'}: {_format_type(part)};"
        for key, part in schema["properties"].items()
        if key not in allowlist.SECRET_FIELDS or name == models.SignInBody.__name__
    ]
    return "\n".join([f"export interface {name} {{", *rows, "}"])


def _format_key(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name).replace('"', "'")


def _format_type(schema: dict[str, Any]) -> str:  # noqa: PLR0911 (one for each form of a schema)
    if "$ref" in schema:
        return _format_type_name(schema["$ref"].rpartition("/")[2])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " | ".join(dict.fromkeys(map(_format_type, choices)))
    if "allOf" in schema:
        return _format_type(schema["allOf"][0])
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(json.dumps(value).replace('"', "'") for value in values)
    if schema.get("type") == "array":
        item = _format_type(schema.get("items", {}))
        return f"({item})[]" if " " in item else f"{item}[]"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"Record<string, {_format_type(inner) if isinstance(inner, dict) else 'unknown'}>"
    return _SIMPLE.get(str(schema.get("type")), "unknown")
