"""The cloud of a data folder: options, state and runs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from lk_jupyter.localcloud import ticket
from lk_jupyter.localcloud.accounts.accounts import Accounts
from lk_jupyter.localcloud.accounts.attempts import Attempts
from lk_jupyter.localcloud.accounts.sessions import Sessions
from lk_jupyter.localcloud.billing.ledger import Ledger
from lk_jupyter.localcloud.billing.payments import Payments
from lk_jupyter.localcloud.buckets.s3 import BucketStorage
from lk_jupyter.localcloud.clock import to_seconds, to_text
from lk_jupyter.localcloud.models.async_chats import AsyncChats
from lk_jupyter.localcloud.models.batch_files import BatchFiles
from lk_jupyter.localcloud.models.batch_work import BatchWork
from lk_jupyter.localcloud.models.dedicated import DedicatedChat
from lk_jupyter.localcloud.models.deployments import Deployments
from lk_jupyter.localcloud.models.models import Models
from lk_jupyter.localcloud.models.upstream import ModelUpstream
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.runs import processes
from lk_jupyter.localcloud.runs.outcome import ABORTED, SERVER_STOPPED
from lk_jupyter.localcloud.runs.output import RunOutput
from lk_jupyter.localcloud.runs.provision import Provider
from lk_jupyter.localcloud.runs.reader import OutputReader
from lk_jupyter.localcloud.runs.records import Records
from lk_jupyter.localcloud.runs.runs import LiveRuns
from lk_jupyter.localcloud.runs.samples import Samples
from lk_jupyter.localcloud.runs.variables import Variables
from lk_jupyter.localcloud.runs.webhooks import Webhooks
from lk_jupyter.localcloud.store import DATABASE, Store
from lk_jupyter.localcloud.vms.guests import Guests
from lk_jupyter.localcloud.vms.machines import Machines

#: Environment variable with the key of the upstream.
UPSTREAM_KEY = "LK_INFERENCE_UPSTREAM_KEY"


class Cloud:
    """Everything behind the routes."""

    def __init__(self, data: Path, options: CloudOptions, base_url: str, storage: BucketStorage) -> None:
        self.data = data
        self.options = options
        self.base_url = base_url
        self.store = Store(data / DATABASE)
        self.attempts = Attempts(options.clock_speed)
        self.sessions = Sessions(self.store, options, self.attempts)
        self.accounts = Accounts(self.store, self.sessions, data, self.attempts)
        ticket.renew(data)
        self.ledger = Ledger(self.store)
        self.ledger.grant(self.accounts.local_user["org_id"], options.credits)
        self.payments = Payments(self.store, self.ledger, dict(options.vouchers))
        self.machines = Machines(self.store, self.ledger, options.clock_speed, data / "volumes")
        self.guests = Guests(data, self.machines, options)
        self.webhooks = Webhooks(self.store)
        self.records = Records(self.store, self.ledger, self.webhooks)
        self.output = RunOutput(self.store)
        self.reader = OutputReader(self.output, self._wake_followers)
        self.variables = Variables(self.store, data)
        self.storage = storage
        self.provider = Provider(self.variables, self.storage)
        self.runs = LiveRuns(self.records, self.reader, self.webhooks, data, options)
        self.runs.secrets, self.runs.bucket = self.variables.read_values, self.storage.mount_folder
        self.runs.provide = self.provider.provide
        self.forgetters: list[Callable[[str], None]] = [
            self._forget_runs,
            self.machines.forget,
            self.variables.forget,
            self.storage.forget,
        ]
        self._create_model_services()
        self.samples = Samples(self.store, self.runs.pids, simulate_gpu=options.simulate_gpu)

    def _create_model_services(self) -> None:
        """Create the services of models; remove the upstream's key from the environment, which runs inherit."""
        url, key, speed = self.options.inference_upstream, os.environ.pop(UPSTREAM_KEY, None), self.options.clock_speed
        self.upstream = ModelUpstream(url, key) if url else None
        self.models = Models(self.upstream)
        self.deployments = Deployments(self.store, self.ledger, speed)
        self.dedicated = DedicatedChat(self.deployments, self.models)
        self.async_chats = AsyncChats(self.store, self.dedicated, speed)
        self.files = BatchFiles(self.store, self.data / "batch_files")
        self.batches = BatchWork(self.store, self.ledger, self.files, self.models, speed)
        self.forgetters += [room.forget for room in (self.async_chats, self.deployments, self.batches, self.files)]

    async def start(self) -> None:
        """Clear up after an unclean end, then be ready for runs."""
        self._loop = asyncio.get_running_loop()
        processes.adopt_orphans()
        await self._remove_containers()
        await asyncio.to_thread(self._recover_from_crash)
        await self.guests.start()
        self.machines.on_create, self.machines.on_end = self.guests.add, self.guests.remove
        self.reader.start()
        self._sampling = asyncio.create_task(self.samples.take_forever())
        self._scaling = asyncio.create_task(self.deployments.scale_forever())
        self.async_chats.recover()
        self.batches.recover()
        self._delivering = asyncio.create_task(self.webhooks.deliver_forever())

    async def close(self) -> None:
        """End all runs and keep all output. Nothing is active afterwards."""
        await self.runs.close()
        await self.guests.close()
        self._sampling.cancel()
        self._delivering.cancel()
        self._scaling.cancel()
        await self.batches.close()
        await self.async_chats.close()
        if self.upstream:
            await self.upstream.close()
        await asyncio.to_thread(self.storage.close)
        await asyncio.to_thread(self.reader.close)

    def forget(self, org_id: str) -> None:
        """End and remove everything of a deleted organization; called in the event loop."""
        for forget in self.forgetters:
            forget(org_id)

    def _forget_runs(self, org_id: str) -> None:
        """End the active runs of an organization, and delete its ended runs."""
        for facts in self.records.list_page(org_id, -1, 0):
            run_id = facts["execution_id"]
            if not self.runs.end(run_id, ABORTED):
                for room in (self.records, self.output, self.samples):
                    room.delete(run_id)

    async def _remove_containers(self) -> None:
        """Remove the containers of a crashed process, before the processes that watch them are killed."""
        for facts in self.records.list_active():
            if facts["execution_type"].startswith("docker"):
                await self.runs.engines.remove(facts["execution_id"])

    def _recover_from_crash(self) -> None:
        """End the runs that a crash of the server left behind, up to their last sign of life."""
        for facts in self.records.list_active():
            run_id = facts["execution_id"]
            processes.kill_run(run_id)
            signs = (
                self.samples.read_last_time(run_id),
                self.output.read_last_time(run_id),
                to_seconds(facts.get("start_time")),
            )
            last = max((sign for sign in signs if sign), default=None)
            self.records.finish(run_id, end_time=to_text(last), job_end=to_text(last), **SERVER_STOPPED.facts())
        shutil.rmtree(self.data / "runs", ignore_errors=True)
        self.storage.recover()
        self.files.clear_up()

    def _wake_followers(self, run_ids: set[str]) -> None:
        """Wake the followers of runs; called from the reader's thread."""
        self._loop.call_soon_threadsafe(self.runs.bells.ring, *run_ids)
