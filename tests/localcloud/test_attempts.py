"""Passwords, codes and tokens that somebody tries one after the other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import HTTPException
from localcloud.people import PASSWORD, PREFIX, Person
from patience import PATIENCE

from lk_jupyter.localcloud.accounts import attempts
from lk_jupyter.localcloud.accounts.attempts import ALL_ATTEMPTS, USER_ATTEMPTS, Attempts


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A local cloud whose clock is slow, so that no pause is over before the next attempt on a busy machine."""
    from conftest import RunningCloud  # noqa: PLC0415 (a fixture of the whole suite)

    running = RunningCloud(tmp_path_factory.mktemp("slow"), "--clock-speed", "0.2")
    yield running
    running.stop()


@pytest.fixture
def mira(slow):
    with Person.added(slow) as person:
        yield person


def log_in(cloud, email, password):
    return httpx.post(
        f"{cloud.base_url}{PREFIX}/auth/login", json={"email": email, "password": password}, timeout=PATIENCE
    )


def ask(cloud, token):
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{cloud.base_url}{PREFIX}/user/status", headers=headers, timeout=PATIENCE)


def assert_paused(answer):
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.json()["detail"].startswith("Too many failed attempts. Try again in")


def test_a_password_is_not_found_by_trying(slow, mira):
    wrong = [log_in(slow, mira.email, f"guess {number}") for number in range(USER_ATTEMPTS)]
    assert {answer.status_code for answer in wrong} == {401}
    assert_paused(log_in(slow, mira.email.upper(), PASSWORD))
    assert ask(slow, mira.token).status_code == 200


def test_the_owner_signs_in_when_the_pause_is_over(slow, mira, until):
    for number in range(USER_ATTEMPTS):
        log_in(slow, mira.email, f"guess {number}")
    assert until(lambda: (answer := log_in(slow, mira.email, PASSWORD)).status_code == 200 and answer)
    assert log_in(slow, mira.email, "one slip").status_code == 401


def test_many_guesses_at_once_are_no_more_than_one_after_the_other(slow, mira):
    with ThreadPoolExecutor(20) as pool:
        answers = pool.map(lambda number: log_in(slow, mira.email, f"guess {number}").status_code, range(40))
    assert list(answers).count(401) <= USER_ATTEMPTS + 2  # some pauses are over before the last guess


def test_the_page_of_the_sign_in_is_no_way_around(slow, mira):
    page, asked = f"{slow.base_url}/cli-login", {"callback": "http://localhost:1/"}
    for number in range(USER_ATTEMPTS):
        httpx.post(page, params=asked, data={"email": mira.email, "password": f"guess {number}"}, timeout=PATIENCE)
    answer = httpx.post(page, params=asked, data={"email": mira.email, "password": PASSWORD}, timeout=PATIENCE)
    assert (answer.status_code, "location" in answer.headers) == (429, False)
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("path", ["verify", "disable", "regenerate-backup-codes"])
def test_a_code_is_not_found_by_trying_not_even_with_new_sessions(slow, mira, path):
    pyotp = pytest.importorskip("pyotp")
    app = pyotp.TOTP(mira.post("/mfa/enroll").json()["secret"])
    assert mira.post("/mfa/verify-enrollment", {"code": app.now()}).status_code == 200
    codes = [code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code != app.now()]
    for code in codes[:USER_ATTEMPTS]:
        token = log_in(slow, mira.email, PASSWORD).json()["access_token"]
        tried(slow, token if path == "verify" else mira.token, path, code)
    assert_paused(tried(slow, mira.token, path, app.at(time.time() + 30)))


def tried(cloud, token, path, code):
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{cloud.base_url}{PREFIX}/mfa/{path}", json={"code": code}, headers=headers, timeout=PATIENCE)


def test_tokens_are_not_tried_without_end_and_the_owners_is_taken_all_the_same(make_cloud):
    cloud = make_cloud()
    answers = [ask(cloud, f"lk_guess{number}").status_code for number in range(ALL_ATTEMPTS)]
    assert set(answers) == {401}
    assert_paused(ask(cloud, "lk_another"))
    assert_paused(ask(cloud, "a.b.c"))
    refreshed = httpx.post(f"{cloud.base_url}{PREFIX}/auth/refresh", json={"refresh_token": "x"}, timeout=PATIENCE)
    assert refreshed.status_code == 401
    assert ask(cloud, cloud.api_key).status_code == 200


def test_a_program_whose_token_has_ended_may_ask_again_and_again(slow):
    assert {ask(slow, "lk_revoked").status_code for _ in range(ALL_ATTEMPTS * 2)} == {401}


class Clock:
    """The time of attempts, which passes when it is told."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(attempts.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def pause(tried, user="mira"):
    """Guess wrong; return the seconds that one has to wait, 0 when the guess was looked at."""
    try:
        with tried.limit_attempts("password", user):
            int("a wrong guess")
    except ValueError:
        return 0
    except HTTPException as refusal:
        return int(refusal.headers["Retry-After"])


def test_pauses_double_up_to_a_quarter_of_an_hour_and_are_forgotten(clock):
    tried, pauses = Attempts(), []
    for _ in range(20):
        while left := pause(tried):
            pauses.append(left)
            clock.now += left
    assert pauses[:6] == [1, 2, 4, 8, 16, 32]
    assert pauses[-1] == 900
    clock.now += 3601
    assert [pause(tried) for _ in range(USER_ATTEMPTS + 1)] == [0] * USER_ATTEMPTS + [1]


def test_a_faster_clock_makes_pauses_shorter(clock):
    tried = Attempts(speed=100)
    for _ in range(USER_ATTEMPTS):
        pause(tried)
    clock.now += 0.011
    assert pause(tried) == 0


def test_guesses_for_another_user_each_time_pause_too_and_fill_no_memory(clock):
    tried = Attempts()
    assert [pause(tried, f"user {number}") for number in range(ALL_ATTEMPTS + 1)] == [0] * ALL_ATTEMPTS + [1]
    for number in range(30_000):
        clock.now += 1000
        pause(tried, f"user {number}")
    assert len(tried._subjects) <= attempts._MOST_SUBJECTS
