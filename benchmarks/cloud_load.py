"""The local cloud under load: many clients at once, and a long history."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlsplit
from uuid import uuid4

from figures import Figure

from lk_jupyter.api._client import Client
from lk_jupyter.api.execution import StreamingExecutionRequest
from lk_jupyter.localcloud import launch
from lk_jupyter.localcloud.clock import to_text
from lk_jupyter.localcloud.cloud import Cloud
from lk_jupyter.localcloud.options import CloudOptions
from lk_jupyter.localcloud.strange import Strange

EXTERNAL = "/api/v2/external"
CLIENTS, PER_SECOND, SECONDS = 20, 200, 10
RUNS, PAGE, ROUNDS = 100_000, 50, 15


def measure() -> Iterator[Figure]:
    """Yield how long answers take."""
    with _running() as cloud:
        waits = sorted(_load(cloud, f"/execution/{_one_run(cloud)}"))
    beside = f"median {median(waits):.1f} ms, {len(waits) / SECONDS:.0f} a second"
    p99 = quantiles(waits, n=100)[-1]
    yield Figure(f"GET /execution/{{id}}, {PER_SECOND} a second from {CLIENTS} clients, p99", p99, 100, "ms", beside)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        _fill(data)
        with _running(data) as cloud:
            with Client(cloud.base_url, cloud.api_key) as client:
                org = client.user.org().slug
            for what, path in (
                ("first page of the history", "/billing/history"),
                ("last page of the history", f"/billing/history?offset={RUNS - PAGE}"),
                ("activities", "/billing/activities?limit=50"),
                ("balance", f"/orgs/{org}/balance"),
            ):
                yield Figure(f"{what}, with {RUNS:,} runs", _milliseconds(cloud, path), 50, "ms", f"median of {ROUNDS}")


@contextmanager
def _running(data: Path | None = None) -> Iterator[launch.Address]:
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(data or Path(folder))
        try:
            yield cloud
        finally:
            launch.stop(cloud.data)


def _one_run(cloud: launch.Address) -> str:
    with Client(cloud.base_url, cloud.api_key) as client:
        run = client.execution.start_streaming(StreamingExecutionRequest(code="print('hello')"))
        list(client.follow(run.execution_id))
    return run.execution_id


def _load(cloud: launch.Address, path: str) -> list[float]:
    """Send requests at a steady pace; return for each the milliseconds from when it was due to its answer."""
    waits: list[float] = []
    begin = time.perf_counter() + 0.5

    def send(client: int) -> None:
        ask = _asker(cloud)
        for number in range(client, PER_SECOND * SECONDS, CLIENTS):
            due = begin + number / PER_SECOND
            time.sleep(max(0, due - time.perf_counter()))
            ask(path)
            waits.append((time.perf_counter() - due) * 1000)

    clients = [threading.Thread(target=send, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert len(waits) == PER_SECOND * SECONDS, "a client broke"
    return waits


def _milliseconds(cloud: launch.Address, path: str) -> float:
    ask = _asker(cloud)
    ask(path)
    rounds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        ask(path)
        rounds.append((time.perf_counter() - begin) * 1000)
    return median(rounds)


def _asker(cloud: launch.Address):  # noqa: ANN202 (a function of a path)
    """Return what asks for a path, over one connection."""
    connection = HTTPConnection(urlsplit(cloud.base_url).netloc)

    def ask(path: str) -> None:
        connection.request("GET", EXTERNAL + path, headers={"Authorization": f"Bearer {cloud.api_key}"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body

    return ask


def _fill(data: Path) -> None:
    """Give the local user of a new data folder a long history."""
    cloud, first = Strange().create_cloud(data, CloudOptions(), "http://127.0.0.1"), time.time() - RUNS
    with cloud.store.write():
        for number in range(RUNS):
            _add_run(cloud, first + number)
    cloud.store.close()


def _add_run(cloud: Cloud, moment: float) -> None:
    user = cloud.accounts.local_user
    times = {name: to_text(moment) for name in ("created_at", "execelet_start", "start_time", "job_start")}
    facts = {
        **times,
        "execution_id": str(uuid4()),
        "user_id": user["id"],
        "status": "running",
        "execution_type": "python code",
        "job_type": "python",
        "hardware_profile": "gpu.a100",
        "file_name": "train.py",
        "labels": ["bench"],
        "metadata": {"number": str(moment)},
    }
    cloud.records.create(facts, {"code": "print('hello')"}, user["org_id"])
    cloud.records.finish(facts["execution_id"], status="completed", return_code=0, end_time=to_text(moment + 1))
