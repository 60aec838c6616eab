"""The machine picker's table, as a page asks for it."""

from __future__ import annotations

import pytest
from serverext.conftest import running

from lk_jupyter.config.settings import setting


def _profiles(answer):
    return [row["profile"] for row in answer["rows"]]


def test_the_table_is_what_fits_in_the_order_that_is_wished(jupyter):
    everything = jupyter.get("machines").json()
    assert everything["total"] == f"{len(everything['rows'])} of {len(everything['rows'])} machines."
    assert (everything["default"], everything["default_timeout"]) == ("gpu.l40s", setting("timeout"))
    wish = {"memory": "60 GB", "price": "3", "available": "1", "limit": "10 min", "descending": "1"}
    found = jupyter.get("machines", params=wish).json()
    assert _profiles(found) == ["gpu.h100", "gpu.a100"]
    assert (found["rows"][1]["worst"], found["rows"][1]["price_per_hour"]) == ("0.2654 credits", "1.59")
    assert (found["cheapest"], found["problem"], found["none_fits"]) == ("gpu.a100", "", "")
    assert _profiles(jupyter.get("machines", params={"text": "h", "by": "profile"}).json()) == ["gpu.h100", "gpu.h200"]


@pytest.mark.parametrize(
    ("wish", "words", "has_rows"),
    [
        ({"memory": "lots"}, "Memory 'lots' isn't valid", False),
        ({"price": "-1"}, "The price '-1' isn't valid", False),
        ({"by": "colour"}, "Unknown column 'colour'", False),
        ({"memory": "9000"}, "No machine matches", True),
    ],
)
def test_a_wish_that_cannot_be_met_is_told_in_words(jupyter, wish, words, has_rows):
    answer = jupyter.get("machines", params=wish).json()
    assert answer["problem"].startswith(words)
    assert answer["rows"] == ([] if has_rows else None)
    assert answer["cheapest"] is None
    assert answer["none_fits"].startswith("No machine that you may use has" if has_rows else words)


def test_a_trouble_is_a_state_and_what_the_server_does_not_tell_is_not_told(cloud, faults, tmp_path):
    faults(path="/vms/availability", status=503, times=None)
    faults(path="/user/quotas/available-hardware", status=503, times=None)
    faults(path="/machine-types", html=True, status=200, times=1)
    with running(tmp_path, LK_BASE_URL=cloud.base_url, LK_API_KEY=cloud.api_key) as server:
        trouble = server.get("machines")
        assert (trouble.status_code, trouble.json()["state"]) == (502, "not-an-api")
        rows = server.get("machines").json()["rows"]
        assert {(row["free"], row["allowed"]) for row in rows} == {("unknown", "yes")}


def test_the_machine_of_runs_that_name_none_is_kept_and_what_overrules_it_is_said(cloud, tmp_path):
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    with running(tmp_path, **signed_in) as server:
        kept = server.send("POST", "machines/default", json={"machine": "gpu.a100"})
        assert kept.json() == {"default": "gpu.a100", "said": []}
        assert server.get("machines").json()["default"] == "gpu.a100"
        wrong = server.send("POST", "machines/default", json={"machine": "gpu.none"})
        assert (wrong.status_code, wrong.json()["state"]) == (400, "bad-request")
        assert server.get("machines").json()["default"] == "gpu.a100"
    with running(tmp_path, **signed_in, LK_MACHINE="cpu") as server:
        said = server.send("POST", "machines/default", json={"machine": "gpu.h100"}).json()
        assert said == {"default": "cpu", "said": ["But LK_MACHINE overrides it: cpu."]}
