"""A cloud whose switches are all on: each does what the help says."""

from __future__ import annotations

import time

import httpx
import pytest
from conftest import RunningCloud
from localcloud.test_s3 import client_of
from patience import PATIENCE

from lk_jupyter.config.assumptions import ASSUMPTIONS
from lk_jupyter.localcloud.options import SWITCHES

FINAL = {"finalized", "broken_off"}
STATUS = "/execution/streaming/{}/status"


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A cloud that differs in every way that it can; no token is sent where the test gives none."""
    running = RunningCloud(tmp_path_factory.mktemp("strange"), "--strange", "all", "--clock-speed", "20")
    yield running
    running.stop()


def runs(cloud):
    listed = [*cloud.http.get("/workloads/list").json(), *cloud.http.get("/billing/history").json()["executions"]]
    return {row["execution_id"]: row for row in listed}


def start(cloud, code, **fields):
    """Start a run, whose id no answer gives."""
    before = set(runs(cloud))
    answer = cloud.http.post("/execution/streaming/start", json={"code": code, **fields})
    assert (answer.status_code, answer.json()) == (202, {"status": "accepted"})
    (made,) = set(runs(cloud)) - before
    return made


def ended(cloud, code, **fields):
    """Start a run and return its record when it has ended."""
    made = start(cloud, code, **fields)
    deadline = time.monotonic() + PATIENCE
    while cloud.http.get(STATUS.format(made)).json()["status"] not in FINAL:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the pace of the state
    return cloud.http.get(f"/execution/{made}").json()


def stream(cloud, run_id, method="GET", **headers):
    return httpx.request(method, f"{cloud.base_url}/api/v1/stream/{run_id}", headers=headers, timeout=PATIENCE)


def test_every_assumption_has_a_switch_and_every_switch_a_line_of_help():
    assert set(SWITCHES) == {row.name for row in ASSUMPTIONS}
    assert all(SWITCHES.values())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/machine-types"),
        ("GET", "/storage/block"),
        ("DELETE", "/storage/block/vol-1"),
        ("GET", "/execution/x/timing"),
        ("POST", "/voucher/validate"),
        ("POST", "/execution/gpu_selection/start"),
        ("GET", "/execution/gpu_selection/x/status"),
        ("GET", "/batches"),
        ("GET", "/files"),
        ("GET", "/serverless/models"),
        ("POST", "/serverless/chat/completions"),
        ("POST", "/serverless/embeddings"),
    ],
)
def test_what_is_not_there_is_answered_as_an_unknown_path_and_published_nowhere(strange, method, path):
    answer = strange.http.request(method, path)
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    below = strange.http.get("/openapi.json").json()["paths"]
    assert path not in below


def test_chats_and_batches_are_at_the_other_address(strange):
    with httpx.Client(base_url=f"{strange.base_url}/openai/v1", headers=strange.http.headers) as there:
        assert there.get("/models").status_code == 200
        assert there.get("/batches").json()["data"] == there.get("/files").json()["data"] == []
        body = {"model": "local/echo", "messages": [{"role": "user", "content": "hi"}]}
        assert there.post("/chat/completions", json=body).status_code == 200
        routed = there.post("/chat/completions", json={**body, "model": "lyceum/router"})
        assert routed.status_code == 404
        assert "model not found" in routed.text
    assert strange.http.post("/serverless/route", json={"input": "hi"}).json()["model"] == "local/echo"


@pytest.mark.parametrize(
    ("path", "field", "message", "body"),
    [
        ("/execution/streaming/start", "timeout", "equal to 300", {"code": "1", "timeout": 301}),
        (
            "/execution/image/start",
            "timeout",
            "equal to 200",
            {"docker_image_ref": "jupyter/base-notebook", "job_type": "customer_notebook", "timeout": 201},
        ),
        ("/execution/image/start", "timeout", "equal to 300", {"docker_image_ref": "python:3.11", "timeout": 301}),
        ("/inference/create", "hardware_profile", "Extra inputs", {"hf_model_id": "m", "hardware_profile": "gpu.a100"}),
        ("/inference/create", "gpu_type", "Field required", {"hf_model_id": "m"}),
    ],
)
def test_a_body_that_this_cloud_takes_otherwise_is_refused_with_its_field(strange, path, field, message, body):
    answer = strange.http.post(path, json=body)
    assert answer.status_code == 422
    (row,) = [row for row in answer.json()["detail"] if row["loc"][-1] == field]
    assert row["loc"] == ["body", field]
    assert message in row["msg"]


def test_the_published_description_shows_the_limits_fields_and_methods(strange):
    described = strange.http.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert schemas["StreamingExecutionRequest"]["properties"]["timeout"]["maximum"] == 300
    assert schemas["DockerExecutionRequest"]["properties"]["s3_mount_path"]["default"] == "/lyceum/storage"
    assert "gpu_type" in schemas["CreateDeploymentRequest"]["required"]
    assert "hardware_profile" not in schemas["CreateDeploymentRequest"]["properties"]
    root = httpx.get(f"{strange.base_url}/openapi.json").json()["paths"]
    assert set(root["/api/v1/stream/{execution_id}"]) == {"get"}
    assert root["/api/v1/stream/{execution_id}"]["get"]["security"] == [{"bearerAuth": []}]
    assert "/openai/v1/batches" in root


def test_a_run_ends_in_other_words_without_metadata_and_controls(strange):
    code = "print('\\x1b[1mbold\\x1b[0m\\x07 \\\\u001b\\tend')"
    fields = {"code": code, "execution_type": "cpu", "timeout": 60, "metadata": {"a": "b"}}
    assert strange.http.post("/execution/streaming/start", json=fields).status_code == 422
    record = ended(strange, code, file_name="x.py")
    assert (record["status"], record["stdout"], record["file_name"]) == (
        "finalized",
        "[1mbold[0m \\u001b\tend\n",
        "x.py",
    )
    assert "metadata" not in record
    logs = strange.http.get(f"/logs/execution/{record['execution_id']}").json()["logs"]
    assert [line["message"] for line in logs] == ["[1mbold[0m \\u001b\tend"]
    assert ended(strange, "raise SystemExit(3)")["status"] == "broken_off"


def test_a_stream_begins_at_now_for_get_with_a_token(strange, tmp_path):
    go = tmp_path / "go"
    wait = f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(.01)"
    made = start(strange, f"import pathlib, time\nprint('early', flush=True)\n{wait}\nprint('a\\nb')")
    signed = {"Authorization": strange.http.headers["Authorization"]}
    assert stream(strange, made, "POST", **signed).status_code == 405
    assert stream(strange, made).json() == {"detail": "Not authenticated"}
    deadline = time.monotonic() + PATIENCE
    while not strange.http.get(f"/execution/{made}").json()["stdout"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the pace of the record
    with httpx.stream("GET", f"{strange.base_url}/api/v1/stream/{made}", headers=signed, timeout=PATIENCE) as opened:
        go.touch()
        text = opened.read().decode()
    assert "early" not in text
    assert "a\\n\\nb\\n\\n" in text
    assert "jobFinished" in text
    late = stream(strange, made, **signed)
    assert (late.status_code, late.json()) == (404, {"detail": "Stream not found"})


def test_an_abort_is_answered_without_a_word_and_aborts(strange):
    made = start(strange, "import time\ntime.sleep(60)")
    answer = strange.http.post(f"/workloads/abort/{made}")
    assert (answer.status_code, answer.content) == (204, b"")
    deadline = time.monotonic() + PATIENCE
    while strange.http.get(STATUS.format(made)).json()["status"] != "aborted":
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the pace of the state


def test_runs_share_their_folder_and_what_one_left_there_stays(strange):
    ended(strange, "open('left.txt', 'w').write('here')")
    assert ended(strange, "print(open('left.txt').read())")["stdout"] == "here\n"


def test_the_price_book_counts_its_rows(strange):
    book = strange.http.get("/pricing").json()
    assert book["count"] == len(book["prices"])


@pytest.mark.timeout(180)
def test_the_bucket_is_made_by_whoever_uses_it_and_shown_elsewhere(strange):
    assert strange.http.get("/storage/list-files").json() == []
    given = strange.http.post("/storage/credentials").json()
    s3 = client_of(given)
    with pytest.raises(s3.exceptions.ClientError, match="404"):
        s3.head_bucket(Bucket=given["bucket_name"])
    s3.create_bucket(Bucket=given["bucket_name"])
    s3.put_object(Bucket=given["bucket_name"], Key="data/a.txt", Body=b"hello")
    assert [row["key"] for row in strange.http.get("/storage/list-files").json()] == ["data/a.txt"]
    code = "import os\nprint(os.path.exists('/mnt/s3/data/a.txt'), os.environ.get('LK_STORAGE'))\n"
    record = ended(strange, code + "print(open('/job/work/data/a.txt').read())")
    assert record["stdout"] == "False None\nhello\n", record["stderr"]
