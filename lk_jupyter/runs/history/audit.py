"""The audit log as a table: changes of keys, members, VMs, deployments and secrets, and deletions, of this machine."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api import _audit
from lk_jupyter.errors import UsageError
from lk_jupyter.options.history import HistoryOptions
from lk_jupyter.runs.history.history import parse_moment
from lk_jupyter.text.terminal import plain_values

#: Options that only runs have.
_RUN_OPTIONS = ("machine", "state", "label")


def audit_table(options: HistoryOptions) -> Any:
    """Return the calls that fit the options, newest first: a pandas DataFrame, or a list of rows without pandas.

    Raises UsageError for an option that only runs have, and for a time that can't be read.
    """
    if unfit := [name for name in _RUN_OPTIONS if getattr(options, name)]:
        raise UsageError(f"--audit and --{unfit[0]} can't be combined: the audit log contains no {unfit[0]}.")
    since = parse_moment(options.since) if options.since else None
    rows = [
        row for row in _audit.entries() if (since is None or row["time"] >= since) and _matches_options(row, options)
    ]
    rows = plain_values(rows[: options.limit])
    try:
        import pandas  # noqa: ICN001, PLC0415 (for those who use tables)
    except ImportError:
        return rows
    return pandas.DataFrame(rows, columns=list(_audit.COLUMNS))


def _matches_options(row: dict[str, Any], options: HistoryOptions) -> bool:
    words = " ".join(str(value) for value in row.values()).lower()
    notebook = (options.notebook or "").lower()
    return all(word.lower() in words for word in options.text) and notebook in str(row["source"]).lower()
