"""Keys, sessions, organizations: who a token stands for."""

from __future__ import annotations

import re
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from patience import PATIENCE

from lk_jupyter.localcloud import ticket

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
    assert (answer.status_code, answer.json()["detail"]) == (403, "You aren't a member of the organization 'acme'")
    assert api.get("/orgs/acme/balance").status_code == 403


def sign_in(cloud, query, **form):
    """Click the button of the page."""
    return httpx.post(
        f"{cloud.base_url}/cli-login", params={"callback": CALLBACK, **query}, data=form, timeout=PATIENCE
    )


def holds_a_token(answer):
    return "location" in answer.headers or re.search(r"eyJ|refresh_token", answer.text)


@pytest.mark.parametrize(
    "form", [{}, {"email": "local@localhost"}, {"password": ""}, {"ticket": ""}, {"ticket": "x" * 43}]
)
@pytest.mark.parametrize("query", [{}, {"pass": ""}, {"pass": "9999999999." + "0" * 64}, {"pass": "1.é"}])
def test_another_user_gets_no_token(api, form, query):
    answer = sign_in(api.cloud, query, **form)
    assert answer.status_code in {401, 429}
    assert not holds_a_token(answer)


def test_the_ticket_is_the_owners_and_works_once(make_cloud):
    cloud = make_cloud()
    assert (cloud.data / "ticket").stat().st_mode & 0o777 == 0o600
    first = cloud.ticket
    page = httpx.get(f"{cloud.base_url}/cli-login", params={"callback": CALLBACK})
    assert first not in page.text
    assert page.headers["Referrer-Policy"] == "same-origin"  # without any, browsers hide where a click comes from
    assert str(cloud.data / "ticket") in page.text
    assert "token=" in sign_in(cloud, {}, ticket=f" {first}\n").headers["location"]
    assert cloud.ticket != first
    assert not holds_a_token(sign_in(cloud, {}, ticket=first))


class Program(HTTPServer):
    """A program that waits for its callback, and keeps what was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Waiting)
        self.came = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def callback(self):
        return f"http://localhost:{self.server_port}/callback"


class Waiting(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.came.append(parse_qs(urlsplit(self.path).query))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture
def program():
    made = Program()
    yield made
    made.shutdown()
    made.server_close()


def test_who_reads_a_pass_in_a_command_line_gets_no_token(make_cloud, program):
    cloud = make_cloud()
    asked = {"pass": ticket.make_pass(cloud.data, program.callback, 60), "callback": program.callback, "state": "st"}
    elsewhere = sign_in(cloud, {**asked, "callback": CALLBACK})
    assert (elsewhere.status_code, holds_a_token(elsewhere)) == (401, None)
    copied = sign_in(cloud, asked)
    assert (copied.status_code, holds_a_token(copied)) == (200, None)
    assert program.came[0]["state"] == ["st"]
    assert program.came[0]["user"] == ["local@localhost"]
    assert sign_in(cloud, asked).status_code == 401
    assert len(program.came) == 1


def test_a_pass_ends(make_cloud, program):
    cloud = make_cloud()
    asked = {"pass": ticket.make_pass(cloud.data, program.callback, -2), "callback": program.callback}
    assert sign_in(cloud, asked).status_code == 401
    asked["pass"] = "9" * 10 + asked["pass"][10:]
    assert sign_in(cloud, asked).status_code == 401
    assert program.came == []


@pytest.mark.parametrize(
    "callback",
    [
        "https://evil.example/callback",
        "http://evil.example:80/",
        "file:///etc/passwd",
        "http://localhost:1@evil.example/",
        "http://localhost:99999/",
        "http://localhost/",
    ],
)
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
