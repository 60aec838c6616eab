"""Use Podman or Docker, whichever this machine has, and the matching compose program.

Every container of a run has a label with the run's id, by which the server finds the container, also after a crash.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lk_jupyter._python import child_environment, find_program
from lk_jupyter.localcloud.runs import processes
from lk_jupyter.localcloud.runs.outcome import missing_program_error
from lk_jupyter.localcloud.secret import digest

GRACE_SECONDS = 10.0

PROGRAMS = ("podman", "docker")

RUN_LABEL = "lk.execution"
PROJECT_LABEL = "com.docker.compose.project"

#: Options of ``rm`` that give a container no time to end; for Docker, this is the default.
_AT_ONCE = {"podman": ["--time", "0"], "docker": []}


#: Podman fails to remove a container whose monitor has died, and succeeds at a repetition.
_REMOVALS = 3


@dataclass(frozen=True)
class EngineResult:
    """The result of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def reason(self) -> str:
        """The last line of the error output."""
        lines = (self.stderr.strip() or self.stdout.strip() or "it said nothing").splitlines()
        return lines[-1].removeprefix("Error: ").removeprefix("Error response from daemon: ").strip()


@dataclass(frozen=True)
class Engine:
    """A program that runs containers; ``options`` precede the subcommand."""

    name: str
    program: str
    options: list[str] = field(default_factory=list)
    environment: Mapping[str, str] = field(default_factory=dict)

    def build_command(self, *arguments: str) -> list[str]:
        """Return a command line."""
        return [self.program, *self.options, *arguments]

    async def call(self, *arguments: str) -> EngineResult:
        """Run a subcommand to its end."""
        process = await processes.spawn(
            self.build_command(*arguments),
            env={**child_environment(), **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        return EngineResult(process.returncode or 0, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))

    async def inspect(self, *containers: str) -> list[dict[str, Any]]:
        """Return the state of containers."""
        result = await self.call("container", "inspect", *containers)
        facts: list[dict[str, Any]] = json.loads(result.stdout or "[]")
        return facts

    async def has_image(self, reference: str) -> bool:
        """Whether an image is on this machine."""
        return (await self.call("image", "inspect", "--format", "{{.Id}}", reference)).code == 0

    async def list_containers(self, label: str) -> list[str]:
        """Return the ids of the containers with a label."""
        return (await self.call("ps", "--all", "--quiet", "--filter", f"label={label}")).stdout.split()

    async def stop(self, containers: list[str], grace_seconds: int | None) -> None:
        """Send containers their stop signal, and kill the containers that are alive after the grace period."""
        if containers:
            await self.call("stop", "--time", str(grace_seconds or int(GRACE_SECONDS)), *containers)

    async def remove_containers(self, label: str) -> None:
        """Kill and remove the containers with a label."""
        for _ in range(_REMOVALS):
            containers = await self.list_containers(label)
            if (
                not containers
                or (await self.call("rm", "--force", "--volumes", *_AT_ONCE[self.name], *containers)).code == 0
            ):
                return

    async def remove_project(self, project: str) -> None:
        """Kill and remove all that a compose project has made."""
        label = f"{PROJECT_LABEL}={project}"
        await self.remove_containers(label)
        for kind in ("network", "volume"):
            if names := (await self.call(kind, "ls", "--quiet", "--filter", f"label={label}")).stdout.split():
                await self.call(kind, "rm", *names)


def format_run_name(run_id: str) -> str:
    """Return the name of a run's container, or of its compose project.

    Names appear in command lines, which every user of the machine can read, and the run's id would open the run's
    output.
    """
    return f"lk-{digest(run_id)[:32]}"


def format_run_label(run_id: str) -> str:
    """Return the label of an image run's container."""
    return f"{RUN_LABEL}={format_run_name(run_id)}"


class Engines:
    """A finder of engines; ``program`` is a name in PROGRAMS, ``auto`` for the first that works, or ``none``."""

    def __init__(self, program: str) -> None:
        self._programs = {"auto": PROGRAMS, "none": ()}.get(program, (program,))
        self._engine: Engine | None = None

    async def find(self) -> Engine | None:
        """Return the engine, or None. An engine is remembered; a missing engine is looked up again."""
        for program in self._programs if self._engine is None else ():
            engine = _create_engine(program)
            if engine and (await engine.call("version", "--format", "{{.Server.Version}}")).code == 0:
                self._engine = engine
                break
        return self._engine

    async def get(self) -> Engine:
        """Return the engine. Raises Ended without an engine."""
        engine = await self.find()
        if engine is None:
            raise missing_program_error(
                f"{' or '.join(self._programs or PROGRAMS)} is missing on this machine, or doesn't answer. "
                "Images need a container engine"
                + ("" if self._programs else ". Don't start the local cloud with --engine none")
            )
        return engine

    async def remove(self, run_id: str) -> None:
        """Remove all containers of a run that a crash left behind."""
        if engine := await self.find():
            await engine.remove_containers(format_run_label(run_id))
            await engine.remove_project(format_run_name(run_id))


def _create_engine(name: str) -> Engine | None:
    program = find_program(name)
    if program is None:
        return None
    runtime = ["--runtime", "runc"] if name == "podman" and sys.platform == "linux" and find_program("runc") else []
    quiet = {"PODMAN_IGNORE_CGROUPSV1_WARNING": "1"} if name == "podman" else {}
    return Engine(name, program, runtime, quiet)


async def find_compose_program(engine: Engine) -> list[str]:
    """Return the compose program of an engine. Raises Ended without a compose program."""
    if engine.name == "podman":
        if path := _find_program("podman-compose"):
            podman = ["--podman-path", engine.program]
            return [path, *podman, *(["--podman-args", " ".join(engine.options)] if engine.options else [])]
        raise missing_program_error(
            "podman-compose is missing on this machine. Install it next to lk_jupyter: pip install podman-compose"
        )
    if (await engine.call("compose", "version")).code == 0:
        return engine.build_command("compose")
    if path := find_program("docker-compose"):
        return [path]
    raise missing_program_error("docker compose is missing on this machine: install Docker's compose plugin")


def _find_program(name: str) -> str | None:
    """Find a program in this server's own environment, then on the path."""
    return find_program(name, str(Path(sys.executable).parent))
