"""How many cells of ordinary notebooks do with ``%%lk_run`` what they do here: outputs, and what they leave.

The notebooks are those of ``tests/any_cell``; ``LK_ANY_CELL`` names some of them. Each cell runs in two kernels, as it
is and as a run; then outputs and variables are compared. After other outputs, or where a variable is missing, the cell
is run as it is in the second kernel too, so that the next one begins as it should; a variable that differs as after the
cell before is no new difference. ``LK_ANY_CELL_LINE`` is another line than the
plain one, with ``{names}`` for what the cell sets.

Then each notebook is executed whole: here, by ``%lk_run_notebook``, and with a kernel on a machine of the cloud.
"""

from __future__ import annotations

import ast
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
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
from lk_jupyter.code.ipython import as_python
from lk_jupyter.kernels import specs
from lk_jupyter.localcloud import launch

NOTEBOOKS = Path(__file__).parent.parent / "tests" / "any_cell"
LINE = os.environ.get("LK_ANY_CELL_LINE", "%%lk_run --machine cpu")

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
    """How the cells of one notebook went."""

    cells: int = 0
    outputs: int = 0
    state: int = 0
    errors: int = 0
    no_way_out: int = 0

    def add(self, other: Tally) -> None:
        """Add the cells of another notebook."""
        for name in ("cells", "outputs", "state", "errors", "no_way_out"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


def measure() -> Iterator[Figure]:
    """Yield the shares, as what is missing of 100 %."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"))
        try:
            total = Tally()
            paths = list(_chosen())
            for path in paths:
                total.add(_notebook(path, cloud, Path(folder)))
        finally:
            launch.stop(cloud.data)
    outputs, state = (100 * (1 - part / total.cells) for part in (total.outputs, total.state))
    of = f"of {total.cells} cells of {len(paths)} notebooks"
    yield Figure("any cell: other outputs than here", outputs, 5, "%", of)
    yield Figure("any cell: other outputs or variables than here", state, 5, "%", f"{total.errors} errors")
    yield Figure("any cell: errors that name no way out", total.no_way_out, 0, "cells")
    yield from _whole(paths)


def _chosen() -> Iterator[Path]:
    for path in sorted(NOTEBOOKS.glob("*.py")):
        if path.stem not in os.environ.get("LK_ANY_CELL", path.stem).split(","):
            continue
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
    names = {name for cell in cells_of(path) for name in imported_names(ast.parse(as_python(cell)))}
    return sorted(name for name in names if find_spec(name) is None and f"{name}.py" not in made)


def _notebook(path: Path, cloud: launch.Address, folder: Path) -> Tally:
    kept = {"LK_LOG_DIR": str(folder / "logs"), "LK_JOURNAL": str(folder / "journal.sqlite")}
    tally = Tally()
    with (
        running_kernel(**kept) as plain,
        running_kernel(LK_BASE_URL=cloud.base_url, LK_API_KEY=cloud.api_key, **kept) as ours,
    ):
        for kernel, name in ((plain, "plain"), (ours, "ours")):
            place = folder / path.stem / name
            place.mkdir(parents=True)
            kernel.execute(f"%cd -q {place}")
            kernel.execute("import random, numpy.random\nrandom.seed(0), numpy.random.seed(0)\ndel random, numpy")
        known: dict[str, tuple[Any, Any]] = {}
        for number, cell in enumerate(cells_of(path), 1):
            if difference := _cell(cell, plain, ours, tally, known):
                print(f"  {path.stem} cell {number}: {difference}"[:600], flush=True)
    return tally


def _cell(cell: str, plain: Kernel, ours: Kernel, tally: Tally, known: dict[str, tuple[Any, Any]]) -> str:
    """Run a cell in both kernels; return what differs, in words. ``known`` is how variables have differed before it."""
    expected, found = _outputs(plain, cell), _outputs(ours, f"{_line(cell)}\n{cell}", is_run=True)
    wanted, state = _probe(plain), _probe(ours)
    pairs = {name: (wanted.get(name), state.get(name)) for name in wanted | state}
    differs = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    new = {name: pair for name, pair in differs.items() if known.get(name) != pair}
    known.clear()
    tally.cells += 1
    same = expected == found
    tally.outputs += same
    tally.state += same and not new
    if same and not any(there is None for _, there in new.values()):
        known.update(differs)
        return "; ".join(_beside(name, *map(str, pair)) for name, pair in sorted(new.items()))
    lacking = json.dumps(found)
    if any(kind == "error" for kind, _ in found) and not any(kind == "error" for kind, _ in expected):
        tally.errors += 1
        tally.no_way_out += not _WAY_OUT.search(lacking)
    _outputs(ours, cell)
    if not same:
        return f"{_shortly(expected)} -> {_shortly(found)}"
    return "; ".join(f"{name} is missing" for name, (_, there) in sorted(new.items()) if there is None)


def _line(cell: str) -> str:
    return LINE.replace("{names}", ",".join(_set_by(cell)) or "_none_") if "{names}" in LINE else LINE


def _set_by(cell: str) -> list[str]:
    tree = ast.parse(as_python(cell))
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
    return f"{content['ename']}: {last.partition(os.linesep)[0]}"


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
