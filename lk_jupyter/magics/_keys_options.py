"""What the verbs of ``%lk_keys`` take."""

from __future__ import annotations

from lk_jupyter.magics._fields import option, org, switch, word, yes
from lk_jupyter.options import Options


class ListOptions(Options):
    """Options of ``%lk_keys list``."""

    org: str | None = org()


class _Kept(Options):
    """Where a new secret goes, where it is not shown once."""

    env: str | None = option(
        None,
        "Variable in the environment of this kernel that receives the secret, which is not shown then.",
        metavar="VARIABLE",
    )
    login: bool = switch("Sign in with it on this machine, as %lk_login does; it is not shown then.")


class CreateOptions(_Kept):
    """Options of ``%lk_keys create``."""

    name: str = word("Name of the key, such as laptop.")
    org: str | None = option(
        None, "Make it a key of this organization, which always acts as it.", metavar="SLUG", completer="orgs"
    )
    expires: str | None = option(None, "When it ends: days such as 90d, or a date. Default: never.", metavar="WHEN")


def _key() -> str:
    name: str = word("Name or id of the key, or how one of them begins.", completer="api_keys", metavar="KEY")
    return name


class KeyOptions(Options):
    """Options of the verbs that take one key."""

    key: str = _key()
    org: str | None = org()
    yes: bool = yes()


class RegenerateOptions(_Kept):
    """Options of ``%lk_keys regenerate``."""

    key: str = _key()
    org: str | None = org()
    yes: bool = yes()


class ToggleOptions(Options):
    """Options of ``%lk_keys toggle``."""

    key: str = _key()
