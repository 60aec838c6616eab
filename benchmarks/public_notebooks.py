"""Compare cells of public notebooks with and without ``%%lk_run``: outputs and variables.

``python benchmarks/public_notebooks.py REPOSITORIES WAY`` reads ``public_notebooks.txt``, which lists a repository, its
commit and the path of a notebook in each line. ``REPOSITORIES`` is a folder with a clone of each, named ``owner+name``.
A ``WAY`` decides which cells have a line:

- ``chosen``: ``--cells`` cells that ``--seed`` draws from all notebooks, with ``%%lk_run --gpu A100``.
- ``all``: each cell.
- ``kept``: each cell, with ``--keep 5m``: the notebook keeps its machine between cells.
- ``alternate``: every second cell, with ``--session s --sync``.

Each cell runs in three kernels: twice locally, and with the line. A user answers the question about variables with
"always". Two kinds of cells aren't compared, but counted:

- "unequal": the two local results differ, for example because a cell prints the time.
- "refused": the cell fails locally, and ``%%lk_run`` refuses to send it, because its code isn't valid Python or reads a
  name that nothing has set.
"""

from __future__ import annotations

import argparse
import io
import random
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from any_cell import CellResult, Comparison, Tally, compared_kernels, execute_cell
from kernel import Kernel

from lk_jupyter.localcloud import launch

LIST = Path(__file__).with_name("public_notebooks.txt")
LINE = "%%lk_run --gpu A100"

#: Words of the question about variables.
QUESTION = "Send these variables and return changes?"

#: Way → options of each line; ``{}`` stands for the number of the notebook.
OPTIONS = {"kept": "--keep 5m", "alternate": "--session s{} --sync"}

#: Words of refusals of cells that would fail.
REFUSALS = ("The cell uses undefined names: ", "CodeError: ")


@dataclass(frozen=True)
class PublicNotebook:
    """A notebook in a commit of a repository."""

    repository: str
    commit: str
    path: str

    def __str__(self) -> str:
        return f"{self.repository} {self.path}"

    def cells(self, clones: Path) -> list[str]:
        """Return the code cells."""
        text = _git(clones, self.repository, "show", f"{self.commit}:{self.path}").decode()
        book = nbformat.reads(text, as_version=4)
        return [cell.source.strip("\n") for cell in book.cells if cell.cell_type == "code" and cell.source.strip()]

    def copy_folder(self, clones: Path, target: Path) -> None:
        """Copy the files of the repository into ``target``."""
        rows = _git(clones, self.repository, "ls-tree", "-r", "-l", "-z", self.commit).decode().split("\0")
        absent = [path for facts, _, path in (row.partition("\t") for row in rows) if facts.endswith((" -", " BAD"))]
        excluded = [f":(exclude,literal){path}" for path in absent]  # a snapshot may lack large files
        archive = _git(clones, self.repository, "archive", self.commit, "--", ".", *excluded)
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(target, filter="data")


def _git(clones: Path, repository: str, *arguments: str) -> bytes:
    folder = clones / repository.replace("/", "+")
    clone = folder if (folder / ".git").exists() or (folder / "HEAD").exists() else folder / "repo"
    return subprocess.run(["git", "-C", str(clone), *arguments], capture_output=True, check=True).stdout


def listed_notebooks() -> list[PublicNotebook]:
    """Return the notebooks of the list."""
    lines = [line.strip() for line in LIST.read_text(encoding="utf-8").splitlines()]
    rows = (line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    return [PublicNotebook(*place.split("@"), path) for place, path in rows]


class Answers:
    """Answers the questions of one notebook as a user does, and counts the questions."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def __call__(self, prompt: str) -> str:
        """Return the answer to a question: to send the variables of this notebook always, or once if all are read."""
        self.prompts.append(prompt)
        return "" if QUESTION not in prompt else "always" if "[a]lways" in prompt else "once"

    @property
    def consents(self) -> int:
        """Return the number of questions about the variables that a cell reads."""
        return sum("[a]lways" in prompt for prompt in self.prompts)


def can_run(cell: str) -> bool:
    """Return whether a line can be above the cell: not above another cell magic, and not above comments only."""
    lines = [line for line in cell.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return bool(lines) and not lines[0].startswith("%%")


def choose_lines(
    way: str, cells: dict[PublicNotebook, list[str]], count: int, seed: int
) -> dict[PublicNotebook, list[str]]:
    """Return the line above each cell of each notebook, "" for a local cell."""
    places = [(book, number) for book in cells for number, cell in enumerate(cells[book]) if can_run(cell)]
    if way == "chosen":
        places = random.Random(seed).sample(places, min(count, len(places)))
    elif way == "alternate":
        places = [(book, number) for book, number in places if number % 2]
    chosen, options = set(places), OPTIONS.get(way, "")
    lines = {book: f"{LINE} {options}".format(index).strip() for index, book in enumerate(cells)}
    return {
        book: [lines[book] if (book, number) in chosen else "" for number in range(len(cells[book]))] for book in cells
    }


@dataclass(frozen=True)
class Workplace:
    """The clones of the repositories, the cloud, and a folder for copies."""

    clones: Path
    cloud: launch.Address
    folder: Path


def compare_notebook(book: PublicNotebook, lines: list[str], workplace: Workplace, tallies: Tallies) -> Answers:
    """Execute a notebook in three kernels, print the differences and count the cells; return the answered questions.

    ``lines`` are the lines above the cells, "" for a local cell.
    """
    answers, folder = Answers(), workplace.folder
    roots = [folder / name / book.repository.replace("/", "+") for name in ("plain", "control", "runs")]
    for root in roots:
        if not root.exists():
            root.mkdir(parents=True)
            book.copy_folder(workplace.clones, root)
    places = [(root / book.path).parent for root in roots]
    path = str(roots[-1] / book.path)
    with compared_kernels(workplace.cloud, folder, places, JPY_SESSION_NAME=path) as kernels:
        for kernel in kernels:
            kernel.answer = lambda _: ""
        kernels[-1].answer = answers
        comparison = Comparison()
        last = max(number for number, line in enumerate(lines) if line)
        for number, (cell, line) in enumerate(zip(book.cells(workplace.clones), lines[: last + 1], strict=False)):
            if difference := _compare_cell(cell, line, kernels, comparison, tallies):
                print(f"  {book} cell {number}{' local' if not line else ''}: {difference}"[:900], flush=True)
        kernels[-1].messages_of(_stop_line(lines[last]))
    return answers


def _stop_line(line: str) -> str:
    """Return the line that stops the machine of the last cell; empty for a run that ends with its cell."""
    words = line.split()
    if "--session" in words:
        return f"%lk_sessions stop {words[words.index('--session') + 1]}"
    return "%lk_sessions stop" if "--keep" in words else ""


@dataclass
class Tallies:
    """Counts of cells with a line and of local cells, and of cells that aren't compared."""

    runs: Tally = field(default_factory=Tally)
    local: Tally = field(default_factory=Tally)
    unequal: int = 0
    refused: int = 0
    failed: int = 0


def _compare_cell(cell: str, line: str, kernels: list[Kernel], comparison: Comparison, tallies: Tallies) -> str:
    plain, control, runs = kernels
    expected = execute_cell(plain, cell)
    result = execute_cell(runs, cell, line)
    again = execute_cell(control, cell)  # after the run, so that a printed time differs
    if expected.outputs != again.outputs:
        tallies.unequal += 1
        return ""
    if line and expected.failed and _is_refused(result):
        tallies.refused += 1
        execute_cell(runs, cell)
        return ""
    unequal = {name for name, value in expected.state.items() if again.state.get(name) != value}
    tallies.failed += bool(line) and expected.failed
    difference = comparison.add(expected, result, tallies.runs if line else tallies.local, unequal)
    if comparison.needs_repair and line:
        execute_cell(runs, cell)
    return difference


def _is_refused(result: CellResult) -> bool:
    """Return whether a cell wasn't sent, because it would fail."""
    return any(kind == "error" and any(words in text for words in REFUSALS) for kind, text in result.outputs)


def main() -> None:
    """Print the shares of equal cells in one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clones", type=Path)
    parser.add_argument("way", choices=("chosen", "all", "kept", "alternate"))
    parser.add_argument("--seed", type=int, default=39)
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--first", type=int, default=None, help="Use this number of cells from each notebook.")
    parser.add_argument("--only", default="", help="Use notebooks whose repository and path contain this text.")
    options = parser.parse_args()
    cells = {book: book.cells(options.clones)[: options.first] for book in listed_notebooks()}
    lines = choose_lines(options.way, cells, options.cells, options.seed)
    tallies, consents, books = Tallies(), [], 0
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"))
        workplace = Workplace(options.clones, cloud, Path(folder))
        try:
            for book in cells:
                if any(lines[book]) and options.only in str(book):
                    answers = compare_notebook(book, lines[book], workplace, tallies)
                    consents.append(answers.consents)
                    books += 1
                    print(f"{book}: {_summary(tallies)}, {answers.consents} consents", flush=True)
        finally:
            launch.stop(cloud.data)
    most = max(consents, default=0)
    print(f"{options.way}, seed {options.seed}, {books} notebooks: {_summary(tallies)}, at most {most} consents")


def _summary(tallies: Tallies) -> str:
    runs, local = tallies.runs, tallies.local
    return (
        f"runs {runs.state} of {runs.cells} right in output and state ({runs.outputs} in output), {runs.silent} silent,"
        f" {tallies.failed} fail locally too; local cells {local.state} of {local.cells};"
        f" {tallies.unequal} unequal, {tallies.refused} refused"
    )


if __name__ == "__main__":
    main()
