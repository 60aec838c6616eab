"""Every declaration is a route, found by its own path only."""

from __future__ import annotations

from types import SimpleNamespace

import httpx
import pytest
from patience import PATIENCE

from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.localcloud import app
from lk_jupyter.localcloud._mount import HANDLERS
from lk_jupyter.localcloud.faults import PATH
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.strange import Strange


def test_every_declared_operation_has_a_handler():
    assert [endpoint for endpoint in ENDPOINTS if endpoint not in HANDLERS] == []


@pytest.fixture(scope="module")
def routes():
    """Verb and path of every route that answers without a token: what is no operation of the API."""
    declared = {server + endpoint.path for endpoint in ENDPOINTS for server in endpoint.servers}
    mounted = flat(app.create_app(SimpleNamespace(options=CloudOptions()), Strange())._app.routes)
    undeclared = [route for route in mounted if route.path not in declared]
    pages = [(verb, route.path) for route in undeclared for verb in sorted(getattr(route, "methods", None) or {"GET"})]
    assert ("POST", "/cli-login") in pages
    return [*pages, ("POST", PATH), ("DELETE", PATH)]


def flat(routes):
    """Yield routes, and those of the routers among them."""
    for route in routes:
        router = getattr(route, "original_router", None)
        yield from router.routes if router else [route]


FOREIGN = [
    {"Host": "evil.example"},
    {"Host": "localhost.evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://localhost:1"},
    {"Origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: "-".join(*headers.items()))
def test_no_page_answers_another_site(faulty, routes, headers):
    answers = {}
    for verb, path in routes:
        address = faulty.base_url + path.replace("{session_id}", faulty.checkout)
        params = {"callback": "http://localhost:1/", "nonce": "x"}
        answers[verb, path] = httpx.request(verb, address, params=params, headers=headers, timeout=PATIENCE).status_code
    assert {row: status for row, status in answers.items() if status not in {401, 403}} == {}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A local cloud with every page that there is, and a checkout on it."""
    from conftest import RunningCloud  # noqa: PLC0415 (a fixture of the whole suite)

    running = RunningCloud(tmp_path_factory.mktemp("pages"), "--faults")
    body = {"credits_amount": 10, "success_url": "http://localhost:1/", "cancel_url": "http://localhost:1/"}
    running.checkout = running.http.post("/billing/checkout", json=body).json().get("session_id", "cs")
    yield running
    running.stop()


def test_without_a_token_no_operation_answers(api):
    answers = {}
    for endpoint in ENDPOINTS:
        if endpoint.auth:
            for server in endpoint.servers:
                path = "".join(part.partition("}")[2] or part for part in (server + endpoint.path).split("{"))
                answers[endpoint.method, path] = httpx.request(endpoint.method, api.cloud.base_url + path, json={})
    assert {row: answer.text for row, answer in answers.items() if answer.status_code not in {401, 404, 405}} == {}


def test_fixed_paths_come_before_placeholders(api):
    run = api.run("1")["execution_id"]
    assert api.get(f"/execution/streaming/{run}/status").json()["status"] == "completed"


def test_an_unknown_path_is_not_found_in_the_frameworks_words(api):
    for path in ("/nowhere", "/user/org/", "/machine-types/"):
        answer = httpx.get(f"{api.cloud.base_url}/api/v2/external{path}", headers=api.http.headers)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/api/v2/external/auth/api-keys/", "GET, POST"),
        ("/api/v2/external/orgs/local", "DELETE, GET, PATCH"),
        ("/api/v2/external/vms/x", "DELETE, PATCH"),
        ("/api/v2/external/vms/list", "GET"),
        ("/openai/v1/chat/completions", "POST"),
        ("/iris/openai/v1/models", "GET"),
        ("/iris/anthropic/v1/messages", "POST"),
    ],
)
def test_another_method_is_refused_with_those_that_there_are(api, path, methods):
    answer = httpx.put(f"{api.cloud.base_url}{path}", headers=api.http.headers)
    assert (answer.status_code, answer.headers["Allow"]) == (405, methods)


@pytest.mark.parametrize("slug", ["", "{}", "nobody"])
def test_an_organization_that_is_none_is_refused_and_an_empty_one_too(api, slug):
    for path, status in (("/api/v2/external/user/status", 403), ("/openai/v1/models", 401)):
        answer = httpx.get(f"{api.cloud.base_url}{path}", headers={**api.http.headers, "X-Org-Slug": slug})
        assert answer.status_code == status


@pytest.mark.parametrize("machine", ["gpu.a100.40gb", "gpu.a100.80gb", "gpu.rtx6000pro"])
def test_a_machine_that_the_description_names_is_known(api, machine):
    answer = api.post("/execution/streaming/start", {"code": "1", "execution_type": machine})
    assert (answer.status_code, answer.json()["detail"][:18]) == (403, f"No access to {machine}"[:18])


def test_a_body_that_is_no_json_is_refused_in_the_documented_form(api):
    answer = api.http.post("/execution/streaming/start", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert set(answer.json()["detail"][0]) == {"loc", "msg", "type"}


def test_fields_out_of_range_are_named(api):
    answer = api.post("/execution/streaming/start", {"code": "1", "timeout": 601})
    assert answer.json()["detail"][0]["loc"] == ["body", "timeout"]
