"""Options of the subcommands of ``%lk_keys``."""

from __future__ import annotations

from lk_jupyter.options.fields import option, org, switch, word, yes
from lk_jupyter.options.runs import Options


class ListKeysOptions(Options):
    """Options of ``%lk_keys list``."""

    org: str | None = org()


class _SecretTarget(Options):
    """The place of a new secret that isn't shown once."""

    to_env: str | None = option(
        None,
        "Store the secret in this environment variable of the kernel instead of showing it.",
        metavar="VARIABLE",
        old_names=["env"],
    )
    login: bool = switch("Sign in with the new key on this machine instead of showing its secret.")


class CreateKeyOptions(_SecretTarget):
    """Options of ``%lk_keys create``."""

    name: str = word("Name of the key, such as laptop.")
    org: str | None = option(
        None,
        "Create the key for this organization. The key always acts for this organization.",
        metavar="SLUG",
        completer="orgs",
    )
    expires: str | None = option(None, "Expiry: days such as 90d, or a date. Default: never.", metavar="WHEN")


def _declare_key() -> str:
    name: str = word("Name or id of the API key. The first characters are enough.", completer="api_keys", metavar="KEY")
    return name


class KeyOptions(Options):
    """Options of the subcommands for a key."""

    key: str = _declare_key()
    org: str | None = org()
    yes: bool = yes()


class RegenerateOptions(_SecretTarget):
    """Options of ``%lk_keys regenerate``."""

    key: str = _declare_key()
    org: str | None = org()
    yes: bool = yes()


class ToggleOptions(Options):
    """Options of ``%lk_keys toggle``."""

    key: str = _declare_key()
