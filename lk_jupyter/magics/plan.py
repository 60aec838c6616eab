"""``%lk_plan``: the highest cost of all remote cells of a notebook, for one approval."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.code.source import Source
from lk_jupyter.config.approvals import approve, cell_digest, withdraw
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.machines.catalogue import sum_costs
from lk_jupyter.magics._engine.ask import ask
from lk_jupyter.magics._engine.kept_machine import resolve_keep
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.sync_question import current_place, identify_answerer
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics.containers import lk_compose, lk_docker
from lk_jupyter.magics.run import FIRST_LINE, lk_run
from lk_jupyter.magics.run_notebook import lk_run_notebook
from lk_jupyter.options.plans import PlanOptions
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.fanout.plan import estimate_costs
from lk_jupyter.runs.package.prepare import CostEstimate
from lk_jupyter.session import Session, current
from lk_jupyter.text.terminal import shorten_text
from lk_jupyter.text.units import credits_label, whole_seconds_label

#: Magics whose highest cost results from their line.
_PRICED = {"lk_run": lk_run, "lk_docker": lk_docker, "lk_compose": lk_compose, "lk_run_notebook": lk_run_notebook}

#: Lines that cost credits without a limit on the line.
_UNPRICED = re.compile(
    r"^[^\S\n]*%{1,2}(lk_run|lk_vm|lk_select|lk_batch|lk_embed|lk_chat|lk_deploy|lk_run_notebook|lk_rerun|lk_volumes)\b",
    re.MULTILINE,
)
_PRICED_LINE = re.compile(rf"\s*%{{1,2}}({'|'.join(_PRICED)})\b([^\n]*)\n?(.*)", re.DOTALL)

#: Names on a line that IPython replaces by variables.
_VARIABLE = re.compile(r"\{|\$\w")

_MAX_TITLE = 50


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a notebook that costs credits; without runs, ``problem`` states why its cost is unknown."""

    number: int
    text: str
    runs: tuple[CostEstimate, ...] = ()
    problem: str = ""

    @property
    def cost(self) -> Decimal | None:
        """The highest cost in credits; None if unknown."""
        return sum_costs(run.cost for run in self.runs) if self.runs else None

    @property
    def row(self) -> tuple[str, ...]:
        """The cell as a row of the plan."""
        title = shorten_text(self.text.strip().partition("\n")[0], _MAX_TITLE)
        machines = ", ".join(dict.fromkeys(run.machine for run in self.runs))
        limits = ", ".join(dict.fromkeys(whole_seconds_label(run.seconds) for run in self.runs))
        price = self.problem or ("price unknown" if self.cost is None else credits_label(self.cost))
        return str(self.number), title, str(len(self.runs) or ""), machines, limits, price


@magic(PlanOptions)
def lk_plan(options: PlanOptions, shell: InteractiveShell) -> None:
    """Show the highest cost of each cloud cell of a notebook, and approve all cells with one answer.

    Approved cells with --ask then start without a question, also in papermill and nbconvert. An approval is valid while
    the cell's text is unchanged and its cost is at most the shown cost. It is stored on this machine, not in the
    notebook.

    Examples::

        %lk_plan
        %lk_plan train.ipynb --times 30
        %lk_plan --withdraw
    """
    path = _find_notebook_path(options.notebook)
    texts = list(_yield_code_cells(path))
    if options.withdraw:
        show_text(
            f"Deleted approvals: {withdraw(set(map(cell_digest, texts)))}. Each cell with --ask needs your "
            "approval again."
        )
        return
    session = current()
    cells = [cell for number, text in enumerate(texts, 1) if (cell := _plan_cell(session, number, text))]
    priced = {cell_digest(cell.text): cell.cost for cell in cells if cell.cost is not None}
    total = sum((cell.cost for cell in cells if cell.cost is not None), Decimal(0))
    summary = _format_summary(cells, total)
    columns = ("Code cell", "Line", "Runs", "Machine", "Time limit", "At most")
    display(
        Table(columns, [cell.row for cell in cells], note=summary, right=frozenset({"Code cell", "Runs", "At most"}))
    )
    if not priced or identify_answerer(shell) != "user":
        return
    times = f", {options.times} times" if options.times > 1 else ""
    if ask(f"{summary} Approve the priced cells ({len(priced)}){times}? [y/N] "):
        place = current_place(session)
        approve(place.server, place.org, priced, options.times)
        show_text(f"Approved cells of {path.name}: {len(priced)}{times}. Withdraw: %lk_plan {path} --withdraw")


def _format_summary(cells: list[PlannedCell], total: Decimal) -> str:
    if not cells:
        return "No cell of the notebook runs on the cloud."
    count = sum(cell.cost is None for cell in cells)
    unknown = f" Cells with unknown cost: {count}." if count else ""
    return f"Run All costs at most {credits_label(total)}.{unknown}"


def _find_notebook_path(name: str | None) -> Path:
    """Return the path of the notebook to plan. Raises UsageError."""
    path = Path(name or current_cell().notebook or "").expanduser()
    if not path.is_file():
        problem = f"No notebook '{name}'." if name else "The path of this notebook isn't known."
        raise UsageError(f"{problem} Nothing was approved. Give its path: %lk_plan train.ipynb")
    return path


def _yield_code_cells(path: Path) -> Iterator[str]:
    """Yield the text of each code cell. Raises UsageError for a file that isn't a notebook."""
    try:
        cells: list[Any] = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                yield "".join(cell["source"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"'{path}' isn't a notebook of format 4. Nothing was approved.") from None


def _plan_cell(session: Session, number: int, text: str) -> PlannedCell | None:
    """Return the plan of a cell; None for a cell that costs nothing."""
    match = _PRICED_LINE.fullmatch(text)
    if match is None or (match[1] == "lk_run_notebook" and match[3].strip()):
        return PlannedCell(number, text, problem="the line contains no limit") if _UNPRICED.search(text) else None
    if _VARIABLE.search(match[2]):
        return PlannedCell(number, text, problem="the line contains a variable")
    try:
        options = _PRICED[match[1]].parse(match[2].strip())
        if getattr(options, "dry_run", False):
            return None
        if isinstance(options, RunOptions) and (options.session or resolve_keep(session, options)):
            return PlannedCell(number, text, problem="keeps its machine")
        source = Source(match[3], first_line=FIRST_LINE, is_cell=match[1] == "lk_run")
        return PlannedCell(number, text, tuple(estimate_costs(session, source, options)))
    except (LkError, SyntaxError) as error:
        return PlannedCell(number, text, problem=str(error).partition("\n")[0])
