"""Image runs on Podman, which the tests install: what a container is given, how it ends, what is left of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from localcloud.containers import podman
from patience import PATIENCE

from lk_jupyter.api.ports import port_url
from lk_jupyter.localcloud.runs.engine import format_run_name

pytestmark = pytest.mark.xdist_group("containers")

ENDLESS = ("sh", "-c", "echo up; sleep 600")
PATIENT = ("sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while true; do sleep 0.1; done")
STUBBORN = ("sh", "-c", "trap '' TERM; echo up; while true; do sleep 0.1; done")


def containers(run):
    return podman("ps", "--all", "--quiet", "--filter", f"name={format_run_name(run)}").split()


def test_no_command_line_names_a_run_whose_id_opens_its_output(api, image):
    run = api.start_image(image, *ENDLESS)
    api.shown(run, "up")
    assert len(containers(run)) == 1
    assert [line for process in psutil.process_iter(["cmdline"]) if run in (line := str(process.info["cmdline"]))] == []
    api.post(f"/workloads/abort/{run}")
    assert api.ended(run)["status"] == "aborted"


def test_a_container_runs_with_its_streams_apart_and_its_exit_code(api, image):
    record = api.run_image(image, "sh", "-c", "echo out; echo err >&2; exit 7", run_name="seven")
    assert (record["status"], record["return_code"]) == ("failed", 7)
    assert (record["stdout"], record["stderr"]) == ("out\n", "err\n")
    assert (record["execution_type"], record["job_type"], record["run_name"]) == ("docker", "customer_image", "seven")
    assert (record["docker_image_ref"], record["docker_run_cmd"][0]) == (image, "sh")
    times = [record[k] for k in ("created_at", "execelet_start", "start_time", "end_time", "finish_time")]
    assert times == sorted(times)
    assert containers(record["execution_id"]) == []


def test_output_of_a_container_is_streamed_as_it_comes(api, image):
    run = api.start_image(image, "sh", "-c", "printf half; sleep 600")
    assert next(api.events(run)) == {"output": {"content": "half"}}
    api.post(f"/workloads/abort/{run}")
    assert api.ended(run)["status"] == "aborted"


def test_a_container_is_billed_as_any_run_and_seen_while_it_runs(api, image, until):
    run = api.start_image(image, *ENDLESS, execution_type="gpu.h100", timeout=600)
    api.first_line(run)
    until(lambda: api.record(run)["status"] == "running")
    [row] = [row for row in api.get("/workloads/list").json() if row["execution_id"] == run]
    assert (row["execution_type"], row["hardware_profile"]) == ("docker", "gpu.h100")
    until(lambda: api.get(f"/execution/{run}/metrics", step="1s").json()["systemRamUsedBytes"])
    api.post(f"/execution/image/abort/{run}")
    assert api.ended(run)["billed"] > 0


def test_environment_user_and_mount_reach_the_container(api, image):
    asked = {
        "docker_run_env": "A=b c\nQUOTED='x' # y\n\nEMPTY=",
        "docker_run_user": "guest",
        "enable_s3_mount": True,
        "s3_mount_path": "/data/bucket",
    }
    code = 'echo "$A|$QUOTED|$EMPTY|"; id -u; ls -d /data/bucket'
    assert api.run_image(image, "sh", "-c", code, **asked)["stdout"] == "b c|'x' # y||\n1000\n/data/bucket\n"


def test_secrets_reach_the_container_and_its_own_environment_wins(api, image):
    secrets = {"IMAGE_SECRET": "two\nlines", "IMAGE_NAME": "kept"}
    api.post(
        "/environment-variables/", {"environment_variables": [{"name": k, "value": v} for k, v in secrets.items()]}
    )
    code = 'echo "$IMAGE_SECRET|$IMAGE_NAME"'
    assert api.run_image(image, "sh", "-c", code, docker_run_env="IMAGE_NAME=own")["stdout"] == "two\nlines|own\n"


def test_what_a_run_leaves_in_the_bucket_is_there_for_the_next(api, image):
    mounted = {"enable_s3_mount": True}
    api.run_image(image, "sh", "-c", "echo kept > /mnt/s3/probe.txt", **mounted)
    assert api.run_image(image, "cat", "/mnt/s3/probe.txt", **mounted)["stdout"] == "kept\n"


def test_no_value_of_the_environment_is_on_a_command_line(api, image):
    run = api.start_image(image, *ENDLESS, docker_run_env="TOKEN=unsaid-word")
    seen = set()
    while api.record(run)["status"] in {"pending", "starting"}:
        seen |= {" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])}
    api.post(f"/workloads/abort/{run}")
    api.ended(run)
    assert any("podman" in line for line in seen)
    assert not [line for line in seen if "unsaid-word" in line]


def test_the_time_limit_kills_a_container(api, image):
    record = api.run_image(image, *ENDLESS, timeout=1)
    assert (record["status"], record["status_details"]) == ("timeout", "the time limit of 1 s was reached")
    assert (record["stdout"], containers(record["execution_id"])) == ("up\n", [])


def test_abort_kills_a_container_at_once(api, image):
    run = api.start_image(image, *PATIENT)
    api.first_line(run)
    api.post(f"/execution/image/abort/{run}")
    record = api.ended(run)
    assert (record["status"], record["stdout"], containers(run)) == ("aborted", "up\n", [])


@pytest.mark.parametrize(("command", "output"), [(PATIENT, "up\nbye\n"), (STUBBORN, "up\n")])
def test_stop_asks_a_container_to_end_and_waits_the_graceful_time(api, image, command, output):
    run = api.start_image(image, *command, graceful_timeout=1)
    api.first_line(run)
    assert api.post(f"/workloads/stop/{run}").status_code == 200
    record = api.ended(run)
    assert (record["status"], record["stdout"], containers(run)) == ("cancelled", output, [])


def test_a_command_that_the_image_lacks_fails_the_run_with_the_engines_words(api, image):
    record = api.run_image(image, "nosuchprogram")
    assert (record["status"], record.get("start_time"), record["billed"]) == ("failed", None, 0)
    assert "nosuchprogram" in record["status_details"]


def test_an_image_that_is_nowhere_fails_the_run_with_the_engines_words(api, image):
    record = api.run_image("localhost:1/nosuchimage:1")
    assert record["status"] == "system_failure"
    assert "nosuchimage" in record["errors_docker"]
    assert record["system_errors"] == [record["status_details"]]


@pytest.mark.nightly
def test_where_no_image_of_jupyter_can_be_had_its_server_is_a_process_of_this_machine(api, image, until):
    command = ("start-notebook.sh", "--NotebookApp.token=own-token", "--port=8888")
    run = api.start_image("localhost:1/jupyter/base:1", *command, job_type="customer_notebook", timeout=600)
    until(lambda: api.record(run)["status"] == "running")
    assert "Instead of localhost:1/jupyter/base:1" in api.record(run)["status_details"]
    url = port_url(api.cloud.base_url, run, 8888)
    until(lambda: httpx.get(f"{url}api", timeout=PATIENCE).status_code == 200)
    api.post(f"/workloads/stop/{run}")
    assert api.ended(run)["status"] == "cancelled"


def test_a_registry_login_is_used_and_its_password_kept_nowhere(api, image):
    login = {
        "docker_registry_credential_type": "basic",
        "docker_username": "u",
        "docker_password": "pass-word-kept-nowhere",
    }
    record = api.run_image(image, "echo", "hi", **login)
    assert record["stdout"] == "hi\n"
    kept = [path for path in Path(api.cloud.data).rglob("*") if path.is_file() and path.suffix != ".py"]
    assert not [path for path in kept if b"pass-word-kept-nowhere" in path.read_bytes()]


def test_a_crash_of_the_cloud_leaves_no_container(make_api, image):
    api = make_api()
    run = api.start_image(image, *ENDLESS)
    api.first_line(run)
    api.cloud.kill()
    assert containers(run)
    api.cloud.start()
    api.connect()
    record = api.record(run)
    assert (record["status"], record["stdout"], containers(run)) == ("system_failure", "up\n", [])


def test_the_end_of_the_cloud_ends_its_containers(make_api, image):
    api = make_api()
    run = api.start_image(image, *ENDLESS)
    api.first_line(run)
    api.cloud.stop()
    assert containers(run) == []


def test_without_an_engine_a_run_is_accepted_and_fails_saying_what_is_missing(make_api):
    api = make_api("--engine", "none")
    record = api.run_image("python:3.11")
    assert record["status"] == "system_failure"
    assert record["status_details"].startswith("podman or docker is missing")


def test_an_engine_that_is_not_installed_is_named(make_api, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    record = make_api("--engine", "docker").run_image("python:3.11")
    assert record["system_errors"][0].startswith("docker is missing")


def test_a_login_of_type_aws_needs_amazons_program(make_api, image, monkeypatch, tmp_path):
    for name in ("podman", "runc"):
        (tmp_path / name).symlink_to(subprocess.check_output(["which", name], text=True).strip())
    monkeypatch.setenv("PATH", str(tmp_path))
    login = {"docker_registry_credential_type": "aws", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
    api = make_api()
    assert api.run_image(image, "echo", **login)["system_errors"][0].startswith("aws is missing")
    (tmp_path / "aws").write_text("#!/bin/sh\necho password of $AWS_ACCESS_KEY_ID\n")
    (tmp_path / "aws").chmod(0o755)
    assert api.run_image(image, "echo", "hi", **login)["stdout"] == "hi\n"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("docker_image_ref", "--privileged"),
        ("docker_image_ref", "a b"),
        ("docker_image_ref", ""),
        ("docker_run_env", "NOT A PAIR"),
        ("docker_run_env", "HOME"),
        ("docker_run_user", "--x"),
        ("docker_run_cmd", ["a\0b"]),
        ("s3_mount_path", "relative"),
        ("s3_mount_path", "/a/../b"),
        ("docker_registry_credential_type", "kerberos"),
        ("graceful_timeout", 301),
        ("timeout", 0),
    ],
)
def test_a_start_that_could_never_run_is_refused_with_its_field(api, field, value):
    answer = api.post("/execution/image/start", {"docker_image_ref": "x:1", field: value})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][:2] == ["body", field]


def test_half_a_login_is_refused_without_repeating_it(api):
    body = {"docker_image_ref": "x:1", "docker_registry_credential_type": "basic", "docker_username": "unsaid-word"}
    answer = api.post("/execution/image/start", body)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "docker_password"])
    assert "unsaid-word" not in answer.text
