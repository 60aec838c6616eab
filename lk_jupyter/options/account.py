"""Options of ``%lk_login`` and ``%lk_config``."""

from __future__ import annotations

from lk_jupyter.options.fields import option, switch, word
from lk_jupyter.options.runs import Options


class LoginOptions(Options):
    """Options of ``%lk_login``."""

    local: bool = switch("Use the local cloud on this machine; it is started if necessary.")
    browser: bool = switch("Sign in on the website, in a browser on this machine.")
    email: str | None = option(
        None, "E-mail address of an account, to sign in with its password instead of a key.", metavar="ADDRESS"
    )
    base_url: str | None = option(None, "Server to sign in to. Default: setting base_url.", metavar="URL")


class ConfigOptions(Options):
    """Options of ``%lk_config``."""

    notebook: bool = switch(
        "Change the setting only for this notebook, on this machine. Works for the settings carry and keep."
    )

    name: str | None = word("Setting to show or change.", None, completer="settings")
    value: str | None = word("Value of the setting, stored for your user account on this machine.", None)
    unset: bool = switch("Delete the stored value.")
