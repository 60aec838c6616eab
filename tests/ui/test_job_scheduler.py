"""jupyter-scheduler: a job of Lab's form runs on the cloud, survives an end of Jupyter, and is billed once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import httpx
import nbformat
import pytest
from patience import wait_until
from playwright.sync_api import expect
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ui.beside import SCHEDULER
from ui.lab import FOLDERS, be_quiet, free_port
from ui.notebook import picture, write

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

#: Each ends Jupyter and the processes of its jobs, or is repeated.
ENDS = {"crash": signal.SIGKILL, "ctrl-c": signal.SIGINT}


@contextmanager
def running_jupyter(cloud, folder, end="crash"):
    """Run Jupyter with jupyter-scheduler in a folder; yield a client of its API, and end the server in this way."""
    url = f"http://127.0.0.1:{free_port()}"
    (folder / "config.py").write_text(CONFIG)
    env = {**os.environ, **SCHEDULER.variables, **dict.fromkeys(FOLDERS, str(folder / "settings"))}
    env |= {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(folder / "journal")}
    options = ["--no-browser", f"--port={httpx.URL(url).port}", "--allow-root", "--IdentityProvider.token=secret"]
    options += [f"--config={folder / 'config.py'}", f"--ServerApp.root_dir={folder / 'books'}"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (
        (folder / "jupyter.log").open("a") as log,
        subprocess.Popen(
            command, cwd=folder / "books", env=env, stdout=log, stderr=log, start_new_session=True
        ) as server,
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
            wait_until(lambda: server.poll() is not None or os.killpg(server.pid, ENDS[end]))


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
    (tmp_path / "books").mkdir()
    write(tmp_path / "books" / "book.ipynb", CODE.format(folder=str(tmp_path)))
    be_quiet(tmp_path / "settings", has_test_modules=False)
    return tmp_path


def read_executed(folder):
    """Wait for the executed notebook, which another process writes, and return the notebook."""
    path = wait_until(
        lambda: next((path for path in folder.glob("books/jobs/*/book-*.ipynb") if path.stat().st_size), None)
    )
    return nbformat.read(path, as_version=4)


def runs_of(cloud):
    return [run for run in cloud.client.billing.history().executions if run.hardware_profile == "gpu.a100"]


@pytest.mark.parametrize("end", ENDS)
def test_a_job_survives_the_end_of_jupyter_and_is_billed_once(cloud, folder, end):
    before = {run.execution_id for run in runs_of(cloud)}
    with running_jupyter(cloud, folder, end) as client:
        job_id = create_job(client)
        assert job_of(client, job_id)["status"] in {"QUEUED", "IN_PROGRESS"}
        wait_until((folder / "starts").exists)
        job = job_of(client, job_id)
        assert job["status"] == "IN_PROGRESS"
        start_time = job["start_time"]
    with running_jupyter(cloud, folder) as client:
        (folder / "released").touch()
        job = wait_until(lambda: (job := job_of(client, job_id))["status"] != "IN_PROGRESS" and job)
        assert job["status"] == "COMPLETED", job
        assert job["start_time"] == start_time
        client.get(f"/scheduler/jobs/{job_id}/download_files").raise_for_status()
        book = read_executed(folder)
    assert [output.data["text/plain"] for output in book.cells[0].outputs] == ["42"]
    assert (folder / "starts").read_text() == "start\n"
    assert len({run.execution_id for run in runs_of(cloud)} - before) == 1


def test_a_stopped_job_aborts_its_run_and_a_failed_cell_fails_the_job(cloud, folder):
    with running_jupyter(cloud, folder) as client:
        for has_started in (lambda: True, (folder / "starts").exists):
            job_id = create_job(client)
            wait_until(has_started)
            client.patch(f"/scheduler/jobs/{job_id}", json={"status": "STOPPED"}).raise_for_status()
            assert job_of(client, job_id)["status"] == "STOPPED"
        assert (folder / "starts").read_text() == "start\n"
        wait_until(lambda: not cloud.client.workloads.list())
        write(folder / "books" / "book.ipynb", "1 / 0")
        job_id = create_job(client)
        job = wait_until(lambda: (job := job_of(client, job_id))["status"] in {"FAILED", "COMPLETED"} and job)
        assert job["status"] == "FAILED", job
        assert "ZeroDivisionError" in job["status_message"]
        assert job["end_time"] >= job["start_time"]


def open_jobs(page, client):
    """Open the list of jobs."""
    page.goto(f"{client.base_url}/lab?token=secret&reset")
    page.locator(".jp-LauncherCard").get_by_text("Jobs").click()


def test_the_form_creates_a_job_on_the_selected_machine_with_the_files_of_the_folder(cloud, folder, page):
    (folder / "books" / "data[1].txt").write_text("42")
    code = CODE.format(folder=str(folder)).replace("6 * 7", "print('answer', Path('data[1].txt').read_text())")
    write(folder / "books" / "book.ipynb", code)
    with running_jupyter(cloud, folder) as client:
        page.goto(f"{client.base_url}/lab?token=secret&reset")
        page.locator(".jp-DirListing-item", has_text="book.ipynb").click(button="right")
        page.get_by_text("Create Job").click()
        page.get_by_role("button", name=re.compile("Compute type")).click()
        page.get_by_role("option", name="gpu.a100 (1.59 credits/h)").click()
        page.get_by_label("Run job with input folder").check()
        picture(page, "job-form")
        page.get_by_role("button", name="Create", exact=True).click()
        expect(page.get_by_role("row", name="book.ipynb")).to_contain_text(re.compile("Queued|In progress"))
        wait_until((folder / "starts").exists)
        page.get_by_role("button", name="Reload").click()
        expect(page.get_by_role("row", name="book.ipynb")).to_contain_text("In progress")
        picture(page, "job-list")
        page.goto("about:blank")
    with running_jupyter(cloud, folder) as client:
        (folder / "released").touch()
        wait_until(lambda: client.get("/scheduler/jobs").json()["jobs"][0]["status"] != "IN_PROGRESS")
        open_jobs(page, client)
        expect(page.get_by_role("row", name="book.ipynb")).to_contain_text("Completed")
        page.get_by_title('Download output files for "book"').click()
        assert read_executed(folder).cells[0].outputs[0].text == "answer 42\n"
        page.get_by_role("row", name="book.ipynb").get_by_text("book", exact=True).click()
        expect(page.get_by_text("Job Detail")).to_be_visible()
        picture(page, "job-detail")
        page.goto("about:blank")
