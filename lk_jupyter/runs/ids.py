"""Ids of runs, which may be shortened as in git."""

from __future__ import annotations

from itertools import chain

from lk_jupyter.api._client import Client
from lk_jupyter.errors import UsageError

#: Length of an id that is taken as it is: a UUID with dashes.
_FULL = 36
_SHORTEST = 4


def known_ids(client: Client) -> list[str]:
    """Return the ids of the runs that go on, then of the latest that ended."""
    going_on = (run.execution_id for run in client.workloads.list())
    ended = (run.execution_id for run in client.billing.history())
    return list(dict.fromkeys(chain(going_on, ended)))


def full_id(client: Client, prefix: str) -> str:
    """Return the id that begins so. Raises UsageError when none does, or several do."""
    prefix = prefix.strip()
    if len(prefix) >= _FULL:
        return prefix
    if len(prefix) < _SHORTEST:
        raise UsageError(
            f"{prefix!r} is too short for a run id: give {_SHORTEST} characters or more. %lk_runs lists them."
        )
    found = [known for known in known_ids(client) if known.startswith(prefix)]
    if not found:
        raise UsageError(f"No run of yours begins with {prefix!r}. %lk_runs lists them.")
    if len(found) > 1:
        raise UsageError(f"{prefix!r} begins {len(found)} run ids: {', '.join(found[:5])}. Give more characters.")
    return found[0]
