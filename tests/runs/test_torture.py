"""Many runs while everything fails: each log is whole, each run is billed once, none is forgotten.

One seed of fifty runs; LK_TORTURE_SEEDS=100 LK_TORTURE_RUNS=300 tries thirty thousand.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from random import Random

import httpx
import pytest
from cloud_process import forked
from patience import PATIENCE
from runs import torture_kernel
from runs.torture_kernel import lines_of

RUNS = int(os.environ.get("LK_TORTURE_RUNS", "50"))
SEEDS = range(int(os.environ.get("LK_TORTURE_SEEDS", "1")))
LONGEST = 2 * PATIENCE


class Trouble:
    """A kernel at work on a cloud, and what befalls the two, as the seed has it."""

    def __init__(self, cloud, seed, folder):
        self.cloud = cloud
        self.random = Random(seed)
        self.seed = seed
        self.folder = folder
        self.happened = Counter()
        self.kernel = self.start_kernel()

    def start_kernel(self):
        return forked(torture_kernel.main, dict(os.environ), RUNS, self.seed, self.folder)

    def goes_on(self):
        """Whether the kernel still works, after a moment."""
        self.kernel.join(self.random.uniform(0.05, 0.25))
        return self.kernel.exitcode is None

    def strike(self):
        """Do one of the harms."""
        harm, most = self.random.choice(HARMS)
        if self.happened[harm.__name__] < most:
            self.happened[harm.__name__] += 1
            harm(self)

    def order(self, **fault):
        httpx.post(f"{self.cloud.base_url}/_faults", json=fault, timeout=PATIENCE).raise_for_status()

    def cut_streams(self):
        self.order(path="/stream/", cut_after=self.random.randrange(3000), times=self.random.randint(1, 6))

    def refuse(self):
        path = self.random.choice(("/execution/", "/workloads", "/logs/", "/streaming/start", "/stream/"))
        self.order(path=path, status=self.random.choice((429, 503)), times=self.random.randint(1, 4))

    def lose_answers(self):
        self.order(path="/streaming/start", lose_answer=True, times=self.random.randint(1, 2))

    def kill_kernel(self):
        self.kernel.kill()
        self.kernel.join()
        self.kernel = self.start_kernel()

    def kill_cloud(self):
        self.cloud.kill()
        self.cloud.start()

    def restart_cloud(self):
        self.cloud.restart()


#: What may happen, and how often at most.
HARMS = (
    (Trouble.cut_streams, 1000),
    (Trouble.cut_streams, 1000),
    (Trouble.refuse, 1000),
    (Trouble.lose_answers, 1000),
    (Trouble.kill_kernel, 5),
    (Trouble.kill_cloud, 2),
    (Trouble.restart_cloud, 1),
)


@pytest.fixture
def steady_cloud(make_cloud):
    """A cloud with faults that has the same address whenever it is started."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return make_cloud("--faults", "--port", str(port), "--credits", "10000")


@pytest.mark.timeout(2 * LONGEST)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_line_comes_once_and_every_run_is_billed_once(seed, steady_cloud, home, monkeypatch, tmp_path):
    monkeypatch.setenv("LK_BASE_URL", steady_cloud.base_url)
    monkeypatch.setenv("LK_API_KEY", steady_cloud.api_key)
    monkeypatch.setenv("LK_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "journal.sqlite"))
    ends = tmp_path / "ends"
    ends.mkdir()
    trouble = Trouble(steady_cloud, seed, ends)
    deadline = time.monotonic() + LONGEST
    while trouble.goes_on():
        assert time.monotonic() < deadline, f"seed {seed}: only {len(list(ends.iterdir()))} of {RUNS} runs ended"
        trouble.strike()
    print(f"seed {seed}: {RUNS} runs, {dict(trouble.happened)}")
    assert trouble.kernel.exitcode == 0, (tmp_path / "kernel.log").read_text()[-3000:]
    check_runs(steady_cloud, seed, ends, tmp_path / "logs")


def check_runs(cloud, seed, ends, logs):
    """Hold every log and bill against what was to be printed and what the cloud has."""
    httpx.delete(f"{cloud.base_url}/_faults").raise_for_status()
    runs = {int(path.name): path.read_text() for path in ends.iterdir()}
    assert sorted(runs) == list(range(RUNS))
    history = list(cloud.client.billing.history(limit=RUNS))
    assert Counter(run.execution_id for run in history) == Counter(runs.values())
    assert list(cloud.client.workloads.list()) == []
    bills = Counter(row.metadata["execution_id"] for row in transactions(cloud))
    assert max(bills.values()) == 1
    states = Counter()
    for number, run in runs.items():
        record = cloud.client.execution.get(run)
        states[record.status] += 1
        whole = "".join(f"{line}\n" for line in lines_of(seed, number))
        log = (logs / f"{run}.log").read_text(encoding="utf-8")
        if record.status == "completed":
            assert log == whole, f"run {number}"
            assert bills[run] == 1
        else:
            assert record.status == "system_failure", f"run {number}: {record.status}"
            assert log == record.combined_output, f"run {number}"
            assert whole.startswith(log), f"run {number}"
    assert states["completed"] > RUNS / 5  # three ends of the cloud fail a dozen runs each
    print(f"seed {seed}: {dict(states)}")


def transactions(cloud):
    org = cloud.client.user.org()
    return [
        row
        for row in cloud.client.orgs.transactions(org.slug, limit=2 * RUNS, source="executions")
        if "execution_id" in (row.metadata or {})
    ]
