"""``%lk_login``, ``%lk_logout``, ``%lk_whoami``, ``%lk_balance``, ``%lk_config``: sign-in, credits and settings."""

from __future__ import annotations

from collections.abc import Iterable

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter import session
from lk_jupyter.account import login
from lk_jupyter.account.balance import Identity
from lk_jupyter.config import consents, settings
from lk_jupyter.config.assumptions import ASSUMPTIONS
from lk_jupyter.config.files import CONFIG_FILE, GUESS
from lk_jupyter.config.settings import SETTINGS, Resolved, Setting
from lk_jupyter.connection import signin
from lk_jupyter.connection.budget import budget_usage, list_exceeded_budgets
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.live import Note
from lk_jupyter.options.account import ConfigOptions, LoginOptions
from lk_jupyter.options.runs import NoOptions
from lk_jupyter.text.units import duration_label


@magic(LoginOptions)
def lk_login(options: LoginOptions, _shell: InteractiveShell) -> None:
    """Sign in on this machine and stay signed in.

    Prompts for your API key without showing the key, checks the key, and stores it in the keyring. Without a keyring,
    stores the key in a file that only you can read. Don't type a key after %lk_login: the notebook would store it.

    Examples::

        %lk_login
        %lk_login --local
        %lk_login --browser
        %lk_login --email mira@example.com
    """
    show_text(str(login.login(**options.model_dump())))
    display(session.current().whoami())


@magic(NoOptions)
def lk_logout(_: NoOptions, _shell: InteractiveShell) -> None:
    """Delete the API key that %lk_login stored. Shows whether another key, such as LK_API_KEY, still signs you in."""
    show_text("\n".join(signin.logout()))


@magic(NoOptions)
def lk_whoami(_: NoOptions, _shell: InteractiveShell) -> None:
    """Show the account, organization and server in use, and where each is set."""
    display(session.current().whoami())


@magic(NoOptions)
def lk_balance(_: NoOptions, _shell: InteractiveShell) -> None:
    """Show remaining credits, current spending, and when the credits run out."""
    current = session.current()
    display(current.balance())
    for words in [*budget_usage(current), *list_exceeded_budgets(current)]:
        display(Note(words))


@magic(ConfigOptions)
def lk_config(options: ConfigOptions, _shell: InteractiveShell) -> None:
    """Show the settings, or change your value of a setting on this machine.

    An environment variable, such as LK_MACHINE, overrides the stored value. Settings named guess.NAME are assumptions
    about the server. %lk_check finds their values, or you set them yourself.

    Examples::

        %lk_config
        %lk_config machine gpu.a100
        %lk_config machine --unset
        %lk_config carry always --notebook
        %lk_config keep 5m --notebook
        %lk_config guess.bucket_folder_python /job/work
    """
    if options.name is None:
        guesses = [settings.find_setting(f"{GUESS}{each.name}") for each in ASSUMPTIONS]
        display(settings_table([*SETTINGS, *guesses]))
        return
    if options.value is not None and options.unset:
        raise UsageError("%lk_config: give a value or --unset, not both. Nothing was changed.")
    if options.notebook:
        _set_for_notebook(options)
        return
    if options.value is not None or options.unset:
        settings.save(options.name, options.value)
    display(settings_table([settings.find_setting(options.name)], note=_find_override_notice(options)))


def _set_for_notebook(options: ConfigOptions) -> None:
    """Keep or delete an answer for the cells of this notebook."""
    is_answer = options.name == "carry" and options.value == "always"
    is_duration = options.name == "keep" and options.value is not None
    if not (is_answer or is_duration or (options.unset and options.name in {"carry", "keep"})):
        raise UsageError("--notebook needs carry always, keep DURATION, or --unset. Nothing was changed.")
    from lk_jupyter.magics._engine.sync_question import current_place  # noqa: PLC0415 (imports what runs need)

    if settings.is_fixed(str(options.name)):
        raise UsageError(
            f"You can't change '{options.name}', because the administrator of this machine has set it. Nothing was "
            "changed."
        )
    place = current_place(session.current())
    if options.name == "keep":
        seconds = 0 if options.value is None else settings.parse_setting("keep", options.value)
        consents.keep_machine(place, seconds)
        effect = f"cells of this notebook keep their machine for {duration_label(seconds)}"
        show_text(f"Stored on this machine: {effect}." if seconds else "Deleted the stored setting of this notebook.")
    elif options.unset:
        consents.withdraw(place)
        show_text("Deleted the stored setting of this notebook.")
    else:
        consents.allow(place, 1)
        show_text(
            "Stored on this machine: cells of this notebook send the variables that they read, and return changes."
        )


def identity_table(me: Identity) -> Table:
    """Show who a session is, and why."""
    rows = [
        ("Account", me.account, ""),
        ("Organization", me.organization, me.organization_source),
        ("Server", me.server, me.server_source),
        ("Key", "hidden", me.key_source),
    ]
    return Table(("What", "Value", "From"), rows)


def _find_override_notice(options: ConfigOptions) -> str:
    if options.value is None or str(options.name).startswith(GUESS):
        return ""
    source = settings.resolve(str(options.name)).source
    return "" if source == CONFIG_FILE else f"Stored, but {source} in the environment overrides it."


def settings_table(rows: Iterable[Setting], note: str = "") -> Table:
    """Show settings with their values and sources; values that don't fit are explained below the table."""
    looked_up = [(row, *_resolve_setting(row)) for row in rows]
    cells = [(row.name, _format_value(row, resolved), resolved.source, row.help) for row, resolved, _ in looked_up]
    notes = dict.fromkeys([note, *(problem for *_, problem in looked_up)])
    return Table(("Setting", "Value", "From", "Meaning"), cells, note="\n".join(filter(None, notes)))


def _resolve_setting(row: Setting) -> tuple[Resolved, str]:
    try:
        return settings.resolve(row.name), ""
    except LkError as problem:
        return Resolved("?", "see below"), str(problem)


def _format_value(row: Setting, resolved: Resolved) -> str:
    if resolved.value is None:
        return "not set"
    if isinstance(resolved.value, bool):
        return "on" if resolved.value else "off"
    return "hidden" if (row.secret or row.hidden) and resolved.value != "?" else str(resolved.value) or "none"
