"""Who may ask: every route and every verb, without credentials and without the token against forgery."""

from __future__ import annotations

import re

import httpx
import pytest
from patience import PATIENCE

from lk_jupyter.api._endpoint import PLACEHOLDER
from lk_jupyter.api.states import RUN_ID
from lk_jupyter.serverext import allowlist
from lk_jupyter.serverext.routes import ROUTES

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def paths():
    """Return an example of every route, and of every operation that one of them passes on."""
    own = [re.sub(r"\(\[.*?\)", "some-id", pattern).replace("(.*)", "x").replace(".*", "x") for pattern, _ in ROUTES]
    operations = ["api/" + PLACEHOLDER.sub("x", "/".join(template)) for template, _ in allowlist.path_templates()]
    return [*own, *operations]


def test_a_route_takes_each_id_that_a_run_can_have():
    assert [pattern for pattern, _ in ROUTES if "]" in pattern] == [
        f"journal/({RUN_ID})/code",
        f"journal/({RUN_ID})/note",
        f"runs/({RUN_ID})/stream",
        f"runs/({RUN_ID})/page",
        f"vms/({RUN_ID})/ssh",
    ]


@pytest.fixture(scope="module")
def nobody(jupyter):
    """A browser that has not signed in."""
    with httpx.Client(base_url=f"{jupyter.url}lk/", timeout=PATIENCE) as page:
        yield page


@pytest.fixture(scope="module")
def forger(jupyter):
    """The browser of a user who has signed in, led by a page of another site."""
    with httpx.Client(base_url=f"{jupyter.url}lk/", cookies=dict(jupyter.page.cookies), timeout=PATIENCE) as page:
        yield page


def status_of(page, verb, path, **headers):
    answer = page.request(verb, path, headers={"Connection": "close", **headers})
    assert "local@localhost" not in answer.text
    return answer.status_code


def test_there_are_all_routes():
    assert len(paths()) > len(ROUTES) + 50
    assert {"status", "signin", "journal/some-id/code", "api/execution/x"} <= set(paths())


@pytest.mark.parametrize("verb", VERBS)
def test_without_credentials_no_route_answers(nobody, verb):
    answers = {path: status_of(nobody, verb, path) for path in paths()}
    assert {path: status for path, status in answers.items() if status not in {403, 405}} == {}


@pytest.mark.parametrize("path", ["status", "signout", "api/machine-types"])
def test_a_question_before_a_request_shows_and_allows_nothing(nobody, path):
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = nobody.options(path, headers=asked)
    assert answer.text == ""
    assert "Access-Control-Allow-Origin" not in answer.headers


FORGED = [{}, {"X-XSRFToken": "guessed"}, {"Referer": "https://evil.example/"}]


@pytest.mark.parametrize("verb", VERBS)
def test_without_the_token_against_forgery_no_route_answers(forger, verb):
    """Each route gets each of the forged headers, with two of the six verbs."""
    rows = enumerate(paths(), VERBS.index(verb))
    answers = {path: status_of(forger, verb, path, **FORGED[number % len(FORGED)]) for number, path in rows}
    assert {path: status for path, status in answers.items() if status not in {403, 404, 405}} == {}
    assert 403 in answers.values() or verb == "HEAD"
