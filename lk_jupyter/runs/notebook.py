"""A whole notebook as a run: what is sent of it, and how it comes back, cell by cell."""

from __future__ import annotations

import ast
import copy
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.config import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.options import NotebookRunOptions, RunOptions
from lk_jupyter.runs import guard
from lk_jupyter.runs.bundle import Bundle, Source
from lk_jupyter.runs.companion import WARNING, Companion, Remark
from lk_jupyter.runs.frames import Frame
from lk_jupyter.runs.imports import imported_names, local_files
from lk_jupyter.runs.ipython import as_python
from lk_jupyter.runs.journal import journal
from lk_jupyter.runs.parts import SETTINGS, Part
from lk_jupyter.runs.run import Run, prepare

if TYPE_CHECKING:
    from lk_jupyter.runs.session import Session

PART = "_lk_notebook"

#: The kind of the frames that tell of a cell.
CELL = "cell"

#: What executes it over there.
NEEDED = ("nbclient>=0.8", "ipykernel")

PARAMETERS, INJECTED = "parameters", "injected-parameters"

_FORMAT = 4


def prepare_notebook(session: Session, options: NotebookRunOptions) -> Bundle:
    """Put together the run of a notebook, with its parameters set. Raises UsageError for what would not run."""
    path = Path(options.notebook).expanduser()
    book = with_parameters(read(path), options.parameter)
    target = output_of(path, options.output)
    settings = {"book": book, "target": str(target.absolute()), "inline": setting("inline_output")}
    source = _source(path, book)
    chosen = _run_options(options, [*options.files, *local_files(_imported(book), source.folder)])
    made = prepare(session, source, chosen, [Part(PART, settings, ("_lk_large",))])
    texts = {f"cell {at}": cell["source"] for at, cell in enumerate(book["cells"], 1)}
    return replace(made, secrets=(*made.secrets, *guard.in_texts(texts, (session.target.key.token,))))


def _source(path: Path, book: dict[str, Any]) -> Source:
    """Return the code that executes it; it names the content, so that the same notebook is known again."""
    digest = sha256(json.dumps([cell["source"] for cell in book["cells"]]).encode()).hexdigest()[:16]
    code = f"# {path.name}, {digest}\nimport {PART}\n{PART}.run()\n"
    name = re.sub(r"[^\w-]", "_", path.stem)
    return Source(code, f"{name}.py", folder=path.absolute().parent)


def _run_options(options: NotebookRunOptions, files: list[str]) -> RunOptions:
    own = set(NotebookRunOptions.model_fields) - set(RunOptions.model_fields)
    given = options.model_dump(exclude=own, exclude_unset=True)
    requirements = [*options.requirements, *NEEDED]
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
        book: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = get_close_matches(path.name, [found.name for found in path.parent.glob("*.ipynb")], n=1)
        raise UsageError(f"There is no {path}.{f' Did you mean {near[0]}?' if near else ''}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a notebook: {error}") from None
    if not isinstance(book, dict) or book.get("nbformat") != _FORMAT or not isinstance(book.get("cells"), list):
        raise UsageError(f"{path} is no notebook of version {_FORMAT}: open it in Jupyter and save it.")
    if not any(cell["cell_type"] == "code" for cell in book["cells"]):
        raise UsageError(f"{path} has no code to run.")
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    book["metadata"].pop("widgets", None)
    return book


def output_of(path: Path, wish: str | None) -> Path:
    """Return where the executed notebook goes: beside the notebook, unless told. Raises UsageError."""
    target = Path(wish).expanduser() if wish else path.with_name(f"{path.stem}.out.ipynb")
    if target.absolute() == path.absolute():
        raise UsageError(f"--output would overwrite {path}: give another name.")
    if not target.parent.is_dir():
        raise UsageError(f"--output: there is no folder {target.parent}.")
    return target


def with_parameters(book: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """Return the notebook with these parameters set, in a cell behind the one that is tagged ``parameters``.

    A value is a Python literal, or else text. Raises UsageError for a name that is none, and for one
    that the tagged cell does not set.
    """
    if not given:
        return book
    place = next((at for at, cell in enumerate(book["cells"]) if PARAMETERS in _tags(cell)), None)
    known = set() if place is None else _names(book["cells"][place]["source"])
    for name in given:
        if not name.isidentifier():
            raise UsageError(f"-p takes NAME=VALUE, and {name!r} is no name of a variable.")
        if known and name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It sets: {', '.join(sorted(known))}."
            raise UsageError(f"-p {name}: the notebook's cell of parameters does not set it. {hint}")
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


class Executed(Companion):
    """Writes the executed notebook as its cells end, and tells how far it is."""

    def __init__(self, book: dict[str, Any], target: Path) -> None:
        self._book = copy.deepcopy(book)
        self._target = target
        self._code = [at for at, cell in enumerate(book["cells"]) if cell["cell_type"] == "code"]
        self._running: int | None = None
        self._done = 0
        self._trouble = ""

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (the frames tell)
        """Return which cell runs, of how many."""
        if self._running is None:
            return []
        return [f"cell {self._code.index(self._running) + 1} of {len(self._code)}"]

    def remarks(self) -> list[Remark]:
        """Return how the cell that runs begins."""
        if self._running is None:
            return []
        first = next((line for line in self._book["cells"][self._running]["source"].splitlines() if line.strip()), "")
        return [Remark(first.strip()[:80])]

    def saw(self, frame: Frame) -> None:
        """Take note of a cell."""
        at = frame.payload.get("index")
        if frame.kind != CELL or at not in self._code:
            return
        if frame.payload["state"] == "running":
            self._running = at
            return
        self._book["cells"][at].update(outputs=frame.payload["outputs"], execution_count=frame.payload["count"])
        self._done += 1
        self._write()

    def ended(self, run: Run, record: ExecutionRecord) -> list[Remark]:  # noqa: ARG002 (the state is enough)
        """Tell where the notebook is, and how much of it ran."""
        self._running = None
        if self._trouble:
            return [Remark(f"The executed notebook could not be written: {self._trouble}", WARNING)]
        if not self._done:
            return []
        part = f", {self._done} of {len(self._code)} cells" if record.status.lower() not in SUCCEEDED_STATES else ""
        return [Remark(f"The executed notebook: {self._target}{part}")]

    def _write(self) -> None:
        new = self._target.with_name(f".{self._target.name}.new")
        try:
            new.write_text(json.dumps(self._book, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            new.replace(self._target)
        except OSError as error:
            self._trouble = str(error)


def executed(run: Run | None, package: Bundle | None) -> Iterator[Companion]:
    """Yield what brings the notebook of a run back, if it is the run of one."""
    entry = journal().get(run.execution_id) if run else None
    kept = package.request.import_files if package else entry and entry.request.get("import_files")
    with suppress(ValueError, KeyError, TypeError):  # it was kept without its files, or never was a notebook
        settings = json.loads(json.loads(kept or "{}")[SETTINGS])["parts"][PART]
        yield Executed(settings["book"], Path(settings["target"]))


def start_notebook_run(session: Session, options: NotebookRunOptions) -> Run:
    """Start the run of a notebook."""
    return Run.submit(session, prepare_notebook(session, options))
