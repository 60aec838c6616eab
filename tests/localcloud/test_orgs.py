"""Organizations: who may do what, how people come and go, and as which one a request acts."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from localcloud.conftest import description

ROLES = ("member", "admin", "owner")
BODIES = {
    "update_org": {"billing_city": "Berlin"},
    "add_org_member": {"email": "somebody@example.com", "role": "member"},
    "update_org_member_role": {"role": "admin"},
    "create_org_api_key": {"name": "ci"},
}


@pytest.fixture
def shared(make_person):
    """An organization with an owner, an admin and a member."""
    owner, admin, member = (make_person() for _ in ROLES)
    slug = owner.create_org()
    for person, role in ((admin, "admin"), (member, "member")):
        added = owner.post(f"/orgs/{slug}/members", {"email": person.email, "role": role})
        assert (added.status_code, added.json()) == (201, {"status": "added"})
    return slug, owner, admin, member


# What an organization is


def test_an_organization_is_made_renamed_and_deleted(make_person):
    mira = make_person()
    made = mira.post("/orgs", {"name": "Acme Research", "billing_email": "bills@example.com"})
    assert made.status_code == 201
    org = made.json()
    assert re.fullmatch("acme-research(-[0-9a-f]+)?", org["slug"])
    slug = f"acme-{uuid4().hex[:8]}"
    changed = mira.patch(f"/orgs/{org['slug']}", {"slug": slug, "name": "Acme", "billing_country": "DE"}).json()
    assert (changed["id"], changed["slug"], changed["name"]) == (org["id"], slug, "Acme")
    assert (changed["billing_email"], changed["billing_details"]["billing_country"]) == ("bills@example.com", "DE")
    assert mira.get(f"/orgs/{org['slug']}").status_code == 403
    assert mira.get(f"/orgs/{slug}").json() == changed
    assert mira.patch(f"/orgs/{slug}", {"billing_country": None, "name": None}).json() == {
        **changed,
        "billing_details": {**changed["billing_details"], "billing_country": None},
    }
    assert mira.delete(f"/orgs/{slug}").status_code == 204
    assert mira.get(f"/orgs/{slug}").status_code == 403
    assert [row["slug"] for row in mira.get("/orgs").json()] == [mira.slug]


def test_my_organizations_come_with_my_role_and_the_default_one(shared):
    slug, _, admin, _ = shared
    rows = {row["slug"]: (row["role"], row["is_default"]) for row in admin.get("/orgs").json()}
    assert rows == {admin.slug: ("owner", True), slug: ("admin", False)}


def test_a_slug_is_taken_once(person):
    slug = person.create_org()
    assert person.post("/orgs", {"name": "Other", "slug": slug}).status_code == 409
    other = person.create_org()
    assert other != slug
    assert person.patch(f"/orgs/{other}", {"slug": slug, "name": "Changed"}).status_code == 409
    assert person.get(f"/orgs/{other}").json()["name"] == "Acme Research"


@pytest.mark.parametrize("name", ["日本", "***", "x" * 100, "\u0000"])
def test_a_slug_is_made_of_any_name(person, name):
    slug = person.create_org(name=name)
    assert re.fullmatch("[a-z0-9][a-z0-9-]{0,63}", slug)
    assert person.get(f"/orgs/{slug}").json()["name"] == name


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 101},
        {"name": "x", "slug": "Acme"},
        {"name": "x", "slug": "-x"},
        {"name": "x", "slug": "x" * 65},
        {"name": "x", "billing_email": "nobody"},
        {"name": 1},
        [],
    ],
)
def test_an_organization_that_does_not_fit_is_not_made(person, body):
    before = person.get("/orgs").json()
    assert person.post("/orgs", body).status_code == 422
    assert person.get("/orgs").json() == before


def test_a_personal_organization_is_not_deleted(person):
    assert person.delete(f"/orgs/{person.slug}").status_code == 400
    assert person.get("/user/org").json()["slug"] == person.slug


def test_a_deleted_organization_takes_its_keys_runs_and_invitations_along(make_person, until):
    mira = make_person()
    slug = mira.create_org()
    acting = mira.acting_as(slug)
    buy(acting)
    run = acting.start("import time; print('up'); time.sleep(600)")
    key = mira.post(f"/orgs/{slug}/api-keys", {"name": "ci"}).json()["plaintext_key"]
    mira.post(f"/orgs/{slug}/members", {"email": "nobody@example.com", "role": "member"})
    assert mira.delete(f"/orgs/{slug}").status_code == 204
    assert mira.signed_by(key).get("/user/org").status_code == 401
    assert acting.get("/user/org").status_code == 403
    assert b"jobFinished" in b"".join(mira.stream(run))


def buy(person):
    """Buy credits for the organization that a user acts as."""
    session = person.post("/billing/checkout", {"credits_amount": 10}).json()
    assert httpx.post(f"{session['checkout_url']}/pay").status_code == 303


# Roles


def operations_with_a_role():
    for path, item in description()["paths"].items():
        for method, operation in item.items():
            if method in {"get", "post", "patch", "delete", "put"} and path.startswith("/orgs/{slug}"):
                yield pytest.param(method, path, operation, id=operation["operationId"])


@pytest.mark.parametrize(("method", "path", "operation"), list(operations_with_a_role()))
def test_each_role_may_do_what_the_description_gives_it(shared, method, path, operation):
    slug, owner, admin, member = shared
    least = operation.get("x-min-role", "member")
    makers = {
        "user_id": lambda: newcomer(owner, slug),
        "key_id": lambda: owner.post(f"/orgs/{slug}/api-keys", {"name": uuid4().hex}).json()["id"],
        "invite_id": lambda: invitation(owner, slug)["id"],
    }
    for person, role in ((member, "member"), (admin, "admin"), (owner, "owner")):
        ids = {"slug": slug, **{name: make() for name, make in makers.items() if f"{{{name}}}" in path}}
        query = {"category": "executions", "group_by": "hardware_profile"} if path.endswith("aggregate") else None
        body = BODIES.get(operation["operationId"])
        body = {**body, "name": uuid4().hex} if operation["operationId"] == "create_org_api_key" else body
        answer = person.http.request(method, path.format(**ids), json=body, params=query)
        allowed = ROLES.index(role) >= ROLES.index(least)
        assert (answer.status_code != 403) == allowed, (role, answer.text)
        assert allowed == answer.is_success, (role, answer.text)


def newcomer(owner, slug):
    """Add the local user of the cloud as a member, if it is none, and return the id."""
    owner.http.post(f"/orgs/{slug}/members", json={"email": "local@localhost", "role": "member"})
    members = owner.get(f"/orgs/{slug}/members").json()
    return next(row["user_id"] for row in members if row["email"] == "local@localhost")


def invitation(owner, slug, role="member"):
    """Invite somebody without an account."""
    email = f"{uuid4().hex[:12]}@example.com"
    assert owner.post(f"/orgs/{slug}/members", {"email": email, "role": role}).json()["status"] != "added"
    return next(row for row in owner.get(f"/orgs/{slug}/invites").json() if row["email"] == email)


def test_nobody_gives_or_takes_more_rights_than_their_own(shared):
    slug, owner, admin, member = shared
    assert admin.post(f"/orgs/{slug}/members", {"email": "x@example.com", "role": "owner"}).status_code == 403
    assert admin.delete(f"/orgs/{slug}/members/{owner.id}").status_code == 403
    assert admin.delete(f"/orgs/{slug}/members/{member.id}").status_code == 204
    assert [row["user_id"] for row in owner.get(f"/orgs/{slug}/members").json()] == [owner.id, admin.id]


def test_a_new_role_holds_at_once(shared):
    slug, owner, _, member = shared
    assert member.get(f"/orgs/{slug}/invites").status_code == 403
    changed = owner.patch(f"/orgs/{slug}/members/{member.id}", {"role": "admin"}).json()
    assert (changed["user_id"], changed["email"], changed["role"]) == (member.id, member.email, "admin")
    assert member.get(f"/orgs/{slug}/invites").status_code == 200


def test_the_last_owner_neither_leaves_nor_becomes_less(shared):
    slug, owner, admin, _ = shared
    path = f"/orgs/{slug}/members/{owner.id}"
    assert owner.delete(path).status_code == 400
    assert owner.patch(path, {"role": "member"}).status_code == 400
    owner.patch(f"/orgs/{slug}/members/{admin.id}", {"role": "owner"})
    assert owner.delete(path).status_code == 204
    assert owner.get(f"/orgs/{slug}").status_code == 403


def test_a_member_may_leave_but_not_the_own_personal_organization(shared):
    slug, _, _, member = shared
    assert member.delete(f"/orgs/{slug}/members/{member.id}").status_code == 204
    assert member.get(f"/orgs/{slug}").status_code == 403
    assert member.delete(f"/orgs/{member.slug}/members/{member.id}").status_code == 400


def test_somebody_is_a_member_once(shared):
    slug, owner, admin, member = shared
    assert owner.post(f"/orgs/{slug}/members", {"email": admin.email, "role": "member"}).status_code == 409
    assert admin.get(f"/orgs/{slug}/invites").status_code == 200
    assert owner.delete(f"/orgs/{slug}/members/{uuid4()}").status_code == 404
    assert owner.patch(f"/orgs/{slug}/members/{uuid4()}", {"role": "admin"}).status_code == 404
    assert member.get(f"/orgs/{slug}").status_code == 200


@pytest.mark.parametrize(
    "body", [{}, {"email": "a@b"}, {"email": "nobody", "role": "member"}, {"email": "a@b", "role": "boss"}, []]
)
def test_what_is_no_invitation_is_refused(shared, body):
    slug, owner, _, _ = shared
    assert owner.post(f"/orgs/{slug}/members", body).status_code == 422
    assert owner.get(f"/orgs/{slug}/invites").json() == []


# Invitations


def mailed_token(cloud, invitation_id):
    """Return the token from the mail of an invitation."""
    mail = Path(cloud.data / "mail" / f"{invitation_id}.txt").read_text()
    return re.search(r"token: (\S+)", mail)[1]


def test_somebody_without_an_account_is_invited_signs_up_and_joins(cloud, make_person, shared):
    slug, owner, _, _ = shared
    sent = invitation(owner, slug, role="admin")
    token = mailed_token(cloud, sent["id"])
    preview = owner.get(f"/invites/{token}").json()
    assert preview == {"org_name": "Acme Research", "org_slug": slug, "email": sent["email"], "role": "admin"}
    lena = make_person(sent["email"])
    (mine,) = lena.get("/invites/mine").json()
    assert (mine["id"], mine["org_slug"], mine["role"]) == (sent["id"], slug, "admin")
    assert lena.get(f"/orgs/{slug}").status_code == 403
    assert lena.post(f"/invites/mine/{mine['id']}/accept").json() == {"role": "admin"}
    assert lena.get(f"/orgs/{slug}/invites").json() == []
    assert lena.post(f"/invites/mine/{mine['id']}/accept").status_code == 404
    assert owner.get(f"/invites/{token}").status_code == 404


def test_an_invitation_is_for_whom_it_was_sent_to(shared, person):
    slug, owner, _, _ = shared
    sent = invitation(owner, slug)
    assert person.get("/invites/mine").json() == []
    assert person.post(f"/invites/mine/{sent['id']}/accept").status_code == 404
    assert person.get(f"/orgs/{slug}").status_code == 403


def test_an_invitation_that_was_withdrawn_opens_nothing(cloud, make_person, shared):
    slug, owner, _, _ = shared
    sent = invitation(owner, slug)
    token = mailed_token(cloud, sent["id"])
    assert owner.delete(f"/orgs/{slug}/invites/{sent['id']}").status_code == 204
    assert owner.delete(f"/orgs/{slug}/invites/{sent['id']}").status_code == 404
    assert owner.get(f"/invites/{token}").status_code == 404
    lena = make_person(sent["email"])
    assert lena.get("/invites/mine").json() == []
    assert lena.post(f"/invites/mine/{sent['id']}/accept").status_code == 404


def test_a_later_invitation_voids_the_earlier_one(cloud, shared):
    slug, owner, _, _ = shared
    sent = invitation(owner, slug)
    owner.post(f"/orgs/{slug}/members", {"email": sent["email"], "role": "admin"})
    (row,) = owner.get(f"/orgs/{slug}/invites").json()
    assert row["role"] == "admin"
    assert owner.get(f"/invites/{mailed_token(cloud, sent['id'])}").status_code == 404


def test_an_invitation_is_over_when_its_address_was_added(make_person, shared):
    slug, owner, _, _ = shared
    sent = invitation(owner, slug)
    lena = make_person(sent["email"])
    assert owner.post(f"/orgs/{slug}/members", {"email": lena.email, "role": "member"}).json()["status"] == "added"
    assert owner.get(f"/orgs/{slug}/invites").json() == lena.get("/invites/mine").json() == []


# Keys of organizations


def test_a_key_of_an_organization_acts_as_it_whatever_the_header_says(shared):
    slug, owner, _, _ = shared
    made = owner.post(f"/orgs/{slug}/api-keys", {"name": "ci"})
    assert made.status_code == 201
    assert made.json()["prefix"] == made.json()["plaintext_key"][:8]
    ci = owner.signed_by(made.json()["plaintext_key"])
    ci.http.headers["X-Org-Slug"] = owner.slug
    told = ci.get("/user/org").json()
    assert (told["slug"], told["is_personal"], told["is_key_scoped"]) == (slug, False, True)
    assert [(row["slug"], row["role"]) for row in ci.get("/orgs").json()] == [(slug, "member")]
    assert ci.get(f"/orgs/{slug}").status_code == 200
    assert ci.get(f"/orgs/{owner.slug}").status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/auth/api-keys/", None),
        ("POST", "/auth/api-keys/", {"key_name": "x"}),
        ("POST", "/mfa/enroll", None),
        ("GET", "/invites/mine", None),
        ("POST", "/orgs", {"name": "x"}),
        ("DELETE", "/user/delete", None),
    ],
)
def test_a_key_of_an_organization_is_no_person(shared, method, path, body):
    slug, owner, _, _ = shared
    ci = owner.signed_by(owner.post(f"/orgs/{slug}/api-keys", {"name": "ci"}).json()["plaintext_key"])
    assert ci.http.request(method, path, json=body).status_code == 401


def test_a_key_of_an_organization_is_revoked_revived_and_deleted(shared):
    slug, owner, admin, _ = shared
    path = f"/orgs/{slug}/api-keys"
    made = owner.post(path, {"name": "ci"}).json()
    old = owner.signed_by(made["plaintext_key"])
    assert owner.post(path, {"name": "ci"}).status_code == 400
    assert admin.delete(f"{path}/{made['id']}").status_code == 204
    assert old.get("/user/org").status_code == 401
    assert [row["is_active"] for row in owner.get(path).json()] == [False]
    revived = admin.post(f"{path}/{made['id']}/regenerate").json()
    assert (revived["id"], revived["name"]) == (made["id"], "ci")
    assert old.get("/user/org").status_code == 401
    new = owner.signed_by(revived["plaintext_key"])
    assert new.get("/user/org").status_code == 200
    assert owner.post(f"{path}/{made['id']}/delete").status_code == 204
    assert new.get("/user/org").status_code == 401
    assert owner.get(path).json() == []
    assert owner.post(path, {"name": "ci"}).status_code == 201


def test_a_key_goes_on_when_its_maker_leaves(shared):
    slug, owner, admin, _ = shared
    key = admin.post(f"/orgs/{slug}/api-keys", {"name": "ci"}).json()["plaintext_key"]
    owner.delete(f"/orgs/{slug}/members/{admin.id}")
    assert owner.signed_by(key).get("/user/org").json()["slug"] == slug
    assert admin.delete("/user/delete").status_code == 200
    assert owner.signed_by(key).get("/user/org").json()["slug"] == slug


# As which organization a request acts


def test_a_request_acts_as_the_header_says_and_else_as_the_default(shared):
    slug, owner, _, member = shared
    key = member.post("/auth/api-keys/", {"key_name": "laptop"}).json()["api_key"]
    for signed in (member, member.signed_by(key)):
        assert signed.get("/user/org").json()["slug"] == member.slug
        signed.http.headers["X-Org-Slug"] = slug
        assert signed.get("/user/org").json()["slug"] == slug
        signed.http.headers["X-Org-Slug"] = owner.slug
        assert signed.get("/user/org").status_code == 403
        signed.http.headers.pop("X-Org-Slug")


def test_work_and_its_cost_belong_to_the_organization_that_a_request_acts_as(shared):
    slug, owner, _, member = shared
    acting = member.acting_as(slug)
    assert acting.http.post("/execution/streaming/start", json={"code": "1"}).status_code == 402
    buy(owner.acting_as(slug))
    run = acting.run("print(1)")["execution_id"]
    assert owner.acting_as(slug).get(f"/execution/{run}").json()["user_id"] == member.id
    assert member.get(f"/execution/{run}").status_code == 404
    assert member.get("/billing/credits").json()["used_credits"] == 0


def test_who_is_removed_is_refused_at_once(shared):
    slug, owner, _, member = shared
    acting = member.acting_as(slug)
    assert acting.get("/user/org").status_code == 200
    owner.delete(f"/orgs/{slug}/members/{member.id}")
    assert acting.get("/user/org").status_code == 403
