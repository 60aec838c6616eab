"""Cells that a person approved before a program executes them: stored on this machine, in no notebook.

An approval is for the exact text of a cell, up to a cost, and for a number of executions. A received notebook has no
approval, and a changed cell needs a new one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from pathlib import Path
from typing import Any

from lk_jupyter.config.files import lock_beside, platform_path, read_json, write_json
from lk_jupyter.errors import UsageError

#: Seconds to wait for another process that changes the file, and between two attempts.
_PATIENCE, _PAUSE = 10.0, 0.02


def approvals_file() -> Path:
    """Return the path of the file with the approvals; the file need not exist."""
    return platform_path("data", "approvals.json")


def cell_digest(text: str) -> str:
    """Return the digest by which an approval recognizes a cell, without blank lines around the cell."""
    return sha256(text.strip().encode(errors="replace")).hexdigest()


def approve(server: str, org: str, costs: Mapping[str, Decimal], times: int) -> None:
    """Store an approval for each digest of a cell: its highest cost in credits, for ``times`` executions.

    An earlier approval of the same cell is replaced. Raises UsageError if the file can't be written.
    """
    rows = {
        digest: {"server": server, "org": org, "cost": f"{cost:f}", "left": times} for digest, cost in costs.items()
    }
    with _lock_file():
        _write({**_read(), **rows})


def withdraw(digests: Collection[str]) -> int:
    """Delete the approvals of these cells, and return their number. Raises UsageError."""
    with _lock_file():
        rows = _read()
        remaining = {digest: row for digest, row in rows.items() if digest not in digests}
        _write(remaining)
    return len(rows) - len(remaining)


def is_listed(digest: str) -> bool:
    """Return whether a cell has an approval, for any server and cost."""
    return digest in _read()


def use_approval(server: str, org: str, digest: str, cost: Decimal) -> bool:
    """Use an approval for an execution of a cell that costs at most ``cost`` credits; return whether it allows this.

    Two processes never use the same approval. Raises UsageError if the file can't be written.
    """
    with _lock_file():
        rows = _read()
        row = rows.get(digest)
        if row is None or not _allows(row, server, org, cost):
            return False
        row["left"] -= 1
        if not row["left"]:
            del rows[digest]
        _write(rows)
        return True


def _allows(row: Mapping[str, Any], server: str, org: str, cost: Decimal) -> bool:
    try:
        is_paid = cost <= Decimal(str(row.get("cost")))
    except InvalidOperation:
        return False
    remaining = row.get("left")
    return is_paid and type(remaining) is int and remaining > 0 and (row.get("server"), row.get("org")) == (server, org)


def _read() -> dict[str, dict[str, Any]]:
    """Return the approvals by digest; a broken file has none, so the question is shown again."""
    try:
        return {digest: row for digest, row in read_json(approvals_file()).items() if isinstance(row, dict)}
    except UsageError:
        return {}


def _write(rows: dict[str, dict[str, Any]]) -> None:
    try:
        write_json(approvals_file(), dict(rows))
    except OSError as error:
        raise UsageError(f"Can't write '{approvals_file()}' ({error.strerror}). Nothing was approved.") from None


@contextmanager
def _lock_file() -> Iterator[None]:
    """Wait until no other process changes the file. Raises UsageError."""
    path, end = approvals_file(), time.monotonic() + _PATIENCE
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Can't write '{path}' ({error.strerror}). Nothing was approved.") from None
    while time.monotonic() < end:
        with lock_beside(path) as is_free:
            if is_free:
                yield
                return
        time.sleep(_PAUSE)
    raise UsageError(f"Another process is writing '{path}'. Nothing was sent. Run the cell again.")
