"""Read the journal without writing: entries, and the cells that started them.

``lk_jupyter.journal.journal`` writes the entries.
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from lk_jupyter.api.states import FINAL_STATES, is_run_id
from lk_jupyter.journal.texts import remove_files
from lk_jupyter.protocol.json_limits import load_json
from lk_jupyter.protocol.metadata import POOL_KEY


@dataclass(frozen=True)
class CellContext:
    """A cell of a notebook; each part is None if unknown, such as outside of a kernel.

    ``has_updates`` is whether the front end replaces an output when the kernel sends a display update, and
    ``is_on_page`` whether it is a page that shows the notebook to a person and saves the outputs.
    """

    notebook: str | None = None
    cell_id: str | None = None
    session: str | None = None
    has_updates: bool = False
    is_on_page: bool = False


#: A field that only JupyterLab and Notebook send with each cell, but not with the input of a console.
LAB_FIELD = "deletedCells"


def current_cell() -> CellContext:
    """Return the cell of the running code. Call this in the thread of the cell: others see the next cell.

    A page that draws the notebook sends the id of the cell with the request, or executes the messages of a widget: that
    page applies display updates. Servers and programs that execute cells send no id; some append each update as a new
    output, and some drop updates, so they get outputs that never change. JupyterLab and Notebook send LAB_FIELD with
    the cell of a notebook, and VS Code sends a URI as the id of the cell.
    """
    ipython = sys.modules.get("IPython")  # IPython isn't imported for this
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if shell is None:
        return CellContext()
    # VS Code puts the path into the user's names, a Jupyter server into the environment.
    notebook = getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    kernel: Any = getattr(shell, "kernel", None)
    try:
        request = kernel.get_parent("shell")
        metadata = request.get("metadata") or {}
        cell_id = metadata.get("cellId")
        is_on_page = cell_id is not None and (LAB_FIELD in metadata or ":" in str(cell_id))
        is_widget = request["header"]["msg_type"] == "comm_msg"
    except (AttributeError, TypeError, LookupError):
        cell_id, is_widget, is_on_page = None, False, False
    session = getattr(getattr(kernel, "session", None), "session", None)
    notebook, cell_id, session = (str(fact) if fact else None for fact in (notebook, cell_id, session))
    has_updates = cell_id is not None or is_widget
    return CellContext(notebook, cell_id, session, has_updates=has_updates, is_on_page=is_on_page)


#: States of an entry before the first state from the cloud: the request is being sent, or was refused.
SUBMITTING, REFUSED = "submitting", "refused"

ENDED = FINAL_STATES | {REFUSED}
TABLE = "runs"

#: The start of a line that imports: such a line doesn't show the purpose of a cell.
_IMPORT = re.compile(r"(?:import|from)\s")
_LONG_IMPORT = re.compile(r"^from [\w.]{1,200} import \([^()]{0,2000}\)", re.MULTILINE)

#: Characters of a title.
LONGEST_TITLE = 40


@dataclass
class JournalEntry:
    """A run: origin, request, and result.

    Moments are Unix seconds. ``code`` is the cell as its author wrote it, ``request`` the sent JSON, ``seconds`` the
    running time of the code by the server's time stamps, ``group`` the common id of runs that were started together,
    ``log_size`` the bytes of the log once the file at ``log_path`` is complete (0 if lines are missing), ``shown``
    whether the user has seen the end of the run, ``git_commit`` the commit of the working folder at the start, ``note``
    a text of the user about the run.
    """

    token: str
    base_url: str
    execution_id: str | None = None
    org: str | None = None
    notebook: str | None = None
    cell_id: str | None = None
    session: str | None = None
    code: str = ""
    code_hash: str = ""
    request: dict[str, Any] = field(default_factory=dict, repr=False)
    machine: str | None = None
    price_per_hour: Decimal | None = None
    options: dict[str, Any] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    run_name: str | None = None
    created_at: float = 0.0
    state: str = SUBMITTING
    started_at: float | None = None
    ended_at: float | None = None
    seconds: float | None = None
    cost: Decimal | None = None
    reason: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    log_path: str | None = None
    log_size: int | None = None
    group: str | None = None
    shown: bool = False
    git_commit: str = ""
    note: str = ""

    @property
    def going_on(self) -> bool:
        """Whether the last known state is active."""
        return self.state not in ENDED

    @property
    def pool(self) -> str:
        """The machines of the executor that the run belongs to, with their maximum price; empty for other runs."""
        return str(self.metadata.get(POOL_KEY, ""))

    @property
    def first_line(self) -> str:
        """The line that people know the code by: no magic, no comment, no import, no secret."""
        from lk_jupyter.text.secrets import redact  # noqa: PLC0415 (takes long to import)

        lines = [line.strip() for line in _LONG_IMPORT.sub("", self.code).splitlines()]
        code = [line for line in lines if line and not line.startswith(("%", "!", "#"))]
        first = next((line for line in code if not _IMPORT.match(line)), code[0] if code else "")
        return redact(first)

    @property
    def title(self) -> str:
        """The name that the author gave the run, or else the first line of the code; empty without both."""
        from lk_jupyter.text.terminal import shorten_text  # noqa: PLC0415 (when runs are listed)

        return self.run_name or shorten_text(self.first_line, LONGEST_TITLE)


FIELDS = {column.name: column for column in fields(JournalEntry)}
JSON = {
    name: dict if str(column.type).startswith("dict") else list
    for name, column in FIELDS.items()
    if str(column.type).startswith(("dict", "list"))
}
MONEY = {name for name, column in FIELDS.items() if "Decimal" in str(column.type)}
#: Characters of the code that a list has.
START = 500
#: Characters of a note.
LONGEST_NOTE = 2_000
LARGE = ("code", "request")  # the last columns of a row: columns before them are read without reading these


def read(
    path: Path, *, limit: int, before: int | None = None, notebook: str | None = None
) -> list[tuple[int, JournalEntry]]:
    """Return the newest entries with their row numbers, and only the start of large columns.

    ``before`` is the number of an entry; only older entries are returned.

    An empty list without a journal. Raises sqlite3.Error if the journal can't be read.
    """
    if not path.exists():
        return []
    names = ", ".join(f'"{name}"' for name in _list_columns(path) if name not in LARGE)
    query = f"SELECT rowid AS _row, {names}, substr(code, 1, {START}) AS code FROM {TABLE} WHERE rowid < ? AND (notebook = ? OR ?) ORDER BY rowid DESC LIMIT ?"  # noqa: E501, S608
    values = (1 << 62 if before is None else before, notebook, notebook is None, limit)
    return [(row["_row"], entry) for row in _select_rows(path, query, values) if (entry := parse_entry(row))]


def read_run(path: Path, execution_id: str) -> JournalEntry | None:
    """Return a run without its request; None for a run that isn't in the journal. Raises sqlite3.Error."""
    if not path.exists():
        return None
    names = ", ".join(f'"{name}"' for name in _list_columns(path) if name != "request")
    query = f"SELECT {names} FROM {TABLE} WHERE execution_id = ? ORDER BY rowid DESC LIMIT 1"  # noqa: S608
    return next(filter(None, map(parse_entry, _select_rows(path, query, (execution_id,)))), None)


def read_request(path: Path, execution_id: str) -> dict[str, Any] | None:
    """Return the start request of a run, without files; None for a run that isn't in the journal."""
    request = load_json(_read_column(path, execution_id, "request") or "null")
    return remove_files(request) if isinstance(request, dict) else None


def read_server(path: Path, execution_id: str) -> str | None:
    """Return the address of a run's server; None for a run that isn't in the journal."""
    return _read_column(path, execution_id, "base_url")


def _read_column(path: Path, execution_id: str, name: str) -> str | None:
    query = f"SELECT {name} FROM {TABLE} WHERE execution_id = ? ORDER BY rowid DESC"  # noqa: S608
    rows = _select_rows(path, query, (execution_id,)) if path.exists() else []
    return next((str(row[name]) for row in rows), None)


def _list_columns(path: Path) -> list[str]:
    """Return the columns of a journal: an older release wrote fewer, and SQLite reads a missing column as its name."""
    rows = _select_rows(path, "SELECT name FROM pragma_table_info(?)", (TABLE,))
    return [row["name"] for row in rows if row["name"] in FIELDS]


def _select_rows(path: Path, query: str, values: Iterable[Any]) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda data: data.decode(errors="replace")
        try:
            return connection.execute(query, tuple(values)).fetchall()
        except UnicodeDecodeError as error:  # of a name of a column
            raise sqlite3.DatabaseError(f"'{path}' is damaged: {error}.") from None


def parse_entry(row: sqlite3.Row) -> JournalEntry | None:
    """Parse a row; return None for a row with damaged values."""
    try:
        fields = {name: _parse_value(name, row[name]) for name in row.keys() if name in FIELDS}  # noqa: SIM118 (a Row is no dict)
        return JournalEntry(**{name: value for name, value in fields.items() if value is not None})
    except (ValueError, TypeError, InvalidOperation, RecursionError):
        return None


def _parse_value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in JSON:
        if not isinstance(value, (str, bytes)):
            raise TypeError(name)
        content = load_json(value)
        return content if isinstance(content, JSON[name]) else None
    if name in MONEY:
        return Decimal(value)
    if name == "execution_id" and not is_run_id(value):
        raise ValueError(value)
    return bool(value) if name == "shown" else value
