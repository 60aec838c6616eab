"""Who is asking: each operation of it, called by the client on a local cloud. CALLS is for the contract test."""

from __future__ import annotations

import re
import threading
import time
from datetime import datetime, timedelta, timezone
from functools import wraps
from uuid import uuid4

import httpx
import pyotp
import pytest

from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import endpoint_of
from lk_jupyter.api.auth import ApiKeyCreate, ApiKeyValidateRequest, Auth, LoginRequest, RefreshRequest
from lk_jupyter.api.invites import Invites
from lk_jupyter.api.mfa import Mfa, MfaCode, MfaEnrollment, MfaLoginCode
from lk_jupyter.api.orgs import (
    OrgApiKeyCreate,
    OrgCreate,
    OrgMemberAdd,
    OrgMemberRoleUpdate,
    Orgs,
    OrgUpdate,
)
from lk_jupyter.api.user import User
from lk_jupyter.errors import BadRequest, Conflict, Forbidden, NotFound, NotSignedIn, Unauthorized, UsageError

CALLS = {}
PASSWORD = "correct horse"
_called = set()


class Recorder(Client):
    """A client that notes what it was asked for."""

    def _send(self, call):
        _called.add(call.endpoint)
        return super()._send(call)


def calls(*methods):
    """Say which operations a test calls, and see that it does."""
    endpoints = {endpoint_of(method) for method in methods}

    def register(test):
        @wraps(test)
        def checked(**fixtures):
            _called.clear()
            test(**fixtures)
            assert endpoints <= _called

        CALLS.update(dict.fromkeys(endpoints, test))
        return checked

    return register


@pytest.fixture
def sign_in(cloud):
    """Sign users in, made where there is none; each client is closed after the test."""
    opened = []

    def open_client(email=None, password=PASSWORD, **options):
        if email is None:
            email = f"{uuid4().hex[:12]}@example.com"
            cloud.add_user(email, password)
        with Recorder(cloud.base_url) as visitor:
            session = visitor.auth.login(LoginRequest(email=email, password=password))
        client = Recorder(cloud.base_url, session.access_token, refresh_token=session.refresh_token, **options)
        client.email, client.id = email, session.user_id
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def mira(sign_in):
    return sign_in()


@pytest.fixture
def org(mira):
    """An organization of Mira's."""
    return mira.orgs.create(OrgCreate(name="Acme Research", slug=f"acme-{uuid4().hex[:8]}"))


@calls(Auth.login, User.status)
def test_a_user_signs_in_with_a_password(sign_in, mira):
    assert mira.user.status().email == mira.email
    with pytest.raises(Unauthorized) as refusal:
        sign_in(mira.email, "wrong horse")
    assert "wrong horse" not in str(refusal.value)


@calls(Auth.create_api_key, Auth.list_api_keys, Auth.toggle_api_key, Auth.validate_api_key, Auth.revoke_api_key)
def test_a_personal_key_is_made_looked_at_switched_off_and_revoked(mira):
    end = datetime.now(timezone.utc) + timedelta(days=1)
    made = mira.auth.create_api_key(ApiKeyCreate(key_name="laptop", expires_at=end))
    assert made.api_key not in repr(made)
    assert [(key.id, key.expires_at) for key in mira.auth.list_api_keys()] == [(made.id, end)]
    verdict = mira.auth.validate_api_key(ApiKeyValidateRequest(api_key=made.api_key))
    assert (verdict.valid, verdict.email) == (True, mira.email)
    assert mira.auth.toggle_api_key(made.id).is_active is False
    with Client(mira.base_url, made.api_key) as laptop, pytest.raises(Unauthorized):
        laptop.user.status()
    mira.auth.revoke_api_key(made.id)
    with pytest.raises(NotFound):
        mira.auth.revoke_api_key(made.id)


@calls(Mfa.enroll, Mfa.verify_enrollment, Mfa.status, Mfa.verify, Mfa.regenerate_backup_codes)
def test_mfa_is_switched_on_and_asked_for(sign_in, mira):
    told = mira.mfa.enroll()
    assert not any(secret in repr(told) for secret in (told.secret, *told.backup_codes))
    app = pyotp.TOTP(told.secret)
    mira.mfa.verify_enrollment(MfaCode(code=app.now()))
    assert mira.mfa.status().enabled is True
    again = sign_in(mira.email)
    with pytest.raises(Unauthorized, match="/mfa/verify"):
        again.user.status()
    assert again.mfa.verify(MfaLoginCode(code=told.backup_codes[0])).remaining_backup_codes == 9
    assert again.user.status().email == mira.email
    new = again.mfa.regenerate_backup_codes(MfaCode(code=app.at(time.time() + 30)))
    with pytest.raises(BadRequest):
        again.mfa.verify(MfaLoginCode(code=told.backup_codes[1]))
    assert again.mfa.verify(MfaLoginCode(code=new.backup_codes[0])).success


@calls(Mfa.disable)
def test_mfa_is_switched_off_with_a_code(mira):
    app = pyotp.TOTP(mira.mfa.enroll().secret)
    mira.mfa.verify_enrollment(MfaCode(code=app.now()))
    mira.mfa.disable(MfaCode(code=app.at(time.time() + 30)))
    assert mira.mfa.status().enabled is False


def test_the_qr_code_is_read_by_either_name():
    for name in ("qr_code_url", "qr_code"):
        told = MfaEnrollment.model_validate({"secret": "x", "backup_codes": [], name: "data:image/png;base64,"})
        assert told.qr_code_url == "data:image/png;base64,"


@calls(Orgs.create, Orgs.list, Orgs.get, Orgs.update, Orgs.delete, User.org)
def test_an_organization_is_made_changed_and_deleted(mira, org):
    mira.orgs.create(OrgCreate(name="Another"))
    assert [(row.role, row.is_default) for row in mira.orgs.list()][:2] == [("owner", True), ("owner", False)]
    assert mira.orgs.get(org.slug) == org
    changed = mira.orgs.update(org.slug, OrgUpdate(name="Acme", billing_city="Berlin"))
    assert (changed.id, changed.name, changed.billing_details.billing_city) == (org.id, "Acme", "Berlin")
    with pytest.raises(Conflict):
        mira.orgs.update(org.slug, OrgUpdate(slug=mira.user.org().slug))
    assert mira.orgs.delete(org.slug) is None
    with pytest.raises(Forbidden):
        mira.orgs.get(org.slug)


@calls(Orgs.add_member, Orgs.list_members, Orgs.set_role, Orgs.remove_member)
def test_a_member_comes_rises_and_goes(sign_in, mira, org):
    jon = sign_in()
    assert mira.orgs.add_member(org.slug, OrgMemberAdd(email=jon.email, role="member")).status == "added"
    assert [member.email for member in jon.orgs.list_members(org.slug)] == [mira.email, jon.email]
    assert mira.orgs.set_role(org.slug, jon.id, OrgMemberRoleUpdate(role="admin")).role == "admin"
    with pytest.raises(BadRequest):
        mira.orgs.remove_member(org.slug, mira.id)
    assert jon.orgs.remove_member(org.slug, jon.id) is None
    with pytest.raises(Forbidden):
        jon.orgs.list_members(org.slug)
    with pytest.raises(UsageError, match=r"name@example\.com"):
        mira.orgs.add_member(org.slug, {"email": "jon", "role": "member"})


@calls(Orgs.list_invites, Orgs.revoke_invite, Invites.mine, Invites.accept, Invites.get)
def test_somebody_without_an_account_is_invited(cloud, sign_in, mira, org):
    for name in ("lena", "otto"):
        sent = mira.orgs.add_member(org.slug, OrgMemberAdd(email=f"{name}@{org.slug}.example", role="admin"))
        assert sent.status == "invited"
    lena_s, otto_s = mira.orgs.list_invites(org.slug)
    assert mira.orgs.revoke_invite(org.slug, otto_s.id) is None
    mail = (cloud.data / "mail" / f"{lena_s.id}.txt").read_text()
    assert mira.invites.get(re.search(r"token: (\S+)", mail)[1]).org_slug == org.slug
    cloud.add_user(lena_s.email)
    lena = sign_in(lena_s.email)
    (invite,) = lena.invites.mine()
    assert lena.invites.accept(invite.id).role == "admin"
    with pytest.raises(NotFound):
        lena.invites.accept(invite.id)


@calls(
    Orgs.create_api_key, Orgs.list_api_keys, Orgs.revoke_api_key, Orgs.regenerate_api_key, Orgs.delete_api_key, User.org
)
def test_a_key_of_an_organization_acts_as_it_until_it_is_revoked(mira, org):
    made = mira.orgs.create_api_key(org.slug, OrgApiKeyCreate(name="ci"))
    assert made.plaintext_key not in repr(made)
    with Recorder(mira.base_url, made.plaintext_key) as ci:
        assert (ci.user.org().org_id, ci.user.org().is_key_scoped) == (org.id, True)
        assert mira.orgs.revoke_api_key(org.slug, made.id) is None
        with pytest.raises(Unauthorized):
            ci.user.org()
    again = mira.orgs.regenerate_api_key(org.slug, made.id)
    with Recorder(mira.base_url, again.plaintext_key) as ci:
        assert ci.user.org().slug == org.slug
    assert [key.name for key in mira.orgs.list_api_keys(org.slug)] == ["ci"]
    assert mira.orgs.delete_api_key(org.slug, made.id) is None
    assert len(mira.orgs.list_api_keys(org.slug)) == 0


def test_the_client_acts_as_the_organization_that_it_is_told(sign_in, mira, org):
    assert sign_in(mira.email, org=org.slug).user.org().slug == org.slug
    jon = sign_in(org=org.slug)
    with pytest.raises(Forbidden):
        jon.user.org()


@calls(User.delete)
def test_an_account_is_deleted(sign_in, mira):
    assert mira.user.delete().message
    with pytest.raises(NotSignedIn):
        mira.user.status()
    with pytest.raises(Unauthorized):
        sign_in(mira.email)


# Sessions of a few seconds


@pytest.fixture
def brief_sessions(make_cloud):
    """A cloud whose access tokens live for a second, and a session on it."""
    cloud = make_cloud("--access-seconds", "1")
    cloud.add_user("mira@example.com")
    with Client(cloud.base_url) as visitor:
        return cloud, visitor.auth.login(LoginRequest(email="mira@example.com", password=PASSWORD))


def test_threads_work_on_through_refreshes_without_an_error(brief_sessions):
    cloud, session = brief_sessions
    renewals, failures = [], []

    def work():
        while len(renewals) < 3 and not failures:
            began = time.monotonic()
            try:
                client.user.status()
            except Exception as error:  # noqa: BLE001 (whatever it is, it must not come)
                in_time = time.monotonic() - began < 1  # later its new token may have expired too
                if in_time or not isinstance(error, Unauthorized):
                    failures.append(error)

    def keep(*pair):
        renewals.append(pair)

    token, refresh_token = session.access_token, session.refresh_token
    with Client(cloud.base_url, token, refresh_token=refresh_token, on_refresh=keep) as client:
        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    assert failures == []
    assert len(set(renewals)) >= 3


def test_a_stolen_refresh_token_is_refused_and_ends_the_session(brief_sessions):
    cloud, session = brief_sessions
    stolen = session.refresh_token
    with Client(cloud.base_url, session.access_token, refresh_token=stolen) as owner:
        owner.auth.refresh(RefreshRequest(refresh_token=stolen))
        answer = httpx.post(f"{cloud.base_url}/api/v2/external/auth/refresh", json={"refresh_token": stolen})
        assert answer.status_code == 401
        with pytest.raises(NotSignedIn):
            owner.user.status()
