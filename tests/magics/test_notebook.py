"""``%lk_notebook`` on a local cloud without containers, where Jupyter of this environment stands in for the image."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx
import psutil
import pytest
from IPython.utils.capture import capture_output
from patience import PATIENCE

from lk_jupyter.journal.journal import journal
from lk_jupyter.magics._output.live import RUN_MIME
from lk_jupyter.options.runs import ServerOptions, check
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.session import current

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


def page_of(address):
    """Return the text of a page in a file, which only its owner can read."""
    path = Path(url2pathname(urlsplit(address).path))
    assert path.stat().st_mode & 0o077 == path.parent.stat().st_mode & 0o077 == 0
    return unescape(path.read_text())


def test_who_reads_the_command_line_of_a_browser_gets_no_password_of_a_server(signed_in, run_cell, browser, shell):
    opened = SimpleQueue()
    browser(opened.put)
    run_cell("%lk_notebook start --gpu A100")
    first = opened.get(timeout=PATIENCE)
    (run,) = going_on(signed_in)
    run_cell(f"%lk_notebook open {run.execution_id[:8]}")
    second = opened.get(timeout=PATIENCE)
    run_cell(f"%lk_notebook open {run.execution_id[:8]} --save password")
    password = shell.user_ns["password"]
    assert password not in first + second
    assert f'value="{password}"' in page_of(second)
    assert not Path(url2pathname(urlsplit(first).path)).exists()
    lines = [str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if password in line]


def signed_in_to(url, password):
    """Sign in to a Jupyter server as a browser does; return the status of the answer, and of a request after it."""
    with httpx.Client(base_url=url) as http:
        http.get("login")
        form = {"password": password, "_xsrf": http.cookies["_xsrf"]}
        return http.post("login", data=form).status_code, http.get("api/kernels").status_code


def test_a_server_is_started_opened_listed_and_stopped(signed_in, run_cell, shell, browser):
    opened = SimpleQueue()
    browser(opened.put)
    shown = run_cell("%lk_notebook start --gpu A100 --name mine")
    (run,) = going_on(signed_in)
    url = f"{signed_in.cloud_url}/ports/{run.execution_id}/8888/"
    line = next(line for line in shown.splitlines() if "listening" in line)
    facts = r"A100 at 1.59 credits/h( · .* s · ≈ .* credits)? · at most 0.2654 credits \(time limit 600 s\)"
    assert re.fullmatch(rf"● listening · {facts} · run {run.execution_id}", line)
    assert f'location = "{url}login"' in page_of(opened.get(timeout=PATIENCE))
    listed = run_cell("%lk_notebook")
    assert run.execution_id[:8] in listed
    assert url in listed
    opened_line = run_cell(f"%lk_notebook open {run.execution_id[:8]} --save password")
    assert re.match(
        rf"● listening · A100 at 1.59 credits/h( · .* s · ≈ .* credits)? · run {run.execution_id}\n", opened_line
    )
    assert f"Address: {url}" in opened_line
    password = shell.user_ns["password"]
    assert len(password) > 40
    assert httpx.get(f"{url}api/kernels").status_code == 403
    assert signed_in_to(url, password) == (302, 200)
    assert signed_in_to(url, password[:-1]) == (401, 403)
    kept = [entry.request for entry in journal().entries()]
    record = signed_in.client.execution.get(run.execution_id)
    assert password not in shown + opened_line + listed + repr(journal().entries()) + str(kept) + str(record)
    stopped = run_cell(f"%lk_notebook stop {run.execution_id[:8]}")
    assert "■ cancelled" in stopped
    assert "credits" in stopped
    assert going_on(signed_in) == []
    assert "No active Jupyter servers." in run_cell("%lk_notebook list")


def headers(shell, code):
    """Return the headers of runs that the outputs of a cell contain as data."""
    with capture_output() as captured:
        shell.run_cell(code)
    data = [output.data[RUN_MIME] for output in captured.outputs if RUN_MIME in output.data]
    return [header for each in data for header in each.get("runs", [each])]


def test_servers_and_kernels_have_the_header_of_a_run(signed_in, run_cell, shell, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    assert headers(shell, "%lk_kernel") == []
    options = check(ServerOptions, {"gpu": "A100", "name": "Python on A100"})
    kernel = HostedKernel.start(current(), options, Event())
    facts = {"machine": "gpu.a100", "price_per_hour": "1.59", "time_limit_seconds": 600, "state": "running"}
    try:
        run_id = kernel.run.execution_id
        (header,) = headers(shell, "%lk_kernel")
        assert header.items() >= {**facts, "execution_id": run_id, "name": "Python on A100", "kind": "server"}.items()
        assert {"seconds", "cost"} <= header.keys()
        table = run_cell("%lk_kernel")
        assert re.search(rf"Python on A100 +running +A100 at 1.59 credits/h +≈ .* credits +{run_id[:8]}", table)
        (listed,) = headers(shell, "%lk_notebook")
        assert listed["notes"][0].startswith("Address: http")
        (opened,) = headers(shell, f"%lk_notebook open {run_id} --save password")
        assert opened.items() >= {**facts, "execution_id": run_id, "kind": "server"}.items()
        assert opened["notes"][0].startswith("Address: http")
    finally:
        kernel.stop()
    assert headers(shell, "%lk_kernel") == headers(shell, "%lk_notebook") == []


def test_a_server_that_cannot_start_fails_with_the_reason_and_leaves_nothing(signed_in, run_cell):
    shown = run_cell("%lk_notebook start --image python:3.11 --no-browser")
    assert "RunFailed" in shown
    assert "podman or docker is missing" in shown
    assert re.search(r"✗ platform failure · L40S at 1.19 credits/h · 0.0000 credits · run [\w-]{36}\n", shown)
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
