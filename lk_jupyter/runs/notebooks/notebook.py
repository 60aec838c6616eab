"""Run a complete notebook: send its cells, and take its outputs back cell by cell."""

from __future__ import annotations

import ast
import json
import re
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.code.imports import imported_names, local_files
from lk_jupyter.code.ipython import as_python
from lk_jupyter.code.packages import installed_requirements
from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import NotebookRunOptions, RunOptions
from lk_jupyter.protocol.json_limits import load_user_json
from lk_jupyter.protocol.parts import PACKAGE, RemoteModule
from lk_jupyter.runs.package import secret_scan
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.reattach import find_previous_run
from lk_jupyter.runs.run import Run

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

PART = "script.notebook"

#: The kind of the frames that tell of a cell.
CELL = "cell"

#: What executes it over there.
NEEDED = ("nbclient>=0.8", "ipykernel")

PARAMETERS, INJECTED = "parameters", "injected-parameters"

_FORMAT = 4


def prepare_notebook(session: Connection, options: NotebookRunOptions) -> Bundle:
    """Put together the run of a notebook, with its parameters set. Raises UsageError for what would not run."""
    path = Path(options.notebook).expanduser()
    book = with_parameters(read(path), options.parameter)
    target = output_of(path, options.output)
    settings = {"book": book, "target": str(target.absolute()), "inline": setting("inline_output")}
    source = _source(path, book)
    imported = _imported(book)
    local = local_files(imported, source.folder)
    foreign = {name for name in imported if not local_files({name}, source.folder)}
    chosen = _run_options(options, [*options.files, *local], foreign)
    package = prepare(session, source, chosen, [RemoteModule(PART, settings, ("script.offload",))])
    texts = {f"cell {at}": cell["source"] for at, cell in enumerate(book["cells"], 1)}
    return replace(package, secrets=(*package.secrets, *secret_scan.in_texts(texts, (session.target.key.token,))))


def _source(path: Path, book: dict[str, Any]) -> Source:
    """Return the code that executes it; it names the content, so that the same notebook is known again."""
    digest = sha256(json.dumps([cell["source"] for cell in book["cells"]]).encode()).hexdigest()[:16]
    code = f"# {path.name}, {digest}\nimport {PACKAGE}.{PART}\n{PACKAGE}.{PART}.run()\n"
    name = re.sub(r"[^\w-]", "_", path.stem)
    return Source(code, f"{name}.py", folder=path.absolute().parent)


def _run_options(options: NotebookRunOptions, files: list[str], foreign: set[str]) -> RunOptions:
    own = set(NotebookRunOptions.model_fields) - set(RunOptions.model_fields)
    given = options.model_dump(exclude=own, exclude_unset=True)
    auto = installed_requirements(foreign) if "auto" in options.requirements else []
    requirements = [*(what for what in options.requirements if what != "auto"), *auto, *NEEDED]
    return RunOptions(
        **{
            **given,
            "files": files,
            "requirements": requirements,
            "name": options.name or options.notebook,
            "rich": False,
        }
    )


def _imported(book: dict[str, Any]) -> set[str]:
    """Return the modules that the code imports; a cell that is no Python to IPython either is passed over."""
    found: set[str] = set()
    for cell in book["cells"]:
        with suppress(SyntaxError):
            found |= imported_names(ast.parse(as_python(cell["source"]))) if cell["cell_type"] == "code" else set()
    return found


def read(path: Path) -> dict[str, Any]:
    """Return a notebook without its outputs. Raises UsageError when there is none, or it is of an older form."""
    try:
        book: dict[str, Any] = load_user_json(path.read_bytes())
    except FileNotFoundError:
        near = get_close_matches(path.name, [found.name for found in path.parent.glob("*.ipynb")], n=1)
        raise UsageError(
            f"No notebook '{path}'. Nothing was sent.{f' Did you mean {near[0]}?' if near else ''}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"Can't read '{path}' as a notebook: {error}. Nothing was sent.") from None
    if not isinstance(book, dict) or book.get("nbformat") != _FORMAT or not isinstance(book.get("cells"), list):
        raise UsageError(
            f"'{path}' isn't a notebook of version {_FORMAT}. Nothing was sent. Open it in Jupyter and save it."
        )
    try:
        return _without_outputs(book, path)
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"A cell of '{path}' isn't one of a notebook ({error}). Nothing was sent.") from None


def _without_outputs(book: dict[str, Any], path: Path) -> dict[str, Any]:
    if not any(cell["cell_type"] == "code" for cell in book["cells"]):
        raise UsageError(f"'{path}' contains no code. Nothing was sent.")
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    book["metadata"].pop("widgets", None)
    return book


def output_of(path: Path, wish: str | None) -> Path:
    """Return the path of the executed notebook: next to the notebook by default. Raises UsageError."""
    target = Path(wish).expanduser() if wish else path.with_name(f"{path.stem}.out.ipynb")
    if target.absolute() == path.absolute():
        raise UsageError(f"--output would overwrite '{path}'. Nothing was sent. Give another name.")
    if not target.parent.is_dir():
        raise UsageError(f"--output: no folder '{target.parent}'. Nothing was sent.")
    return target


def with_parameters(book: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """Return the notebook with these parameters set, in a cell after the cell with the tag ``parameters``.

    A value is a Python literal, or else text. Raises UsageError for an invalid name, and for a name
    that the tagged cell doesn't set.
    """
    if not given:
        return book
    place = next((at for at, cell in enumerate(book["cells"]) if PARAMETERS in _tags(cell)), None)
    known = set() if place is None else _names(book["cells"][place]["source"])
    for name in given:
        if not name.isidentifier():
            raise UsageError(f"-p takes NAME=VALUE, and '{name}' isn't a variable name. Nothing was sent.")
        if known and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Parameters: {', '.join(sorted(known))}."
            raise UsageError(f"-p {name}: the notebook's parameters cell doesn't set it. Nothing was sent. {hint}")
    lines = ["# Parameters", *(f"{name} = {_value(text)!r}" for name, text in given.items())]
    cell: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {"tags": [INJECTED]},
        "source": "\n".join(lines),
        "outputs": [],
        "execution_count": None,
    }
    if book.get("nbformat_minor", 0) >= 5:
        cell["id"] = "injected-parameters"
    cells = [cell for cell in book["cells"] if INJECTED not in _tags(cell)]
    at = 0 if place is None else next(n for n, cell in enumerate(cells) if PARAMETERS in _tags(cell)) + 1
    return {**book, "cells": [*cells[:at], cell, *cells[at:]]}


def _tags(cell: dict[str, Any]) -> list[str]:
    tags: list[str] = cell.get("metadata", {}).get("tags", [])
    return tags


def _names(code: str) -> set[str]:
    with suppress(SyntaxError):
        stored = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name))
        return {node.id for node in stored if isinstance(node.ctx, ast.Store)}
    return set()


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text, text)


def start_notebook_run(session: Connection, options: NotebookRunOptions) -> Run:
    """Start the run of a notebook, or return its earlier run, as the options say."""
    package = prepare_notebook(session, options)
    return (options.attach == "auto" and find_previous_run(session, package)) or Run.submit(session, package)
