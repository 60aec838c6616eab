"""Compose runs on Podman and podman-compose: stacks that end, fail, are stopped, or are none."""

from __future__ import annotations

import json

import pytest
from localcloud.conftest import FINAL, until
from localcloud.containers import podman

from lk_jupyter.localcloud.runs.engine import format_run_name

pytestmark = pytest.mark.xdist_group("containers")


def stack(image, **commands):
    """Return a compose file with a shell command for each service; JSON is YAML too."""
    return json.dumps(
        {"services": {name: {"image": image, "command": ["sh", "-c", code]} for name, code in commands.items()}}
    )


def start(api, text, **fields):
    answer = api.post("/execution/compose/start", {"compose_file_code": text, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["execution_id"]


def ended(api, run):
    """Wait for the end of a stack, which takes its time where others want the machine too."""
    return until(lambda: (record := api.record(run))["status"] in FINAL and record)


def left_of(run):
    label = f"label=com.docker.compose.project={format_run_name(run)}"
    return podman("ps", "-aq", "--filter", label) + podman("network", "ls", "-q", "--filter", label)


def test_a_stack_runs_until_all_its_services_have_ended(api, image):
    run = start(api, stack(image, one="echo first", two="sleep 0.5; echo second"), run_name="pair", timeout=60)
    record = ended(api, run)
    assert (record["status"], record["return_code"], record["run_name"]) == ("completed", 0, "pair")
    assert "first" in record["combined_output"]
    assert "second" in record["combined_output"]
    assert record["execution_type"] == "docker compose"
    assert left_of(run) == ""


@pytest.mark.nightly
def test_a_service_that_fails_fails_the_run_and_is_named(api, image):
    record = ended(api, start(api, stack(image, good="echo ok", bad="exit 3")))
    assert (record["status"], record["return_code"]) == ("failed", 3)
    assert record["status_details"] == "service bad ended with exit code 3"


@pytest.mark.nightly  # by day in containers
def test_the_bucket_is_mounted_in_each_service_on_request(api, image):
    code = stack(image, one='ls -d /mnt/s3; echo "$$HOME"')
    assert "/mnt/s3" in ended(api, start(api, code, enable_s3_mount=True))["combined_output"]


@pytest.mark.nightly
def test_secrets_reach_each_service_as_they_are(api, image):
    api.post("/environment-variables/", {"name": "STACK_SECRET", "value": "a$b"})
    code = stack(image, one='echo "<$$STACK_SECRET>"')
    assert "<a$b>" in ended(api, start(api, code))["combined_output"]


@pytest.mark.nightly
def test_output_comes_while_a_stack_runs_and_abort_kills_it(api, image):
    run = start(api, stack(image, one="echo up; sleep 600"))
    api.shown(run, "up")
    api.post(f"/workloads/abort/{run}")
    assert (ended(api, run)["status"], left_of(run)) == ("aborted", "")


@pytest.mark.nightly  # by day a container does
def test_stop_lets_services_say_goodbye(api, image):
    patient = "trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.1; done"
    run = start(api, stack(image, one=patient), graceful_timeout=5)
    api.shown(run, "up")
    api.post(f"/workloads/stop/{run}")
    record = ended(api, run)
    assert (record["status"], left_of(run)) == ("cancelled", "")
    assert "bye" in record["combined_output"]


@pytest.mark.nightly  # by day that of a container
def test_the_time_limit_ends_a_stack(api, image):
    run = start(api, stack(image, one="sleep 600"), timeout=1)
    assert (ended(api, run)["status"], left_of(run)) == ("timeout", "")


@pytest.mark.nightly
def test_an_image_that_is_nowhere_fails_a_stack_with_the_engines_words(api, image):
    record = ended(api, start(api, stack("localhost:1/nosuchimage:1", one="echo")))
    assert (record["status"], record.get("start_time")) == ("failed", None)
    assert "nosuchimage" in record["errors_docker"]


def test_without_an_engine_a_stack_is_accepted_and_fails_saying_what_is_missing(make_api):
    api = make_api("--engine", "none")
    record = ended(api, start(api, stack("x:1", one="echo")))
    assert record["status"] == "system_failure"
    assert record["status_details"].startswith("podman or docker is missing")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("services:\n  a: [", "line 2"),
        ("a: b: c", "line 1, column 5"),
        ("", "services"),
        ("services: {}", "services"),
        ("services: [a]", "services"),
        ("services:\n  app:\n    command: x", "services.app"),
        ("services:\n  app: 7", "services.app"),
        ("\0", "Not YAML"),
        ("[" * 20_000, "YAML cannot be read"),
    ],
)
def test_a_text_that_is_no_stack_is_refused_with_the_place(api, text, place):
    answer = api.post("/execution/compose/start", {"compose_file_code": text})
    assert answer.status_code == 422
    [row] = answer.json()["detail"]
    assert row["loc"] == ["body", "compose_file_code"]
    assert place in row["msg"]
