"""lk_jupyter.remote.dask_head: workers are forks of one process, and the first visit imports the dashboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import dask
import httpx
import pytest

from lk_jupyter.protocol.parts import SHIPPED
from lk_jupyter.remote.dask_head import READY, WORKER_ENVIRONMENT

distributed = pytest.importorskip("distributed")


@pytest.fixture
def head(tmp_path):
    """The ports of a scheduler in a process, as on a VM."""
    code = (SHIPPED / "dask_head.py").read_text("utf-8")
    file = tmp_path / "dask_head.py"
    file.write_text(f"{code}\n\nif __name__ == '__main__':\n    serve(gpus=0, linger=600, idle=600)\n")
    command = [sys.executable, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        line = process.stdout.readline()
        assert line.startswith(READY)
        yield json.loads(line.removeprefix(READY))
        process.kill()


def imported(*names):
    return [name for name in names if name in sys.modules]


def test_workers_are_forks_and_the_scheduler_imports_the_dashboard_at_its_first_visit(head):
    heavy = ("distributed.dashboard.scheduler", "bokeh")
    with distributed.Client(f"tcp://127.0.0.1:{head['port']}") as client:
        for name in range(2):
            client.sync(client.scheduler.lk_start, name=name, options={"nthreads": 1})
        assert client.run_on_scheduler(imported, *heavy) == []
        with_distributed = client.run(imported, "pandas").values()  # the oldest Dask imports pandas
        assert client.run_on_scheduler(imported, "pandas") in with_distributed
        parents = set(client.run(os.getppid).values())
        assert len(parents) == 1
        assert parents != {client.run_on_scheduler(os.getpid)}
        for environment in client.run(lambda: dict(os.environ)).values():
            assert WORKER_ENVIRONMENT.items() <= environment.items()
        with httpx.Client(base_url=f"http://127.0.0.1:{head['dashboard']}", follow_redirects=True) as visitor:
            assert "Dask Diagnostic UI" in visitor.get("/status").text
            assert visitor.get("/").url.path == "/status"
        assert client.run_on_scheduler(imported, *heavy[:2]) == [*heavy]


def test_the_environment_of_workers_is_dask_s_own():
    variables = dask.config.get("distributed.nanny.pre-spawn-environ")
    hash_seed = {"PYTHONHASHSEED": WORKER_ENVIRONMENT["PYTHONHASHSEED"]}
    assert {name: str(value) for name, value in variables.items()} | hash_seed == WORKER_ENVIRONMENT
