"""Search, compare, repeat and export earlier runs."""

from __future__ import annotations

import time
from html import escape
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.charges import charge_book
from lk_jupyter.journal.entry import LONGEST_NOTE
from lk_jupyter.journal.journal import journal
from lk_jupyter.journal.prune import DAY, compact, prune
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.leaderboard import DrawnRun, curves_picture, sparkline
from lk_jupyter.magics._output.live import Note
from lk_jupyter.magics._output.run import RunDisplay
from lk_jupyter.magics.run import send
from lk_jupyter.options.history import DiffOptions, ExportOptions, HistoryMagicOptions, NoteOptions, RerunOptions
from lk_jupyter.runs.history.audit import audit_table
from lk_jupyter.runs.history.diff import MOST_SIDES, Diff, Fact, compare, read_side
from lk_jupyter.runs.history.export import render_script
from lk_jupyter.runs.history.history import find_run, history
from lk_jupyter.runs.history.rerun import rebuild_run, stored_request
from lk_jupyter.runs.observers.default import default_observers
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.session import Session, current
from lk_jupyter.text.secrets import LineRedactor, redact
from lk_jupyter.text.terminal import plain
from lk_jupyter.text.units import count_label, size_label
from lk_jupyter.views.table import show_as_grid

_SIGNS = {"+": "--jp-success-color1", "-": "--jp-error-color1"}


#: Columns that would wrap the lines of a terminal.
_HTML_ONLY = ("queue_seconds", "launch_seconds", "git_commit")

#: The first word of a line that deletes runs instead of searching.
_PRUNE = "prune"


@magic(HistoryMagicOptions)
def lk_history(options: HistoryMagicOptions, shell: InteractiveShell) -> Any:  # noqa: ARG001 (every magic takes both)
    """List your runs of all notebooks as a DataFrame, newest first, including all runs that the cloud billed.

    ``%lk_history prune`` deletes the code and requests of old runs from this machine. ``%lk_rerun`` and ``%lk_export``
    then don't work for these runs. Logs and the records of the cloud stay. Budgets still count the cost of these runs.

    Examples::

        %lk_history
        %lk_history accuracy --since 7d --machine a100
        runs = %lk_history --state failed --label baseline
        %lk_history --audit --since 7d
        %lk_history prune --older 90
    """
    if options.text[:1] == [_PRUNE]:
        return show_text(_prune_journal(options))
    if options.older is not None:
        raise UsageError(
            "--older works only with prune. Nothing was deleted. Delete old runs: %lk_history prune --older 90"
        )
    if options.audit:
        calls = audit_table(options)
        if not len(calls):
            display(Note("No matching call. The next change is recorded in the audit log."))
        return _build_plain_table(calls) if isinstance(calls, list) else show_as_grid(calls)
    result = history(current(), options)
    note = result.note or (
        "" if result.runs else "No matching run. Search with fewer words, or start a run with %%lk_run."
    )
    if note:
        display(Note(note))
    table = result.table()
    return _build_plain_table(table) if isinstance(table, list) else show_as_grid(table, _HTML_ONLY)


def _prune_journal(options: HistoryMagicOptions) -> str:
    """Delete old runs from the journal, and return the number of runs and the sizes as a message."""
    if options.text != [_PRUNE] or options.model_fields_set - {"text", "older"}:
        raise UsageError("prune takes only --older DAYS. Nothing was deleted. Delete old runs: %lk_history prune")
    days = options.older or setting("journal_days")
    if not days:
        raise UsageError("The setting journal_days is 0, so all runs are kept. Nothing was deleted. Add --older DAYS.")
    records = journal()
    before = _compute_size(records.path)
    count = prune(records, charge_book(), time.time() - days * DAY)
    compact(records)
    if trouble := records.trouble or charge_book().trouble:
        raise UsageError(f"{trouble} Nothing was deleted.")
    size = f"{size_label(before)} before, {size_label(_compute_size(records.path))} now"
    return f"Deleted {count_label(count, 'run')} older than {count_label(days, 'day')} from the journal ({size})."


def _compute_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _build_plain_table(rows: list[dict[str, Any]]) -> Table:
    """Show the rows where pandas is missing."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return Table(columns, [["" if row.get(name) is None else str(row[name]) for name in columns] for row in rows])


@magic(NoteOptions)
def lk_note(options: NoteOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Write a note about a run, or show the note.

    The note is stored on this machine and is never sent. %lk_history searches notes. %lk_diff and the run's page show
    them.

    Examples::

        %lk_note 3f0c best so far, try lr=0.003 next
        %lk_note 3f0c
        %lk_note 3f0c --delete
    """
    name, entry = find_run(current(), options.run)
    if entry is None:
        raise UsageError(f"The journal of this machine doesn't contain run {name[:SHORT_ID]}. Nothing was stored.")
    note = " ".join(options.text)
    if len(note) > LONGEST_NOTE:
        raise UsageError(f"A note has at most {LONGEST_NOTE:,} characters, got {len(note):,}. Nothing was stored.")
    if not note and not options.delete:
        show_text(redact(plain(entry.note)) or f"No note. Write one: %lk_note {name[:SHORT_ID]} TEXT")
        return
    journal().update(name, note=note)
    if trouble := journal().trouble:
        raise UsageError(f"{trouble} The note wasn't stored.")
    show_text(f"{'Deleted' if options.delete else 'Stored'} the note about run {name[:SHORT_ID]}.")


@magic(DiffOptions)
def lk_diff(options: DiffOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Compare the scores, curves, results, machines, packages and code of two to eight runs.

    Examples::

        %lk_diff 3f0c 8a1b
        %lk_diff 3f0c 8a1b 77ce
    """
    session = current()
    names = [options.before, options.after, *options.more]
    if len(names) > MOST_SIDES:
        raise UsageError(f"%lk_diff compares up to {MOST_SIDES} runs, got {len(names)}. Leave out some.")
    display(DiffView(compare(*(read_side(session, name) for name in names))))


@magic(RerunOptions)
def lk_rerun(options: RerunOptions, shell: InteractiveShell) -> None:
    """Start a run again with the identical request, and follow the new run.

    The request repeats code, files, packages and options of the original run.

    Examples::

        %lk_rerun 3f0c
        %lk_rerun 3f0c --machine H100 --detach
        %lk_rerun 3f0c --timeout 7200
    """
    session = current()
    package = rebuild_run(session, *find_run(session, options.run), options.machine, options.timeout)
    view = RunDisplay(
        shell,
        package.machine,
        quiet=options.quiet,
        observers=default_observers(session, options, package, namespace=shell.user_ns),
    )
    send(session, package, view, shell, options)


@magic(ExportOptions)
def lk_export(options: ExportOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Write a script that repeats a run without lk_jupyter, or a page that shows the run.

    The script reads the key from LK_API_KEY. ``--html`` writes one HTML file with curves, figures, code, environment,
    cost and log. The file contains no secrets and no scripts.

    Examples::

        %lk_export 3f0c
        %lk_export 3f0c train.sh
        %lk_export 3f0c train.html --html
    """
    session = current()
    if options.html:
        _export_page(session, options)
        return
    name, entry = find_run(session, options.run)
    request = stored_request(name, entry)
    script = render_script(request, session.base_url, org=session.target.org, title=f"Repeats run {name}.")
    if options.file is None:
        show_text(script)
        return
    path = _write_file(Path(options.file).expanduser(), script, 0o755)
    show_text(f"Wrote {path}. Repeat the run: LK_API_KEY=… sh {path}")


def _export_page(session: Session, options: ExportOptions) -> None:
    from lk_jupyter.views.run_page import render_run  # noqa: PLC0415 (for users who share a run)

    name, _ = find_run(session, options.run)
    path = Path(options.file or f"run-{name[:SHORT_ID]}.html").expanduser()
    show_text(f"Wrote {_write_file(path, render_run(session, name), 0o644)}. It contains no secret and no script.")


def _write_file(path: Path, content: str, mode: int) -> Path:
    if path.exists():
        raise UsageError(f"'{path}' already exists. Nothing was written. Give another name, or delete the file first.")
    try:
        path.write_text(content, encoding="utf-8")
        path.chmod(mode)
    except OSError as error:
        raise UsageError(f"Can't write '{path}': {error.strerror}.") from None
    return path


class DiffView:
    """The view of a comparison: curves and scores first, then the facts that differ."""

    def __init__(self, diff: Diff) -> None:
        self._diff = diff
        rows = [(redact(fact.name), *self._build_cells(fact)) for fact in diff.differences]
        equal = [fact.name for fact in diff.facts if fact.same]
        code = "" if diff.code else "The code is identical."
        note = f"Equal: {', '.join(map(redact, equal))}." if equal else ""
        titles = [side.title for side in diff.sides]
        self._table = Table(("Differs", *titles), rows, note=f"{code} {note}".strip())
        self._code = LineRedactor().lines(list(map(plain, diff.code)))

    def _build_cells(self, fact: Fact) -> list[str]:
        """Return the values of a fact, each with the curve of the number if the run has printed a curve."""
        curves = [next((curve for curve in side.curves if curve.name == fact.name), None) for side in self._diff.sides]
        return [
            f"{sparkline(curve.values) if curve else ''} {redact(value)}".strip()
            for curve, value in zip(curves, fact.values, strict=True)
        ]

    def __str__(self) -> str:
        return "\n".join([str(self._table), *(["", *self._code] if self._code else [])])

    def _render_html(self) -> str:
        sides = self._diff.sides
        names = dict.fromkeys(curve.name for side in sides for curve in side.curves)
        runs = [
            DrawnRun(number, side.title, {curve.name: curve for curve in side.curves})
            for number, side in enumerate(sides, 1)
        ]
        lines = "".join(f"<span{_style_line(line)}>{escape(line)}\n</span>" for line in self._code)
        after = ", ".join(side.title for side in sides[1:])
        title = f"Code: {sides[0].title} (-) against {after} (+)"
        code = f"<details open><summary>{escape(title)}</summary><pre>{lines}</pre></details>" if self._code else ""
        return curves_picture(list(names), runs) + self._table._repr_html_() + code

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._render_html()}


def _style_line(line: str) -> str:
    colour = None if line[:3] in {"+++", "---"} else _SIGNS.get(line[:1])
    return f' style="background: color-mix(in srgb, var({colour}) 18%, transparent)"' if colour else ""
