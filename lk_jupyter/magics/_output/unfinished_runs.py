"""List runs that outlived their kernel, and VMs that should be deleted, at ``%load_ext``: a line each.

The runs are from the journal of this machine, and their states from the cloud: runs that ended elsewhere aren't listed.
Without such runs and VMs, nothing is imported, requested or shown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePath
from threading import Thread
from typing import TYPE_CHECKING, Any

from lk_jupyter.config.settings import setting
from lk_jupyter.text.terminal import plain

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from lk_jupyter.journal.journal import JournalEntry
    from lk_jupyter.magics._output.live import LiveOutput

#: Seconds to look back for runs, and the maximum number of listed runs.
DAYS = 7 * 24 * 3600
MOST = 8

_SHORT = 8

#: Seconds to wait for the states: where the output can change later, and elsewhere.
_CELL_SECONDS, _TERMINAL_SECONDS = 0.3, 2.0


class GoingOn:
    """A line for each run; ``is_checked`` is whether the states are from the cloud, ``warnings`` are lines in red."""

    def __init__(
        self, entries: Sequence[JournalEntry], *, is_checked: bool = True, warnings: Sequence[str] = ()
    ) -> None:
        self._entries = entries
        self._is_checked = is_checked
        self.warnings = warnings

    def lines(self) -> list[str]:
        """Return the lines as text."""
        more = len(self._entries) - MOST
        named = [self._format_line(entry) for entry in self._entries[:MOST]]
        return [*named, *([f"and {more} more: %lk_runs"] if more > 0 else [])]

    def _format_line(self, entry: JournalEntry) -> str:
        from lk_jupyter.text.terminal import one_line  # noqa: PLC0415 (only when there is something to show)

        if entry.execution_id is None:
            return self._format_start_line(entry)
        run_id = entry.execution_id[:_SHORT]
        place = f"from {PurePath(entry.notebook).name}" if entry.notebook else ""
        facts = [self._describe_state(entry), entry.machine or "", place, f"started {_format_age(entry.created_at)}"]
        return one_line(" · ".join(filter(None, [f"run {run_id}", *facts, f"%lk_attach {run_id}"])))

    def _format_start_line(self, entry: JournalEntry) -> str:
        """Return the line of a start without an answer: whether a run exists isn't known."""
        from lk_jupyter.text.terminal import one_line  # noqa: PLC0415 (only when there is something to show)

        start = entry.token[:_SHORT]
        facts = [f"start {start}", "no answer", entry.machine or "", f"sent {_format_age(entry.created_at)}"]
        return one_line(" · ".join(filter(None, [*facts, f"look it up: %lk_attach {start}"])))

    def _describe_state(self, entry: JournalEntry) -> str:
        if not entry.going_on:
            return f"{entry.state}, not viewed yet"
        return entry.state if self._is_checked else f"last known state: {entry.state}, not checked"

    def __str__(self) -> str:
        return "\n".join([*self.warnings, *self.lines()])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from html import escape  # noqa: PLC0415 (only when there is something to show)

        style = "font-family: var(--jp-ui-font-family); color: var(--jp-ui-font-color2); padding-left: 8px"
        red = style.replace("ui-font-color2", "error-color1")
        rows = [(red, line) for line in self.warnings] + [(style, line) for line in self.lines()]
        html = "".join(f'<div style="{row_style}">{escape(line)}</div>' for row_style, line in rows)
        return {"text/plain": str(self), "text/html": html}


def list_unfinished_runs(shell: InteractiveShell) -> None:
    """List the active runs that outlived their kernel, after a check. An error here never stops the loading.

    If the cloud doesn't answer in a short time, its answer replaces the output later; a terminal gets the last known
    states, because it can't replace an output.
    """
    with suppress(Exception):
        _continue_runs()
        entries, warnings = _list_entries(), _list_overdue_vms()
        if not entries and not warnings:
            return
        check = StateCheck(entries, _find_notebook())
        check.start()
        if getattr(shell, "kernel", None) is None:
            check.join(_TERMINAL_SECONDS)
            if text := str(check.summarize(warnings)):
                print(plain(text))  # noqa: T201 (the output is for the reader of the cell)
            return
        from lk_jupyter.magics._output.live import LiveOutput  # noqa: PLC0415 (only when there is something to show)

        note = LiveOutput(shell)
        check.join(_CELL_SECONDS if note.in_place else _TERMINAL_SECONDS)
        if check.is_alive() and note.in_place:
            note.show(GoingOn([], warnings=warnings), now=True)
            Thread(target=_show_later, args=(check, note), name="lk-going-on", daemon=True).start()
        elif str(summary := check.summarize(warnings)):
            note.show(summary, now=True)


def _continue_runs() -> None:
    """Start a driver for each run on a VM and each relay without one: it deletes a VM whose end has passed."""
    if not setting("journal").exists():
        return
    from lk_jupyter.journal.drivers import start_missing_drivers  # noqa: PLC0415 (only when there is a journal)

    start_missing_drivers()


def _list_entries() -> list[JournalEntry]:
    if not setting("journal").exists():
        return []
    from lk_jupyter.journal.journal import journal  # noqa: PLC0415 (only when there is one)

    return journal().entries(going_on=True, since=time.time() - DAYS)


def _list_overdue_vms() -> list[str]:
    """Return a line for each VM of a run that should be deleted and may still be billed."""
    folder = setting("journal").parent / "vms"
    if not any('"is_deleted":false' in path.read_text("utf-8") for path in folder.glob("*.json")):
        return []
    from lk_jupyter.vms.facts import overdue_lines  # noqa: PLC0415 (only when there is such a VM)

    return overdue_lines()


class StateCheck(Thread):
    """Read the states of runs from the cloud, in a thread. No error leaves it: Jupyter would print it into a cell."""

    def __init__(self, entries: list[JournalEntry], notebook: str | None) -> None:
        super().__init__(name="lk-check-runs", daemon=True)
        self._entries = entries
        self._notebook = notebook
        self._checked: list[JournalEntry] | None = [] if not entries else None

    def run(self) -> None:
        """Read the states."""
        with suppress(Exception):
            self._checked = self._read_states() if self._entries else []

    def _read_states(self) -> list[JournalEntry]:
        from lk_jupyter.journal.journal import journal  # noqa: PLC0415 (only when there is one)
        from lk_jupyter.runs.reattach import refresh  # noqa: PLC0415 (it loads the client)
        from lk_jupyter.session import current  # noqa: PLC0415

        refreshed = list(refresh(current(start=False), self._entries))
        lost = [journal().get(entry.token) for entry in self._entries if entry.execution_id is None]
        unanswered = [entry for entry in lost if entry and entry.going_on and entry.execution_id is None]
        news = [entry for entry in refreshed if entry.going_on or entry.notebook == self._notebook is not None]
        return [*news, *unanswered]

    def summarize(self, warnings: Sequence[str]) -> GoingOn:
        """Return the lines about active runs, and ended runs of this notebook; without an answer, all as last known."""
        if self._checked is None:
            return GoingOn(self._entries, is_checked=False, warnings=warnings)
        return GoingOn(self._checked, warnings=warnings)


def _show_later(check: StateCheck, note: LiveOutput) -> None:
    with suppress(Exception):
        check.join()
        note.show(check.summarize(_list_overdue_vms()), now=True)


def _find_notebook() -> str | None:
    from lk_jupyter.journal.entry import current_cell  # noqa: PLC0415 (only when there is something to show)

    return current_cell().notebook


def _format_age(moment: float) -> str:
    """Return the age of a moment in words; after a jump of the clock at least 0 s."""
    seconds = max(0.0, time.time() - moment)
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
