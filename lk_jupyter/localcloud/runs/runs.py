"""The runs that go on: started, ended, found."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import uuid4
from weakref import WeakValueDictionary

from lk_jupyter.api._models import Model
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.options import Options
from lk_jupyter.localcloud.people.accounts import Caller
from lk_jupyter.localcloud.runs.engine import Engines
from lk_jupyter.localcloud.runs.environments import Environments
from lk_jupyter.localcloud.runs.live_run import LiveRun
from lk_jupyter.localcloud.runs.outcome import SERVER_STOPPED, Outcome
from lk_jupyter.localcloud.runs.reader import OutputReader
from lk_jupyter.localcloud.runs.records import Facts, Records
from lk_jupyter.localcloud.runs.webhooks import Webhooks

#: Fields of start requests that are used and not kept.
_UNKEPT = {"docker_password", "aws_secret_access_key", "aws_session_token"}
PENDING = "pending"

_SHOWN = ("file_name", "run_name", "labels", "metadata")


class Bells:
    """Wakes those who wait for news of a run; lives in the event loop."""

    def __init__(self) -> None:
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()

    def of(self, run_id: str) -> asyncio.Event:
        """Return the event that the next news of a run sets."""
        return self._events.setdefault(run_id, asyncio.Event())

    def ring(self, *run_ids: str) -> None:
        """Tell that there is news."""
        for run_id in run_ids:
            if event := self._events.pop(run_id, None):
                event.set()


class Provision(Protocol):
    """What a run is given beside its code: variables, and what its command is put behind."""

    @property
    def variables(self) -> Mapping[str, str]:
        """Its part of the environment."""

    @property
    def prefix(self) -> Sequence[str]:
        """Arguments before its command."""


class _Nothing(NamedTuple):
    variables: Mapping[str, str] = {}
    prefix: Sequence[str] = ()


class Runs:
    """Starts runs, ends them, and knows which go on.

    ``secrets(org id)`` returns the environment variables that an organization keeps for its runs,
    ``bucket(org id)`` the folder that is its bucket, or None, and ``provide(org id, code)`` what a
    Python run gets of both.
    """

    def __init__(
        self, records: Records, reader: OutputReader, webhooks: Webhooks, data: Path, options: Options
    ) -> None:
        self.records = records
        self.reader = reader
        self.webhooks = webhooks
        self.environments = Environments(data / "environments")
        self.engines = Engines(options.engine)
        self.quota = options.quota
        self.bells = Bells()
        self.secrets: Callable[[str], dict[str, str]] = lambda _: {}
        self.bucket: Callable[[str], Path | None] = lambda _: None
        self.provide: Callable[[str, str], Provision] = lambda *_: _Nothing()
        self._folder = data / "runs"
        self._live: dict[str, LiveRun] = {}

    def start(self, kind: type[LiveRun], request: Model, caller: Caller, **more: Any) -> LiveRun:
        """Accept a run of a kind; it goes on in the background. ``more`` are facts of its record."""
        facts = {**_new_facts(kind, request, caller), **more}
        self.records.create(facts, request.model_dump(exclude_none=True, exclude=_UNKEPT), caller.org_id)
        run = kind(self, facts["execution_id"], request, caller, self._folder / facts["execution_id"])
        self._live[run.id] = run
        run.task = asyncio.create_task(run.live())
        run.task.add_done_callback(lambda _: self._live.pop(run.id))
        return run

    def end(self, run_id: str, outcome: Outcome, *, gracefully: bool = False) -> bool:
        """End a run that goes on, by a polite request first where it is to be graceful; False when it has ended."""
        run = self._live.get(run_id)
        if run is None:
            return False
        run.end(outcome, gracefully=gracefully)
        return True

    def live(self, run_id: str) -> LiveRun | None:
        """Return a run that goes on."""
        return self._live.get(run_id)

    def pids(self) -> dict[str, int]:
        """Return the process of each run whose code runs."""
        return {run.id: run.pid for run in self._live.values() if run.pid}

    async def close(self) -> None:
        """End all runs, since this server ends."""
        live = list(self._live.values())
        for run in live:
            run.end(SERVER_STOPPED)
        await asyncio.gather(*(run.task for run in live))


def _new_facts(kind: type[LiveRun], request: Model, caller: Caller) -> Facts:
    return {
        "execution_id": str(uuid4()),
        "user_id": caller.user_id,
        "status": PENDING,
        "execution_type": kind.kind,
        "job_type": getattr(request, "job_type", None) or kind.job_type,
        "hardware_profile": getattr(request, "execution_type", "cpu"),
        **{name: getattr(request, name, None) for name in _SHOWN},
        "created_at": now(),
    }
