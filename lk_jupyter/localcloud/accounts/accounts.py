"""Identify the owner of a token: users, their organizations, keys and sessions together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import HTTPException

from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.accounts import keys
from lk_jupyter.localcloud.accounts.attempts import Attempts
from lk_jupyter.localcloud.accounts.invitations import Invitations
from lk_jupyter.localcloud.accounts.keys import Keys
from lk_jupyter.localcloud.accounts.members import MEMBER, OWNER, RIGHTS, Org, Organizations, is_at_least
from lk_jupyter.localcloud.accounts.sessions import Sessions, SessionTokens
from lk_jupyter.localcloud.accounts.totp import Factors
from lk_jupyter.localcloud.accounts.users import User, Users
from lk_jupyter.localcloud.store import Store

KEY_FILE = "api_key"

SESSION, PERSONAL_KEY, ORGANIZATION_KEY = "session", "personal key", "organization key"

#: The role of an organization's key. The API doesn't document the role; this is the least.
KEY_ROLE = MEMBER


@dataclass(frozen=True)
class Caller:
    """A user, the organization that a request acts for, the user's role, and the kind of the token.

    ``via`` is SESSION, PERSONAL_KEY or ORGANIZATION_KEY. With an organization's key, the user is the creator of the
    key, or an owner of the organization. Not ``verified`` while the second factor of a session is missing.
    """

    user: User
    org: Org
    role: str
    via: str
    session_id: str | None = None
    verified: bool = True

    @property
    def user_id(self) -> str:
        """Id of the user."""
        return str(self.user["id"])

    @property
    def org_id(self) -> str:
        """Id of the organization."""
        return str(self.org["id"])


class Accounts:
    """Users, organizations and keys; the first start creates a user, an organization and a key."""

    def __init__(self, store: Store, sessions: Sessions, data: Path, attempts: Attempts) -> None:
        self._store = store
        self._attempts = attempts
        self.sessions = sessions
        self.users = Users(store, attempts)
        self.orgs = Organizations(store)
        self.keys = Keys(store)
        self.invitations = Invitations(store, data)
        self.factors = Factors(store, attempts)
        self.local_user = self._ensure_local_user()
        self.api_key = self._ensure_api_key(data / KEY_FILE)

    def find_caller(self, token: str, org_slug: str | None = None) -> Caller:
        """Return the owner of a token; 401 for a bad token, 429 after too many, 403 for a foreign organization."""
        caller = (
            self._find_caller_by_key(token, org_slug)
            if token.startswith(keys.PREFIX)
            else self._find_caller_by_session(token, org_slug)
        )
        if caller is None:
            self._attempts.count_invalid_token("token", token)
            raise HTTPException(401, "Invalid or expired token")
        return caller

    def require_right(self, caller: Caller, slug: str, right: str) -> tuple[Org, str]:
        """Return an organization and the caller's role; 403 unless the role has the right."""
        org = self.orgs.find(slug)
        role = self._find_role(caller, org) if org else None
        if org is None or role is None:
            raise _not_a_member_error(slug)
        if not is_at_least(role, RIGHTS[right]):
            raise HTTPException(403, f"Only the role {RIGHTS[right]} of {slug} can {right}; your role is {role}")
        return org, role

    def add_user(self, email: str, *, slug: str | None = None, name: str | None = None) -> str:
        """Make a user with a personal organization and return the id."""
        with self._store.write():
            org_id = self.orgs.create(name or email.partition("@")[0], slug=slug, personal=True)
            user_id = self.users.add(email, org_id)
            self.orgs.join(org_id, user_id, OWNER)
        return user_id

    def create_org(self, owner: User, name: str, slug: str | None, billing_email: str | None) -> str:
        """Make an organization of a user and return the id; 409 for a slug that is taken."""
        with self._store.write():
            org_id = self.orgs.create(name, slug=slug, billing_email=billing_email)
            self.orgs.join(org_id, owner["id"], OWNER)
        return org_id

    def invite(self, org: Org, email: str, role: str) -> str:
        """Add a user as a member immediately (``added``), or invite a person without an account (``invited``)."""
        user = self.users.find(email)
        if user is None:
            self.invitations.send(org, email, role)
            return "invited"
        with self._store.write():
            self.orgs.join(org["id"], user["id"], role)
            self.invitations.delete_for_email(org["id"], email)
        return "added"

    def accept(self, user: User, invitation_id: str) -> str:
        """Make an invited user a member and return the role."""
        with self._store.write():
            invitation = self.invitations.accept(user["email"], invitation_id)
            self.orgs.join(invitation["org"], user["id"], invitation["role"])
        return str(invitation["role"])

    def sign_in(self, user: User) -> SessionTokens:
        """Open a session; with a second factor, the session must be verified next."""
        return self.sessions.open(user["id"], verified=self.factors.enrolled_at(user["id"]) is None)

    def delete_org(self, org_id: str) -> None:
        """Delete an organization with its keys, invitations and memberships."""
        with self._store.write():
            self.keys.delete_all(org_id)
            self.invitations.forget(org_id)
            self.orgs.delete(org_id)

    def delete_user(self, user: User) -> list[str]:
        """Delete a user with keys, sessions and organizations without other members; return the organizations' ids.

        403 for the only owner of an organization with other members, and for the local user.
        """
        if user["id"] == self.local_user["id"]:
            raise HTTPException(403, "The local user can't be deleted alone: delete the data folder of the local cloud")
        with self._store.write():
            alone = [org["id"] for org in self.orgs.list_by_user(user["id"]) if self._is_only_member(org, user)]
            for org_id in alone:
                self.delete_org(org_id)
            self.keys.transfer_org_keys(user["id"])
            self.keys.delete_all(user["id"])
            self.sessions.end_all(user["id"])
            self.factors.remove(user["id"])
            self.orgs.leave_all(user["id"])
            self.users.delete(user["id"])
        return alone

    def _is_only_member(self, org: Org, user: User) -> bool:
        """Return whether an organization has no other members; 403 if the other members include no owner."""
        remaining = [member for member in self.orgs.list_members(org["id"]) if member["user_id"] != user["id"]]
        if remaining and OWNER not in {member["role"] for member in remaining}:
            raise HTTPException(
                403, f"You are the only owner of {org['slug']}: make another member owner, or delete the organization"
            )
        return not remaining

    def _find_caller_by_key(self, secret: str, org_slug: str | None) -> Caller | None:
        key = self.keys.use(secret)
        user = self.users.get(key["user"]) if key else None
        if key is None or user is None:
            return None
        if key["org"] is None:
            return Caller(user, *self._find_acting_org(user, org_slug), PERSONAL_KEY)
        org = self.orgs.get(key["org"])
        return Caller(user, org, KEY_ROLE, ORGANIZATION_KEY) if org else None

    def _find_caller_by_session(self, access_token: str, org_slug: str | None) -> Caller | None:
        session = self.sessions.find_by_token(access_token)
        user = self.users.get(session.user_id) if session else None
        if session is None or user is None:
            return None
        return Caller(user, *self._find_acting_org(user, org_slug), SESSION, session.id, session.verified)

    def _find_acting_org(self, user: User, slug: str | None) -> tuple[Org, str]:
        """Return the organization that a user acts for, by default the user's own, and the user's role."""
        org = self.orgs.get(user["org_id"]) if slug is None else self.orgs.find(slug)
        role = self.orgs.find_role(org["id"], user["id"]) if org else None
        if org is None or role is None:
            raise _not_a_member_error(slug)
        return org, role

    def _find_role(self, caller: Caller, org: Org) -> str | None:
        if caller.via == ORGANIZATION_KEY:
            return caller.role if org["id"] == caller.org_id else None
        return self.orgs.find_role(org["id"], caller.user_id)

    def _ensure_local_user(self) -> User:
        with self._store.write():  # only one of two processes creates the user
            if self.users.find_local_user() is None:
                self.add_user("local@localhost", slug="local", name="Local user")
        user = self.users.find_local_user()
        assert user  # noqa: S101 (just made)
        return user

    def _ensure_api_key(self, file: Path) -> str:
        """Read the key of an earlier start, or create a key; the database stores only the hash."""
        with self._store.write():
            if file.exists() and self.keys.find(key := file.read_text().strip()):
                return key
            self.keys.delete_all(keys.THIS_CLOUD)
            _, key = self.keys.create(keys.THIS_CLOUD, self.local_user["id"], "local cloud")
            write_private(file, key)
        return key


def _not_a_member_error(slug: str | None) -> HTTPException:
    return HTTPException(403, f"You aren't a member of the organization {slug!r}")
