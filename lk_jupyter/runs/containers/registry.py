"""Find the login of an image registry: in the keyring, in the environment, or by a hidden prompt; never on a line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lk_jupyter.config import keyring
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import ContainerOptions
from lk_jupyter.text.secrets import register_secrets

#: Prompts for an answer that isn't shown; the second argument is the fix to report if no prompt is possible.
Ask = Callable[[str, str], str]

AWS = "aws"
DOCKER_HUB = "docker.io"

#: Field of the request → variable of the environment.
_AWS = {
    "aws_access_key_id": "AWS_ACCESS_KEY_ID",
    "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "aws_session_token": "AWS_SESSION_TOKEN",
}
_OPTIONAL = "aws_session_token"
_ECR = re.compile(r"\d+\.dkr\.ecr\.([\w-]+)\.amazonaws\.com(\.cn)?")


@dataclass(frozen=True)
class RegistryLogin:
    """Store the fields of a request that sign in to a registry, and the secret words in these fields."""

    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Mask the secrets in all outputs."""
        register_secrets(*self.secrets)


def registry_host(image: str) -> str:
    """Return the registry of an image."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else DOCKER_HUB


def login_for(images: Sequence[str], options: ContainerOptions, ask: Ask | None) -> RegistryLogin:
    """Return the login of these options.

    Raises UsageError if a password isn't stored and no prompt is possible, and if the images have several registries.
    """
    if options.login is None:
        if options.reset_password:
            raise UsageError("--reset-password needs --login USER. Nothing was sent.")
        return RegistryLogin()
    hosts = list(dict.fromkeys(map(registry_host, images)))
    if options.login == AWS:
        return _read_aws_login(hosts)
    if len(private := [host for host in hosts if host != DOCKER_HUB] or hosts) > 1:
        raise UsageError(
            f"--login is for one registry, but the images come from {', '.join(private)}. Nothing was sent."
        )
    return _build_basic_login(private[0], options.login, ask, anew=options.reset_password)


def _build_basic_login(host: str, user: str, ask: Ask | None, *, anew: bool) -> RegistryLogin:
    password = None if anew else _read_stored_password(host, user)
    if password is None:
        password = _prompt_password(host, user, ask)
    fields = {"docker_registry_credential_type": "basic", "docker_username": user, "docker_password": password}
    return RegistryLogin(fields, (password,))


def _build_secret_name(host: str, user: str) -> str:
    return f"registry {host} {user}"


def _read_stored_password(host: str, user: str) -> str | None:
    try:
        return keyring.read_secret(_build_secret_name(host, user))
    except keyring.KeyringUnusable:
        return None


def _prompt_password(host: str, user: str, ask: Ask | None) -> str:
    command = f'keyring set {keyring.SERVICE} "{_build_secret_name(host, user)}"'
    if ask is None:
        raise UsageError(f"The keyring has no password of {user} at {host}. Nothing was sent. Store it: {command}")
    password = ask(f"Password or token of {user} at {host} (it is not shown): ", f"store it: {command}")
    with suppress(keyring.KeyringUnusable):  # the next run prompts again
        keyring.store_secret(_build_secret_name(host, user), password)
    return password


def _read_aws_login(hosts: list[str]) -> RegistryLogin:
    values = {name: os.environ.get(variable, "") for name, variable in _AWS.items()}
    if missing := [_AWS[name] for name, value in values.items() if not value and name != _OPTIONAL]:
        raise UsageError(
            f"--login aws needs {' and '.join(missing)}, which aren't set in this kernel. Nothing was sent. "
            "Set them with %env, or before you start Jupyter."
        )
    regions = [match[1] for host in hosts if (match := _ECR.fullmatch(host))]
    if not regions:
        raise UsageError("--login aws is for images like 123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:1.")
    credentials = {name: value for name, value in values.items() if value}
    fields = {"docker_registry_credential_type": AWS, "aws_region": regions[0], **credentials}
    return RegistryLogin(fields, tuple(credentials.values()))
