"""``lk/journal``: the runs that were started on this machine, and the cells that they came from."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

from lk_jupyter.serverext.base import Handler, guarded
from lk_jupyter.serverext.trouble import Trouble

if TYPE_CHECKING:
    from lk_jupyter.journal_rows import Entry

#: Most runs of one answer.
MOST = 500

_MONEY = ("price_per_hour", "cost")


class Journal(Handler):
    """Runs, newest first."""

    @guarded
    async def get(self) -> None:
        """Tell them, ``limit`` of them behind the one with the number ``before``, of one ``notebook`` if named."""
        limit, before = self.number("limit", 100, MOST), self.number("before", None)
        self.finish(await asyncio.to_thread(_page, limit, before, self.get_query_argument("notebook", None)))


class Code(Handler):
    """The code of one run."""

    @guarded
    async def get(self, execution_id: str) -> None:
        """Tell it."""
        code = await asyncio.to_thread(_code, execution_id)
        if code is None:
            raise Trouble("refused", "The journal of this machine does not know this run.", 404)
        self.finish({"code": code})


def _page(limit: int, before: int | None, notebook: str | None) -> dict[str, Any]:
    from lk_jupyter import config, journal_rows  # noqa: PLC0415 (at first use)

    path = config.setting("journal")
    try:
        found = journal_rows.read(path, limit=limit, before=before, notebook=notebook)
    except sqlite3.Error as problem:
        raise Trouble("refused", f"The journal {path} cannot be read ({problem}).", 500) from None
    return {
        "runs": [_facts(row, entry) for row, entry in found],
        "before": found[-1][0] if len(found) == limit else None,
    }


def _facts(row: int, entry: Entry) -> dict[str, Any]:
    from lk_jupyter.serverext.models import JournalRun  # noqa: PLC0415 (as above)

    facts = {name: getattr(entry, name) for name in JournalRun.model_fields if name != "row"}
    money = {name: None if facts[name] is None else f"{facts[name]:f}" for name in _MONEY}
    return {"row": row, **facts, **money}


def _code(execution_id: str) -> str | None:
    from lk_jupyter import config, journal_rows  # noqa: PLC0415 (as above)

    try:
        return journal_rows.code_of(config.setting("journal"), execution_id)
    except sqlite3.Error:
        return None
