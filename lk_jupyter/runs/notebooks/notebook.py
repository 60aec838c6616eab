"""Run a complete notebook, and receive the outputs cell by cell."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.code.imports import imported_names, local_files
from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.code.packages import installed_requirements
from lk_jupyter.code.script_block import ScriptBlock, describe_first_cell, read_block
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

#: The kind of the frames about a cell.
CELL = "cell"

#: The packages that execute the notebook in the run.
REQUIREMENTS = ("nbclient>=0.8", "ipykernel")

PARAMETERS, INJECTED = "parameters", "injected-parameters"

_FORMAT = 4


def prepare_notebook(session: Connection, options: NotebookRunOptions, content: bytes | None = None) -> Bundle:
    """Return the bundle of a notebook with parameters. Raises UsageError for invalid options or notebooks.

    ``content`` is a notebook that is run instead of the file; its local modules are those next to the file.
    """
    path = Path(options.notebook).expanduser()
    book = insert_parameters(read(path) if content is None else parse(content, path), options.parameter)
    target = resolve_output(path, options.output)
    settings = {"book": book, "target": str(target.absolute()), "inline": setting("inline_output")}
    source = _build_source(path, book)
    imported = _list_imported_modules(book)
    local = local_files(imported, source.folder)
    foreign = {name for name in imported if not local_files({name}, source.folder)}
    block = _read_first_block(book, path)
    chosen = _build_run_options(options, [*options.files, *local], foreign, block.dependencies if block else ())
    bundle = prepare(session, replace(source, block=block), chosen, [RemoteModule(PART, settings, ("script.offload",))])
    texts = {f"cell {at}": cell["source"] for at, cell in enumerate(book["cells"], 1)}
    return replace(bundle, secrets=(*bundle.secrets, *secret_scan.scan_texts(texts, (session.target.key.token,))))


def _build_source(path: Path, book: dict[str, Any]) -> Source:
    """Return the code that executes a notebook; the code contains a digest, so that equal notebooks are found again."""
    digest = sha256(json.dumps([cell["source"] for cell in book["cells"]]).encode()).hexdigest()[:16]
    code = f"# {path.name}, {digest}\nimport {PACKAGE}.{PART}\n{PACKAGE}.{PART}.run()\n"
    name = re.sub(r"[^\w-]", "_", path.stem)
    return Source(code, f"{name}.py", folder=path.absolute().parent)


def _read_first_block(book: dict[str, Any], path: Path) -> ScriptBlock | None:
    """Return the script block of the first code cell; None without a block. Raises UsageError."""
    first = next(cell["source"] for cell in book["cells"] if cell["cell_type"] == "code")
    return read_block(first, place=describe_first_cell(path), notebook=path.absolute())


def _build_run_options(
    options: NotebookRunOptions, files: list[str], foreign: set[str], dependencies: Sequence[str]
) -> RunOptions:
    notebook_options = set(NotebookRunOptions.model_fields) - set(RunOptions.model_fields)
    shared = options.model_dump(exclude=notebook_options, exclude_unset=True)
    default = setting("requirements")
    listed = options.requirements or ([default] if default else [])
    auto = installed_requirements(foreign, [*listed, *dependencies]) if "auto" in listed else []
    requirements = [
        *(requirement for requirement in listed if requirement != "auto"),
        *auto,
        *REQUIREMENTS,
    ]
    return RunOptions(
        **{
            **shared,
            "files": files,
            "requirements": requirements,
            "name": options.name or options.notebook,
            "rich": False,
        }
    )


def _list_imported_modules(book: dict[str, Any]) -> set[str]:
    """Return the modules that the code imports, without cells that aren't Python."""
    modules: set[str] = set()
    for cell in book["cells"]:
        with suppress(SyntaxError):
            modules |= (
                imported_names(ast.parse(replace_ipython_syntax(cell["source"])))
                if cell["cell_type"] == "code"
                else set()
            )
    return modules


def read(path: Path) -> dict[str, Any]:
    """Return a notebook without outputs. Raises UsageError for a missing file, or an older format."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        near = get_close_matches(path.name, [file.name for file in path.parent.glob("*.ipynb")], n=1)
        raise UsageError(
            f"No notebook '{path}'. Nothing was sent.{f' Did you mean {near[0]}?' if near else ''}"
        ) from None
    except OSError as error:
        raise UsageError(f"Can't read '{path}' as a notebook: {error}. Nothing was sent.") from None
    return parse(content, path)


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """Return the notebook in the content of a file, without outputs. Raises UsageError for an older format."""
    try:
        book: dict[str, Any] = load_user_json(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"Can't read '{path}' as a notebook: {error}. Nothing was sent.") from None
    if not isinstance(book, dict) or book.get("nbformat") != _FORMAT or not isinstance(book.get("cells"), list):
        raise UsageError(
            f"'{path}' isn't a notebook of version {_FORMAT}. Nothing was sent. Open it in Jupyter and save it."
        )
    try:
        return _remove_outputs(book, path)
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"A cell of '{path}' isn't a valid notebook cell ({error}). Nothing was sent.") from None


def _remove_outputs(book: dict[str, Any], path: Path) -> dict[str, Any]:
    if not any(cell["cell_type"] == "code" for cell in book["cells"]):
        raise UsageError(f"'{path}' contains no code. Nothing was sent.")
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    book["metadata"].pop("widgets", None)
    return book


def resolve_output(path: Path, output: str | None) -> Path:
    """Return the path of the executed notebook: next to the notebook by default. Raises UsageError."""
    target = Path(output).expanduser() if output else path.with_name(f"{path.stem}.out.ipynb")
    if target.absolute() == path.absolute():
        raise UsageError(f"--output would overwrite '{path}'. Nothing was sent. Give another name.")
    if not target.parent.is_dir():
        raise UsageError(f"--output: no folder '{target.parent}'. Nothing was sent.")
    return target


def insert_parameters(book: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """Return the notebook with a cell that sets the parameters, after the cell with the tag ``parameters``.

    A value is a Python literal, or text. Raises UsageError for an invalid name, and for a name that the tagged cell
    doesn't set.
    """
    if not parameters:
        return book
    place = next((index for index, cell in enumerate(book["cells"]) if PARAMETERS in _read_tags(cell)), None)
    names = set() if place is None else _list_assigned_names(book["cells"][place]["source"])
    for name in parameters:
        if not name.isidentifier():
            raise UsageError(f"-p takes NAME=VALUE, and '{name}' isn't a variable name. Nothing was sent.")
        if names and name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Parameters: {', '.join(sorted(names))}."
            raise UsageError(
                f"-p {name}: the notebook's cell with the tag 'parameters' doesn't set this variable. Nothing was "
                f"sent. {hint}"
            )
    lines = ["# Parameters", *(f"{name} = {_parse_value(text)!r}" for name, text in parameters.items())]
    cell: dict[str, Any] = {
        "cell_type": "code",
        "metadata": {"tags": [INJECTED]},
        "source": "\n".join(lines),
        "outputs": [],
        "execution_count": None,
    }
    if book.get("nbformat_minor", 0) >= 5:
        cell["id"] = "injected-parameters"
    cells = [cell for cell in book["cells"] if INJECTED not in _read_tags(cell)]
    index = 0 if place is None else next(n for n, cell in enumerate(cells) if PARAMETERS in _read_tags(cell)) + 1
    return {**book, "cells": [*cells[:index], cell, *cells[index:]]}


def _read_tags(cell: dict[str, Any]) -> list[str]:
    tags: list[str] = cell.get("metadata", {}).get("tags", [])
    return tags


def _list_assigned_names(code: str) -> set[str]:
    with suppress(SyntaxError):
        stored = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name))
        return {node.id for node in stored if isinstance(node.ctx, ast.Store)}
    return set()


def _parse_value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False}.get(text, text)


def start_notebook_run(session: Connection, options: NotebookRunOptions) -> Run:
    """Start the run of a notebook, or return an earlier run with the option ``attach``."""
    bundle = prepare_notebook(session, options)
    return (options.attach == "auto" and find_previous_run(session, bundle)) or Run.submit(session, bundle)
