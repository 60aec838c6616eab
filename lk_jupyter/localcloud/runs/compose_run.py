"""Compose runs: a stack of containers through the engine's compose program.

The program writes to files and not to pipes, since network daemons of the program keep its output open after the
program has ended.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.runs import registry
from lk_jupyter.localcloud.runs.engine import (
    GRACE_SECONDS,
    PROJECT_LABEL,
    Engine,
    find_compose_program,
    format_run_name,
)
from lk_jupyter.localcloud.runs.image_run import POLL_SECONDS, has_started, list_addresses
from lk_jupyter.localcloud.runs.live_run import ProcessRun
from lk_jupyter.localcloud.runs.outcome import COMPLETED, Ended, RunOutcome
from lk_jupyter.localcloud.runs.output import STDERR, STDOUT

_READ_BYTES = 1 << 16
_FIELD = "compose_file_code"

#: Keys of a service that provide an image; ``<<`` merges another map.
_SOURCES = {"image", "build", "extends", "<<"}


def check(request: Any) -> None:
    """Refuse a compose file that could never run, with the place of the fault."""
    registry.check_login(request)
    parse_services(request.compose_file_code)


def parse_services(text: str) -> dict[str, Any]:
    """Return the services of a compose file; 422 for a text that is none."""
    try:
        stack = yaml.load(text, yaml.BaseLoader)  # noqa: S506 (it makes texts, lists and maps only)
    except yaml.YAMLError as error:
        raise invalid("body", _FIELD, f"Not YAML: {_format_yaml_error(error)}") from None
    except (RecursionError, ValueError, TypeError):
        raise invalid("body", _FIELD, "The YAML cannot be read: it is nested too deeply or malformed") from None
    services = stack.get("services") if isinstance(stack, dict) else None
    if not isinstance(services, dict) or not services:
        raise invalid("body", _FIELD, "A compose file needs a map 'services' with at least one service")
    for name, service in services.items():
        if not isinstance(service, dict) or not (_SOURCES & set(service)):
            raise invalid("body", _FIELD, f"services.{name}: a service is a map with an image")
    return services


def _format_yaml_error(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else str(problem)


class ComposeRun(ProcessRun):
    """A stack, which ends when all its containers have ended."""

    kind = "docker compose"
    job_type = "customer_compose"
    _engine: Engine | None = None
    _login: dict[str, str]

    async def _prepare_command(self) -> list[str]:
        self._engine = engine = await self._runs.engines.get()
        self._compose = [*await find_compose_program(engine), "--project-name", format_run_name(self.id)]
        services = parse_services(self._request.compose_file_code)
        images = [service["image"] for service in services.values() if isinstance(service.get("image"), str)]
        self._login = await registry.write_login(self._request, images, self._folder, self._run_setup_command)
        await self._write_files(services)
        command = [*self._compose, "up", "--no-start"]
        code, output = await self._wait_unless_ended(self._run_setup_command(command, self._build_variables()))
        if code != 0 or not await engine.list_containers(self._label):
            self._update_record(errors_docker=output)
            last = output.strip().splitlines()[-1:] or ["it said nothing"]
            raise Ended(RunOutcome("failed", reason=f"the containers could not be made: {last[0]}"))
        return [*self._compose, "up", "--no-color"]

    @property
    def _label(self) -> str:
        return f"{PROJECT_LABEL}={format_run_name(self.id)}"

    def _build_variables(self) -> dict[str, str]:
        return {**(self._engine.environment if self._engine else {}), **self._login}

    async def _write_files(self, services: dict[str, Any]) -> None:
        """Write the stack, and a second file with the additions for each service."""
        override: dict[str, Any] = {}
        if secrets := self._runs.secrets(self._caller.org_id):
            override["environment"] = {name: value.replace("$", "$$") for name, value in secrets.items()}
        if bucket := await self._mount_bucket():
            override["volumes"] = [f"{bucket}:{self._runs.mount}"]
        write_private(self._folder / "compose.yaml", self._request.compose_file_code)
        write_private(self._folder / "given.yaml", yaml.safe_dump({"services": dict.fromkeys(services, override)}))
        self._compose += ["-f", "compose.yaml", *(["-f", "given.yaml"] if override else [])]

    async def _start_process(self, command: list[str], stdout: int, stderr: int) -> asyncio.subprocess.Process:
        paths = [self._folder / STDOUT, self._folder / STDERR]
        files = [os.open(path, os.O_WRONLY | os.O_CREAT, 0o600) for path in paths]
        process = await super()._start_process(command, *files)
        self._copies = [
            asyncio.create_task(_copy_file(path, fd, process)) for path, fd in zip(paths, (stdout, stderr), strict=True)
        ]
        return process

    def _choose_start_time(self, spawned: str) -> str:  # noqa: ARG002 (the engine takes its time first)
        return now()

    async def _wait_until_up(self, process: asyncio.subprocess.Process) -> bool:
        while True:
            is_last = process.returncode is not None or self._verdict.done()
            started = [state for state in await self._inspect_containers() if has_started(state)]
            if started or is_last:
                self.pid = next((state["State"]["Pid"] for state in started if state["State"]["Pid"]), None)
                return bool(started)
            await asyncio.sleep(POLL_SECONDS)

    async def list_hosts(self) -> list[str]:
        """Return the addresses of the containers that run now."""
        return [address for state in await self._inspect_containers() for address in list_addresses(state)]

    async def _inspect_containers(self) -> list[dict[str, Any]]:
        if self._engine and (containers := await self._engine.list_containers(self._label)):
            return await self._engine.inspect(*containers)
        return []

    async def _ask_to_end(self, exited: asyncio.Future[int]) -> None:
        assert self._engine  # noqa: S101 (the containers run)
        await self._engine.stop(await self._engine.list_containers(self._label), self._request.graceful_timeout)
        await asyncio.wait({exited}, timeout=GRACE_SECONDS)

    async def _determine_outcome(self, code: int) -> RunOutcome:
        await asyncio.wait(self._copies)
        states = await self._inspect_containers()
        if not all(map(has_started, states)):
            return RunOutcome("failed", reason=f"not all containers started (exit code {code}): see the log")
        failed = {
            _read_service_name(state): state["State"]["ExitCode"] for state in states if state["State"]["ExitCode"]
        }
        for service, exit_code in failed.items():
            return RunOutcome("failed", exit_code, f"service {service} ended with exit code {exit_code}")
        return COMPLETED

    async def _clean_up(self) -> None:
        if engine := self._engine:
            self._engine = None
            await engine.remove_project(format_run_name(self.id))


def _read_service_name(state: dict[str, Any]) -> str:
    return str(state["Config"]["Labels"].get("com.docker.compose.service", state["Name"]))


async def _copy_file(path: Path, fd: int, process: asyncio.subprocess.Process) -> None:
    """Copy the file that a process writes to a pipe, until the process has ended."""
    with path.open("rb") as file, suppress(BrokenPipeError):
        is_last = False
        while not is_last:
            is_last = process.returncode is not None
            while data := file.read(_READ_BYTES):
                await asyncio.to_thread(os.write, fd, data)
            await asyncio.sleep(0 if is_last else POLL_SECONDS)
    os.close(fd)
