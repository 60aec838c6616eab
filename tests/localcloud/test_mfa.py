"""The second factor: codes of a real authenticator, used once."""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from contextlib import closing

import httpx
import pyotp
import pytest
from localcloud.people import PASSWORD

CALLBACK = {"callback": "http://localhost:1/callback"}


class App:
    """An authenticator app: each code it gives is good for about half a minute, and given once."""

    def __init__(self, seed):
        self._app = pyotp.TOTP(seed)
        self._ahead = 0

    def code(self):
        """Return the present code first and then the next, which the cloud takes already."""
        self._ahead += 1
        return self._app.at(time.time() + 30 * (self._ahead - 1))


@pytest.fixture
def enrolled(make_person):
    """A user with MFA, the app, and the backup codes."""
    mira = make_person()
    told = mira.post("/mfa/enroll").json()
    app = App(told["secret"])
    assert mira.post("/mfa/verify-enrollment", {"code": app.code()}).json()["success"] is True
    return mira, app, told["backup_codes"]


def sign_in(person):
    tokens = person.post("/auth/login", {"email": person.email, "password": PASSWORD}).json()
    return person.signed_by(tokens["access_token"])


def test_nothing_changes_until_a_code_was_verified(make_person):
    mira = make_person()
    told = mira.post("/mfa/enroll").json()
    assert mira.get("/mfa/status").json()["enabled"] is False
    assert mira.post("/mfa/verify-enrollment", {"code": "000000"}).status_code == 400
    assert sign_in(mira).get("/user/status").status_code == 200
    again = mira.post("/mfa/enroll").json()
    assert again["secret"] != told["secret"]
    assert mira.post("/mfa/verify-enrollment", {"code": App(told["secret"]).code()}).status_code == 400
    assert mira.post("/mfa/verify-enrollment", {"code": App(again["secret"]).code()}).status_code == 200
    status = mira.get("/mfa/status").json()
    assert status["enabled"] is True
    assert status["enrolled_at"]
    assert mira.post("/mfa/enroll").status_code == 400


def test_the_seed_comes_as_an_image_too(person):
    told = person.post("/mfa/enroll").json()
    kind, _, image = told["qr_code_url"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(image).startswith(b"\x89PNG")
    assert len(told["backup_codes"]) == len(set(told["backup_codes"])) == 10
    assert {len(code) for code in told["backup_codes"]} == {8}


def test_a_sign_in_opens_nothing_but_the_second_factor_until_a_code_was_verified(enrolled):
    mira, app, _ = enrolled
    fresh = sign_in(mira)
    refused = fresh.get("/user/status")
    assert refused.status_code == 401
    assert "/mfa/verify" in refused.json()["detail"]
    assert fresh.post("/mfa/disable", {"code": app.code()}).status_code == 401
    assert fresh.get("/mfa/status").json()["enabled"] is True
    assert fresh.post("/mfa/verify", {"code": "000000"}).status_code == 400
    assert fresh.get("/user/status").status_code == 401
    app = App(app._app.secret)
    app.code()
    assert fresh.post("/mfa/verify", {"code": app.code()}).json() == {"success": True, "message": "Verified"}
    assert fresh.get("/user/status").json()["user_id"] == mira.id
    assert mira.get("/user/status").status_code == 200


def test_an_unverified_session_stays_so_when_it_is_renewed(api, enrolled):
    mira, _, backup_codes = enrolled
    tokens = mira.post("/auth/login", {"email": mira.email, "password": PASSWORD}).json()
    renewed = api.post("/auth/refresh", {"refresh_token": tokens["refresh_token"]}).json()
    fresh = mira.signed_by(renewed["access_token"])
    assert fresh.get("/user/status").status_code == 401
    fresh.post("/mfa/verify", {"code": backup_codes[0]})
    assert fresh.get("/user/status").status_code == 200


def test_a_code_works_once(enrolled):
    mira, app, _ = enrolled
    code = app.code()
    assert mira.post("/mfa/verify", {"code": code}).status_code == 200
    assert mira.post("/mfa/verify", {"code": code}).status_code == 400


def test_a_backup_code_works_once_and_tells_how_many_are_left(enrolled):
    mira, _, backup_codes = enrolled
    fresh = sign_in(mira)
    assert fresh.post("/mfa/verify", {"code": backup_codes[0].lower()}).json()["remaining_backup_codes"] == 9
    assert fresh.get("/user/status").status_code == 200
    assert fresh.post("/mfa/verify", {"code": backup_codes[0]}).status_code == 400
    assert fresh.post("/mfa/verify", {"code": backup_codes[1]}).json()["remaining_backup_codes"] == 8


def test_regenerating_voids_the_old_backup_codes(enrolled):
    mira, app, old = enrolled
    assert mira.post("/mfa/regenerate-backup-codes", {"code": "000000"}).status_code == 400
    new = mira.post("/mfa/regenerate-backup-codes", {"code": app.code()}).json()["backup_codes"]
    assert set(new).isdisjoint(old)
    assert mira.post("/mfa/verify", {"code": old[0]}).status_code == 400
    assert mira.post("/mfa/verify", {"code": new[0]}).status_code == 200


def test_disabling_takes_a_code_of_the_app_and_lets_the_password_be_enough_again(enrolled):
    mira, app, backup_codes = enrolled
    assert mira.post("/mfa/disable", {"code": backup_codes[0]}).status_code == 422
    assert mira.post("/mfa/disable", {"code": "000000"}).status_code == 400
    assert mira.post("/mfa/disable", {"code": app.code()}).status_code == 200
    assert mira.get("/mfa/status").json() == {"enabled": False, "enrolled_at": None}
    assert sign_in(mira).get("/user/status").status_code == 200
    assert mira.post("/mfa/verify", {"code": backup_codes[0]}).status_code == 400


def test_a_key_needs_no_second_factor(enrolled):
    mira, _, _ = enrolled
    key = mira.post("/auth/api-keys/", {"key_name": "laptop"}).json()["api_key"]
    assert mira.signed_by(key).get("/user/status").status_code == 200


@pytest.mark.parametrize("body", [{}, {"code": "12345"}, {"code": "12345a"}, {"code": 123456}, {"code": "1" * 9}, []])
@pytest.mark.parametrize("path", ["verify-enrollment", "disable", "regenerate-backup-codes"])
def test_what_is_no_code_is_refused(person, path, body):
    assert person.post(f"/mfa/{path}", body).status_code == 422


@pytest.mark.parametrize("code", ["éééééé", "é" * 8, "\u0000" * 6, "\uff11" * 6])
def test_a_code_of_strange_letters_is_a_wrong_code(enrolled, code):
    mira, _, _ = enrolled
    assert mira.post("/mfa/verify", {"code": code}).status_code == 400


def test_the_page_of_the_browser_sign_in_asks_for_a_code_too(cloud, enrolled):
    mira, _, backup_codes = enrolled
    page = f"{cloud.base_url}/cli-login"
    form = {"email": mira.email, "password": PASSWORD}
    assert httpx.post(page, params=CALLBACK, data=form).status_code == 400
    assert httpx.post(page, params=CALLBACK, data={**form, "code": "000000"}).status_code == 400
    answer = httpx.post(page, params=CALLBACK, data={**form, "code": backup_codes[0]})
    token = httpx.URL(answer.headers["location"]).params["token"]
    assert mira.signed_by(token).get("/user/status").json()["user_id"] == mira.id


def test_backup_codes_are_kept_as_hashes(cloud, enrolled):
    _, _, backup_codes = enrolled
    with closing(sqlite3.connect(cloud.data / "cloud.sqlite")) as db:
        kept = json.dumps(db.execute("SELECT * FROM backup_codes").fetchall())
    assert not any(code in kept for code in backup_codes)
