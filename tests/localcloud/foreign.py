"""How to say what somebody of another organization tries with an operation.

The files ``foreign_*.py`` beside this one say it, each for some groups: ``ROWS`` maps declarations
to rows, and ``made(mira)`` makes what the rows need, with a client of the owner, by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from patience import PATIENCE

from lk_jupyter.api._endpoint import endpoint_of

#: A word in all that is Mira's, which Jon must never read.
MARK = "miras-own"

#: Fields that change without anybody's doing.
PASSING = {
    *("available_credits", "used_credits", "total_credits_used", "remaining_credits", "total_credits_spent"),
    *("balance", "billed", "croesus_billed", "amount", "total_amount", "last_created_at", "last_used_at"),
    *("last_updated", "last_health_check", "uptime_seconds"),
}

Arguments = Callable[[SimpleNamespace], dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """What Jon tries: arguments from what Mira has, and the statuses of a refusal where he is refused.

    What Mira reads by it is the same afterwards, unless it is not steady: time alone changes it.
    """

    arguments: Arguments = lambda _: {}
    refused: frozenset[int] = frozenset()
    untried: str = ""
    is_steady: bool = True


def refused(arguments: Arguments, *statuses: int, is_steady: bool = True) -> Row:
    """Try it with something of Mira's: it is not there for Jon."""
    return Row(arguments, refused=frozenset(statuses or (403, 404)), is_steady=is_steady)


def own(arguments: Arguments = lambda _: {}, *, is_steady: bool = True) -> Row:
    """Try it as it is: the answer holds nothing of Mira's."""
    return Row(arguments, is_steady=is_steady)


def untried(why: str) -> Row:
    """Do not try it, as it can name nothing of Mira's."""
    return Row(untried=why)


def gathered():
    """Return all rows by endpoint, and all functions that make what they need."""
    files = [import_module(f"localcloud.{path.stem}") for path in sorted(Path(__file__).parent.glob("foreign_*.py"))]
    rows = {endpoint_of(method): row for file in files for method, row in file.ROWS.items()}
    return rows, [file.made for file in files]


def until(look, seconds=PATIENCE):
    """Look until what is seen is what is waited for, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found
