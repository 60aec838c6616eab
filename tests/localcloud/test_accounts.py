"""Users, sessions and personal keys: who is let in, as whom, and for how long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from cloud_process import run_forked
from localcloud.people import PASSWORD, Person
from patience import PATIENCE

JSON = {"Content-Type": "application/json"}


# Users


def test_a_user_who_was_added_signs_in_with_the_password_and_has_an_organization_with_credits(api, person):
    tokens = api.post("/auth/login", {"email": person.email, "password": PASSWORD}).json()
    mira = person.signed_by(tokens["access_token"])
    assert (tokens["user_id"], tokens["email"]) == (person.id, person.email)
    status = mira.get("/user/status").json()
    assert (status["user_id"], status["email"], status["credit_balance"]) == (person.id, person.email, 100)
    org = mira.get("/user/org").json()
    assert (org["slug"], org["is_personal"], org["is_key_scoped"]) == (person.slug, True, False)
    assert float(mira.get(f"/orgs/{person.slug}/balance").json()["balance"]) == 100


def test_a_wrong_password_and_an_unknown_user_are_told_alike(api, person):
    wrong = api.post("/auth/login", {"email": person.email, "password": "wrong"})
    unknown = api.post("/auth/login", {"email": "nobody@example.com", "password": "wrong"})
    without_password = api.post("/auth/login", {"email": "local@localhost", "password": ""})
    assert {answer.status_code for answer in (wrong, unknown, without_password)} == {401}
    assert wrong.content == unknown.content == without_password.content


def test_an_address_is_one_user_in_whatever_case(api, person):
    assert api.post("/auth/login", {"email": person.email.upper(), "password": PASSWORD}).status_code == 200


def test_adding_a_user_again_replaces_the_password_and_ends_the_sessions(api, make_person):
    person = make_person()
    tokens = api.post("/auth/login", {"email": person.email, "password": PASSWORD}).json()
    assert api.cloud.add_user(person.email, "another")["user_id"] == person.id
    assert person.signed_by(tokens["access_token"]).get("/user/status").status_code == 401
    assert api.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}).status_code == 401
    assert api.post("/auth/login", {"email": person.email, "password": PASSWORD}).status_code == 401
    assert api.post("/auth/login", {"email": person.email, "password": "another"}).status_code == 200


def test_the_command_adds_a_user_to_a_cloud_that_runs(cloud, api):
    command = [
        sys.executable,
        "-m",
        "lk_jupyter.localcloud",
        "--data",
        str(cloud.data),
        "--add-user",
        "jon@example.com",
    ]
    typed = "battery staple\n"
    added = subprocess.run(command, input=typed, capture_output=True, text=True, timeout=PATIENCE, check=False)
    tokens = api.post("/auth/login", {"email": "jon@example.com", "password": "battery staple"}).json()
    assert json.loads(added.stdout) == {"user_id": tokens["user_id"], "email": "jon@example.com", "org": "jon"}


@pytest.mark.parametrize(("email", "complaint"), [("nobody", "not an e-mail address"), ("a@b", "password is empty")])
def test_a_user_is_not_added_without_an_address_and_a_password(cloud, email, complaint):
    told = run_forked("lk_jupyter.localcloud", "--data", str(cloud.data), "--add-user", email, env=os.environ)
    assert told.returncode == 1
    assert complaint in told.stderr


def test_the_data_folder_holds_no_secret_but_its_own_key(make_cloud):
    mira = Person.added(make_cloud())
    tokens = mira.post("/auth/login", {"email": mira.email, "password": PASSWORD}).json()
    key = mira.post("/auth/api-keys/", {"key_name": "kept"}).json()["api_key"]
    codes = mira.post("/mfa/enroll").json()["backup_codes"]
    kept = b"".join(path.read_bytes() for path in mira.cloud.data.rglob("*.sqlite*"))
    secrets = [PASSWORD, tokens["access_token"], tokens["refresh_token"], key, mira.cloud.api_key, *codes]
    mira.close()
    assert [secret for secret in secrets if secret.encode() in kept] == []


# Sessions


def test_a_refresh_token_gives_a_new_pair_once(api, person):
    first = api.post("/auth/login", {"email": person.email, "password": PASSWORD}).json()
    second = api.post("/auth/refresh", {"refresh_token": first["refresh_token"]}).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert person.signed_by(second["access_token"]).get("/user/status").status_code == 200


def test_a_refresh_token_that_comes_twice_ends_the_session_of_thief_and_owner(api, person):
    stolen = api.post("/auth/login", {"email": person.email, "password": PASSWORD}).json()["refresh_token"]
    owner = api.post("/auth/refresh", {"refresh_token": stolen}).json()
    other = api.post("/auth/login", {"email": person.email, "password": PASSWORD}).json()
    assert api.post("/auth/refresh", {"refresh_token": stolen}).status_code == 401
    assert api.post("/auth/refresh", {"refresh_token": owner["refresh_token"]}).status_code == 401
    assert person.signed_by(owner["access_token"]).get("/user/status").status_code == 401
    assert person.signed_by(other["access_token"]).get("/user/status").status_code == 200


def test_an_access_token_ends_and_the_refresh_token_goes_on_also_over_a_restart(make_api, until):
    api = make_api("--access-seconds", "1")
    api.cloud.add_user("mira@example.com")
    tokens = api.post("/auth/login", {"email": "mira@example.com", "password": PASSWORD}).json()
    assert tokens["expires_in"] == 1
    with Person(api.cloud, tokens["access_token"]) as mira:
        until(lambda: mira.get("/user/status").status_code == 401)
    api.cloud.restart()
    api.connect()
    tokens = api.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}).json()
    assert set(tokens) == {"access_token", "refresh_token", "expires_in"}


def test_a_refresh_token_ends_when_its_time_is_up(make_api, until):
    api = make_api("--refresh-seconds", "1")
    api.cloud.add_user("mira@example.com")
    tokens = api.post("/auth/login", {"email": "mira@example.com", "password": PASSWORD}).json()
    end = time.time() + 1
    until(lambda: time.time() > end)
    assert api.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}).status_code == 401
    with Person(api.cloud, tokens["access_token"]) as mira:
        assert mira.get("/user/status").status_code == 200


@pytest.mark.parametrize("token", ["eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4IiwiZXhwIjo5OTk5OTk5OTk5fQ.", "lk_", "é"])
def test_what_is_no_token_is_refused(api, token):
    answer = httpx.get(
        f"{api.http.base_url}user/status", headers={"Authorization": f"Bearer {token}".encode()}, timeout=PATIENCE
    )
    assert answer.status_code == 401


# Personal keys


def test_a_personal_key_shows_its_secret_once_and_acts_as_its_owner(person):
    made = person.post("/auth/api-keys/", {"key_name": "laptop"}).json()
    assert made["api_key"].startswith("lk_")
    assert made["key_prefix"] == made["api_key"][:8]
    (listed,) = [key for key in person.get("/auth/api-keys/").json() if key["id"] == made["id"]]
    assert made["api_key"] not in json.dumps(listed)
    assert (listed["is_active"], listed["last_used_at"]) == (True, None)
    assert person.signed_by(made["api_key"]).get("/user/status").json()["user_id"] == person.id
    (used,) = [key for key in person.get("/auth/api-keys/").json() if key["id"] == made["id"]]
    assert used["last_used_at"]


def test_a_key_is_switched_off_and_on_and_revoked_at_once(person):
    made = person.post("/auth/api-keys/", {"key_name": "laptop"}).json()
    laptop, path = person.signed_by(made["api_key"]), f"/auth/api-keys/{made['id']}"
    assert person.patch(f"{path}/toggle").json() == {"is_active": False}
    assert laptop.get("/user/status").status_code == 401
    assert person.post("/auth/api-keys/validate", {"api_key": made["api_key"]}).json() == {"valid": False}
    assert person.patch(f"{path}/toggle").json() == {"is_active": True}
    assert laptop.get("/user/status").status_code == 200
    assert person.delete(path).status_code == 200
    assert laptop.get("/user/status").status_code == 401
    assert person.delete(path).status_code == 404


def test_a_key_ends_when_it_should(person, until):
    end = datetime.now(timezone.utc) + timedelta(seconds=1.5)
    made = person.post("/auth/api-keys/", {"key_name": "brief", "expires_at": end.isoformat()}).json()
    brief = person.signed_by(made["api_key"])
    assert brief.get("/user/status").status_code == 200
    until(lambda: brief.get("/user/status").status_code == 401)
    assert datetime.now(timezone.utc) >= end


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"key_name": ""}, 422),
        ({"key_name": "x" * 256}, 422),
        ({"key_name": "x", "expires_at": "soon"}, 422),
        ({"key_name": "x", "expires_at": "2001-01-01T00:00:00Z"}, 400),
        ({"key_name": "x", "expires_at": "0001-01-01T00:00:00+14:00"}, 400),
        ({"key_name": "\ud800"}, 422),
        ([], 422),
    ],
)
def test_a_key_that_does_not_fit_is_not_made(person, body, status):
    before = person.get("/auth/api-keys/").json()
    assert person.http.post("/auth/api-keys/", content=json.dumps(body), headers=JSON).status_code == status
    assert person.get("/auth/api-keys/").json() == before


def test_a_key_tells_whose_it_is(person):
    made = person.post("/auth/api-keys/", {"key_name": "laptop"}).json()
    verdict = person.post("/auth/api-keys/validate", {"api_key": made["api_key"]}).json()
    assert (verdict["valid"], verdict["user_id"], verdict["key_name"]) == (True, person.id, "laptop")
    assert person.post("/auth/api-keys/validate", {"api_key": "lk_none"}).json() == {"valid": False}


@pytest.mark.parametrize("key_id", ["none", "%00", "%ff", "9" * 300])
def test_a_key_that_does_not_exist_is_not_found(person, key_id):
    assert person.patch(f"/auth/api-keys/{key_id}/toggle").status_code == 404


# The page that stands in for the web site


CALLBACK = {"callback": "http://localhost:1/callback"}


def sign_in(cloud, **form):
    """Sign in on the page; return the answer's status and what the callback would get."""
    answer = httpx.post(f"{cloud.base_url}/cli-login", params=CALLBACK, data=form, timeout=PATIENCE)
    query = parse_qs(urlsplit(answer.headers.get("location", "")).query)
    return answer.status_code, {name: values[0] for name, values in query.items()}


def test_the_page_lets_one_choose_the_user(cloud, person):
    page = httpx.get(f"{cloud.base_url}/cli-login", params=CALLBACK).text
    assert f'value="{person.email}"' in page
    assert 'value="local@localhost" checked' in page
    status, query = sign_in(cloud, email=person.email, password=PASSWORD)
    assert (status, query["user"]) == (303, person.email)
    assert person.signed_by(query["token"]).get("/user/status").json()["user_id"] == person.id


def test_the_page_asks_for_the_password_of_who_has_one(cloud, person):
    assert sign_in(cloud, email=person.email) == (401, {})
    assert sign_in(cloud, email=person.email, password="wrong") == (401, {})
    assert sign_in(cloud, email="nobody@example.com") == (401, {})
    assert sign_in(cloud, email="local@localhost", ticket=cloud.ticket)[1]["user"] == "local@localhost"


# The account


def test_a_deleted_account_ends_with_its_keys_sessions_and_organization(api, make_person):
    mira = make_person()
    key = mira.post("/auth/api-keys/", {"key_name": "laptop"}).json()["api_key"]
    tokens = api.post("/auth/login", {"email": mira.email, "password": PASSWORD}).json()
    run = mira.start("import time; time.sleep(600)")
    assert mira.delete("/user/delete").status_code == 200
    for token in (key, tokens["access_token"]):
        assert mira.signed_by(token).get("/user/status").status_code == 401
    assert api.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}).status_code == 401
    assert api.post("/auth/login", {"email": mira.email, "password": PASSWORD}).status_code == 401
    assert api.get(f"/orgs/{mira.slug}").status_code == 403
    assert b"jobFinished" in b"".join(mira.stream(run))
    assert api.cloud.add_user(mira.email)["user_id"] != mira.id


def test_the_only_owner_of_a_shared_organization_cannot_delete_the_account(make_person):
    mira, jon = make_person(), make_person()
    slug = mira.create_org()
    mira.post(f"/orgs/{slug}/members", {"email": jon.email, "role": "admin"})
    key = mira.post(f"/orgs/{slug}/api-keys", {"name": "ci"}).json()["plaintext_key"]
    assert mira.delete("/user/delete").status_code == 403
    assert mira.get("/user/status").status_code == 200
    mira.patch(f"/orgs/{slug}/members/{jon.id}", {"role": "owner"})
    assert mira.delete("/user/delete").status_code == 200
    assert [member["email"] for member in jon.get(f"/orgs/{slug}/members").json()] == [jon.email]
    assert jon.signed_by(key).get("/user/org").json()["slug"] == slug


def test_the_local_user_goes_with_its_cloud_only(api):
    assert api.delete("/user/delete").status_code == 403
    assert api.get("/user/status").status_code == 200
