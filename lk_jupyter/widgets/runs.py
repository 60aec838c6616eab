"""All runs, active and ended: look, compare, stop, run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from traitlets import Dict, Int, List, Unicode

from lk_jupyter import session
from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.api.execution import is_final
from lk_jupyter.api.states import state_label
from lk_jupyter.journal.journal import journal
from lk_jupyter.machines.catalogue import machine_name, price_label
from lk_jupyter.options.calls import check_call
from lk_jupyter.options.history import HistoryOptions
from lk_jupyter.runs.history.diff import MOST_SIDES, compare, read_side
from lk_jupyter.runs.history.history import History, RunSummary, history
from lk_jupyter.runs.history.rerun import rebuild_run
from lk_jupyter.runs.run import Run
from lk_jupyter.text.secrets import redact, redact_values
from lk_jupyter.text.terminal import one_line
from lk_jupyter.text.units import duration_label
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.table import MOST, Table, join_tables, omitted_line, show_as_grid
from lk_jupyter.widgets._view import View, background_action, user_action
from lk_jupyter.widgets.run_view import RunView

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lk_jupyter.options._keywords import HistoryKeywords

_COLUMNS = ("Run", "State", "Machine", "Started", "Duration", "Cost", "Name")
_RIGHT = frozenset({"Duration", "Cost"})
_NONE = "No runs. Start one with %%lk_run on top of a cell."

#: Points of a curve in a comparison.
_CURVE_POINTS = 300

#: The traits of the open run that the browser draws.
_OPENED = (
    *("title", "run", "reason", "ended", "stopping", "held", "deaf"),
    *("total", "live", "frames", "empty"),
)
_ACTIONS = {"lines", "look", "stop", "detach"}


class Runs(View):
    """Your runs, newest first: filter, sort, open, abort, compare, rerun.

    Args:
        text: Words to search for. Default: all runs.
        options: The options of ``%lk_history``, such as ``since="7d"``, ``machine="a100"`` and ``limit=20`` (runs;
            default: 100).

    Example:
        >>> from lk_jupyter.widgets import Runs
        >>> run = session.run("print(1)", gpu="A100")
        >>> _ = run.wait()
        >>> runs = Runs(machine="a100", limit=5)
        >>> runs.load()
        >>> runs.df.index.name
        'run'
        >>> runs.look_at(run.execution_id)
        >>> sorted(runs.compare(run.execution_id, run.execution_id))
        [...'code'...]
        >>> runs.abort(run.execution_id)
        '...'
        >>> runs.rerun(run.execution_id)
        '...'
    """

    component = "runs"

    every = Int(3_000).tag(sync=True)
    rows: List[dict[str, Any]] = List(help="a row for each run").tag(sync=True)
    note = Unicode(help="message about missing runs; empty if no run is missing").tag(sync=True)
    opened: Dict[str, Any] = Dict(help="id of the selected run; empty without a selection").tag(sync=True)

    def __init__(self, *text: str, **options: Unpack[HistoryKeywords]) -> None:
        self._options: HistoryOptions = check_call("session.history", {"limit": 100, **options, "text": list(text)})
        self._history = History([])
        self._view: RunView | None = None
        super().__init__()

    def load(self) -> None:
        """Read the journal of this machine and the runs of the cloud, and the open run."""
        self._history = history(session.current(), self._options)
        self.rows = [_run_row(past) for past in self._history.runs]
        self.note = redact(self._history.note) or ("" if self.rows else _NONE)
        if self._view:
            self._view.load()
            self._show_opened()

    @property
    def df(self) -> Any:
        """The runs as a DataFrame, newest first (a list of rows without pandas).

        Index and columns are as for ``Session.history``.
        """
        if not self._history.runs:
            self.load()
        return show_as_grid(self._history.table())

    @user_action
    def look_at(self, run: str) -> None:
        """Open a run.

        Args:
            run: Id of the run; an empty text closes the open run.
        """
        self._view = RunView(run) if run else None
        if self._view:
            self._view.load()
        self._show_opened()

    @background_action
    def opened_run(self, do: str, args: dict[str, Any]) -> Any:
        """Call an action of the open run, for the buttons in its view."""
        if self._view is None or do not in _ACTIONS:
            return None
        result = getattr(self._view, do)(**args)
        self._show_opened()
        return result

    def _show_opened(self) -> None:
        self.opened = {name: getattr(self._view, name) for name in _OPENED} if self._view else {}

    @user_action
    def abort(self, run: str) -> str:
        """Abort a run; the abort is repeated while the server is out of reach.

        Args:
            run: Id of the run.
        """
        session.current().get(run).abort_soon()
        return f"Aborting run {run[:8]} …"

    @user_action
    def price_again(self, run: str) -> str:
        """Return machine, price and maximum cost of a repetition of a run."""
        current = session.current()
        package = rebuild_run(current, run, journal().get(run))
        words = f"{machine_name(package.machine.hardware_profile)} at {price_label(package.machine)}, {package.at_most}"
        return "; ".join([words, *map(str, low_balance_notices(current, package.worst_case))])

    @user_action
    def rerun(self, run: str) -> str:
        """Submit the request of a run again.

        Args:
            run: Id of the run.

        Cost: as a run.
        """
        current = session.current()
        started = Run.submit(current, rebuild_run(current, run, journal().get(run)), warn=False)
        self.load()
        return f"Run {run[:8]} was submitted again as {started.short_id}."

    @user_action
    def compare(self, before: str, after: str, more: Sequence[str] = ()) -> dict[str, Any]:
        """Return the curves of two to eight runs, the facts that differ, and the differences of their code.

        Args:
            before: Id of the first run.
            after: Id of the second run.
            more: Ids of more runs. Default: none.
        """
        runs = [before, after, *more][:MOST_SIDES]
        current = session.current()
        comparison = compare(*(read_side(current, run) for run in runs))
        reply: dict[str, Any] = redact_values(
            {
                "titles": [run[:8] for run in runs],
                "facts": [[fact.name, *fact.values] for fact in comparison.differences],
                "curves": [[curve.content(_CURVE_POINTS) for curve in side.curves] for side in comparison.sides],
                "code": comparison.code,
            }
        )
        return reply

    def picture(self) -> StaticView:
        """Show the newest runs."""
        keys = ["took" if name == "Duration" else name.lower() for name in _COLUMNS]
        cells = [[str(row[key]) for key in keys] for row in self.rows[:MOST]]
        note = self.note or omitted_line(len(self.rows), MOST, "All rows: Runs().df")
        return join_tables(Table(_COLUMNS, cells, note, _RIGHT))


def _run_row(past: RunSummary) -> dict[str, Any]:
    """Return the row of a run for the page, with its sort keys."""
    return {
        "id": past.execution_id,
        "run": past.execution_id[:8],
        "state": state_label(past.state, past.name),
        "machine": past.machine,
        "started": f"{past.created_at.astimezone():%d %b %H:%M:%S}",
        "took": duration_label(past.seconds) if past.seconds is not None else "",
        "cost": past.bill.label,
        "name": one_line(redact(past.name)),
        "words": redact(" ".join([*past.labels, past.notebook, past.reason, past.note])),
        "ended": is_final(past.state),
        "sort": {
            "started": past.created_at.timestamp(),
            "took": past.seconds or 0,
            "cost": float(past.cost or 0),
        },
    }
