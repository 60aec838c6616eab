"""Writes the tables of README.md and of the operations, and the types of TypeScript, from the declarations.

``python -m lk_jupyter._docs`` does it; with ``--check`` it only says what is not current.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; NAME is a key of ``TABLES``.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.fields import FieldInfo

from lk_jupyter import _types
from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS, PLACEHOLDER, Group
from lk_jupyter.api.states import FINAL_STATES
from lk_jupyter.config import SETTINGS
from lk_jupyter.magics._about import magics
from lk_jupyter.magics._operations import NO_MAGIC, magics_of
from lk_jupyter.magics._parser import first_sentence, flags, is_switch
from lk_jupyter.options import RunOptions, extras
from lk_jupyter.runs.series import SERIES

README = Path(__file__).parent.parent / "README.md"
OPERATIONS = README.with_name("notebooks") / "reference" / "operations.md"
DESCRIPTION = README.parent / "tests" / "contract" / "openapi.yaml"

_CLIENT = Client("http://127.0.0.1")
_MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def magics_table() -> str:
    """Return every magic with what it does."""
    return _table(("Magic", "What it does"), [(f"`{entry.name}`", entry.text) for entry in magics()])


def options_table() -> str:
    """Return the options of ``%%lk_run``."""
    rows = [(_on_the_line(name, field), field.description or "") for name, field in RunOptions.model_fields.items()]
    return _table(("Option", "What it does"), rows)


def settings_table() -> str:
    """Return the settings with their defaults and environment variables."""
    rows = [
        (
            f"`{row.name}`",
            row.help,
            row.default_words() if row.default else "",
            ", ".join(f"`{name}`" for name in row.env),
        )
        for row in SETTINGS
    ]
    return _table(("Setting", "What it is", "Default", "Environment"), rows)


def options_module() -> str:
    """Return what Lab must know of the options, states and metrics of runs, as TypeScript."""
    fields = RunOptions.model_fields.items()
    rows = {flag: field.description or "" for name, field in fields for flag in flags(name, field)}
    head = (
        "// Made from the Python options by `make docs`: change those.\n\n/** Option of `%%lk_run` → what it does. */\n"
    )
    states = json.dumps(sorted(FINAL_STATES)).replace('"', "'")
    series = [{name: value for name, value in each._asdict().items() if name != "column"} for each in SERIES]
    return (
        f"{head}export const RUN_OPTIONS: Record<string, string> = {json.dumps(rows, indent=2, ensure_ascii=False)};\n"
        f"\n/** States of a run that has ended; any other means that it goes on. */\n"
        f"export const FINAL_STATES = {states};\n"
        "\n/** Series of metrics: field of the API, words, unit, the panel of its plot, factor to the unit. */\n"
        f"export const SERIES = {json.dumps(series, indent=2, ensure_ascii=False)} as const;\n"
    )


def operations_table() -> str:
    """Return the operations of the API: Python call, magic, and how sure the description is of it."""
    groups = {type(part): name for name in vars(Client) if isinstance(part := getattr(_CLIENT, name), Group)}
    paths = _described_paths()
    rows = [
        (
            f"`client.{groups[endpoint.owner]}.{endpoint.name}`",
            f"`{endpoint.method} {path}`",
            _first_sentence(endpoint.function),
            _magic_for(f"{groups[endpoint.owner]}.{endpoint.name}"),
            paths[path][endpoint.method.lower()]["x-source"],
        )
        for endpoint in ENDPOINTS
        for path in [PLACEHOLDER.sub(r"{\1}", endpoint.path)]
    ]
    return _table(("Python", "Operation", "What it does", "Magic", "Source"), sorted(rows))


def _magic_for(operation: str) -> str:
    return ", ".join(f"`{magic}`" for magic in magics_of(operation)[:2]) or NO_MAGIC.get(operation, "")


def _described_paths() -> dict[str, Any]:
    paths: dict[str, Any] = yaml.load(DESCRIPTION.read_text(encoding="utf-8"), yaml.CSafeLoader)["paths"]
    return paths


OPTIONS = _types.TYPES.with_name("options.ts")

#: Pages that are kept with their tables; those of the guide's other pages are made when it is built.
PAGES = (README, OPERATIONS)

TABLES: dict[str, Callable[[], str]] = {
    "magics": magics_table,
    "options": options_table,
    "settings": settings_table,
    "operations": operations_table,
}


def render(text: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """Return the text with its tables made anew."""
    return _MARKED.sub(lambda found: found[1] + tables[found[2]](), text)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _first_sentence(documented: Callable[..., object]) -> str:
    return first_sentence(inspect.getdoc(documented) or "")


def _on_the_line(name: str, field: FieldInfo) -> str:
    if field.annotation == bool | None:
        return f"`--{name}`, `--no-{name}`"
    metavar = extras(field).get("metavar") or ("" if is_switch(field) else name.upper())
    return f"`{', '.join(flags(name, field))} {metavar}".rstrip() + "`"


def main(*, check: bool) -> str | None:
    """Write the tables and types, or with ``check`` say what is not current."""
    files = {
        **{page: render(page.read_text(encoding="utf-8")) for page in PAGES},
        _types.TYPES: _types.render(),
        OPTIONS: options_module(),
    }
    old = [path for path, current in files.items() if not path.exists() or path.read_text(encoding="utf-8") != current]
    if check:
        return f"not current: {', '.join(path.name for path in old)}: make docs" if old else None
    for path in old:
        path.write_text(files[path], encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv))
