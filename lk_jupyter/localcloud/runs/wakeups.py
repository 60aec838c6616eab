"""Interfaces between a run and its owner: wake-ups for waiting code, variables, and a prefix of the command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from weakref import WeakValueDictionary

from lk_jupyter.api._models import Model
from lk_jupyter.localcloud.accounts.accounts import Caller
from lk_jupyter.localcloud.runs.engine import Engines
from lk_jupyter.localcloud.runs.environments import Environments
from lk_jupyter.localcloud.runs.reader import OutputReader
from lk_jupyter.localcloud.runs.records import Records
from lk_jupyter.localcloud.runs.webhooks import Webhooks


class RunEvents:
    """Events for code that waits for news of a run; lives in the event loop."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def event(self, run_id: str) -> asyncio.Event:
        """Return the event that the next news of a run sets."""
        return self._events.setdefault(run_id, asyncio.Event())

    def ring(self, *run_ids: str) -> None:
        """Report news."""
        for run_id in run_ids:
            if event := self._events.pop(run_id, None):
                event.set()


class Provision(Protocol):
    """The additions to a run: variables, and a prefix of its command."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment variables of the run."""

    @property
    def prefix(self) -> Sequence[str]:
        """Arguments before the run's command."""


class Owner(Protocol):
    """The starter of a run, with the places for facts, output and news, and the data of the organization."""

    records: Records
    reader: OutputReader
    webhooks: Webhooks
    environments: Environments
    engines: Engines
    quota: tuple[str, ...]
    keeps_limits: bool
    bells: RunEvents
    secrets: Callable[[str], dict[str, str]]
    bucket: Callable[[str], Path | None]
    provide: Callable[[str, str], Provision]
    mount: str

    def start(self, kind: Any, request: Model, caller: Caller, **more: Any) -> Any:
        """Accept a run of a kind, and return the run."""


class NoProvision(NamedTuple):
    """No variables, and no command in front."""

    variables: Mapping[str, str] = {}
    prefix: Sequence[str] = ()
