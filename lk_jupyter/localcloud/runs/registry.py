"""Registry logins of a run: in a private file of its folder, never on a command line."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lk_jupyter._python import child_environment, find_program
from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.errors import invalid
from lk_jupyter.localcloud.runs.outcome import Ended, RunOutcome, missing_program_error

Execute = Callable[[Sequence[str], Mapping[str, str]], Awaitable[tuple[int, str]]]

DOCKER_HUB = "docker.io"

_NEEDED = {
    None: (),
    "basic": ("docker_username", "docker_password"),
    "aws": ("aws_access_key_id", "aws_secret_access_key"),
}
_HUB_NAMES = (DOCKER_HUB, "https://index.docker.io/v1/")


def check_login(request: Any) -> None:
    """Refuse a login of an unknown type, and a login without a required field."""
    kind = request.docker_registry_credential_type or None
    if kind not in _NEEDED:
        raise invalid("body", "docker_registry_credential_type", f"{kind!r} is not a type of login: use basic or aws")
    for name in _NEEDED[kind]:
        if not getattr(request, name):
            raise invalid("body", name, f"A login of type {kind} needs this field")


def registry_host(image: str) -> str:
    """Return the registry of an image reference; Docker Hub by default."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else DOCKER_HUB


async def write_login(request: Any, images: Collection[str], folder: Path, execute: Execute) -> dict[str, str]:
    """Write the login for the registries of images; return the variables that make an engine use the login."""
    kind = request.docker_registry_credential_type or None
    if kind is None:
        return {}
    password = request.docker_password if kind == "basic" else await _request_aws_password(request, execute)
    user = request.docker_username if kind == "basic" else "AWS"
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    hosts = {name for image in images for name in _list_host_names(registry_host(image))}
    plugins = str(Path.home() / ".docker" / "cli-plugins")
    config = {"auths": {host: {"auth": auth} for host in hosts}, "cliPluginsExtraDirs": [plugins]}
    write_private(folder / "config.json", json.dumps(config))
    return {"REGISTRY_AUTH_FILE": str(folder / "config.json"), "DOCKER_CONFIG": str(folder)}


def _list_host_names(host: str) -> tuple[str, ...]:
    return _HUB_NAMES if host == DOCKER_HUB else (host,)


async def _request_aws_password(request: Any, execute: Execute) -> str:
    """Trade AWS keys for a password of the registry, with Amazon's own program."""
    program = find_program("aws")
    if program is None:
        raise missing_program_error(
            "aws is missing on this machine: install the AWS command line for a login of type aws"
        )
    keys = {
        "AWS_ACCESS_KEY_ID": request.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": request.aws_secret_access_key,
        "AWS_SESSION_TOKEN": request.aws_session_token or "",
        "PATH": child_environment().get("PATH", os.defpath),
    }
    region = request.aws_region or "us-east-1"
    code, output = await execute([program, "ecr", "get-login-password", "--region", region], keys)
    if code != 0:
        raise Ended(
            RunOutcome("failed", reason=f"the registry login failed: {output.strip().splitlines()[-1:] or code}")
        )
    return output.strip()
