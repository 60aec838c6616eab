"""Start, end and find active runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from lk_jupyter.api._models import Model
from lk_jupyter.localcloud.accounts.accounts import Caller
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.runs.engine import Engines
from lk_jupyter.localcloud.runs.environments import Environments
from lk_jupyter.localcloud.runs.live_run import LiveRun
from lk_jupyter.localcloud.runs.outcome import SERVER_STOPPED, RunOutcome
from lk_jupyter.localcloud.runs.reader import OutputReader
from lk_jupyter.localcloud.runs.records import Facts, Records
from lk_jupyter.localcloud.runs.wakeups import NoProvision, Provision, RunEvents
from lk_jupyter.localcloud.runs.webhooks import Webhooks

#: Fields of start requests that are used and not kept.
_UNKEPT = {"docker_password", "aws_secret_access_key", "aws_session_token"}
PENDING = "pending"
MOUNT = "/mnt/s3"

_RECORD_FIELDS = ("file_name", "run_name", "labels", "metadata")


class LiveRuns:
    """A manager that starts and ends runs, and lists active runs.

    ``secrets(org id)`` returns the environment variables that an organization stores for its runs, ``bucket(org id)``
    the folder of the bucket, or None, and ``provide(org id, code)`` the part of both for a Python run.
    ``folder_of(kind, run id, caller)`` is the working folder of a run, ``mount`` the path of the bucket for services of
    a stack.
    """

    def __init__(
        self, records: Records, reader: OutputReader, webhooks: Webhooks, data: Path, options: CloudOptions
    ) -> None:
        self.records = records
        self.reader = reader
        self.webhooks = webhooks
        self.environments = Environments(data / "environments")
        self.engines = Engines(options.engine)
        self.quota = options.quota
        self.keeps_limits = True  # end each run at its time limit
        self.bells = RunEvents()
        self.secrets: Callable[[str], dict[str, str]] = lambda _: {}
        self.bucket: Callable[[str], Path | None] = lambda _: None
        self.provide: Callable[[str, str], Provision] = lambda *_: NoProvision()
        self.mount = MOUNT
        self.run_folder: Callable[[type[LiveRun], str, Caller], Path] = lambda _, run_id, __: data / "runs" / run_id
        self._live: dict[str, LiveRun] = {}

    def start(self, kind: type[LiveRun], request: Model, caller: Caller, **more: Any) -> LiveRun:
        """Accept a run, which continues in the background. ``more`` are facts of the record."""
        facts = {**_build_facts(kind, request, caller), **more}
        self.records.create(facts, request.model_dump(exclude_none=True, exclude=_UNKEPT), caller.org_id)
        run_id = facts["execution_id"]
        run = kind(self, run_id, request, caller, self.run_folder(kind, run_id, caller))
        self._live[run.id] = run
        run.task = asyncio.create_task(run.run_to_end())
        run.task.add_done_callback(lambda _: self._live.pop(run.id))
        return run

    def end(self, run_id: str, outcome: RunOutcome, *, gracefully: bool = False) -> bool:
        """End an active run, with a polite request first if ``gracefully``; return False if the run has ended."""
        run = self.find_active(run_id)
        if run is None:
            return False
        run.end(outcome, gracefully=gracefully)
        return True

    def find_active(self, run_id: str) -> LiveRun | None:
        """Return an active run."""
        run = self._live.get(run_id)
        return run if run and run.is_active else None

    def pids(self) -> dict[str, int]:
        """Return the process of each run whose code runs."""
        return {run.id: run.pid for run in self._live.values() if run.pid}

    async def close(self) -> None:
        """End all runs, since this server ends."""
        live = list(self._live.values())
        for run in live:
            run.end(SERVER_STOPPED)
        await asyncio.gather(*(run.task for run in live))


def _build_facts(kind: type[LiveRun], request: Model, caller: Caller) -> Facts:
    return {
        "execution_id": str(uuid4()),
        "user_id": caller.user_id,
        "status": PENDING,
        "execution_type": kind.kind,
        "job_type": getattr(request, "job_type", None) or kind.job_type,
        "hardware_profile": getattr(request, "execution_type", "cpu"),
        **{name: getattr(request, name, None) for name in _RECORD_FIELDS},
        "created_at": now(),
    }
