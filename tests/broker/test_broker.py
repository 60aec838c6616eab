"""A broker lets no child key spend, see or end more than it was granted, whatever the child and the cloud do."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest
from broker.running import API, RESERVED, START, RunningBroker, read_state, start, start_run, wait_settled
from cloud_process import run_forked
from conftest import for_each
from patience import PATIENCE, wait_until

import lk_jupyter
from lk_jupyter.api._endpoint import ENDPOINTS, EXTERNAL, OPENAI, PLACEHOLDER
from lk_jupyter.broker.__main__ import main
from lk_jupyter.broker.app import _RUN_PATHS, Broker, create_app
from lk_jupyter.broker.keeper import Keeper
from lk_jupyter.broker.models import MODEL_FIELDS
from lk_jupyter.broker.reads import READERS
from lk_jupyter.broker.starts import START_FIELDS
from lk_jupyter.broker.upstream import OrganizationClient, billionths, list_rows
from lk_jupyter.errors import LkError
from lk_jupyter.runs.ports import address

SLEEP = "import time; print('started', flush=True); time.sleep(600)"


def test_amounts_are_rounded_up():
    amounts = ("1.59", 0.1, "0.0000000001", "1.0000000001", "nan", "1e12", None)
    assert [billionths(amount) for amount in amounts] == [1_590_000_000, 10**8, 1, 10**9 + 1, None, None, None]


def test_only_declared_parameters_of_a_query_are_forwarded(broker):
    child = broker.grant()
    run_id = start_run(child)
    wait_settled(child)
    paths = {f"/logs/execution/{run_id}": "limit=5&hours=2", f"/execution/{run_id}/timing": "", "/vms/list": ""}
    for path, query in paths.items():
        assert child.get(f"{API}{path}?{query}").status_code == 200, path
        for unknown in ("org=other", "user_id=1", "all=true", "token=x", "limit%00=1", "Limit=5"):
            answer = child.get(f"{API}{path}?{query}&{unknown}")
            assert answer.status_code == 422, (path, unknown)
            assert "Nothing was done." in answer.json()["detail"]


def test_parallel_starts_reserve_no_more_than_the_grant(broker):
    child = broker.grant(credits=3.5 * RESERVED)
    with ThreadPoolExecutor(20) as threads:
        statuses = [answer.status_code for answer in threads.map(lambda _: start(child, code=SLEEP), range(40))]
    assert sorted(statuses) == [200] * 3 + [402] * 37
    assert read_state(child)["used"] == pytest.approx(3 * RESERVED, abs=1e-8)
    broker.operator.delete(f"/broker/keys/{child.id}")


def test_the_ledger_equals_the_bill_of_the_cloud(broker, upstream):
    child = broker.grant()
    run_id = start_run(child)
    wait_settled(child)
    billed = upstream.http.get(f"/execution/{run_id}").json()["billed"]
    assert read_state(child)["used"] == pytest.approx(float(billed), abs=1e-8)
    assert child.get(f"{API}/billing/credits").json()["remaining_credits"] == pytest.approx(10 - float(billed))


@for_each(
    [
        ({"timeout": 100_000}, {"credits": 1}, 402, "left"),
        ({"timeout": True}, {}, 422, "whole seconds"),
        ({"timeout": -60}, {}, 422, "whole seconds"),
        ({"timeout": "60"}, {}, 422, "whole seconds"),
        ({"timeout": 10**30}, {}, 422, "whole seconds"),
        ({"execution_type": "gpu.unknown"}, {}, 403, "no published price"),
        ({"execution_type": "cpu"}, {}, 403, "no published price"),
        ({"execution_type": ["gpu.a100"]}, {}, 422, "machine type"),
        ({"execution_type": "gpu.h100"}, {"machines": ["gpu.a100"]}, 403, "doesn't allow gpu.h100"),
        ({"metadata": ["x"]}, {}, 422, "metadata"),
        ({"timeout": 90}, {"minutes": 1}, 402, "only 60 s left"),
        ({"timeout": 90}, {"ends_in": 60}, 422, "at most 5"),
        ({}, {"scopes": ["lease"]}, 403, "scope 'runs'"),
    ]
)
def test_a_start_beyond_a_limit_is_refused_and_reserves_nothing(row, broker):
    changes, limits, status, words = row
    child = broker.grant(**limits)
    answer = start(child, **changes)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert (read_state(child)["used"], read_state(child)["active"]) == (0, 0)


def test_a_key_starts_no_more_runs_at_a_time_than_it_allows(broker):
    child = broker.grant(parallel=1)
    run_id = start_run(child, code=SLEEP)
    assert start(child).status_code == 403
    child.post(f"{API}/workloads/abort/{run_id}")
    wait_settled(child)
    start_run(child)


def test_a_key_below_a_key_spends_from_both(broker):
    parent = broker.grant(credits=1.5 * RESERVED, scopes=["runs", "lease"])
    issued = parent.post("/broker/keys", json={"credits": 100}).json()
    child = broker.client(issued["api_key"])
    assert parent.post("/broker/keys", json={"credits": 1, "scopes": ["secrets"]}).status_code == 403
    assert child.post("/broker/keys", json={"credits": 1}).status_code == 403
    start_run(child, code=SLEEP)
    assert (start(child).status_code, start(parent).status_code) == (402, 402)
    assert child.get(f"{API}/billing/credits").json()["remaining_credits"] == pytest.approx(0.5 * RESERVED)
    assert parent.delete(f"/broker/keys/{issued['id']}").json()["state"] == "revoked"
    wait_settled(parent)


def test_forged_and_revoked_keys_do_nothing(broker):
    child, other = broker.grant(), broker.grant()
    assert other.delete(f"/broker/keys/{child.id}").status_code == 403
    assert broker.operator.delete(f"/broker/keys/{child.id}").json()["state"] == "revoked"
    forged = [child.key, child.key[:-1], child.key.upper(), child.id, "x", "lk_", "root", f"{other.key}x", "\u20ac"]
    for key in forged:
        for name, value in (("Authorization", f"Bearer {key}".encode()), ("X-Api-Key", key.encode())):
            answer = broker.client("none").post(f"{API}/execution/streaming/start", json=START, headers={name: value})
            assert answer.status_code == 401, key
    assert child.get("/broker/key").status_code == 401


def test_every_operation_that_is_not_listed_is_refused(broker):
    child = broker.grant(scopes=["runs", "lease"])
    allowed = READERS.keys() | START_FIELDS.keys() | MODEL_FIELDS.keys()
    refused = 0
    for endpoint in ENDPOINTS:
        path = PLACEHOLDER.sub("x", endpoint.path)
        is_run = any(method == endpoint.method and pattern.fullmatch(path) for method, pattern in _RUN_PATHS)
        if is_run or path in allowed or path.startswith(("/stream/", "/vms/")) or OPENAI in endpoint.servers:
            continue
        for server in {*endpoint.servers, EXTERNAL}:
            answer = child.request(endpoint.method, server + path, json={})
            assert answer.status_code == 403, (endpoint, answer.text)
        refused += 1
    assert refused > 75
    for path in (
        "//workloads/list",
        "/workloads/list/",
        "/workloads/../auth/api-keys/",
        "/execution/%2e%2e%2fuser%2fstatus",
    ):
        assert child.get(API + path).status_code in {403, 404}


@for_each(
    [
        ("/execution/gpu_selection/start", "its own time limit"),
        ("/inference/create", "until someone stops it"),
        ("/batches", "isn't known before its end"),
    ]
)
def test_an_operation_without_a_highest_price_is_refused_with_the_reason(row, broker):
    path, reason = row
    child = broker.grant(scopes=["runs", "models", "vms", "bucket"])
    answer = child.post(API + path, json={**START, "model": "local/echo", "input_file_id": "x"})
    assert (answer.status_code, reason in answer.json()["detail"]) == (403, True), answer.text
    assert read_state(child)["used"] == 0


def test_a_key_sees_streams_and_aborts_only_its_own_runs(broker):
    child, other = broker.grant(), broker.grant()
    answer = start(child, code=SLEEP).json()
    run_id, stream = answer["execution_id"], answer["streaming_url"]
    assert other.get(f"{API}/workloads/list").json() == []
    assert [run["execution_id"] for run in child.get(f"{API}/workloads/list").json()] == [run_id]
    for method, path in (
        ("GET", f"/execution/{run_id}"),
        ("GET", f"/execution/streaming/{run_id}/status"),
        ("GET", f"/logs/execution/{run_id}"),
        ("POST", f"/workloads/abort/{run_id}"),
        ("POST", f"/workloads/stop/{run_id}"),
        ("DELETE", f"/execution/{run_id}"),
    ):
        assert other.request(method, API + path).status_code == 404, path
    unsigned = broker.client("none")
    assert other.post(f"/api/v1/stream/{run_id}").status_code == 404
    assert unsigned.post(f"/api/v1/stream/{run_id}", headers={"Authorization": "none"}).status_code == 401
    assert unsigned.post(f"{stream[:-1]}0" if stream[-1] != "0" else f"{stream[:-1]}1").status_code == 401
    with unsigned.stream("POST", stream) as lines:
        assert "started" in next(line for line in lines.iter_lines() if line)
    assert child.delete(f"{API}/execution/{run_id}").status_code == 409
    assert child.post(f"{API}/workloads/abort/{run_id}").status_code == 200
    wait_settled(child)
    rows = child.get(f"{API}/billing/history").json()["executions"]
    assert [row["execution_id"] for row in rows] == [run_id]
    assert other.get(f"{API}/billing/history").json()["executions"] == []


def test_the_ports_of_a_run_are_at_the_cloud_and_not_at_the_broker(broker, upstream, home):
    with lk_jupyter.connect(broker.base_url, broker.grant().key) as session:
        run = session.run("print(1)", gpu="A100", timeout=60)
        assert run.wait(PATIENCE)
        assert address(run, 8888) == f"{upstream.base_url}/ports/{run.execution_id}/8888/"


def test_revoking_a_key_aborts_its_runs(broker, upstream):
    child = broker.grant()
    runs = [start_run(child, code=SLEEP) for _ in range(3)]
    broker.operator.delete(f"/broker/keys/{child.id}")
    for run_id in runs:
        wait_until(lambda run_id=run_id: upstream.http.get(f"/execution/{run_id}").json()["status"] == "aborted")
    listed = next(row for row in broker.operator.get("/broker/keys").json() if row["id"] == child.id)
    assert listed["state"] == "revoked"


def test_revoking_a_key_sends_its_aborts_while_the_cloud_does_not_list_its_runs(odd_broker, odd_cloud):
    odd_cloud.answer = lambda request: odd_cloud.add_run("run-1", request) or (200, {"execution_id": "run-1"})
    odd_cloud.is_listing.clear()
    child = odd_broker.grant()
    start_run(child)
    assert odd_cloud.list_requested.wait(PATIENCE)
    odd_broker.operator.delete(f"/broker/keys/{child.id}")
    try:
        revoked_at = time.monotonic()
        wait_until(lambda: "run-1" in odd_cloud.aborts)
        assert time.monotonic() - revoked_at < 20  # the list is given up after 30 s
    finally:
        odd_cloud.is_listing.set()


def test_the_key_of_the_organization_is_in_no_answer_file_log_or_environment(broker, upstream):
    child = broker.grant(scopes=["runs", "bucket"])
    run_id = start_run(child, code="import os; print(dict(os.environ))")
    wait_settled(child)
    texts = [
        child.get(API + path).text
        for path in (*READERS, f"/execution/{run_id}", f"/logs/execution/{run_id}", "/auth/api-keys/")
    ]
    texts += [broker.operator.get("/broker/keys").text, child.post(f"{API}/storage/credentials").text]
    files = [path.read_bytes().decode(errors="replace") for path in broker.data.parent.rglob("*") if path.is_file()]
    process = Path(f"/proc/{broker.process.pid}")
    system = [(process / name).read_bytes().decode() for name in ("environ", "cmdline")] if process.exists() else []
    assert len(files) >= 3
    assert not [text for text in [*texts, *files, *system] if upstream.api_key in text]
    assert not [text for text in files if child.key in text]


def test_a_key_without_the_scope_starts_nothing_while_secrets_are_stored(broker, upstream):
    child, trusted = broker.grant(), broker.grant(scopes=["runs", "secrets"])
    upstream.http.post("/environment-variables/", json={"name": "HF_TOKEN", "value": "hf_x"}).raise_for_status()
    try:
        answer = wait_until(lambda: (refusal := start(child)).status_code == 403 and refusal)
        assert "stored secrets" in answer.json()["detail"]
        start_run(trusted)
    finally:
        for row in list_rows(upstream.http.get("/environment-variables/").json()):
            upstream.http.delete(f"/environment-variables/{row['id']}")
        wait_until(lambda: start(child, timeout=1).status_code == 200)


@pytest.mark.nightly
def test_containers_of_a_key_without_the_bucket_get_no_mount(odd_broker, odd_cloud):
    odd_cloud.answer = lambda start: (200, {"execution_id": f"run-{len(odd_cloud.starts)}"})
    body = {"docker_image_ref": "python", "execution_type": "gpu.a100", "enable_s3_mount": True, "hidden": 1}
    odd_broker.grant().post(f"{API}/execution/image/start", json=body)
    odd_broker.grant(scopes=["runs", "bucket"]).post(f"{API}/execution/image/start", json=body)
    assert [start["enable_s3_mount"] for start in odd_cloud.starts] == [False, True]
    assert [start["timeout"] for start in odd_cloud.starts] == [60, 60]
    assert not any("hidden" in start for start in odd_cloud.starts)


@pytest.mark.parametrize(("scopes", "size", "status"), [(["files"], 30 << 20, 403), (["runs"], 40 << 20, 413)])
def test_a_large_request_that_cannot_succeed_is_refused_before_its_body_is_read(scopes, size, status, odd_broker):
    child = odd_broker.grant(scopes=scopes)
    host, port = child.base_url.host, child.base_url.port
    head = f"POST {API}/execution/streaming/start HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {child.key}\r\n"
    with socket.create_connection((host, port), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        assert connection.recv(100).split()[1] == str(status).encode()


def test_large_requests_of_a_key_are_answered_and_other_keys_are_answered_meanwhile(odd_broker, odd_cloud):
    odd_cloud.answer = lambda _: (402, {"detail": "no credits"})
    child, other = odd_broker.grant(), odd_broker.grant()
    body = json.dumps({**START, "code": "x" * (20 << 20)})
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(child.post, f"{API}/execution/streaming/start", content=body) for _ in range(3)]
        assert read_state(other)["used"] == 0
        assert [answer.result().status_code for answer in answers] == [402] * 3


@pytest.mark.parametrize("path", ["image", "compose"])
def test_the_time_that_a_container_has_to_stop_is_reserved_too(path, odd_broker, odd_cloud):
    odd_cloud.answer = lambda _: (200, {"status": "pending"})
    reserved = []
    for grace in ({}, {"graceful_timeout": 300}):
        child = odd_broker.grant()
        body = {
            "docker_image_ref": "x",
            "docker_compose_yaml": "x",
            "execution_type": "gpu.a100",
            "timeout": 60,
            **grace,
        }
        child.post(f"{API}/execution/{path}/start", json=body)
        reserved.append(read_state(child)["used"])
    assert reserved == pytest.approx([RESERVED, RESERVED * (60 + 60 + 300) / 120], abs=1e-8)
    refusal = odd_broker.grant().post(f"{API}/execution/{path}/start", json={"graceful_timeout": 3000})
    assert (refusal.status_code, "graceful_timeout" in refusal.text) == (422, True)


@for_each(
    [
        (500, {"detail": "failed"}),
        (200, b"<html>sign in</html>"),
        (200, {"status": "pending"}),
        (200, {"execution_id": "../../etc"}),
        (302, {}, {"location": "http://127.0.0.1:9/"}),
        (408, {"detail": "timeout"}),
        (200, {"execution_id": "run-1", "key": "lk_organization_key_0123456789"}),
    ],
    name=lambda row: str(row)[:60],
)
def test_a_start_with_an_odd_answer_stays_reserved(row, odd_broker, odd_cloud):
    odd_cloud.answer = lambda _: row
    child = odd_broker.grant()
    answer = start(child)
    assert answer.status_code == 502
    assert "lk_organization_key" not in answer.text
    assert read_state(child)["used"] == pytest.approx(RESERVED, abs=1e-8)


@pytest.mark.parametrize("kind", ["model", "run"])
@pytest.mark.parametrize("cut", [0, 1, 15, 29])
def test_a_stream_that_repeats_the_key_of_the_organization_stops_before_it(cut, kind, odd_broker, odd_cloud):
    secret, is_received = "lk_organization_key_0123456789", threading.Event()
    child = odd_broker.grant(scopes=["runs", "models"])
    path, body = f"{API}/serverless/chat/completions", {"model": "local/echo", "messages": [], "stream": True}
    if kind == "run":
        odd_cloud.answer = lambda _: (200, {"execution_id": "run-1"})
        path, body = f"/api/v1/stream/{start_run(child)}", {}

    def pieces():
        text = f'data: {{"note": "Bearer {secret}"}}\n\n'.encode()
        at = text.index(secret.encode()) + cut
        yield b"data: first\n\n" + text[:at]
        assert is_received.wait(PATIENCE)
        yield text[at:] + b"data: last\n\n"

    odd_cloud.pieces, received = pieces(), ""
    with child.stream("POST", path, json=body) as answer, suppress(httpx.HTTPError):
        for text in answer.iter_text():
            received += text
            is_received.set()
    assert received.startswith("data: first")
    assert not [word for word in (secret[:4], secret[4:], "last") if word in received]


@pytest.mark.parametrize("kind", ["body", "header"])
def test_an_answer_of_a_model_that_repeats_the_key_of_the_organization_is_not_forwarded(kind, odd_broker, odd_cloud):
    secret = "lk_organization_key_0123456789"
    odd_cloud.answer = lambda _: (200, {"x": secret}) if kind == "body" else (429, {}, {"retry-after": secret})
    answer = odd_broker.grant(scopes=["models"]).post(
        f"{API}/serverless/chat/completions", json={"model": "local/echo", "messages": []}
    )
    assert (answer.status_code, secret in answer.text + str(answer.headers.raw)) == (502, False)


@for_each([-1.59, "-1.59", 0, "0", "NaN", "Infinity", None, True, 1e30], name=str)
def test_a_machine_whose_price_is_no_amount_starts_nothing(price, odd_broker, odd_cloud):
    odd_cloud.price = price
    child = odd_broker.grant()
    answer = start(child)
    assert (answer.status_code, "no published price" in answer.json()["detail"]) == (403, True), answer.text
    assert (odd_cloud.starts, read_state(child)["used"]) == ([], 0)


def test_a_reader_that_leaves_before_the_first_chunk_leaves_no_connection_to_the_cloud(odd_cloud, ledger):
    mark = ledger.reserve(ledger.grant("root"), operation="x", machine="gpu.a100", price=1, timeout=60, margin=0)
    ledger.activate(mark, "run-1", None)
    headers = [(b"authorization", b"Bearer root-key"), (b"host", b"broker")]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/stream/run-1", "query_string": b"", "headers": headers}

    async def receive():
        return {"type": "http.disconnect"}

    async def send(_):
        await asyncio.sleep(0)

    async def leave_immediately():
        upstream = OrganizationClient(odd_cloud.base_url, "key")
        await create_app(Broker(ledger, upstream, 60, b"secret"))(scope, receive, send)
        assert await asyncio.to_thread(odd_cloud.stream_closed.wait, PATIENCE)
        await upstream.close()

    asyncio.run(leave_immediately())


def test_the_keeper_forgets_a_missing_record_when_the_record_appears(odd_cloud, ledger):
    upstream = OrganizationClient(odd_cloud.base_url, "key")
    keeper = Keeper(ledger, upstream, time.time())
    mark = ledger.reserve(ledger.grant("root"), operation="x", machine="gpu.a100", price=1, timeout=60, margin=0)
    ledger.activate(mark, "run-1", None)

    async def look_twice():
        await keeper.look()
        assert keeper._missing[mark] == 1
        odd_cloud.add_run("run-1", {"metadata": {}}, "completed", billed=0.01)
        await keeper.look()
        await upstream.close()

    asyncio.run(look_twice())
    assert (ledger.open_runs(), keeper._missing) == ([], {})


def test_a_run_whose_start_got_an_odd_answer_is_seen_by_its_key_and_settled(odd_broker, odd_cloud):
    child = odd_broker.grant()
    assert start(child).status_code == 502
    odd_cloud.add_run("run-1", odd_cloud.starts[0])
    assert [run["execution_id"] for run in child.get(f"{API}/workloads/list").json()] == ["run-1"]
    odd_cloud.runs["run-1"] |= {"status": "completed", "billed": 0.01}
    wait_settled(child)
    assert read_state(child)["used"] == pytest.approx(0.01)


def test_a_run_that_a_refused_start_started_all_the_same_is_aborted_and_blocks_the_key(odd_broker, odd_cloud):
    def refuse(request):
        odd_cloud.add_run("run-1", request)
        return 409, {"detail": "conflict"}

    odd_cloud.answer = refuse
    child = odd_broker.grant()
    assert start(child).status_code == 409
    wait_until(lambda: "run-1" in odd_cloud.aborts)
    assert read_state(child)["state"] == "blocked"
    odd_cloud.runs["run-1"] |= {"status": "aborted", "billed": 0.01}
    wait_settled(child)
    assert (start(child).status_code, read_state(child)["used"]) == (403, pytest.approx(0.01))


@pytest.mark.nightly
def test_a_bill_above_the_reservation_blocks_the_key(odd_broker, odd_cloud):
    odd_cloud.answer = lambda request: odd_cloud.add_run("run-1", request) or (200, {"execution_id": "run-1"})
    child = odd_broker.grant()
    start_run(child)
    odd_cloud.runs["run-1"] |= {"status": "completed", "billed": 5}
    wait_settled(child)
    assert read_state(child)["used"] == pytest.approx(5)
    assert start(child).status_code == 403


@pytest.mark.nightly
def test_a_run_that_the_cloud_does_not_end_at_its_limit_is_aborted_and_blocks_the_key(odd_broker, odd_cloud):
    odd_cloud.answer = lambda request: odd_cloud.add_run("run-1", request) or (200, {"execution_id": "run-1"})
    child = odd_broker.grant()
    start_run(child, timeout=1)
    wait_until(lambda: "run-1" in odd_cloud.aborts)
    assert read_state(child)["state"] == "blocked"


@pytest.mark.nightly
def test_two_brokers_of_one_organization_share_neither_keys_nor_runs(broker, upstream, tmp_path):
    other_broker = RunningBroker(tmp_path / "data", upstream.base_url, upstream.api_key)
    try:
        child, other = broker.grant(), other_broker.grant()
        run_id = start_run(child, code=SLEEP)
        assert other_broker.client(child.key).get("/broker/key").status_code == 401
        assert other.get(f"{API}/workloads/list").json() == []
        assert other.post(f"{API}/workloads/abort/{run_id}").status_code == 404
        assert read_state(other)["used"] == 0
        child.post(f"{API}/workloads/abort/{run_id}")
        wait_settled(child)
    finally:
        other_broker.stop()


def test_a_broker_that_is_killed_during_a_start_keeps_the_reservation_and_finds_the_run(odd_broker, odd_cloud):
    is_over = threading.Event()
    odd_cloud.answer = lambda _: is_over.wait(PATIENCE) and (200, {"execution_id": "run-1"})
    child = odd_broker.grant(credits=1.5 * RESERVED)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(start, child)
        assert odd_cloud.start_received.wait(PATIENCE)
        odd_broker.kill()
        is_over.set()
        assert waiting.exception(PATIENCE)
    odd_broker.start()
    child.base_url = odd_broker.base_url
    assert read_state(child)["used"] == pytest.approx(RESERVED, abs=1e-8)
    assert start(child).status_code == 402
    odd_cloud.add_run("run-1", odd_cloud.starts[0], "completed", billed=0.01)
    wait_settled(child)
    assert read_state(child)["used"] == pytest.approx(0.01)


def test_the_package_runs_code_with_a_child_key(broker, home, monkeypatch):
    child = broker.grant(credits=0.25, machines=["gpu.a100"])
    with lk_jupyter.connect(broker.base_url, child.key) as session:
        assert float(session.balance().credits) == 0.25
        assert [offer.profile for offer in session.offers()] == ["gpu.a100"]
        run = session.run("print(6 * 7)", gpu="A100", timeout=60)
        assert run.result().stdout.strip() == "42"
        assert "".join(getattr(event, "content", "") for event in run.follow()) == "42\n"
        assert session.get(run.short_id).status == "completed"
        with pytest.warns(UserWarning, match="credits left"), pytest.raises(LkError, match="credits left\\. Nothing"):
            session.run("print(1)", gpu="A100", timeout=600)


def test_the_command_issues_lists_and_revokes_keys(broker, capsys):
    data = ["--data", str(broker.data)]
    assert main(["grant", *data, "--credits", "2.5", "--machines", "gpu.a100", "--name", "lena"]) == 0
    issued = json.loads(capsys.readouterr().out)
    assert re.fullmatch(r"lk_[\w-]{43}", issued["api_key"])
    assert main(["list", *data]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[-1]["name"] == "lena"
    assert "api_key" not in rows[-1]
    child = broker.client(issued["api_key"])
    run_id = start_run(child)
    wait_settled(child)
    capsys.readouterr()
    assert main(["spending", *data, "--month", f"{datetime.now(timezone.utc):%Y-%m}"]) == 0
    rows = [row for row in csv.DictReader(capsys.readouterr().out.splitlines()) if row["run"] == run_id]
    assert [(row["name"], float(row["credits"])) for row in rows] == [("lena", read_state(child)["used"])]
    assert main(["spending", *data, "--month", "1999-01"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["revoke", *data, issued["id"]]) == 0
    assert main(["grant", *data, "--credits", "nan"]) == 1
    assert "above 0" in capsys.readouterr().err


@pytest.mark.nightly
def test_the_clouds_own_client_runs_a_script_and_aborts_with_a_child_key(broker, tmp_path):
    pytest.importorskip("lyceum")
    child = broker.grant()
    config = {"api_key": child.key, "base_url": broker.base_url}
    (tmp_path / ".lyceum").mkdir()
    (tmp_path / ".lyceum" / "config.json").write_text(json.dumps(config))
    env = {**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "NO_COLOR": "1", "COLUMNS": "200"}
    (tmp_path / "script.py").write_text("print(6 * 7)")

    def lyceum(*words):
        process = run_forked("lyceum", *words, env=env, cwd=tmp_path)
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    printed = lyceum("python", "run", "script.py", "-m", "gpu.a100")
    assert "42" in printed.split()
    run_id = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", printed)[0]
    wait_settled(child)
    assert run_id in lyceum("jobs", "history")
    assert re.search(r"Status:\s+completed", lyceum("jobs", "status", run_id))
    assert "42" in lyceum("jobs", "logs", run_id)
    sleeping = start_run(child, code=SLEEP)
    lyceum("jobs", "abort", sleeping)
    wait_settled(child)
    assert child.get(f"{API}/execution/{sleeping}").json()["status"] == "aborted"
