"""All runs, those that go on and those that ended: look, compare, stop, run again."""

from __future__ import annotations

from typing import Any

from traitlets import Dict, Int, List, Unicode

from lk_jupyter.api.execution import is_final
from lk_jupyter.options import HistoryOptions, check
from lk_jupyter.runs import session
from lk_jupyter.runs.cost import credits_label, duration_label
from lk_jupyter.runs.diff import compare, side_of
from lk_jupyter.runs.history import History, Past, history
from lk_jupyter.runs.journal import journal
from lk_jupyter.runs.redact import redact, redact_values
from lk_jupyter.runs.rerun import again
from lk_jupyter.runs.run import Run
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets._view import View, action, errand
from lk_jupyter.widgets.pictures.run import state_label
from lk_jupyter.widgets.pictures.table import MOST, Table, picture, rest
from lk_jupyter.widgets.run_view import RunView

_COLUMNS = ("Run", "State", "Machine", "Started", "Took", "Cost", "Name")
_RIGHT = frozenset({"Took", "Cost"})
_NONE = "No runs yet. Put %%lk_run on top of a cell."

#: What the browser draws of the run that is open.
_OPENED = (
    *("title", "facts", "reason", "ended", "stopping", "held", "deaf"),
    *("total", "live", "frames", "empty"),
)
_ASKED = {"lines", "look", "stop", "detach"}


class Runs(View):
    """Your runs, newest first: filter, sort, open, stop, compare, run again. ``.df`` has them as a DataFrame.

    Words and options choose as those of ``%lk_history`` do: ``Runs("accuracy", since="7d", machine="a100")``.
    ``limit`` is how many it shows at most.
    """

    component = "runs"

    every = Int(3_000).tag(sync=True)
    rows: List[dict[str, Any]] = List(help="a row for each run").tag(sync=True)
    note = Unicode(help="what is missing, if something is").tag(sync=True)
    opened: Dict[str, Any] = Dict(help="the run that is looked at; empty for none").tag(sync=True)

    def __init__(self, *text: str, limit: int = 100, **options: Any) -> None:
        self._options: HistoryOptions = check(HistoryOptions, {"text": list(text), "limit": limit, **options})
        self._history = History([])
        self._view: RunView | None = None
        super().__init__()

    def load(self) -> None:
        """Read what the journal of this machine and the cloud know, and the run that is open."""
        self._history = history(session.current(), self._options)
        self.rows = [_row(past) for past in self._history.runs]
        self.note = redact(self._history.note) or ("" if self.rows else _NONE)
        if self._view:
            self._view.load()
            self._show_opened()

    @property
    def df(self) -> Any:
        """The runs as a DataFrame, newest first (a list of rows where pandas is missing)."""
        if not self._history.runs:
            self.load()
        return self._history.table()

    @action
    def look_at(self, run: str) -> None:
        """Look at one run; at none with an empty id."""
        self._view = RunView(run) if run else None
        if self._view:
            self._view.load()
        self._show_opened()

    @errand
    def opened_run(self, do: str, args: dict[str, Any]) -> Any:
        """Have the run that is open do what its own buttons ask for."""
        if self._view is None or do not in _ASKED:
            return None
        result = getattr(self._view, do)(**args)
        self._show_opened()
        return result

    def _show_opened(self) -> None:
        self.opened = {name: getattr(self._view, name) for name in _OPENED} if self._view else {}

    @action
    def abort(self, run: str) -> str:
        """Kill a run; it is tried for as long as the server is out of reach."""
        session.current().get(run).abort_soon()
        return f"Stopping run {run[:8]} …"

    @action
    def rerun(self, run: str) -> str:
        """Start a run again as it was."""
        current = session.current()
        started = Run.submit(current, again(current, run, journal().get(run)))
        self.load()
        return f"Run {run[:8]} was started again as {started.short_id}."

    @action
    def compare(self, before: str, after: str) -> dict[str, Any]:
        """Return what differs between two runs: facts, and lines of their code."""
        current = session.current()
        found = compare(side_of(current, before), side_of(current, after))
        facts = [[fact.name, fact.before, fact.after, fact.same] for fact in found.facts]
        told: dict[str, Any] = redact_values({"titles": [before[:8], after[:8]], "facts": facts, "code": found.code})
        return told

    def picture(self) -> Picture:
        """Show the newest runs."""
        shown = [[str(row[name.lower()]) for name in _COLUMNS] for row in self.rows[:MOST]]
        note = self.note or rest(len(self.rows), MOST, "Runs().df has all.")
        return picture(Table(_COLUMNS, shown, note, _RIGHT))


def _row(past: Past) -> dict[str, Any]:
    """Return what the page shows of a run, and by what it sorts."""
    return {
        "id": past.execution_id,
        "run": past.execution_id[:8],
        "state": state_label(past.state),
        "machine": past.machine,
        "started": f"{past.created_at.astimezone():%d %b %H:%M:%S}",
        "took": duration_label(past.seconds) if past.seconds is not None else "",
        "cost": credits_label(past.cost) if past.cost is not None else "",
        "name": redact(past.name),
        "words": redact(" ".join([*past.labels, past.notebook, past.reason])),
        "ended": is_final(past.state),
        "sort": {
            "started": past.created_at.timestamp(),
            "took": past.seconds or 0,
            "cost": float(past.cost or 0),
        },
    }
