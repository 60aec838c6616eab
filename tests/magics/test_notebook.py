"""``%lk_notebook`` on a local cloud without containers, where Jupyter of this environment stands in for the image."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from queue import SimpleQueue
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx
import psutil
import pytest
from patience import PATIENCE

from lk_jupyter.journal.journal import journal

pytestmark = pytest.mark.xdist_group("hosted")


@pytest.fixture
def signed_in(hosting, home, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", hosting.base_url)
    monkeypatch.setenv("LK_API_KEY", hosting.api_key)
    yield hosting
    for run in going_on(hosting):
        hosting.client.workloads.abort(run.execution_id)


def going_on(cloud):
    return list(cloud.client.workloads.list())


def leads_on(address):
    """Return where the page of a file leads on to; nobody but its owner can read it."""
    path = Path(url2pathname(urlsplit(address).path))
    assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0
    return unescape(re.search('url=(.+?)"', path.read_text())[1])


def test_who_reads_the_command_line_of_a_browser_gets_no_token_of_a_server(signed_in, run_cell, browser):
    opened = SimpleQueue()
    browser(opened.put)
    run_cell("%lk_notebook start --gpu A100")
    first = opened.get(timeout=PATIENCE)
    token = re.search("token=(.+)", leads_on(first))[1]
    (run,) = going_on(signed_in)
    run_cell(f"%lk_notebook open {run.execution_id[:8]}")
    second = opened.get(timeout=PATIENCE)
    assert token not in first + second
    assert leads_on(second).endswith(token)
    assert not Path(url2pathname(urlsplit(first).path)).exists()
    assert not [line for process in psutil.process_iter(["cmdline"]) if token in (line := str(process.info["cmdline"]))]


def test_a_server_is_started_opened_listed_and_stopped(signed_in, run_cell, shell, browser):
    opened = SimpleQueue()
    browser(opened.put)
    shown = run_cell("%lk_notebook start --gpu A100 --name mine")
    (run,) = going_on(signed_in)
    url = f"{signed_in.base_url}/ports/{run.execution_id}/8888/"
    assert (
        f"● listening · gpu.a100 at 1.59/h · at most 0.2650 credits (time limit 600 s) · run {run.execution_id[:8]}"
        in shown
    )
    page = leads_on(opened.get(timeout=PATIENCE))
    assert page.startswith(f"{url}?token=")
    listed = run_cell("%lk_notebook")
    assert run.execution_id[:8] in listed
    assert url in listed
    shown += run_cell(f"%lk_notebook open {run.execution_id[:8]} --save url")
    token = re.search("token=(.+)", shell.user_ns["url"])[1]
    assert len(token) > 40
    assert httpx.get(f"{url}api/kernels").status_code == 403
    assert httpx.get(f"{url}api/kernels", headers={"Authorization": f"token {token}"}).json() == []
    assert token not in shown + listed + repr(journal().entries()) + str(
        [entry.request for entry in journal().entries()]
    )
    assert token not in repr(signed_in.client.execution.get(run.execution_id))
    stopped = run_cell(f"%lk_notebook stop {run.execution_id[:8]}")
    assert "■ cancelled" in stopped
    assert "credits" in stopped
    assert going_on(signed_in) == []
    assert "No active Jupyter servers." in run_cell("%lk_notebook list")


def test_a_server_that_cannot_start_fails_with_the_reason_and_leaves_nothing(signed_in, run_cell):
    shown = run_cell("%lk_notebook start --image python:3.11 --no-browser")
    assert "RunFailed" in shown
    assert "podman or docker is missing" in shown
    assert going_on(signed_in) == []


def test_a_plan_starts_nothing_and_a_maximum_cost_limits_the_time(signed_in, run_cell):
    shown = run_cell("%lk_notebook start --gpu A100 --max-cost 0.1 --dry-run")
    assert "jupyter/base-notebook:latest" in shown
    assert "at most 0.1000 credits (--max-cost, time limit 225 s)" in shown
    assert going_on(signed_in) == []


def test_a_run_of_another_kind_is_no_server(signed_in, run_cell, shell):
    run_cell("%%lk_run --quiet --save run\n1")
    short = shell.user_ns["run"].short_id
    assert f"UsageError: Run {short} isn't a Jupyter server" in run_cell(f"%lk_notebook open {short}")
    assert f"UsageError: Run {short} isn't a Jupyter server" in run_cell(f"%lk_notebook stop {short}")
    assert "isn't an image" in run_cell("%lk_notebook start --image 'a b'")
