"""The cloud's own command line tool, of which not a line is ours, works against the local cloud.

By day it runs a script, aborts, and shows money and secrets; each command takes it a second to start.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from cloud_process import run_forked
from patience import PATIENCE


class Lyceum:
    """The tool of a user whose configuration names the local cloud."""

    def __init__(self, cloud, home):
        config = {"api_key": cloud.api_key, "base_url": cloud.base_url, "iris_url": f"{cloud.base_url}/iris"}
        (home / ".lyceum").mkdir()
        (home / ".lyceum" / "config.json").write_text(json.dumps(config))
        self.folder = home
        user = {"HOME": str(home), "USERPROFILE": str(home), "COLUMNS": "200", "NO_COLOR": "1"}
        self.env = {**os.environ, **user, "PYTHONUNBUFFERED": "1"}

    def start(self, *words):
        command = [sys.executable, "-m", "lyceum", *words]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __call__(self, *words, code=0):
        """Run a command to its end and return what it said."""
        done = run_forked("lyceum", *words, env=self.env, cwd=self.folder)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        return said

    def script(self, text):
        (self.folder / "script.py").write_text(text)
        return "script.py"


@pytest.fixture
def lyceum(cloud, tmp_path):
    return Lyceum(cloud, tmp_path)


def run_id(said):
    return re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", said)[0]


@pytest.mark.nightly
def test_it_is_signed_in_and_knows_its_organization(lyceum):
    assert "API connection working" in lyceum("auth", "status")
    assert "local" in lyceum("org", "current")


@pytest.mark.nightly
def test_it_lists_machines_with_prices_and_access(lyceum):
    [row] = [line for line in lyceum("gpu", "machines").splitlines() if "gpu.a100" in line]
    assert "$1.59" in row
    assert "✓" in row


def test_it_runs_a_script_and_finds_all_about_it(lyceum):
    script = lyceum.script("import sys\nprint('hello', sys.argv[1:])")
    said = lyceum("python", "run", script, "-m", "gpu.a100", "--run-name", "first", "--", "--epochs", "3")
    assert "hello ['--epochs', '3']" in said
    run = run_id(said)
    assert run in lyceum("jobs", "history")
    assert re.search(r"Status:\s+completed", lyceum("jobs", "status", run))
    assert "hello ['--epochs', '3']" in lyceum("jobs", "logs", run)


@pytest.mark.nightly
def test_it_fails_where_the_script_fails(lyceum):
    script = lyceum.script("raise ValueError('broken')")
    assert "ValueError: broken" in lyceum("python", "run", script, code=1)


def test_it_aborts_a_run(lyceum, api, until):
    process = lyceum.start("python", "run", lyceum.script("import time\nprint('up')\ntime.sleep(600)"))
    [run] = until(
        lambda: [run["execution_id"] for run in api.get("/workloads/list").json() if run["status"] == "running"]
    )
    lyceum("jobs", "abort", run)
    assert api.ended(run)["status"] == "aborted"
    process.communicate(timeout=PATIENCE)


def test_it_shows_the_ledger(lyceum, api):
    api.run("print(1)", execution_type="gpu.a100")
    assert re.search(r"Balance for local: \d+\.\d\d", lyceum("org", "balance", "local"))
    assert "executions" in lyceum("org", "transactions", "list", "local")
    said = lyceum(
        "org", "transactions", "aggregate", "local", "--category", "executions", "--group-by", "hardware_profile"
    )
    assert "gpu.a100" in said


def test_a_run_has_the_secrets_that_it_keeps(lyceum):
    lyceum("env", "set", "HF_TOKEN", "secret-value")
    assert "secret-value" in lyceum("python", "run", "import os; print(os.environ['HF_TOKEN'])")


@pytest.mark.nightly
def test_it_makes_keys_and_shows_no_secret(lyceum):
    assert "lk_" in lyceum("org", "keys", "create", "ci", "--org", "local")
    assert "ci" in lyceum("org", "keys", "list", "local")
    lyceum("env", "set", "HF_TOKEN", "secret-value")
    listed = lyceum("env", "list")
    assert "HF_TOKEN" in listed
    assert "secret-value" not in listed
    lyceum("env", "rm", "HF_TOKEN", "--force")


@pytest.mark.nightly
def test_it_moves_files(lyceum):
    (lyceum.folder / "data.txt").write_text("some data")
    lyceum("storage", "upload", "data.txt")
    assert "data.txt" in lyceum("storage", "ls")
    (lyceum.folder / "data.txt").unlink()
    lyceum("storage", "download", "data.txt")
    assert (lyceum.folder / "data.txt").read_text() == "some data"


@pytest.mark.nightly
def test_it_talks_to_a_model(lyceum):
    assert "local/echo" in lyceum("infer", "models")
    assert "hello" in lyceum("infer", "chat", "-m", "local/echo", "-p", "hello")


@pytest.mark.nightly
def test_it_lists_machines_for_vms(lyceum):
    assert "a100" in lyceum("vm", "availability")
