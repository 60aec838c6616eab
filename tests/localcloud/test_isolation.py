"""Two users, two organizations: what one has, the other neither sees nor changes, by no operation.

Mira has something of everything, and Jon, of another organization, tries all operations with it. What
he tries stands in foreign_*.py: a new operation needs a row there.
"""

from __future__ import annotations

import json
from operator import attrgetter
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from conftest import RunningCloud, for_each
from localcloud.foreign import MARK, PASSING, gathered
from patience import PATIENCE

from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS, PLACEHOLDER
from lk_jupyter.errors import ApiError
from lk_jupyter.localcloud.app import GROUPS

assert GROUPS  # importing them declares all operations

ROWS, MAKERS = gathered()
OURS = [endpoint for endpoint in ENDPOINTS if endpoint.function.__module__.startswith("lk_jupyter.")]
TRIED = [endpoint for endpoint in ROWS if not ROWS[endpoint].untried]
TITLE = attrgetter("title")


def test_every_operation_has_a_row():
    assert [endpoint.title for endpoint in OURS if endpoint not in ROWS] == []
    assert [endpoint.title for endpoint in ROWS if endpoint not in OURS] == []


@pytest.fixture(scope="module")
def quick_cloud(tmp_path_factory):
    """A cloud on which states follow each other at once."""
    running = RunningCloud(tmp_path_factory.mktemp("cloud"), "--clock-speed", "200")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def people(quick_cloud):
    """Two clients, each with the key of a new user, and a key of the second one's organization."""
    cloud = quick_cloud
    tokens = [key_of_a_new_user(cloud) for _ in range(2)]
    with Client(cloud.base_url, tokens[0]) as mira, Client(cloud.base_url, tokens[1]) as jon:
        org_key = jon.orgs.create_api_key(jon.user.org().slug, {"name": "ci"}).plaintext_key
        with Client(cloud.base_url, org_key) as ci:
            yield SimpleNamespace(mira=mira, jon=jon, ci=ci, jons_token=tokens[1])


def key_of_a_new_user(cloud):
    email = f"{uuid4().hex}@example.com"
    cloud.add_user(email)
    with Client(cloud.base_url) as visitor:
        session = visitor.auth.login({"email": email, "password": "correct horse"})
    with Client(cloud.base_url, session.access_token) as user:
        return user.auth.create_api_key({"key_name": "laptop"}).api_key


@pytest.fixture(scope="module")
def world(people):
    """Something of everything, of Mira's; it is the same after all that Jon tried."""
    made = SimpleNamespace(**{name: value for make in MAKERS for name, value in make(people.mira).items()})
    before = view(people.mira, made)
    assert MARK in before
    yield made
    assert view(people.mira, made) == before


def view(mira, world):
    """Return all that Mira can read of it, as text; of what is not steady, that she can."""
    asked = {endpoint: row for endpoint, row in ROWS.items() if endpoint.method == "GET" and not row.untried}
    seen = {endpoint.title: call(mira, endpoint, row.arguments(world)) for endpoint, row in asked.items()}
    seen |= {endpoint.title: "readable" for endpoint, row in asked.items() if not row.is_steady}
    return json.dumps(seen, indent=1, default=str)


def call(client, endpoint, arguments):
    """Call an operation and return its answer as plain data, without what passes."""
    answer = client._send(endpoint.call(**arguments))
    if endpoint.streams:
        return [repr(event) for event in answer]
    if endpoint.downloads:
        return repr(answer.read())
    return lasting(
        endpoint.answer_type.dump_python(answer, mode="json", warnings=False) if answer is not None else None
    )


def lasting(value):
    if isinstance(value, dict):
        return {name: lasting(inner) for name, inner in value.items() if name not in PASSING}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.nightly
@for_each(TRIED, TITLE)
def test_what_is_of_one_organization_is_not_there_for_another(endpoint, people, world):
    row = ROWS[endpoint]
    if row.refused:
        with pytest.raises(ApiError) as refusal:
            call(people.jon, endpoint, row.arguments(world))
        assert refusal.value.status in row.refused
        assert MARK not in refusal.value.detail
    else:
        seen = told(people.jon, endpoint, row.arguments(world))
        assert not [name for name in (MARK, *vars(world).values()) if name in seen]


def told(client, endpoint, arguments):
    """Return an answer, or a refusal that has nothing to do with Mira, as text."""
    try:
        return json.dumps(call(client, endpoint, arguments))
    except ApiError as refusal:
        return str(refusal)


@pytest.mark.nightly
@for_each([endpoint for endpoint in TRIED if ROWS[endpoint].refused], TITLE)
def test_what_is_of_one_organization_is_not_there_for_the_key_of_another(endpoint, people, world):
    with pytest.raises(ApiError) as refusal:
        call(people.ci, endpoint, ROWS[endpoint].arguments(world))
    assert refusal.value.status in {401, *ROWS[endpoint].refused}


@pytest.mark.nightly
@for_each([endpoint for endpoint in OURS if endpoint.auth], TITLE)
def test_nobody_acts_as_an_organization_of_others(endpoint, people, world):
    path = PLACEHOLDER.sub("x", endpoint.server + endpoint.path)
    headers = {"Authorization": f"Bearer {people.jons_token}", "X-Org-Slug": world.slug}
    answer = httpx.request(endpoint.method, people.jon.base_url + path, headers=headers, timeout=PATIENCE)
    assert answer.status_code in {401, 403}  # 401 in the OpenAI form, which knows no 403
    assert "You aren't a member" in answer.text
