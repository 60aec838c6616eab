"""Compare cells of ordinary notebooks with and without ``%%lk_run``: their outputs and the variables that they set.

The notebooks are in ``tests/any_cell``. A seed draws ``SAMPLE`` of them, in about 2 minutes; ``LK_ANY_CELL=all`` uses
all, in about 15 minutes, and ``LK_ANY_CELL=NAME,NAME`` some. Each cell runs in two kernels, with and without the line.
If outputs differ or a variable is missing, the cell runs without the line in the second kernel too, so that the next
cell starts from the same state. A difference that the cell before had already is not counted again.
``LK_ANY_CELL_LINE`` replaces the line; ``{names}`` in the line stands for the names that the cell sets.
With ``LK_ANY_CELL_ALTERNATE``, every second cell runs without the line in both kernels.

Without another line, each notebook is executed completely: here, by ``%lk_run_notebook``, and with a kernel on a
machine of the cloud.
"""

from __future__ import annotations

import ast
import json
import os
import random
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any

import nbformat
from figures import Figure
from kernel import Kernel, running_kernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

import lk_jupyter
from lk_jupyter.code.imports import imported_names
from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.kernels import specs
from lk_jupyter.localcloud import launch

NOTEBOOKS = Path(__file__).parent.parent / "tests" / "any_cell"
LINE = os.environ.get("LK_ANY_CELL_LINE", "%%lk_run --machine cpu")
ALTERNATES = bool(os.environ.get("LK_ANY_CELL_ALTERNATE"))

#: Notebooks of a sample, and the seed that draws them.
SAMPLE, SEED = 8, int(os.environ.get("LK_ANY_CELL_SEED", "39"))

#: What a kernel says of its variables: equal texts for equal values, and which names share one object.
PROBE = (NOTEBOOKS / "probe" / "probe.txt").read_text(encoding="utf-8")

_ADDRESS = re.compile(r"0x[0-9a-f]{6,}|/\S+\.py:\d+|\b\d+(?:\.\d+)? [µμmn]?s\b|(?:user|sys|total).*")
_WAY_OUT = re.compile(r"--\w|-r \w|%lk_|: (?:make|send|define|import|install|run|stop|show|ask)|Add |[Dd]efine|[Cc]opy")
_RAISED = re.compile(r"^(\w+): ?(.*)$", re.MULTILINE)
_STATUS = re.compile(
    r"(?:\S )?(?:submitting|queued|pending|starting|running|completed|failed|aborted|refused)\b"
    r"|Hint: |⚠ |\d+ of these|$"
)


@dataclass
class Tally:
    """Counts of compared cells.

    ``silent`` counts cells that ended without an error while a variable is missing or differs and no output of the cell
    contains its name.
    """

    cells: int = 0
    outputs: int = 0
    state: int = 0
    errors: int = 0
    no_way_out: int = 0
    silent: int = 0


def measure() -> Iterator[Figure]:
    """Yield the shares, as what is missing of 100 %."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"))
        try:
            total = Tally()
            paths = list(_chosen())
            for path in paths:
                _notebook(path, cloud, Path(folder), total)
        finally:
            launch.stop(cloud.data)
    outputs, state = (100 * (1 - part / total.cells) for part in (total.outputs, total.state))
    of = f"of {total.cells} cells of {len(paths)} notebooks"
    yield Figure("any cell: other outputs than here", outputs, 5, "%", of)
    yield Figure("any cell: other outputs or variables than here", state, 5, "%", f"{total.errors} errors")
    yield Figure("any cell: errors that name no way out", total.no_way_out, 0, "cells")
    if "LK_ANY_CELL_LINE" not in os.environ:
        yield from _whole(paths)


def _chosen() -> Iterator[Path]:
    """Yield the notebooks that ``LK_ANY_CELL`` names, or a sample, in order of their names."""
    paths = sorted(NOTEBOOKS.glob("*.py"))
    chosen = os.environ.get("LK_ANY_CELL", "")
    if not chosen:
        paths = sorted(random.Random(SEED).sample(paths, SAMPLE))
    elif chosen != "all":
        paths = [path for path in paths if path.stem in chosen.split(",")]
    for path in paths:
        if absent := _absent(path):
            print(f"  {path.stem} is left out: install {', '.join(absent)}", flush=True)
        else:
            yield path


def _whole(paths: list[Path]) -> Iterator[Figure]:
    """Execute each notebook in three ways; yield how many differ from the first, which is here."""
    sent, remote, cells = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder, _remote_kernel(Path(folder)) as name:
        kept = {"LK_LOG_DIR": f"{folder}/logs", "LK_JOURNAL": f"{folder}/journal.sqlite"}
        with running_kernel(**kept) as kernel:
            for path in paths:
                place = Path(folder, path.stem)
                here, there = _executed(path, place / "here"), _executed(path, place / "there", name)
                nbformat.write(_book(path), place / "book.ipynb")
                kernel.messages_of(f"%cd -q {place}")
                kernel.messages_of("%lk_run_notebook book.ipynb --machine cpu --timeout 600")
                whole = _outputs_in(nbformat.read(place / "book.out.ipynb", as_version=4))
                for way, found in (("whole", whole), ("remote kernel", there)):
                    for number, (wanted, got) in enumerate(zip_longest(here, found), 1):
                        if wanted != got:
                            print(f"  {path.stem} {way} cell {number}: {wanted} -> {got}"[:600], flush=True)
                sent += here == whole
                remote += sum(wanted == got for wanted, got in zip_longest(here, there))
                cells += len(here)
    share = 100 * (1 - sent / len(paths))
    yield Figure("whole notebooks: other outputs than here", share, 5, "%", f"{sent} of {len(paths)} are the same")
    share = 100 * (1 - remote / cells)
    yield Figure("remote kernel: other outputs than here", share, 0, "%", f"{remote} of {cells} cells are the same")


@contextmanager
def _remote_kernel(folder: Path) -> Iterator[str]:
    """Make the kernel of a machine of a local cloud, whose notebooks run with the packages of this Python."""
    cloud = launch.start(folder / "hosting", "--engine", "none")
    told = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "JUPYTER_DATA_DIR": str(folder / "jupyter")}
    told["LK_APPROVED_KERNELS"] = "cpu=unknown"  # no page is open that could show the question
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        with lk_jupyter.connect() as session:
            yield specs.add(session.machines().resolve("cpu"), {}).name
    finally:
        launch.stop(cloud.data)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _book(path: Path) -> NotebookNode:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells_of(path)])


def _executed(path: Path, folder: Path, kernel: str = "python3") -> list[list[tuple[str, str]]]:
    folder.mkdir(parents=True)
    book = _book(path)
    with suppress(CellExecutionError):
        NotebookClient(book, timeout=600, kernel_name=kernel, resources={"metadata": {"path": folder}}).execute()
    return _outputs_in(book)


def _outputs_in(book: NotebookNode) -> list[list[tuple[str, str]]]:
    return [_shown([(output.output_type, output) for output in cell.outputs]) for cell in book.cells]


def cells_of(path: Path) -> list[str]:
    """Return the cells of a notebook, which is kept as text."""
    return [cell.strip("\n") for cell in path.read_text(encoding="utf-8").split("# %%\n") if cell.strip()]


def _absent(path: Path) -> list[str]:
    """Return the packages that a notebook imports and that are not here."""
    made = path.read_text(encoding="utf-8")
    names = {name for cell in cells_of(path) for name in imported_names(ast.parse(replace_ipython_syntax(cell)))}
    return sorted(name for name in names if find_spec(name) is None and f"{name}.py" not in made)


def _notebook(path: Path, cloud: launch.Address, folder: Path, tally: Tally) -> None:
    places = [folder / path.stem / name for name in ("plain", "runs")]
    with compared_kernels(cloud, folder, places) as (plain, runs):
        comparison = Comparison()
        for number, cell in enumerate(cells_of(path), 1):
            line = "" if ALTERNATES and number % 2 == 0 else _line(cell)
            expected, result = execute_cell(plain, cell), execute_cell(runs, cell, line)
            if difference := comparison.add(expected, result, tally):
                print(f"  {path.stem} cell {number}: {difference}"[:600], flush=True)
            if comparison.needs_repair:
                execute_cell(runs, cell)


@contextmanager
def compared_kernels(
    cloud: launch.Address, folder: Path, places: list[Path], **variables: str
) -> Iterator[list[Kernel]]:
    """Start a kernel in each of these folders, with equal random states; the last kernel is signed in to the cloud."""
    journal = {"LK_LOG_DIR": str(folder / "logs"), "LK_JOURNAL": str(folder / "journal.sqlite")}
    journal["XDG_DATA_HOME"] = str(folder / "data")  # no answers and sessions of earlier comparisons
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    with ExitStack() as stack:
        kernels = []
        for place in places:
            env = {**journal, **variables, **(signed_in if place == places[-1] else {})}
            kernel = stack.enter_context(running_kernel(**env))
            place.mkdir(parents=True, exist_ok=True)
            kernel.execute(f"%cd -q {place}")
            kernel.execute("import random, numpy.random\nrandom.seed(0), numpy.random.seed(0)\ndel random, numpy")
            kernels.append(kernel)
        yield kernels


@dataclass(frozen=True)
class CellResult:
    """The outputs of a cell, the variables after the cell, and the text of all messages."""

    outputs: list[tuple[str, str]]
    state: dict[str, Any]
    text: str

    @property
    def failed(self) -> bool:
        """Whether the cell ended with an error."""
        return any(kind == "error" for kind, _ in self.outputs)


def execute_cell(kernel: Kernel, cell: str, line: str = "") -> CellResult:
    """Execute a cell, with a line of ``%%lk_run`` above the cell if there is one."""
    messages = kernel.messages_of(f"{line}\n{cell}" if line else cell)
    text = json.dumps([content for _, content in messages])
    return CellResult(_shown(messages, is_run=bool(line)), _probe(kernel), text)


class Comparison:
    """Compares the cells of one notebook.

    ``needs_repair`` is whether the last cell must run without a line for the next comparison.
    """

    def __init__(self) -> None:
        self._earlier: dict[str, tuple[Any, Any]] = {}
        self.needs_repair = False

    def add(self, expected: CellResult, result: CellResult, tally: Tally, ignored: Iterable[str] = ()) -> str:
        """Count a cell in ``tally``; return the differences in words, without ``ignored`` variables."""
        pairs = {name: (expected.state.get(name), result.state.get(name)) for name in expected.state | result.state}
        differs = {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name not in set(ignored)}
        new = {name: pair for name, pair in differs.items() if self._earlier.get(name) != pair}
        has_same_outputs = expected.outputs == result.outputs
        tally.cells += 1
        tally.outputs += has_same_outputs
        tally.state += has_same_outputs and not new
        tally.silent += not result.failed and any(name not in result.text for name in new)
        self.needs_repair = not has_same_outputs or any(value is None for _, value in new.values())
        self._earlier = {} if self.needs_repair else differs
        if result.failed and not expected.failed:
            tally.errors += 1
            tally.no_way_out += not _WAY_OUT.search(json.dumps(result.outputs))
        if not has_same_outputs:
            return f"{_shortly(expected.outputs)} -> {_shortly(result.outputs)}"
        return "; ".join(_beside(name, *map(str, pair)) for name, pair in sorted(new.items()))


def _line(cell: str) -> str:
    return LINE.replace("{names}", ",".join(_set_by(cell)) or "_none_") if "{names}" in LINE else LINE


def _set_by(cell: str) -> list[str]:
    tree = ast.parse(replace_ipython_syntax(cell))
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    made = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return sorted(named | made)


def _outputs(kernel: Kernel, code: str, *, is_run: bool = False) -> list[tuple[str, str]]:
    return _shown(kernel.messages_of(code), is_run=is_run)


def _shown(messages: Iterable[tuple[str, dict[str, Any]]], *, is_run: bool = False) -> list[tuple[str, str]]:
    """Return what a cell shows, in order; text is joined, and what a run says of itself is left out."""
    found: list[tuple[str, str]] = []
    for kind, content in messages:
        if kind == "stream":  # stdout and stderr come in any order
            at = len(found)
            while at and found[at - 1][0] in {"stdout", "stderr"}:
                at -= 1
            streams = dict(found[at:])
            streams[content["name"]] = streams.get(content["name"], "") + _ADDRESS.sub("", content["text"])
            found[at:] = sorted(streams.items())
        elif kind == "error":
            found.append(("error", _error(content)))
        elif kind in {"display_data", "execute_result"} and not (is_run and _is_status(content)):
            data = content["data"]
            text = "a picture" if "image/png" in data else _ADDRESS.sub("", data.get("text/plain", ""))
            found.append(("shown", text))
    return found


def _is_status(content: dict[str, Any]) -> bool:
    return bool(_STATUS.match(content["data"].get("text/plain", "no text")))


def _error(content: dict[str, Any]) -> str:
    last = str(content["evalue"]).strip()
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(content["traceback"]))
    if content["ename"] == "RunFailed":
        raised = _RAISED.findall(text.partition("RunFailed:")[0])
        return ": ".join(raised[-1]) if raised else text[-300:]
    first_line = last.partition(os.linesep)[0]
    if content["ename"] == "CellFailed":  # session NAME: the error
        return first_line.partition(": ")[2]
    return f"{content['ename']}: {first_line}"


def _probe(kernel: Kernel) -> dict[str, Any]:
    messages = kernel.messages_of(PROBE)
    texts = [content["text"] for _, content in messages if content.get("name") == "stdout"]
    if not texts:
        return {"<untold>": messages[-1][1].get("evalue")}
    state: dict[str, Any] = json.loads("".join(texts).splitlines()[-1])
    return state


def _beside(name: str, wanted: str, found: str) -> str:
    """Return two texts from a little before where they begin to differ."""
    shorter = min(len(wanted), len(found))
    differs = next((at for at in range(shorter) if wanted[at] != found[at]), shorter)
    start = max(0, differs - 40)
    return f"{name}: {wanted[start : start + 120]} -> {found[start : start + 120]}"


def _shortly(outputs: list[tuple[str, str]]) -> str:
    return repr([(kind, text[-250:] if kind == "error" else text[:80]) for kind, text in outputs])
