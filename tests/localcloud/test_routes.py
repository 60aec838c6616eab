"""Every declaration is a route, found by its own path only."""

from __future__ import annotations

import httpx

from lk_jupyter.api._endpoint import ENDPOINTS
from lk_jupyter.localcloud import app as _app  # noqa: F401 (importing it registers all handlers)
from lk_jupyter.localcloud._mount import HANDLERS


def test_every_declared_operation_has_a_handler():
    assert [endpoint for endpoint in ENDPOINTS if endpoint not in HANDLERS] == []


def test_fixed_paths_come_before_placeholders(api):
    run = api.run("1")["execution_id"]
    assert api.get(f"/execution/streaming/{run}/status").json()["status"] == "completed"


def test_an_unknown_path_is_not_found_in_the_frameworks_words(api):
    for path in ("/nowhere", "/user/org/", "/machine-types/"):
        answer = httpx.get(f"{api.cloud.base_url}/api/v2/external{path}", headers=api.http.headers)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_a_body_that_is_no_json_is_refused_in_the_documented_form(api):
    answer = api.http.post("/execution/streaming/start", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert set(answer.json()["detail"][0]) == {"loc", "msg", "type"}


def test_fields_out_of_range_are_named(api):
    answer = api.post("/execution/streaming/start", {"code": "1", "timeout": 601})
    assert answer.json()["detail"][0]["loc"] == ["body", "timeout"]
