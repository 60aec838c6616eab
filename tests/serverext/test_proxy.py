"""Operations of the API through the Jupyter server."""

from __future__ import annotations

import http.client
import json
from urllib.parse import unquote

import httpx
import psutil
import pytest
from patience import PATIENCE
from serverext.conftest import running

SLOW_RUN = "import time\nprint('first', flush=True)\ntime.sleep(60)"


def test_the_status_tells_who_is_signed_in_and_where(jupyter, cloud):
    status = jupyter.get("status").json()
    assert status["state"] == "signed-in"
    assert status["user"]["email"] == "local@localhost"
    assert (status["base_url"], status["is_local"]) == (cloud.base_url, True)
    assert jupyter.get(f"api/{status['balance_path']}").json()["remaining_credits"] > 0


def test_an_operation_answers_as_the_api_does(jupyter, cloud):
    assert jupyter.get("api/machine-types").json() == cloud.http.get("machine-types").json()


def test_a_deletion_goes_on_with_its_body_and_without_one(jupyter, cloud):
    made = cloud.http.post("inference/create", json={"hf_model_id": "local/echo"}).json()["deployment_id"]
    answer = jupyter.send("DELETE", "api/inference/stop", json={"deployment_id": made})
    assert (answer.status_code, answer.json()["status"]) == (200, "stopped")
    assert jupyter.send("DELETE", "api/inference/stop").status_code == 422
    assert jupyter.send("DELETE", "api/environment-variables/NONE").status_code == 404


def test_what_the_api_refuses_comes_with_its_status_and_words(jupyter):
    answer = jupyter.get("api/execution/00000000-0000-0000-0000-000000000000")
    assert answer.status_code == 404
    assert answer.json()["state"] == "refused"
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("vms/create", {"instance_specs": {"gpu_count": 0}}),
        ("vms/create", {"instance_specs": {"gpu_count": "3"}}),
        ("vms/create", {"gpu_count": 8}),
        ("inference/create", {"hf_model_id": "local/echo", "gpu_count": 0}),
        ("inference/create", {"hf_model_id": "local/echo", "gpu_count": 16}),
    ],
)
def test_a_number_of_gpus_that_costs_otherwise_than_it_says_is_not_passed_on(jupyter, cloud, path, body):
    rented = {"user_public_key": "ssh-ed25519 AAAA", "hardware_profile": "a100"}
    before = cloud.http.get("vms/list").json()["total"], len(cloud.http.get("inference/list").json()["deployments"])
    answer = jupyter.send("POST", f"api/{path}", json={**rented, **body})
    assert (answer.status_code, answer.json()["state"]) == (422, "refused")
    assert "gpu_count" in answer.json()["detail"]
    assert "Nothing was sent." in answer.json()["detail"]
    after = cloud.http.get("vms/list").json()["total"], len(cloud.http.get("inference/list").json()["deployments"])
    assert before == after


def test_a_request_that_was_looked_at_goes_on_as_it_came(jupyter, cloud):
    body = {"user_public_key": "ssh-ed25519 AAAA", "hardware_profile": "a100", "instance_specs": {"gpu_count": 2}}
    made = jupyter.send("POST", "api/vms/create", json=body).json()
    assert made["instance_specs"]["gpu_count"] == 2
    assert cloud.http.delete(f"vms/{made['vm_id']}").status_code == 200
    assert jupyter.send("POST", "api/vms/create", content=b"{").status_code == 422


@pytest.fixture
def budgeted(tmp_path, cloud):
    """A Jupyter server whose user has a budget of nearly nothing."""
    variables = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_DAY_BUDGET": "0.000000001"}
    with running(tmp_path, **variables) as jupyter:
        yield jupyter


RENTED = {"user_public_key": "ssh-ed25519 AAAA", "hardware_profile": "a100"}
HELLO = {"model": "local/echo", "messages": [{"role": "user", "content": "hello"}]}
SPENDS = [
    ("vms/create", RENTED),
    ("inference/create", {"hf_model_id": "local/echo"}),
    ("execution/streaming/start", {"code": "1", "execution_type": "gpu.a100"}),
    ("execution/image/start", {"docker_image_ref": "python:3.11", "execution_type": "gpu.a100"}),
    ("execution/compose/start", {"compose_file_code": "services: {}", "execution_type": "gpu.a100"}),
    ("execution/gpu_selection/start", {"code": "1"}),
    ("batches", {"input_file_id": "file-1"}),
    ("serverless/chat/completions", HELLO),
    ("openai/v1/chat/completions", {**HELLO, "stream": True}),
    ("serverless/embeddings", {"model": "local/hash-embedding", "input": "x" * 5000}),
    ("vms/create", {**RENTED, "instance_specs": "nonsense"}),
]


def test_a_page_spends_no_more_than_the_budget_allows(budgeted, cloud):
    before = cloud.http.get("vms/list").json()["total"], cloud.client.billing.history().total
    for path, body in SPENDS:
        answer = budgeted.send("POST", f"api/{path}", json=body)
        assert answer.status_code in {400, 422}, (path, answer.text)
        assert "budget" in answer.json()["detail"], path
        assert "Nothing was sent." in answer.json()["detail"], path
    assert before == (cloud.http.get("vms/list").json()["total"], cloud.client.billing.history().total)


def test_what_a_page_starts_counts_in_the_budget_and_its_end_too(tmp_path, cloud):
    variables = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_DAY_BUDGET": "2"}
    with running(tmp_path, **variables) as jupyter:
        made = jupyter.send("POST", "api/vms/create", json=RENTED)
        assert made.status_code == 200
        refused = jupyter.send("POST", "api/vms/create", json=RENTED)
        assert "may still be used by active runs and active VMs" in refused.json()["detail"]
        chat = jupyter.send("POST", "api/serverless/chat/completions", json={**HELLO, "max_tokens": 9, "stream": True})
        assert "data:" in chat.text
        assert jupyter.send("DELETE", f"api/vms/{made.json()['vm_id']}").status_code == 200
        second = jupyter.send("POST", "api/vms/create", json=RENTED)
        assert second.status_code == 200
        assert jupyter.send("DELETE", f"api/vms/{second.json()['vm_id']}").status_code == 200


# Who may ask


def test_without_a_token_nothing_is_told(jupyter):
    for method, path in [("GET", "status"), ("GET", "api/machine-types"), ("POST", "signout"), ("GET", "nothing")]:
        answer = httpx.request(method, f"{jupyter.url}lk/{path}")
        assert answer.status_code == 403
        assert set(answer.json()) == {"state", "detail"}


def test_without_the_header_against_forgery_nothing_is_done(jupyter):
    cookies = dict(jupyter.page.cookies)
    for path in ("signout", "api/workloads/abort/x", "storage/move"):
        answer = httpx.post(f"{jupyter.url}lk/{path}", cookies=cookies, json={})
        assert answer.status_code == 403
        assert "_xsrf" in answer.json()["detail"]


def test_another_site_gets_nothing_not_even_by_reading(jupyter):
    cookies = dict(jupyter.page.cookies)
    evil = {"Origin": "https://evil.example", "Referer": "https://evil.example/"}
    for headers in (evil, {"Referer": "https://evil.example/"}, {}):
        answer = httpx.get(f"{jupyter.url}lk/status", cookies=cookies, headers=headers)
        assert answer.status_code in {403, 404}
        assert "local@localhost" not in answer.text
    stolen = {**evil, "X-XSRFToken": cookies["_xsrf"]}
    assert httpx.post(f"{jupyter.url}lk/signout", cookies=cookies, headers=stolen).status_code == 404


def test_a_page_of_the_server_itself_may_read_by_its_address_alone(jupyter):
    answer = httpx.get(f"{jupyter.url}lk/status", cookies=dict(jupyter.page.cookies), headers={"Referer": jupyter.url})
    assert answer.json()["state"] == "signed-in"


# What may be asked


def as_it_is(jupyter, method, path):
    """Send a path that no client would put so."""
    connection = http.client.HTTPConnection(httpx.URL(jupyter.url).netloc.decode(), timeout=30)
    try:
        connection.request(method, path, headers={"Authorization": f"token {jupyter.token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "",
        "machine-types/",
        "/machine-types",
        "v1/stream/x",
        "stream/x",
        "storage/credentials",
        "auth/login",
        "orgs/../machine-types",
        "orgs/%2e%2e/machine-types",
        "execution/..%2fmachine-types",
        "execution/a%2Fb",
        "execution/a%5Cb",
        "execution/a%00b",
        "execution/a%3Fb",
        "execution/%ff",
        "storage/download/a/%2e%2e/b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_not_on_the_list_is_refused(jupyter, method, path):
    status, content = as_it_is(jupyter, method, f"/lk/api/{path}")
    assert (status, content["state"]) in {(404, "not-allowed"), (405, "not-allowed"), (400, "not-allowed")}


@pytest.mark.parametrize(
    "key",
    [
        "x%2F..%2F..%2Fy",
        "x/%2e%2e%2f%2e%2e/y",
        "x%252F..%252F..%252Fy",
        "x/%252e%252e/y",
        "x/%25252e%25252e/y",
        "x/..;/y",
        "x/..;a=b/y",
        "x%3B/..%3Ba/y",
        "x%5C..%5Cy",
        "x/..%5Cy",
        "x/%2e%2e%5cy",
        "x/%c0%ae%c0%ae/y",
        "x/%e0%80%ae/y",
        "x/%20../y",
        "%25" + "25" * 2000 + "2e",
    ],
)
@pytest.mark.parametrize("operation", ["GET storage/download/", "DELETE storage/delete-folder/"])
def test_an_encoded_step_reaches_no_other_operation_with_the_users_key(beside_recorder, recorder, operation, key):
    method, _, path = operation.partition(" ")
    before = len(recorder.requests)
    status, content = as_it_is(beside_recorder, method, f"/lk/api/{path}{key}")
    assert (status, content["state"]) in {(404, "not-allowed"), (400, "not-allowed")}
    assert len(recorder.requests) == before


@pytest.mark.parametrize("key", ["100%25.csv", "a;b.txt", ".hidden/..x", "%E2%80%A6", "a%20..b"])
def test_an_odd_name_of_a_file_is_still_a_name(beside_recorder, recorder, key):
    as_it_is(beside_recorder, "GET", f"/lk/api/storage/download/{key}")
    path, _ = recorder.requests[-1]
    assert unquote(path).endswith(f"/storage/download/{unquote(key)}")


def test_a_verb_that_is_not_declared_is_refused(jupyter):
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = jupyter.send(method, "api/machine-types")
        assert (answer.status_code, answer.json()["state"]) == (405, "not-allowed")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "auth/api-keys/"),
        ("POST", "auth/refresh"),
        ("POST", "mfa/enroll"),
        ("POST", "storage/credentials"),
        ("POST", "orgs/local/api-keys"),
        ("POST", "orgs/local/api-keys/x/regenerate"),
    ],
)
def test_what_would_hand_out_a_secret_is_refused_with_a_reason(jupyter, method, path):
    answer = jupyter.send(method, f"api/{path}", json={})
    assert answer.status_code == 404
    assert "a browser can't use this operation" in answer.json()["detail"]


# What passes


@pytest.fixture(scope="module")
def beside_recorder(recorder, tmp_path_factory):
    home = tmp_path_factory.mktemp("recorded")
    with running(home, LK_BASE_URL=recorder.base_url, LK_API_KEY="lk_the_users_key", LK_ORG="team-a") as server:
        yield server


def test_only_what_the_api_needs_of_a_request_goes_on_to_it(beside_recorder, recorder):
    headers = {"X-Forwarded-For": "10.0.0.1", "Authorization": f"token {beside_recorder.token}", "X-Org-Slug": "other"}
    recorder.answer = {"executions": [], "total_executions": 0, "total_credits_spent": 0}
    beside_recorder.get("api/billing/history", params={"limit": 5, "token": "secret", "x": "y"}, headers=headers)
    path, sent = recorder.requests[-1]
    assert path == "/api/v2/external/billing/history?limit=5"
    names = {name.lower() for name in sent}
    assert names == {"host", "accept", "accept-encoding", "connection", "user-agent", "x-org-slug", "authorization"}
    assert sent["Authorization"] == "Bearer lk_the_users_key"
    assert sent["X-Org-Slug"] == "team-a"


def test_a_page_hears_how_far_the_clock_of_the_api_is_ahead(beside_recorder, recorder, monkeypatch):
    monkeypatch.setattr(recorder, "ahead", 3600)
    assert beside_recorder.get("status").json()["ahead"] == pytest.approx(3600, abs=5)


def test_only_what_the_page_needs_of_an_answer_comes_back(beside_recorder, recorder):
    recorder.answer = {
        "execution_id": "x",
        "status": "completed",
        "streaming_url": "http://secret",
        "docker_run_env": "PASSWORD=x",
        "stdout": "my key is lk_the_users_key",
        "nested": [{"api_key": "lk_other", "kept": 1}],
    }
    answer = beside_recorder.get("api/execution/x")
    assert answer.json() == {
        "execution_id": "x",
        "status": "completed",
        "stdout": "my key is …",
        "nested": [{"kept": 1}],
    }
    assert not {"x-upstream", "set-cookie"} & set(answer.headers) or "evil" not in answer.headers.get("set-cookie", "")
    assert "access-control-allow-origin" not in answer.headers


# Troubles as states


def test_a_page_of_html_is_no_api(jupyter, faults):
    faults(path="/machine-types", html=True, status=200)
    answer = jupyter.get("api/machine-types")
    assert (answer.status_code, answer.json()["state"]) == (502, "not-an-api")


def test_a_gateway_without_an_api_behind_it_is_unreachable(jupyter, faults):
    faults(path="/machine-types", html=True)
    assert jupyter.get("api/machine-types").json()["state"] == "unreachable"


def test_an_api_that_takes_longer_than_ten_seconds_is_slow(jupyter, faults):
    faults(path="/machine-types", delay=60)
    answer = jupyter.get("api/machine-types")
    assert (answer.status_code, answer.json()["state"]) == (504, "slow")
    assert answer.elapsed.total_seconds() < 60


def test_a_status_of_a_slow_api_is_a_state_of_its_own(jupyter, faults):
    faults(path="/user/", status=503, times=2)
    status = jupyter.get("status")
    assert (status.status_code, status.json()["state"]) == (200, "unreachable")


# Streams and files


@pytest.fixture
def run(cloud):
    """A function that starts code on the cloud; what still runs is aborted at the end."""
    started = []

    def start(code):
        body = {"code": code, "execution_type": "cpu", "timeout": 100}
        started.append(cloud.http.post("execution/streaming/start", json=body).json()["execution_id"])
        return started[-1]

    yield start
    for execution_id in started:
        cloud.http.post(f"workloads/abort/{execution_id}")


def events(lines):
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_the_output_of_a_run_comes_while_it_runs_and_without_its_address(jupyter, run):
    with jupyter.page.stream("GET", f"lk/runs/{run(SLOW_RUN)}/stream") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert "first" in next(events(answer.iter_lines()))["output"]


def test_the_stream_ends_with_how_the_run_ended(jupyter, run):
    with jupyter.page.stream("GET", f"lk/runs/{run('print(1); raise SystemExit(3)')}/stream") as answer:
        *_, last = events(answer.iter_lines())
    assert last == {"finished": {"return_code": 3, "error": None}}


def test_a_run_that_has_no_stream_is_told_in_the_stream(jupyter):
    with jupyter.page.stream("GET", "lk/runs/no-such-run/stream") as answer:
        (only,) = events(answer.iter_lines())
    assert only["trouble"]["state"] == "refused"


def test_a_run_that_a_page_starts_never_shows_its_address(jupyter):
    body = {"code": "print(2)", "execution_type": "cpu"}
    answer = jupyter.send("POST", "api/execution/streaming/start", json=body)
    assert "streaming_url" not in answer.text
    with jupyter.page.stream("GET", f"lk/runs/{answer.json()['execution_id']}/stream") as stream:
        *_, last = events(stream.iter_lines())
    assert last == {"finished": {"return_code": 0, "error": None}}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("GET", "runs/endless/stream", None), ("POST", "api/serverless/chat/completions", {"stream": True})],
)
def test_a_stream_comes_as_it_is_sent_and_ends_upstream_when_the_page_goes(
    beside_recorder, recorder, method, path, body
):
    recorder.reader_has_gone.clear()
    with beside_recorder.page.stream(method, f"lk/{path}", json=body) as answer:
        lines = answer.iter_lines()
        assert "tick" in next(lines)
        assert not recorder.reader_has_gone.is_set()
    assert recorder.reader_has_gone.wait(PATIENCE)


def test_a_download_that_breaks_is_no_whole_file(jupyter, cloud, faults):
    cloud.http.post("storage/upload", params={"key": "big.bin"}, files={"file": b"x" * 3_000_000}).raise_for_status()
    faults(path="/storage/download/big.bin", cut_after=100_000)
    with pytest.raises(httpx.RemoteProtocolError):
        jupyter.get("api/storage/download/big.bin")
    whole = jupyter.get("api/storage/download/big.bin")
    assert len(whole.content) == 3_000_000
    assert whole.headers["content-disposition"] == "attachment; filename*=utf-8''big.bin"
    assert whole.headers["x-content-type-options"] == "nosniff"
    cloud.http.delete("storage/delete/big.bin").raise_for_status()


@pytest.mark.nightly
def test_a_large_file_goes_up_in_pieces_and_is_never_held(jupyter, cloud):
    size, piece = 200_000_000, b"0123456789abcdef" * 65536
    before = memory_of(jupyter)
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    tail = b"\r\n--b--\r\n"

    def form():
        yield head
        yield from (piece[: min(len(piece), size - at)] for at in range(0, size, len(piece)))
        yield tail

    headers = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Content-Length": str(len(head) + size + len(tail)),
    }
    answer = jupyter.send("POST", "api/storage/upload?key=up/large.bin", content=form(), headers=headers)
    assert answer.json()["size"] == size
    assert memory_of(jupyter) - before < 60_000_000
    cloud.http.delete("storage/delete/up/large.bin").raise_for_status()


def memory_of(jupyter):
    return psutil.Process(jupyter.pid).memory_info().rss


def test_a_server_under_a_prefix_answers_there_alone(cloud, tmp_path):
    with running(tmp_path, prefix="/user/ada/", LK_BASE_URL=cloud.base_url, LK_API_KEY=cloud.api_key) as server:
        assert server.get("status").json()["state"] == "signed-in"
        assert server.get("api/machine-types").json()["count"] > 0
        outside = httpx.get(server.url.removesuffix("user/ada/") + "lk/status", headers=server.page.headers)
        assert outside.status_code == 404


@pytest.fixture
def read_only(jupyter):
    """Read-only mode for the user of the Jupyter server."""
    config = jupyter.logs.parent / ".config" / "lk_jupyter" / "config.json"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('{"read_only": true}')
    yield
    config.unlink()


@pytest.mark.usefixtures("read_only")
@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("POST", "api/execution/streaming/start", {"json": {"code": "print(1)", "execution_type": "cpu"}}),
        ("POST", "api/vms/create", {"json": {"user_public_key": "ssh-ed25519 AAAA", "hardware_profile": "a100"}}),
        ("POST", "api/storage/upload?key=read-only.txt", {"files": {"file": b"x"}}),
        ("DELETE", "api/storage/delete/read-only.txt", {}),
        ("PATCH", "api/orgs/any", {"json": {"name": "Other"}}),
        ("POST", "storage/folder", {"json": {"folder": "read-only/"}}),
        ("POST", "storage/move", {"json": {"source": "before.txt", "target": "after.txt"}}),
    ],
)
def test_lab_changes_nothing_in_read_only_mode_and_shows_the_reason(jupyter, cloud, method, path, options):
    cloud.http.post("storage/upload", params={"key": "before.txt"}, files={"file": b"x"}).raise_for_status()
    answer = jupyter.send(method, path, **options)
    assert (answer.status_code, answer.json()["state"]) == (400, "refused")
    assert answer.json()["detail"].startswith("Read-only mode is on. Nothing was sent. Switch it off: %lk_config")
    keys = {row["key"] for row in cloud.http.get("storage/list-files").json()}
    assert ("before.txt" in keys, {"read-only.txt", "after.txt", "read-only/.keep"} & keys) == (True, set())
    cloud.http.delete("storage/delete/before.txt").raise_for_status()


def test_lab_aborts_a_run_in_read_only_mode(jupyter, cloud, read_only):
    run = cloud.http.post("execution/streaming/start", json={"code": SLOW_RUN, "execution_type": "gpu.a100"}).json()
    assert jupyter.send("POST", f"api/workloads/abort/{run['execution_id']}").status_code == 200


def test_changes_from_lab_are_in_the_audit_log_with_their_target_and_status(jupyter, cloud):
    log = jupyter.logs.parent / ".local" / "share" / "lk_jupyter" / "audit.jsonl"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    secret = "correct-horse-battery-staple-41"
    jupyter.send("POST", "api/environment-variables/", json={"name": "LK_LAB", "value": secret})
    made = cloud.http.get("environment-variables/").json()["environment_variables"]
    variable = next(row["id"] for row in made if row["name"] == "LK_LAB")
    assert jupyter.send("DELETE", f"api/environment-variables/{variable}").status_code == 200
    assert jupyter.send("DELETE", "api/vms/none").status_code == 404
    rows = [json.loads(line) for line in log.read_text().splitlines()][before:]
    assert [(row["operation"], row["target"], row["status"], row["source"]) for row in rows] == [
        ("EnvironmentVariables.upsert", "", 200, "JupyterLab"),
        ("EnvironmentVariables.delete", variable, 200, "JupyterLab"),
        ("Vms.delete", "none", 404, "JupyterLab"),
    ]
    assert secret not in log.read_text()
