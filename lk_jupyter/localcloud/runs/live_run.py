"""The life of a run: accepted, prepared, running, ended, billed. Subclasses implement the kinds of runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from lk_jupyter.localcloud.accounts.accounts import Caller
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.runs import processes
from lk_jupyter.localcloud.runs.engine import GRACE_SECONDS
from lk_jupyter.localcloud.runs.outcome import Ended, RunOutcome, build_exit_outcome
from lk_jupyter.localcloud.runs.output import STDERR, STDOUT

if TYPE_CHECKING:
    from lk_jupyter.localcloud.runs.wakeups import Owner

T = TypeVar("T")

_DRAIN_SECONDS = 5.0


class LiveRun(ABC):
    """An active run.

    ``pid`` is the process whose session is measured. ``ports`` maps ports of the run to ports of this machine, where
    they differ. ``is_active`` is False once the record contains the end of the run, also while the run's files are
    deleted.
    """

    kind: ClassVar[str]
    job_type: ClassVar[str]
    first_state: ClassVar[str] = "starting"
    task: asyncio.Task[None]

    def __init__(self, runs: Owner, run_id: str, request: Any, caller: Caller, folder: Path) -> None:
        self.id = run_id
        self.pid: int | None = None
        self.is_active = True
        self.ports: dict[int, int] = {}
        self._runs = runs
        self._request = request
        self._caller = caller
        self._folder = folder
        self._verdict: asyncio.Future[tuple[RunOutcome, bool]] = asyncio.get_running_loop().create_future()

    def end(self, outcome: RunOutcome, *, gracefully: bool = False) -> None:
        """Decide how the run ends; the first decision counts."""
        if not self._verdict.done():
            self._verdict.set_result((outcome, gracefully))

    async def list_hosts(self) -> list[str]:
        """Return the addresses of the run's containers; a run without containers has this machine's address."""
        return []

    async def run_to_end(self) -> None:
        """Go from the first state to the last."""
        self._update_record(status=self.first_state, execelet_start=now())
        try:
            outcome = await self._run_steps()
        except Ended as end:
            outcome = end.outcome
        except Exception as error:  # noqa: BLE001 (whatever fails here is a fault of the platform)
            outcome = RunOutcome("system_failure", reason=f"the local cloud could not start the run: {error!r}")
        self.is_active = False
        self._runs.records.finish(self.id, **outcome.facts())
        self._runs.bells.ring(self.id)
        self._runs.webhooks.wake()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)  # a machine's disk goes with the run

    @abstractmethod
    async def _run_steps(self) -> RunOutcome:
        """Execute this kind of run; every step may raise Ended."""

    def _update_record(self, **facts: Any) -> None:
        self._runs.records.update(self.id, **facts)

    def _record_start(self, start: str) -> None:
        """Note that the code runs, since then."""
        self._update_record(status="running", start_time=start, job_start=start)

    async def _wait_for(self, work: asyncio.Future[Any], timeout: float | None = None) -> None:
        """Wait for an awaitable, at most until the timeout or the end of the run."""
        ends: set[asyncio.Future[Any]] = {work, self._verdict}
        await asyncio.wait(ends, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)

    async def _wait_unless_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine, and cancel it if the run is ended meanwhile."""
        task = asyncio.create_task(work)
        await self._wait_for(task)
        if self._verdict.done():
            task.cancel()
            await asyncio.wait({task})
        if self._verdict.done():
            raise Ended(self._verdict.result()[0])
        return task.result()

    async def _run_setup_command(
        self, command: Sequence[str], variables: Mapping[str, str] = MappingProxyType({})
    ) -> tuple[int, str]:
        """Run a command that prepares the run; when this is given up, so is the command."""
        process = await processes.start(
            command,
            run_id=self.id,
            folder=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            variables=variables,
        )
        try:
            output, _ = await process.communicate()
            return process.returncode or 0, output.decode("utf-8", "replace")
        finally:
            await asyncio.to_thread(processes.kill_run, self.id, process.pid)
            await process.wait()


class ProcessRun(LiveRun):
    """A run with a single process of this machine, which writes the run's output."""

    async def _run_steps(self) -> RunOutcome:
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        try:
            return await self._run_command(await self._prepare_command())
        finally:
            await self._clean_up()

    @abstractmethod
    async def _prepare_command(self) -> list[str]:
        """Make all ready and return the command."""

    def _build_variables(self) -> Mapping[str, str]:
        """Return the environment variables of the process that other runs don't have."""
        return self._runs.secrets(self._caller.org_id)

    async def _mount_bucket(self) -> Path | None:
        """Return the bucket folder of the run, or None if the run has none or the system can't mount folders."""
        folder = None
        if self._request.enable_s3_mount:
            folder = await asyncio.to_thread(self._runs.bucket, self._caller.org_id)
            if folder is None:
                self._update_record(errors_docker="The bucket is not mounted: this machine cannot show it as a folder.")
        return folder

    async def _wait_until_up(self, process: asyncio.subprocess.Process) -> bool:
        """Wait until the code runs; return False if the code never started."""
        self.pid = process.pid
        return True

    def _choose_start_time(self, spawned: str) -> str:
        """Return the time when the code started to run; here the start of its process."""
        return spawned

    async def _ask_to_end(self, exited: asyncio.Future[int]) -> None:
        """Request the end of the code, and return when the code has ended or its grace period is over."""
        if self.pid:
            processes.ask_to_end(self.pid)
        await asyncio.wait({exited}, timeout=GRACE_SECONDS)

    async def _determine_outcome(self, code: int) -> RunOutcome:
        return build_exit_outcome(code)

    async def _clean_up(self) -> None:
        """End and remove everything outside of the run's processes and folder; a repetition has no effect."""

    async def _run_command(self, command: list[str]) -> RunOutcome:
        streams = [self._open_pipe(STDOUT), self._open_pipe(STDERR)]
        spawned = now()
        process = await self._start_process(command, *(fd for fd, _ in streams))
        exited = asyncio.create_task(process.wait())
        try:
            ran = await self._wait_until_up(process)
            if ran:
                self._record_start(self._choose_start_time(spawned))
            outcome = await self._wait_for_outcome(exited)
        finally:
            end = now()
            self.pid = None
            await self._clean_up()
            await asyncio.to_thread(processes.kill_run, self.id, process.pid)
            await exited
            await asyncio.wait({read for _, read in streams}, timeout=_DRAIN_SECONDS)
        if ran:
            self._update_record(end_time=end, job_end=end)
        return outcome

    async def _start_process(self, command: list[str], stdout: int, stderr: int) -> asyncio.subprocess.Process:
        """Start the process, which alone owns the write ends of the pipes."""
        try:
            return await processes.start(
                command,
                run_id=self.id,
                folder=self._folder,
                stdout=stdout,
                stderr=stderr,
                variables=self._build_variables(),
            )
        finally:
            os.close(stdout)
            os.close(stderr)

    def _open_pipe(self, stream: str) -> tuple[int, asyncio.Future[None]]:
        """Return the pipe for a stream, and a future that completes when the stream was read completely."""
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[None] = loop.create_future()
        read_end, write_end = os.pipe()
        self._runs.reader.add(self.id, stream, read_end, partial(loop.call_soon_threadsafe, closed.set_result, None))
        return write_end, closed

    async def _wait_for_outcome(self, exited: asyncio.Task[int]) -> RunOutcome:
        """Wait for the first event: the code ends, its time is up, or a request ends the run."""
        await self._wait_for(exited, self._request.timeout if self._runs.keeps_limits else None)
        if self._verdict.done():
            outcome, gracefully = self._verdict.result()
            if gracefully:
                await self._ask_to_end(exited)
            return outcome
        if exited.done():
            return await self._determine_outcome(exited.result())
        return RunOutcome("timeout", reason=f"the time limit of {self._request.timeout} s was reached")
