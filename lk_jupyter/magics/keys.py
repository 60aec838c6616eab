"""``%lk_keys``: API keys, your own and those of your organization."""

from __future__ import annotations

import os

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter import signing
from lk_jupyter.api.auth import ApiKeyValidateRequest
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._ask import ask, ask_hidden
from lk_jupyter.magics._keys_options import (
    CreateOptions,
    KeyOptions,
    ListOptions,
    RegenerateOptions,
    ToggleOptions,
)
from lk_jupyter.magics._line import Note
from lk_jupyter.magics._once import show_once
from lk_jupyter.magics._parser import Verbs
from lk_jupyter.magics._rights import may
from lk_jupyter.magics._views import Table, say
from lk_jupyter.options import NoOptions
from lk_jupyter.runs import keys
from lk_jupyter.runs.keys import Key
from lk_jupyter.runs.once import Secret
from lk_jupyter.runs.orgs import team_slug
from lk_jupyter.runs.session import Session, current

lk_keys = Verbs(
    "lk_keys",
    "Make and end API keys, your own and those of your organization.\n\n"
    "The secret of a new key is told once: behind a button that shows it in the browser and saves nothing in the "
    "notebook, or with --env or --login not at all.",
)


@lk_keys.verb("list", ListOptions)
def _list(options: ListOptions, _shell: InteractiveShell) -> None:
    """List your keys and those of the organization, without their secrets.

    Example: ``%lk_keys list --org my-team``
    """
    session = current()
    found = keys.keys(session.client, options.org or team_slug(session.client))
    mine = session.target.key.token
    rows = [_row(key, in_use=mine.startswith(key.prefix)) for key in found]
    note = "" if rows else "No keys yet. %lk_keys create laptop makes one."
    display(Table(("Key", "Of", "Begins", "State", "Made", "Ends", "Last used", "Id"), rows, note=note))


@lk_keys.verb("create", CreateOptions)
def _create(options: CreateOptions, shell: InteractiveShell) -> None:
    """Make a key. Its secret is told once, and not saved in the notebook.

    Examples::

        %lk_keys create laptop --expires 90d --login
        %lk_keys create ci --org my-team
    """
    session = current()
    with may(options.org, "keys"):
        secret = keys.create(session.client, options.name, options.org, options.expires)
    _hand_over(secret, f"Secret of the key {options.name}", options, shell)


@lk_keys.verb("toggle", ToggleOptions)
def _toggle(options: ToggleOptions, _shell: InteractiveShell) -> None:
    """Switch a key of yours off, or on again.

    Example: ``%lk_keys toggle laptop``
    """
    client = current().client
    key = keys.named(client, options.key, None)
    is_active = client.auth.toggle_api_key(key.id).is_active
    display(Note(f"{key.name} is {'on' if is_active else 'off'} now."))


@lk_keys.verb("revoke", KeyOptions)
def _revoke(options: KeyOptions, _shell: InteractiveShell) -> None:
    """Switch a key off at once: one of yours for good, one of an organization until it is regenerated.

    Example: ``%lk_keys revoke laptop``
    """
    session, key = _chosen(options)
    lasting = "until it is regenerated" if key.org else "for good"
    if not _is_sure(options, session, key, f"Revoke the key {key.name} of {key.owner} {lasting}?"):
        return
    with may(key.org, "keys"):
        if key.org:
            session.client.orgs.revoke_api_key(key.org, key.id)
        else:
            session.client.auth.revoke_api_key(key.id)
    display(Note(f"Revoked {key.name}: whatever used it is signed out."))


@lk_keys.verb("regenerate", RegenerateOptions)
def _regenerate(options: RegenerateOptions, shell: InteractiveShell) -> None:
    """Give a key of an organization a new secret; the old one works no more.

    Example: ``%lk_keys regenerate ci --org my-team``
    """
    session, key = _chosen(options)
    if not key.org:
        raise UsageError(f"{key.name} is your own key, which keeps its secret: %lk_keys revoke it, and create another.")
    if not _is_sure(options, session, key, f"Give {key.name} of {key.org} a new secret? The old one ends at once."):
        return
    with may(key.org, "keys"):
        secret = session.client.orgs.regenerate_api_key(key.org, key.id).plaintext_key
    _hand_over(secret, f"New secret of the key {key.name}", options, shell)


@lk_keys.verb("delete", KeyOptions)
def _delete(options: KeyOptions, _shell: InteractiveShell) -> None:
    """Delete a key for good; its name is free again. Asks first.

    Example: ``%lk_keys delete ci --org my-team``
    """
    session, key = _chosen(options)
    if not _is_sure(options, session, key, f"Delete the key {key.name} of {key.owner} for good?"):
        return
    with may(key.org, "keys"):
        if key.org:
            session.client.orgs.delete_api_key(key.org, key.id)
        else:
            session.client.auth.revoke_api_key(key.id)
    display(Note(f"Deleted {key.name}."))


@lk_keys.verb("check", NoOptions)
def _check(_: NoOptions, _shell: InteractiveShell) -> None:
    """Tell whether a key is good, and whose; asks for it without showing it."""
    secret = ask_hidden("Key to look at (it is not shown): ", "run %lk_keys check where you can type")
    told = current().client.auth.validate_api_key(ApiKeyValidateRequest(api_key=secret))
    if not told.valid:
        say("This key is not good: unknown, switched off or expired. %lk_keys lists yours.")
        return
    until = f"until {told.expires_at.astimezone():%d %b %Y}" if told.expires_at else "without an end"
    say(f"This key is good: {told.key_name or 'no name'}, of {told.email or 'an organization'}, {until}.")


def _chosen(options: KeyOptions | RegenerateOptions) -> tuple[Session, Key]:
    session = current()
    return session, keys.named(session.client, options.key, options.org or team_slug(session.client))


def _is_sure(options: KeyOptions | RegenerateOptions, session: Session, key: Key, question: str) -> bool:
    """Return whether to go on; the question tells when the key is the one in use."""
    own = " It is the key that you are signed in with." if session.target.key.token.startswith(key.prefix) else ""
    if options.yes or ask(f"{question}{own} [y/N] "):
        return True
    say("Nothing was changed. --yes goes on without asking.")
    return False


def _hand_over(secret: str, title: str, options: CreateOptions | RegenerateOptions, shell: InteractiveShell) -> None:
    """Put a secret where the options say, or show it once."""
    if options.env:
        os.environ[options.env] = secret
        display(Note(f"{title}: it is in the variable {options.env} of this kernel, and nowhere else."))
    if options.login:
        say(str(signing.sign_in(secret, current().base_url, typed_in="the new key")))
    if not options.env and not options.login:
        show_once(shell, Secret(title, [("Key", secret)], "Put it where you keep passwords: it is never told again."))


def _row(key: Key, *, in_use: bool) -> tuple[str, ...]:
    times = (key.created_at, key.expires_at, key.last_used_at)
    made, ends, used = (f"{moment.astimezone():%d %b %Y}" if moment else "never" for moment in times)
    state = f"{key.state}, in use here" if in_use else key.state
    return (key.name, key.owner, f"{key.prefix}…", state, made, ends, used, key.id[:8])
