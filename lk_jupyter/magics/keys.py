"""``%lk_keys``: API keys, your own and your organization's."""

from __future__ import annotations

import os

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account import api_keys
from lk_jupyter.account.api_keys import Key
from lk_jupyter.account.one_time_secret import OneTimeSecret
from lk_jupyter.account.organizations import read_team_slug
from lk_jupyter.api.auth import ApiKeyValidateRequest
from lk_jupyter.connection import signin
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._engine.ask import ask_hidden, is_sure
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.permissions import explain_missing_role
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.live import Note
from lk_jupyter.magics._output.secret import show_once
from lk_jupyter.options.keys import CreateKeyOptions, KeyOptions, ListKeysOptions, RegenerateOptions, ToggleOptions
from lk_jupyter.options.runs import NoOptions
from lk_jupyter.session import Session, current
from lk_jupyter.text.units import moment_label

lk_keys = Subcommands(
    "lk_keys",
    "Create, list, revoke and delete API keys: your own and your organization's.\n\nThe secret of a new key is shown "
    "once, behind a button. Only the browser receives the secret; the notebook doesn't save it. With --to-env or "
    "--login it isn't shown at all.",
)


@lk_keys.verb("list", ListKeysOptions)
def _list(options: ListKeysOptions, _shell: InteractiveShell) -> None:
    """List your API keys and the organization's API keys, without their secrets.

    Example: ``%lk_keys list --org my-team``
    """
    session = current()
    keys = api_keys.list_keys(session.client, options.org or read_team_slug(session.client))
    token = session.target.key.token
    rows = [_build_key_row(key, in_use=token.startswith(key.prefix)) for key in keys]
    note = "" if rows else "No keys. Create one: %lk_keys create laptop"
    display(Table(("Key", "Of", "Begins", "State", "Made", "Ends", "Last used", "Id"), rows, note=note))


@lk_keys.verb("create", CreateKeyOptions)
def _create(options: CreateKeyOptions, shell: InteractiveShell) -> None:
    """Create an API key. Its secret is shown once and isn't saved in the notebook.

    Examples::

        %lk_keys create laptop --expires 90d --login
        %lk_keys create ci --org my-team
    """
    session = current()
    with explain_missing_role(options.org, "keys"):
        secret = api_keys.create_key(session.client, options.name, options.org, options.expires)
    _deliver_secret(secret, f"Secret of the key {options.name}", options, shell)


@lk_keys.verb("toggle", ToggleOptions)
def _toggle(options: ToggleOptions, _shell: InteractiveShell) -> None:
    """Switch one of your API keys off, or on again.

    Example: ``%lk_keys toggle laptop``
    """
    client = current().client
    key = api_keys.find_key(client, options.key, None)
    is_active = client.auth.toggle_api_key(key.id).is_active
    display(Note(f"{key.name} is {'on' if is_active else 'off'} now."))


@lk_keys.verb("revoke", KeyOptions)
def _revoke(options: KeyOptions, _shell: InteractiveShell) -> None:
    """Revoke an API key. Only an organization's key works again, after you regenerate the key.

    Example: ``%lk_keys revoke laptop``
    """
    session, key = _choose_key(options)
    lasting = "until it is regenerated" if key.org else "permanently"
    if not _confirm_action(options, session, key, f"Revoke the key {key.name} of {key.owner} {lasting}?"):
        return
    with explain_missing_role(key.org, "keys"):
        if key.org:
            session.client.orgs.revoke_api_key(key.org, key.id)
        else:
            session.client.auth.revoke_api_key(key.id)
    display(Note(f"Revoked {key.name}: programs that used it are signed out."))


@lk_keys.verb("regenerate", RegenerateOptions)
def _regenerate(options: RegenerateOptions, shell: InteractiveShell) -> None:
    """Create a new secret for an organization's API key. The old secret stops working.

    Example: ``%lk_keys regenerate ci --org my-team``
    """
    session, key = _choose_key(options)
    if not key.org:
        raise UsageError(
            f"{key.name} is a personal key: its secret can't be replaced. Revoke it and create another key: "
            f"%lk_keys revoke {key.name}"
        )
    if not _confirm_action(
        options, session, key, f"Give {key.name} of {key.org} a new secret? The old secret stops working immediately."
    ):
        return
    with explain_missing_role(key.org, "keys"):
        secret = session.client.orgs.regenerate_api_key(key.org, key.id).plaintext_key
    _deliver_secret(secret, f"New secret of the key {key.name}", options, shell)


@lk_keys.verb("delete", KeyOptions)
def _delete(options: KeyOptions, _shell: InteractiveShell) -> None:
    """Delete an API key permanently, after your confirmation. You can use its name for a new key.

    Example: ``%lk_keys delete ci --org my-team``
    """
    session, key = _choose_key(options)
    if not _confirm_action(options, session, key, f"Delete the key {key.name} of {key.owner} permanently?"):
        return
    with explain_missing_role(key.org, "keys"):
        if key.org:
            session.client.orgs.delete_api_key(key.org, key.id)
        else:
            session.client.auth.revoke_api_key(key.id)
    display(Note(f"Deleted {key.name}."))


@lk_keys.verb("check", NoOptions)
def _check(_: NoOptions, _shell: InteractiveShell) -> None:
    """Show whether an API key is valid and who owns it. Prompts for the key and hides what you type."""
    secret = ask_hidden("Key to check (it is not shown): ", "run %lk_keys check in a front end with hidden prompts")
    validation = current().client.auth.validate_api_key(ApiKeyValidateRequest(api_key=secret))
    if not validation.valid:
        show_text("The key isn't valid: unknown, switched off or expired. Your keys: %lk_keys list")
        return
    until = f"until {validation.expires_at.astimezone():%d %b %Y}" if validation.expires_at else "without expiry"
    show_text(
        f"The key is valid: {validation.key_name or 'no name'}, of {validation.email or 'an organization'}, {until}."
    )


def _choose_key(options: KeyOptions | RegenerateOptions) -> tuple[Session, Key]:
    session = current()
    return session, api_keys.find_key(session.client, options.key, options.org or read_team_slug(session.client))


def _confirm_action(options: KeyOptions | RegenerateOptions, session: Session, key: Key, question: str) -> bool:
    """Return whether to continue; the question warns if the user is signed in with this key."""
    warning = " You are signed in with this key." if session.target.key.token.startswith(key.prefix) else ""
    return is_sure(options, f"{question}{warning}", "Nothing was changed.")


def _deliver_secret(
    secret: str, title: str, options: CreateKeyOptions | RegenerateOptions, shell: InteractiveShell
) -> None:
    """Store a secret in the places that the options name, or show the secret once."""
    if options.to_env:
        os.environ[options.to_env] = secret
        display(Note(f"{title}: stored only in the variable {options.to_env} of this kernel."))
    if options.login:
        show_text(str(signin.sign_in(secret, current().base_url, typed_in="the new key")))
    if not options.to_env and not options.login:
        show_once(
            shell,
            OneTimeSecret(title, [("Key", secret)], "Store it in your password manager: it is never shown again."),
        )


def _build_key_row(key: Key, *, in_use: bool) -> tuple[str, ...]:
    times = (key.created_at, key.expires_at, key.last_used_at)
    created, ends, used = (moment_label(moment, "%d %b %Y") or "never" for moment in times)
    state = f"{key.state}, in use here" if in_use else key.state
    return (key.name, key.owner, f"{key.prefix}…", state, created, ends, used, key.id[:8])
