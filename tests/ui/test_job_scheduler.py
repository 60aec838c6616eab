"""jupyter-scheduler: a job of Lab's form runs on the cloud, survives an end of Jupyter, and is billed once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import nbformat
import pytest
from patience import PATIENCE
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ui.beside import SCHEDULER
from ui.lab import FOLDERS, free_port
from ui.notebook import write

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600), pytest.mark.xdist_group("hosted")]

#: The lines of the guide.
CONFIG = """c.SchedulerApp.scheduler_class = "lk_jupyter.job_scheduler.LkScheduler"
c.SchedulerApp.environment_manager_class = "lk_jupyter.job_scheduler.LkEnvironments"
"""

#: A notebook that continues once the file ``released`` exists.
CODE = """from pathlib import Path
import time
folder = Path({folder!r})
with (folder / "starts").open("a") as file:
    file.write("start\\n")
while not (folder / "released").exists():
    time.sleep(0.05)
6 * 7"""


@contextmanager
def running_jupyter(cloud, folder):
    """Run Jupyter with jupyter-scheduler in a folder; yield a client of its API, and end the server as a crash does."""
    url = f"http://127.0.0.1:{free_port()}"
    (folder / "config.py").write_text(CONFIG)
    env = {**os.environ, **SCHEDULER.variables, **dict.fromkeys(FOLDERS, str(folder / "settings"))}
    env |= {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(folder / "journal")}
    options = ["--no-browser", f"--port={httpx.URL(url).port}", "--allow-root", "--IdentityProvider.token=secret"]
    options += [f"--config={folder / 'config.py'}", f"--ServerApp.root_dir={folder}"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (
        (folder / "jupyter.log").open("a") as log,
        subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True) as server,
        httpx.Client(base_url=url, headers={"Authorization": "token secret"}, timeout=60) as client,
    ):
        try:
            for attempt in Retrying(
                stop=stop_after_delay(120), wait=wait_fixed(0.2), retry=retry_if_exception_type(httpx.HTTPError)
            ):
                with attempt:
                    client.get("/scheduler/runtime_environments").raise_for_status()
            yield client
        finally:
            os.killpg(server.pid, 9)  # with the processes of its jobs


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


def create_job(client, **changes):
    (environment,) = client.get("/scheduler/runtime_environments").json()
    assert environment["default_compute_type"] in environment["compute_types"]
    (machine,) = (name for name in environment["compute_types"] if name.startswith("gpu.a100 "))
    assert machine == "gpu.a100 (1.59 credits/h)"
    job = {
        "name": "answer",
        "input_uri": "book.ipynb",
        "input_filename": "book.ipynb",
        "output_formats": ["ipynb", "html"],
        "runtime_environment_name": environment["name"],
        "compute_type": machine,
    }
    response = client.post("/scheduler/jobs", json={**job, **changes})
    assert response.status_code == 200, response.text
    return response.json()["job_id"]


def job_of(client, job_id):
    return client.get(f"/scheduler/jobs/{job_id}").json()


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "book.ipynb", CODE.format(folder=str(tmp_path)))
    return tmp_path


def runs_of(cloud):
    return [run for run in cloud.client.billing.history().executions if run.hardware_profile == "gpu.a100"]


def test_a_job_survives_the_end_of_jupyter_and_is_billed_once(cloud, folder):
    before = {run.execution_id for run in runs_of(cloud)}
    with running_jupyter(cloud, folder) as client:
        job_id = create_job(client)
        wait_for((folder / "starts").exists)
        assert job_of(client, job_id)["status"] == "IN_PROGRESS"
    with running_jupyter(cloud, folder) as client:
        (folder / "released").touch()
        job = wait_for(lambda: (job := job_of(client, job_id))["status"] != "IN_PROGRESS" and job)
        assert job["status"] == "COMPLETED", job
        client.get(f"/scheduler/jobs/{job_id}/download_files").raise_for_status()
        (path,) = wait_for(lambda: [*folder.glob("jobs/*/book-*.ipynb")])
        book = nbformat.read(path, as_version=4)
    assert [output.data["text/plain"] for output in book.cells[0].outputs] == ["42"]
    assert (folder / "starts").read_text() == "start\n"
    assert len({run.execution_id for run in runs_of(cloud)} - before) == 1


def test_a_stopped_job_aborts_its_run_and_a_failed_cell_fails_the_job(cloud, folder):
    with running_jupyter(cloud, folder) as client:
        job_id = create_job(client)
        wait_for((folder / "starts").exists)
        client.patch(f"/scheduler/jobs/{job_id}", json={"status": "STOPPED"}).raise_for_status()
        assert job_of(client, job_id)["status"] == "STOPPED"
        wait_for(lambda: not cloud.client.workloads.list())
        write(folder / "book.ipynb", "1 / 0")
        job_id = create_job(client)
        job = wait_for(lambda: (job := job_of(client, job_id))["status"] in {"FAILED", "COMPLETED"} and job)
        assert job["status"] == "FAILED", job
        assert "ZeroDivisionError" in job["status_message"]
