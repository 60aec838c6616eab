"""Image runs: a container of Podman or Docker."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.billing.catalogue import is_gpu
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.runs import gpus, notebook_run, registry
from lk_jupyter.localcloud.runs.engine import GRACE_SECONDS, Engine, format_run_label, format_run_name
from lk_jupyter.localcloud.runs.live_run import ProcessRun
from lk_jupyter.localcloud.runs.outcome import Ended, RunOutcome, build_exit_outcome
from lk_jupyter.localcloud.runs.processes import RUN_ID_VARIABLE

POLL_SECONDS = 0.05
_NOT_STARTED = {"created", "configured", "initialized"}
_IMAGE = re.compile(r"[a-zA-Z0-9][\w.\-/:@]*", re.ASCII)
_USER = re.compile(r"\w[\w.\-]*(:\w[\w.\-]*)?", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def check(request: Any) -> None:
    """Refuse requests that could never run, before the run is accepted."""
    registry.check_login(request)
    parse_environment(request.docker_run_env)
    _check_match(
        "docker_image_ref", _IMAGE, request.docker_image_ref, "is not an image reference. Example: python:3.11"
    )
    if request.docker_run_user:
        _check_match("docker_run_user", _USER, request.docker_run_user, "is not a user: give a name, a uid or uid:gid")
    if any("\0" in part for part in request.docker_run_cmd or ()):
        raise invalid("body", "docker_run_cmd", "A command cannot contain null bytes")
    path = request.s3_mount_path
    if request.enable_s3_mount and not (re.fullmatch(r"/[^:,\0\n]+", path) and ".." not in path.split("/")):
        raise invalid("body", "s3_mount_path", f"{path!r}: give an absolute path such as /mnt/s3")


def _check_match(field: str, pattern: re.Pattern[str], text: str, complaint: str) -> None:
    if not pattern.fullmatch(text):
        raise invalid("body", field, f"{text!r} {complaint}")


def parse_environment(text: str | None) -> dict[str, str]:
    """Read NAME=value lines."""
    variables = {}
    for number, line in enumerate((text or "").split("\n"), 1):
        name, equals, value = line.rstrip("\r").partition("=")
        if line.strip() and not (equals and _NAME.fullmatch(name) and "\0" not in value):
            raise invalid("body", "docker_run_env", f"Line {number} is not NAME=value")
        if line.strip():
            variables[name] = value
    return variables


class ImageRun(ProcessRun):
    """A container."""

    kind = "docker"
    job_type = "customer_image"
    _engine: Engine | None = None
    _hosts: list[str] = []

    async def _prepare_command(self) -> list[str]:
        self._engine = engine = await self._runs.engines.get()
        login = await registry.write_login(
            self._request, [self._request.docker_image_ref], self._folder, self._run_setup_command
        )
        variables = self._build_container_variables()
        creation = await self._build_create_command(engine, variables)
        code, output = await self._wait_unless_ended(
            self._run_setup_command(creation, {**_select_multiline_variables(variables), **engine.environment, **login})
        )
        if code != 0:
            self._update_record(errors_docker=output)
            if notebook_run.stands_in_for(self._request) and not await engine.has_image(
                await self._resolve_image(engine)
            ):
                self.__class__ = notebook_run.NotebookRun  # type: ignore[assignment] # a process from here on
                return await self._prepare_command()
            last = output.strip().splitlines()[-1:] or ["it said nothing"]
            raise Ended(RunOutcome("system_failure", reason=f"the container could not be made: {last[0]}"))
        return engine.build_command("start", "--attach", self._container)

    @property
    def _container(self) -> str:
        return format_run_name(self.id)

    def _build_variables(self) -> dict[str, str]:
        return dict(self._engine.environment) if self._engine else {}

    async def _build_create_command(self, engine: Engine, variables: dict[str, str]) -> list[str]:
        """Return the command that pulls the image if missing, and creates the container.

        The command contains no values of variables: values are in a file in the run's folder, and multi-line values in
        the command's environment.
        """
        request = self._request
        write_private(
            self._folder / "env", "".join(f"{name}={value}\n" for name, value in variables.items() if "\n" not in value)
        )
        return engine.build_command(
            "create",
            *("--name", self._container, "--label", format_run_label(self.id), "--env-file", "env"),
            *(f"--env={name}" for name in _select_multiline_variables(variables)),
            *(["--user", request.docker_run_user] if request.docker_run_user else []),
            *(["--volume", f"{bucket}:{request.s3_mount_path}"] if (bucket := await self._mount_bucket()) else []),
            *(["--gpus", "all"] if is_gpu(request.execution_type) and gpus.available() else []),
            *("--", await self._resolve_image(engine)),
            *(request.docker_run_cmd or ()),
        )

    async def _resolve_image(self, engine: Engine) -> str:
        """Name Docker Hub for an image without a registry that isn't here, as Docker does."""
        reference: str = self._request.docker_image_ref
        has_registry = "/" in reference and registry.registry_host(reference) != registry.DOCKER_HUB
        if has_registry or engine.name == "docker" or await engine.has_image(reference):
            return reference
        path = reference if "/" in reference else f"library/{reference}"
        return f"{registry.DOCKER_HUB}/{path.removeprefix('docker.io/')}"

    def _build_container_variables(self) -> dict[str, str]:
        return {
            "PYTHONUNBUFFERED": "1",
            **self._runs.secrets(self._caller.org_id),
            **parse_environment(self._request.docker_run_env),
            RUN_ID_VARIABLE: self.id,
        }

    def _choose_start_time(self, spawned: str) -> str:  # noqa: ARG002 (the engine takes its time first)
        return now()

    async def _wait_until_up(self, process: asyncio.subprocess.Process) -> bool:
        while True:
            is_last = process.returncode is not None or self._verdict.done()
            state = await self._inspect_container()
            if state and has_started(state):
                self.pid, self._hosts = state["State"]["Pid"] or None, list_addresses(state)
                return True
            if is_last:
                return False
            await asyncio.sleep(POLL_SECONDS)

    async def list_hosts(self) -> list[str]:
        """Return the address of the container."""
        return self._hosts

    async def _inspect_container(self) -> dict[str, Any] | None:
        states = await self._engine.inspect(self._container) if self._engine else []
        return states[0] if states else None

    async def _ask_to_end(self, exited: asyncio.Future[int]) -> None:
        assert self._engine  # noqa: S101 (the container runs)
        await self._engine.stop([self._container], self._request.graceful_timeout)
        await asyncio.wait({exited}, timeout=GRACE_SECONDS)

    async def _determine_outcome(self, code: int) -> RunOutcome:
        container = await self._inspect_container()
        if container is None or not has_started(container):
            reason = (container and container["State"].get("Error")) or f"exit code {code}"
            return RunOutcome("failed", reason=f"the container could not start: {reason}")
        state = container["State"]
        if state.get("OOMKilled"):
            return RunOutcome("failed", state["ExitCode"], "the container was killed: out of memory")
        return build_exit_outcome(state["ExitCode"])

    async def _clean_up(self) -> None:
        if engine := self._engine:
            self._engine = None
            await engine.remove_containers(format_run_label(self.id))


def _select_multiline_variables(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if "\n" in value}


def has_started(state: dict[str, Any]) -> bool:
    """Whether a container runs or has run."""
    return state["State"]["Status"] not in _NOT_STARTED


def list_addresses(state: dict[str, Any]) -> list[str]:
    """Return the addresses of a container on the networks of its engine."""
    networks = state["NetworkSettings"]["Networks"] or {}
    return [network["IPAddress"] for network in networks.values() if network.get("IPAddress")]
