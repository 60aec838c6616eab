"""Faults on request."""

from __future__ import annotations

import time

import httpx
import pytest


@pytest.fixture(scope="module")
def faulty(cloud, tmp_path_factory):
    running = type(cloud)(tmp_path_factory.mktemp("cloud"), "--faults")
    yield running
    running.stop()


@pytest.fixture
def order(faulty):
    yield lambda *rows: httpx.post(f"{faulty.base_url}/_faults", json=list(rows)).raise_for_status()
    httpx.delete(f"{faulty.base_url}/_faults").raise_for_status()


def test_a_status_comes_on_the_nth_call(faulty, order):
    order({"method": "GET", "path": "/user/org", "nth": 2, "times": 2, "status": 503, "headers": {"Retry-After": "0"}})
    answers = [faulty.http.get("/user/org") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200, 200]
    assert answers[1].headers["Retry-After"] == "0"


def test_a_fault_hits_its_method_and_path_only(faulty, order):
    order({"method": "POST", "path": "/user/org", "times": None, "status": 503})
    assert faulty.http.get("/user/org").status_code == 200


def test_a_stream_is_cut_after_so_many_bytes_also_in_a_character(faulty, order):
    started = faulty.http.post("/execution/streaming/start", json={"code": "print('grün')"}).json()
    whole = httpx.post(started["streaming_url"]).content
    within = whole.index("ü".encode()) + 1
    order({"path": "/stream/", "cut_after": within})
    got = []
    with httpx.stream("POST", started["streaming_url"]) as response, pytest.raises(httpx.RemoteProtocolError):
        got.extend(response.iter_raw())
    assert b"".join(got) == whole[:within]
    assert httpx.post(started["streaming_url"]).content == whole


def test_an_answer_is_lost_and_the_request_took_effect(faulty, order):
    before = faulty.http.get("/billing/history").json()["total_executions"]
    order({"path": "/execution/streaming/start", "lose_answer": True})
    with pytest.raises(httpx.RemoteProtocolError):
        faulty.http.post("/execution/streaming/start", json={"code": "1"})
    assert faulty.http.get("/billing/history").json()["total_executions"] == before + 1


def test_a_proxys_page_comes_in_place_of_the_answer(faulty, order):
    order({"path": "/user/org", "html": True})
    answer = faulty.http.get("/user/org")
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")


def test_a_delay_comes_before_the_answer(faulty, order):
    order({"path": "/user/org", "delay": 0.3})
    begin = time.monotonic()
    assert faulty.http.get("/user/org").status_code == 200
    assert time.monotonic() - begin >= 0.3


def test_cleared_faults_hit_nothing(faulty, order):
    order({"path": "/user/org", "status": 503, "times": None})
    httpx.delete(f"{faulty.base_url}/_faults")
    assert faulty.http.get("/user/org").status_code == 200


def test_a_row_with_an_unknown_field_is_refused(faulty):
    answer = httpx.post(f"{faulty.base_url}/_faults", json=[{"path": "/", "statsu": 500}])
    assert answer.status_code == 400
    assert "statsu" in answer.json()["detail"]


def test_without_the_option_there_are_no_faults(cloud):
    assert httpx.post(f"{cloud.base_url}/_faults", json=[]).status_code == 404


def test_any_body_comes_in_place_of_the_answer_and_the_request_took_effect(faulty, order):
    before = faulty.http.get("/billing/history").json()["total_executions"]
    order({"path": "/execution/streaming/start", "status": 202, "body": "[null]", "handled": True})
    answer = faulty.http.post("/execution/streaming/start", json={"code": "1"})
    assert (answer.status_code, answer.json()) == (202, [None])
    assert faulty.http.get("/billing/history").json()["total_executions"] == before + 1


@pytest.mark.parametrize("is_handled", [False, True])
def test_a_connection_is_reset_before_or_after_the_request_took_effect(faulty, order, is_handled):
    before = faulty.http.get("/billing/history").json()["total_executions"]
    order({"path": "/execution/streaming/start", "reset": True, "handled": is_handled})
    with pytest.raises(httpx.ReadError):
        faulty.http.post("/execution/streaming/start", json={"code": "1"})
    assert faulty.http.get("/billing/history").json()["total_executions"] == before + is_handled
