"""``lk/journal``: the runs that were started on this machine, and the cells that they came from."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.request_problem import RequestProblem

if TYPE_CHECKING:
    from lk_jupyter.journal.entry import JournalEntry

#: Maximum number of runs in an answer.
MOST = 500

_MONEY = ("price_per_hour", "cost")


class JournalHandler(Handler):
    """Runs, newest first."""

    @guarded
    async def get(self) -> None:
        """Return ``limit`` runs after the row ``before``, of all notebooks or of one ``notebook``."""
        limit, before = self.number("limit", 100, MOST), self.number("before", None)
        self.finish(await asyncio.to_thread(_read_page, limit, before, self.get_query_argument("notebook", None)))


class Code(Handler):
    """The code of a run, its commit, labels and note."""

    @guarded
    async def get(self, execution_id: str) -> None:
        """Return the code, the commit, the labels and the note."""
        self.finish(await asyncio.to_thread(_read_code_facts, execution_id))


class RunNoteHandler(Handler):
    """The note of a run."""

    @guarded
    async def put(self, execution_id: str) -> None:
        """Replace the note, and return the code, the commit, the labels and the stored note."""
        from lk_jupyter.serverext.models import RunNote  # noqa: PLC0415 (at first use)

        self.finish(await asyncio.to_thread(_store_note, execution_id, self.read(RunNote).note))


def _read_page(limit: int, before: int | None, notebook: str | None) -> dict[str, Any]:
    from lk_jupyter.config import settings  # noqa: PLC0415 (at first use)
    from lk_jupyter.journal import entry as journal_rows  # noqa: PLC0415 (at first use)

    path = settings.setting("journal")
    try:
        entries = journal_rows.read(path, limit=limit, before=before, notebook=notebook)
    except sqlite3.Error as problem:
        raise RequestProblem("refused", f"Can't read the journal {path} ({problem}).", 500) from None
    return {
        "runs": [_run_facts(row, entry) for row, entry in entries],
        "before": entries[-1][0] if len(entries) == limit else None,
    }


def _run_facts(row: int, entry: JournalEntry) -> dict[str, Any]:
    from lk_jupyter.serverext.models import JournalRun  # noqa: PLC0415 (as above)

    facts = {name: getattr(entry, name) for name in JournalRun.model_fields if name not in {"row", "line"}}
    money = {name: None if facts[name] is None else f"{facts[name]:f}" for name in _MONEY}
    return {"row": row, "line": entry.first_line, **facts, **money}


def _read_code_facts(execution_id: str) -> dict[str, Any]:
    """Return the code, the commit, the labels and the note of a run. Raises RequestProblem for an unknown run."""
    from lk_jupyter.config import settings  # noqa: PLC0415 (as above)
    from lk_jupyter.journal import entry as journal_rows  # noqa: PLC0415 (as above)

    try:
        entry = journal_rows.read_run(settings.setting("journal"), execution_id)
    except sqlite3.Error:
        entry = None
    if entry is None:
        raise RequestProblem("refused", "The journal of this machine doesn't contain this run.", 404)
    return {name: getattr(entry, name) for name in ("code", "git_commit", "labels", "note")}


def _store_note(execution_id: str, note: str) -> dict[str, Any]:
    from lk_jupyter.journal.journal import journal  # noqa: PLC0415 (as above)

    _read_code_facts(execution_id)  # a journal changes no run that it doesn't know, and doesn't report that
    entries = journal()
    entries.update(execution_id, note=note)
    if entries.trouble:
        raise RequestProblem("refused", f"{entries.trouble} The note wasn't stored.", 500)
    return _read_code_facts(execution_id)
