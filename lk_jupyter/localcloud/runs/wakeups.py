"""What a run of the local cloud is given by its owner: news for those who wait, variables, and a command in front."""

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
    """Wakes those who wait for news of a run; lives in the event loop."""

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
    """The additions to the code of a run: variables, and the command that starts its command."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Its part of the environment."""

    @property
    def prefix(self) -> Sequence[str]:
        """Arguments before its command."""


class Owner(Protocol):
    """Whoever started a run: where its facts, its output and its news go, and what its organization keeps for it."""

    records: Records
    reader: OutputReader
    webhooks: Webhooks
    environments: Environments
    engines: Engines
    quota: tuple[str, ...]
    bells: RunEvents
    secrets: Callable[[str], dict[str, str]]
    bucket: Callable[[str], Path | None]
    provide: Callable[[str, str], Provision]
    mount: str

    def start(self, kind: Any, request: Model, caller: Caller, **more: Any) -> Any:
        """Accept a run of a kind, and return it."""


class NoProvision(NamedTuple):
    """No variables, and no command in front."""

    variables: Mapping[str, str] = {}
    prefix: Sequence[str] = ()
