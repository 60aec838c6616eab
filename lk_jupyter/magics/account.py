"""``%lk_login``, ``%lk_logout``, ``%lk_whoami``, ``%lk_balance``, ``%lk_config``: who pays, and what is set."""

from __future__ import annotations

from collections.abc import Iterable

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter import config, signing
from lk_jupyter._userfiles import CONFIG_FILE
from lk_jupyter.config import SETTINGS, Resolved, Setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.magics._parser import magic
from lk_jupyter.magics._views import Table, say
from lk_jupyter.options import ConfigOptions, LoginOptions, NoOptions
from lk_jupyter.runs import session, signin
from lk_jupyter.runs.account import Identity


@magic(LoginOptions)
def lk_login(options: LoginOptions, _shell: InteractiveShell) -> None:
    """Sign in, and stay signed in on this machine.

    Asks for your API key without showing it, tries it, and keeps it in the keyring, or in a file
    that only you can read where there is no keyring. The key is never typed on the line.

    Examples::

        %lk_login
        %lk_login --local
        %lk_login --browser
        %lk_login --email mira@example.com
    """
    say(str(signin.login(**options.model_dump())))
    display(session.current().whoami())


@magic(NoOptions)
def lk_logout(_: NoOptions, _shell: InteractiveShell) -> None:
    """Forget the key that %lk_login kept, and tell what still signs you in."""
    say("\n".join(signing.logout()))


@magic(NoOptions)
def lk_whoami(_: NoOptions, _shell: InteractiveShell) -> None:
    """Tell the account, organization and server in use, and where each is set."""
    display(session.current().whoami())


@magic(NoOptions)
def lk_balance(_: NoOptions, _shell: InteractiveShell) -> None:
    """Tell the credits that are left, and when they end at what runs now."""
    display(session.current().balance())


@magic(ConfigOptions)
def lk_config(options: ConfigOptions, _shell: InteractiveShell) -> None:
    """Show the settings, or change one for you on this machine.

    A variable in the environment, such as LK_MACHINE, is used in place of what is kept here.

    Examples::

        %lk_config
        %lk_config machine gpu.a100
        %lk_config machine --unset
    """
    if options.name is None:
        display(settings_table(SETTINGS))
        return
    if options.value is not None and options.unset:
        raise UsageError("%lk_config: give a value or --unset, not both.")
    if options.value is not None or options.unset:
        config.save(options.name, options.value)
    display(settings_table([config.row(options.name)], note=_overruled(options)))


def identity_table(me: Identity) -> Table:
    """Show who a session is, and why."""
    rows = [
        ("Account", me.account, ""),
        ("Organization", me.organization, me.organization_source),
        ("Server", me.server, me.server_source),
        ("Key", "hidden", me.key_source),
    ]
    return Table(("What", "Value", "From"), rows)


def _overruled(options: ConfigOptions) -> str:
    source = config.resolve(str(options.name)).source if options.value is not None else CONFIG_FILE
    return "" if source == CONFIG_FILE else f"Kept, but {source} in the environment is used in its place."


def settings_table(rows: Iterable[Setting], note: str = "") -> Table:
    """Show settings with their values and where these come from; what does not fit is told below."""
    looked_up = [(row, *_looked_up(row)) for row in rows]
    shown = [(row.name, _shown(row, found), found.source, row.help) for row, found, _ in looked_up]
    notes = dict.fromkeys([note, *(problem for *_, problem in looked_up)])
    return Table(("Setting", "Value", "From", "What it is"), shown, note="\n".join(filter(None, notes)))


def _looked_up(row: Setting) -> tuple[Resolved, str]:
    try:
        return config.resolve(row.name), ""
    except LkError as problem:
        return Resolved("?", "see below"), str(problem)


def _shown(row: Setting, found: Resolved) -> str:
    if found.value is None:
        return "not set"
    if isinstance(found.value, bool):
        return "on" if found.value else "off"
    return "hidden" if row.secret and found.value != "?" else str(found.value)
