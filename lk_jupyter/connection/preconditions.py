"""Check what a paid start needs on this computer, before the question about money.

Each kind of start has a row in a table of checks: ``KINDS`` here, and ``vms/preconditions.py`` for runs on VMs. Budgets
and the balance are checked with the price (``rental.py``, ``budget.py``).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.charges import charge_book
from lk_jupyter.text.units import size_label

if TYPE_CHECKING:
    from lk_jupyter.connection.budget import Spender

Check = Callable[["Spender"], None]

#: Free bytes that the folder of the journal needs: for records, logs and results.
LEAST_BYTES = 50_000_000


def require_spending(_: Spender) -> None:
    """Raise ReadOnlyMode if this computer must not start anything that costs credits."""
    refuse_if_read_only("spends")


def require_records(connection: Spender) -> None:
    """Require that this computer can record what is rented: without a record, nothing could end it."""
    folder = Path(setting("journal")).parent
    book = charge_book()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=folder)
        os.close(descriptor)
        os.unlink(path)  # noqa: PTH108 (the path of mkstemp)
    except OSError as error:
        raise UsageError(_format_record_problem(f"Can't write to '{folder}': {error.strerror}.")) from None
    book.charges(connection.base_url, since=float("inf"))
    if book.trouble:
        raise UsageError(_format_record_problem(book.trouble))


def require_space(_: Spender) -> None:
    """Require free space for records, logs and results."""
    folder = Path(setting("journal")).parent
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < LEAST_BYTES:
            raise UsageError(
                _format_record_problem(
                    f"The disk of '{folder}' has {size_label(free)} free, but records and logs need "
                    f"{size_label(LEAST_BYTES)}."
                )
            )


def _format_record_problem(problem: str) -> str:
    return f"{problem} Nothing was sent. Use another folder: %env LK_JOURNAL=/tmp/lk/journal.sqlite"


#: Checks of every start that costs credits until something ends it.
RENTAL: tuple[Check, ...] = (require_spending, require_records, require_space)

#: Kind of start → checks.
KINDS: dict[str, tuple[Check, ...]] = {"VM": RENTAL, "deployment": RENTAL, "batch": RENTAL}


def require_preconditions(connection: Spender, kind: str) -> None:
    """Check everything that a start of this kind needs. Raises UsageError with the command that fixes the problem."""
    for check in KINDS[kind]:
        check(connection)
