"""Prepare runs of containers: an image with a command, or a stack. Nothing is sent here."""

from __future__ import annotations

import os
import re
import shlex
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.execution import DockerComposeExecutionRequest, DockerExecutionRequest, StartRequest
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.options.calls import check_call
from lk_jupyter.options.runs import ComposeOptions, ContainerOptions, DockerOptions, MachineOptions
from lk_jupyter.protocol.metadata import PORTS_KEY, REQUEST_KEY, read_ports
from lk_jupyter.runs.containers.compose import Stack
from lk_jupyter.runs.containers.registry import Ask, RegistryLogin, login_for
from lk_jupyter.runs.package import secret_scan
from lk_jupyter.runs.package.bundle import Bundle, time_limit
from lk_jupyter.runs.package.image import IMAGE
from lk_jupyter.runs.package.machine import choose_machine
from lk_jupyter.runs.package.prepare import resolve_limits
from lk_jupyter.runs.run import Run

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

_ENV = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?", re.DOTALL | re.ASCII)


def prepare_image(session: Connection, source: Source, options: DockerOptions, ask: Ask | None = None) -> Bundle:
    """Prepare a run of an image; ``ask`` prompts for a password that isn't stored.

    Raises UsageError for options that would not run.
    """
    if not IMAGE.fullmatch(options.image):
        raise UsageError(f"'{options.image}' isn't an image. Nothing was sent. Example: python:3.11-slim")
    if options.mount_path is not None and not options.mount_path.startswith("/"):
        raise UsageError(
            f"--mount-path must be an absolute path, got '{options.mount_path}'. Nothing was sent. "
            "Example: --mount-path /mnt/s3"
        )
    login = login_for([options.image], options, ask)
    variables, local_values = environment(options.env)
    request = DockerExecutionRequest(
        **_build_common_fields(session, source, options, login),
        docker_image_ref=options.image,
        docker_run_cmd=_build_command(source.code, options),
        docker_run_env="\n".join(f"{name}={value}" for name, value in variables.items()) or None,
        docker_run_user=options.user,
        enable_s3_mount=options.mount is not False,
        s3_mount_path=options.mount_path or session.assumptions["bucket_folder_image"],
    )
    return build_bundle(session, source, options, request, hidden=(*login.secrets, *local_values))


def prepare_compose(session: Connection, source: Source, options: ComposeOptions, ask: Ask | None = None) -> Bundle:
    """Prepare a run of a stack after a check of its text. Raises UsageError for a stack that would not run."""
    stack = Stack.parse(source.code, source.first_line)
    login = login_for(stack.images, options, ask)
    ports = tuple(dict.fromkeys([*options.port, *stack.ports]))
    request = DockerComposeExecutionRequest(
        **_build_common_fields(session, source, options, login, ports),
        compose_file_code=source.code,
        enable_s3_mount=bool(options.mount),
    )
    return build_bundle(session, source, options, request, hidden=login.secrets)


def build_bundle(
    session: Connection, source: Source, options: MachineOptions, request: StartRequest, hidden: tuple[str, ...] = ()
) -> Bundle:
    """Return the run with its limits, and with the possible secrets in the request.

    ``hidden`` are the words of the request that are stored nowhere.
    """
    machine = resolve_machine(session, options)
    limits = resolve_limits(session, options, machine)
    seconds, binds = time_limit(options, machine, limits)
    options = options.model_copy(update={"max_cost": limits.max_cost})
    bundle = Bundle(
        source,
        options,
        # Accounts differ in their longest run, so the limit is a setting and not the model's.
        request.model_copy(update={"timeout": seconds}),
        machine,
        files={},
        line_shift=0,
        max_cost=limits.max_cost,
        cost_binds=binds,
        ports=read_ports(request.metadata),
        hidden=hidden,
    )
    return replace(bundle, secrets=secret_scan.scan_run(bundle, active_secrets=(session.target.key.token,)))


def resolve_machine(session: Connection, options: MachineOptions) -> MachineType:
    """Return the machine of the options or of the settings. Raises UsageError."""
    choice = options.gpu or options.machine or setting("machine") or ""
    if "," in choice:
        raise UsageError(
            "Containers run on one machine at a time. Nothing was sent. Name one machine, or "
            'several choices: "A100|H100".'
        )
    return choose_machine(session, options)[0]


def environment(assignments: list[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables of a container, and the values that were read from this kernel's environment."""
    variables: dict[str, str] = {}
    local_values: list[str] = []
    for text in assignments:
        match = _ENV.fullmatch(text)
        if not match:
            raise UsageError(
                f"--env takes NAME=value, or the NAME of a variable of this kernel, got '{text}'. Nothing was sent."
            )
        name, value = match.groups()
        if value is None:
            value = _read_variable(name)
            local_values += [value] if value else []
        if "\n" in value:
            raise UsageError(
                f"The value of --env {name} has several lines, but a container variable allows only one line. "
                "Nothing was sent."
            )
        variables[name] = value
    return variables, tuple(local_values)


def start_image(session: Connection, image: str, script: str | list[str], options: dict[str, Any]) -> Run:
    """Start an image with a shell script, or with a command and its arguments."""
    chosen = check_call("session.run_image", {**options, "image": image})
    if isinstance(script, list):
        script, chosen = shlex.join(script), chosen.model_copy(update={"shell": False})
    return Run.submit(session, prepare_image(session, Source(script, "script.sh"), chosen))


def start_compose(session: Connection, text: str, options: dict[str, Any]) -> Run:
    """Start a stack."""
    chosen = check_call("session.run_compose", options)
    return Run.submit(session, prepare_compose(session, Source(text, "compose.yaml"), chosen))


def _read_variable(name: str) -> str:
    if name not in os.environ:
        raise UsageError(
            f"--env {name}: this kernel has no such variable. Nothing was sent. Give a value, or "
            f"set it: %env {name}=..."
        )
    return os.environ[name]


def _build_command(script: str, options: DockerOptions) -> list[str] | None:
    """Return the command of a container; None for a script without commands, which means the command of the image."""
    if all(line.strip().startswith("#") for line in script.splitlines() if line.strip()):
        return None
    if options.shell is not False:
        return ["sh", "-c", script]
    try:
        return shlex.split(script, comments=True)
    except ValueError as error:
        raise UsageError(f"Can't read the command ({str(error).lower()}). Nothing was sent.") from None


def _build_common_fields(
    session: Connection,
    source: Source,
    options: ContainerOptions,
    login: RegistryLogin,
    ports: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """Return the fields that all requests of containers have in common."""
    run_ports = tuple(options.port) if ports is None else ports
    marks = {PORTS_KEY: ",".join(map(str, run_ports))} if run_ports else {}
    return {
        **login.fields,
        "execution_type": resolve_machine(session, options).hardware_profile,
        "file_name": source.file_name,
        "graceful_timeout": options.stop_timeout,
        "run_name": options.name,
        "labels": options.label or None,
        "metadata": {**options.metadata, **marks, REQUEST_KEY: uuid.uuid4().hex},
    }
