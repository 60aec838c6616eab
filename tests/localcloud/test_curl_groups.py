"""Plain curl works: what the cloud's documentation shows, typed into a shell."""

from __future__ import annotations

import json
import subprocess

import pytest

EXTERNAL = "/api/v2/external"


@pytest.fixture
def curl(cloud):
    """Run curl with the key; return what it printed. It fails for every status from 400."""

    def run(path, *options):
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30"]
        command += ["--header", f"Authorization: Bearer {cloud.api_key}", *options, cloud.base_url + path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def sent(body):
    return "--header", "Content-Type: application/json", "--data", json.dumps(body)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/auth/api-keys/", "["),
        ("/user/status", "local@localhost"),
        ("/user/org", '"slug":"local"'),
        ("/user/quotas/available-hardware", "gpu.a100"),
        ("/mfa/status", "{"),
        ("/orgs", '"slug":"local"'),
        ("/orgs/local/balance", "balance"),
        ("/orgs/local/transactions?limit=1", "transactions"),
        ("/billing/credits", "remaining_credits"),
        ("/billing/history?limit=1", "executions"),
        ("/pricing", "on-demand.a100.1x"),
        ("/machine-types", "gpu.a100"),
        ("/workloads/list", "["),
        ("/logs/user", "logs"),
        ("/environment-variables/", "["),
        ("/storage/list-files", "["),
        ("/storage/block", "volumes"),
        ("/serverless/models", "local/echo"),
        ("/inference/models", "local/echo"),
        ("/inference/list", "["),
        ("/files", "data"),
        ("/batches", "data"),
        ("/vms/availability", "a100"),
        ("/vms/list", "vms"),
    ],
)
def test_a_group_is_read(curl, path, word):
    assert word in curl(EXTERNAL + path)


def test_a_run_is_started_followed_and_read(curl):
    body = {"code": "print('hello')", "execution_type": "gpu.a100"}
    started = json.loads(curl(f"{EXTERNAL}/execution/streaming/start", *sent(body)))
    run = started["execution_id"]
    stream = curl(f"/api/v1/stream/{run}", "--no-buffer", "--request", "POST")
    assert 'data: {"output":{"content":"hello\\n"}}' in stream
    assert "jobFinished" in stream
    assert json.loads(curl(f"{EXTERNAL}/execution/{run}"))["stdout"] == "hello\n"


def test_a_file_goes_up_and_down(curl, tmp_path):
    (tmp_path / "data.bin").write_bytes(bytes(range(256)))
    curl(f"{EXTERNAL}/storage/upload?key=curl/data.bin", "--form", f"file=@{tmp_path / 'data.bin'}")
    curl(f"{EXTERNAL}/storage/download/curl/data.bin", "--output", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == bytes(range(256))
    curl(f"{EXTERNAL}/storage/delete/curl/data.bin", "--request", "DELETE")


def test_a_model_answers_whole_and_in_pieces(curl):
    body = {"model": "local/echo", "messages": [{"role": "user", "content": "hello"}]}
    whole = json.loads(curl("/openai/v1/chat/completions", *sent(body)))
    assert "hello" in whole["choices"][0]["message"]["content"]
    assert curl("/openai/v1/chat/completions", *sent({**body, "stream": True})).rstrip().endswith("data: [DONE]")


def test_an_organization_with_a_key_is_made_and_removed(curl):
    curl(f"{EXTERNAL}/orgs", *sent({"name": "Curl", "slug": "curl-team"}))
    key = json.loads(curl(f"{EXTERNAL}/orgs/curl-team/api-keys", *sent({"name": "ci"})))
    assert key["plaintext_key"].startswith("lk_")
    curl(f"{EXTERNAL}/orgs/curl-team", "--request", "DELETE")


def test_credits_are_bought(curl, cloud):
    session = json.loads(curl(f"{EXTERNAL}/billing/checkout", *sent({"credits_amount": 10})))
    page = session["checkout_url"].removeprefix(cloud.base_url)
    assert "10 credits" in curl(page)
    curl(f"{page}/pay", "--request", "POST")
    assert session["session_id"] in curl(f"{EXTERNAL}/billing/invoices")
