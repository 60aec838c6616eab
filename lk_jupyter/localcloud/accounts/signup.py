"""Create users: the API has no sign-up, so this is a command of the local cloud."""

from __future__ import annotations

from pathlib import Path

from lk_jupyter.errors import LocalCloudError
from lk_jupyter.localcloud.accounts.accounts import Accounts
from lk_jupyter.localcloud.accounts.attempts import Attempts
from lk_jupyter.localcloud.accounts.sessions import Sessions
from lk_jupyter.localcloud.billing.ledger import Ledger
from lk_jupyter.localcloud.launch import make_private
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.store import DATABASE, Store


def sign_up(data: Path, options: CloudOptions, email: str, password: str) -> dict[str, str]:
    """Add a user to a data folder, with credits; an existing user gets the new password and is signed out.

    Returns the user's id, e-mail address and organization. Raises LocalCloudError for an invalid e-mail address and for
    an empty password.
    """
    if "@" not in email.strip("@") or not email.isprintable() or " " in email:
        raise LocalCloudError(f"{email!r} is not an e-mail address, such as name@example.com.")
    if not password:
        raise LocalCloudError("The password is empty: type one, or send it as the first line of the input.")
    make_private(data)
    store, attempts = Store(data / DATABASE), Attempts()
    try:
        accounts, ledger = Accounts(store, Sessions(store, options, attempts), data, attempts), Ledger(store)
        with store.write():  # only one of two processes adds the user
            return _store_user(accounts, ledger, options, email, password)
    finally:
        store.close()


def _store_user(accounts: Accounts, ledger: Ledger, options: CloudOptions, email: str, password: str) -> dict[str, str]:
    existing = accounts.users.find(email)
    user_id = existing["id"] if existing else accounts.add_user(email)
    accounts.users.set_password(user_id, password)
    accounts.sessions.end_all(user_id)
    user, (org, *_) = accounts.users.get(user_id), accounts.orgs.list_by_user(user_id)
    assert user  # noqa: S101 (found or added above)
    if existing is None:
        ledger.grant(org["id"], options.credits)
    return {"user_id": user_id, "email": user["email"], "org": org["slug"]}
