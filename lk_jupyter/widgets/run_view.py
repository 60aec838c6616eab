"""Show a run: state and cost, log, metrics, and the buttons that stop or detach the run."""

from __future__ import annotations

from html import escape
from typing import Any

from traitlets import Bool, Dict, Int, Unicode

from lk_jupyter.api.execution import is_final
from lk_jupyter.runs.interrupts import is_blocking, release
from lk_jupyter.runs.run import Run
from lk_jupyter.text.secrets import redact, redact_values
from lk_jupyter.views.picture import StaticView
from lk_jupyter.views.run import failure_reason, receipt_facts, run_facts
from lk_jupyter.views.table import Table, join_tables
from lk_jupyter.widgets._log import LogLines
from lk_jupyter.widgets._publish import supports_subshells
from lk_jupyter.widgets._view import background_action, user_action
from lk_jupyter.widgets.run_metrics import RunMetrics

#: Lines of the log that stay in the notebook, and that are sent to the browser together.
_TAIL = 20
_PAGE = 5_000
#: Facts below the header, which shows the remaining facts.
_BELOW = {"Started", "Id"}


class RunView(RunMetrics):
    """A run: state, cost, searchable log, metrics, and buttons that abort or detach the run.

    ``.df`` and ``.plot()`` are the metrics, as for ``RunMetrics``.

    Args:
        run: A run or its id.

    Example:
        >>> from lk_jupyter.widgets import RunView
        >>> run = session.run("print(1)", gpu="A100")
        >>> _ = run.wait()
        >>> view = RunView(run)
        >>> view.load()
        >>> view.ended
        True
        >>> view.stop()
        >>> view.detach()
    """

    component = "run_view"
    pace = 2_000

    title = Unicode(help="the first characters of the id").tag(sync=True)
    run = Dict(help="record of the run, as stored in the output of its cell").tag(sync=True)
    failure_reason = Unicode(help="reason of a failure or an abort").tag(sync=True)
    local = Bool(help="whether the run is on a local cloud").tag(sync=True)
    ended = Bool(help="whether it has ended").tag(sync=True)
    stopping = Bool(help="whether this kernel is aborting the run").tag(sync=True)
    held = Bool(help="whether a cell of this kernel waits for the run").tag(sync=True)
    deaf = Bool(help="whether the kernel can't receive clicks, because a cell is running").tag(sync=True)
    total = Int(help="how many lines the log has").tag(sync=True)
    live = Unicode(help="the last line of the log, if it is incomplete").tag(sync=True)

    def __init__(self, run: Run | str) -> None:
        super().__init__(run)
        self._run = self._runs[0]
        self.facts: list[list[str]] = []
        self._log = LogLines(self._run, self._show_lines)
        self.title, self.local = self._run.short_id, self._run.session.is_local
        self.deaf = not supports_subshells()

    def load(self) -> None:
        """Read the run, the log and the metrics."""
        record = self._run.record
        was_ended, self.ended = self.ended, is_final(record.status)
        self._log.keep_reading(ended=self.ended)
        fact_rows = [[name, redact(words)] for name, words in run_facts(self._run, record) if words]
        more = " · ".join(f"{name} {words}" for name, words in fact_rows if name in _BELOW)
        receipt = receipt_facts(record, self._run)
        notes = list(filter(None, [more, self._run.note]))
        with self.hold_sync():
            self.facts = fact_rows
            self.run = redact_values({**receipt, "state": record.status, "notes": notes})
            self.reason = redact(failure_reason(record))
            self.held = is_blocking(self._run.execution_id)
            if self.ended and not was_ended:
                self._publish_end()
        self._show_lines()
        super().load()

    def _publish_end(self) -> None:
        """Publish the end before the page shows it and before plots are drawn, so that a saved notebook is complete."""
        self._ended = False
        for place in self._places:
            place.settle()
        self._ended = True

    def _show_lines(self) -> None:
        with self.hold_sync():
            self.live = self._log.live
            self.total = self._log.total

    @background_action
    def lines(self, start: int) -> dict[str, Any]:
        """Return lines of the log from ``start`` on, at most _PAGE lines, and the number of the first."""
        first, lines = self._log.page(start, _PAGE)
        return {"first": first, "lines": lines}

    @user_action
    def stop(self) -> None:
        """Abort the run; the abort is repeated while the server is out of reach."""
        self.stopping = True
        self._run.abort_soon()

    @user_action
    def detach(self) -> None:
        """Detach the run: the cell stops waiting, and the run stays active."""
        release(self._run.execution_id)
        self.held = False

    def picture(self) -> StaticView:
        """Show the facts, the end of the log, and the metrics."""
        state = join_tables(Table(("Run", self.title), self.facts, self.reason))
        tail = "\n".join(self._log.lines[-_TAIL:])
        log = f"<pre>{escape(tail)}</pre>" if tail else ""
        metrics = super().picture()
        text = "\n\n".join(filter(None, [state.text, tail, metrics.text]))
        return StaticView(text, state.html + log + metrics.html, self._plot_function(f"{state.text}\n\n{tail}"))
