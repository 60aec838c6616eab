"""Keys, sessions, organizations: who a token stands for."""

from __future__ import annotations

import re
import sqlite3

import httpx
import pytest

CALLBACK = "http://localhost:45678/callback"


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer lk_nobody", "Bearer a.b.c", "Basic x"])
def test_without_a_good_token_nothing_answers(api, header):
    headers = {"Authorization": header} if header else {}
    for path in ("/machine-types", "/user/org", "/billing/credits"):
        answer = httpx.get(f"{api.cloud.base_url}/api/v2/external{path}", headers=headers)
        assert answer.status_code == 401
        assert re.match("Missing token|Invalid or expired token", answer.json()["detail"])


def test_the_key_is_kept_in_a_private_file_and_only_as_a_hash_in_the_database(make_api):
    api = make_api()
    key_file = api.cloud.data / "api_key"
    assert api.cloud.api_key.startswith("lk_")
    assert key_file.read_text() == api.cloud.api_key
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert (api.cloud.data / "cloud.sqlite").stat().st_mode & 0o777 == 0o600
    database = sqlite3.connect(api.cloud.data / "cloud.sqlite")
    assert api.cloud.api_key not in "\n".join(database.iterdump())
    database.close()


def test_a_key_acts_as_the_personal_organization_of_its_owner(api):
    org = api.get("/user/org").json()
    assert (org["slug"], org["is_personal"], org["is_key_scoped"]) == ("local", True, False)
    named = api.http.get("/user/org", headers={"X-Org-Slug": "local"})
    assert named.json() == org


def test_a_foreign_organization_is_refused(api):
    answer = api.http.get("/user/org", headers={"X-Org-Slug": "acme"})
    assert (answer.status_code, answer.json()["detail"]) == (403, "Not a member of an organization 'acme'")
    assert api.get("/orgs/acme/balance").status_code == 403


@pytest.mark.parametrize("callback", ["https://evil.example/callback", "http://evil.example:80/", "file:///etc/passwd"])
def test_tokens_are_sent_to_this_machine_only(api, callback):
    for method in ("GET", "POST"):
        answer = httpx.request(method, f"{api.cloud.base_url}/cli-login", params={"callback": callback})
        assert answer.status_code == 400


def test_another_site_cannot_click_the_button(api):
    page = f"{api.cloud.base_url}/cli-login?callback={CALLBACK}"
    assert httpx.post(page, headers={"Origin": "https://evil.example"}).status_code == 403
    assert httpx.post(page, headers={"Host": "evil.example"}).status_code == 403


def test_a_refused_body_does_not_repeat_what_was_sent(api):
    answer = api.post("/auth/refresh", {"refresh_tokn": "a-secret"})
    assert answer.status_code == 422
    assert "a-secret" not in answer.text
    assert answer.json() == {"detail": [{"loc": ["body", "refresh_token"], "msg": "Field required", "type": "missing"}]}
