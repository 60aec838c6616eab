"""Attack a broker, and compare its ledger with the bills and its speed with the cloud: ``python benchmarks/broker.py``.

Prints a line for each figure: overspent credits after hostile parallel starts and after kills, milliseconds that the
broker adds to a call, the time of a large log, and the seconds from a revocation to the last abort.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from lk_jupyter.localcloud import launch

API = "/api/v2/external"
PRICE, MARGIN = 1.59, 60
START = {"code": "print(6 * 7)", "execution_type": "gpu.a100", "timeout": 60}
FLOOD = "import sys\nfor n in range(200_000): sys.stdout.write(f'line {n} of a long log, with some more text\\n')"
SLEEP = "import time; time.sleep(600)"


class BrokerProcess:
    """A broker in its own process, which reads the key and prints its address when it is ready."""

    def __init__(self, command: list[str], organization_key: str) -> None:
        self.command, self.organization_key = command, organization_key
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(self.organization_key + "\n")
        self.process.stdin.close()
        self.base_url: str = json.loads(self.process.stdout.readline())["base_url"]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def client(base_url: str, key: str) -> httpx.Client:
    """Return an HTTP client that signs with a key."""
    limits = httpx.Limits(max_connections=100)
    return httpx.Client(base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=120, limits=limits)


def issue(operator: httpx.Client, **limits: Any) -> tuple[str, str]:
    """Issue a child key, and return its id and the key."""
    answer = operator.post("/broker/keys", json=limits).raise_for_status().json()
    return answer["id"], answer["api_key"]


def hostile_start(random_source: random.Random) -> dict[str, Any]:
    """Return a start that is valid, or that a hostile child would send to spend more."""
    changes: dict[str, Any] = random_source.choice(
        [
            *[{}] * 8,
            {"timeout": 10**9},
            {"timeout": -1},
            {"timeout": True},
            {"timeout": "60"},
            {"timeout": 1.5},
            {"execution_type": "gpu.h100"},
            {"execution_type": "cpu"},
            {"execution_type": "gpu.A100"},
            {"metadata": {"lk_broker": "0" * 32}},
            {"gpu_count": 8},
            {"user_callback_urls": ["https://127.0.0.1/"]},
        ]
    )
    return {**START, **changes}


def overspend(operator: httpx.Client, cloud: httpx.Client, base_url: str, count: int) -> None:
    """Send hostile starts in parallel, by HTTP and with forged keys, and compare bills with the grant."""
    credits_limit = 5.5 * PRICE * (START["timeout"] + MARGIN) / 3600  # type: ignore[operator]
    key_id, key = issue(operator, credits=credits_limit, machines=["gpu.a100"])
    child, random_source = client(base_url, key), random.Random(1)
    paths = [f"{API}/execution/streaming/start"] * 6 + [
        f"{API}/execution/image/start", f"{API}/execution/compose/start", f"{API}/execution/gpu_selection/start",
        f"{API}/vms/create", f"{API}/inference/create", f"{API}/batches",
    ]  # fmt: skip
    keys = [key] * 9 + [key[:-1]]

    def send(_: int) -> int:
        headers = {"Authorization": f"Bearer {random_source.choice(keys)}"}
        return child.post(random_source.choice(paths), json=hostile_start(random_source), headers=headers).status_code

    with ThreadPoolExecutor(50) as threads:
        statuses = list(threads.map(send, range(count)))
    used, billed = compare(operator, cloud, key_id, key, base_url)
    over = max(0.0, billed - credits_limit)
    counts = {status: statuses.count(status) for status in sorted(set(statuses))}
    print(f"{count} starts: statuses {counts}; granted {credits_limit:.4f}, ledger {used:.9f}, bills {billed:.9f}, "
          f"overspend {over:g}")  # fmt: skip


def wait_settled(operator: httpx.Client, key_id: str) -> dict[str, Any]:
    """Wait until each run of a key has its bill, and return the description of the key."""
    while True:
        row: dict[str, Any] = next(row for row in operator.get("/broker/keys").json() if row["id"] == key_id)
        if not row["active"]:
            return row
        time.sleep(0.2)


def compare(operator: httpx.Client, cloud: httpx.Client, key_id: str, key: str, base_url: str) -> tuple[float, float]:
    """Return the credits of a key in the ledger, and the bills of its runs at the cloud."""
    used = wait_settled(operator, key_id)["used"]
    with client(base_url, key) as child:
        runs = child.get(f"{API}/billing/history", params={"limit": 1000}).json()["executions"]
    billed = sum(float(cloud.get(f"{API}/execution/{run['execution_id']}").json()["billed"] or 0) for run in runs)
    return used, billed


def kill_repeatedly(broker: BrokerProcess, operator_key: str, cloud: httpx.Client, count: int) -> None:
    """Kill the broker at random moments while a child starts runs, and compare ledger and bills afterwards."""
    key_id, key = issue(client(broker.base_url, operator_key), credits=100)
    random_source = random.Random(2)
    for _ in range(count):
        stop = threading.Event()

        def start_many(address: str, stop: threading.Event) -> None:
            with client(address, key) as child:
                while not stop.is_set():
                    try:
                        child.post(f"{API}/execution/streaming/start", json={**START, "timeout": 5})
                    except httpx.HTTPError:
                        return

        threads = [threading.Thread(target=start_many, args=(broker.base_url, stop)) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(random_source.uniform(0.05, 0.4))
        broker.kill()
        stop.set()
        for thread in threads:
            thread.join()
        broker.start()
    operator = client(broker.base_url, operator_key)
    used, billed = compare(operator, cloud, key_id, key, broker.base_url)
    print(f"{count} kills: ledger {used:.9f}, bills {billed:.9f}, difference {abs(used - billed):.9f}")


def compare_speed(child: httpx.Client, cloud: httpx.Client) -> None:
    """Compare a call and a large log through the broker with the same at the cloud."""
    run_id = child.post(f"{API}/execution/streaming/start", json={**START, "code": FLOOD}).json()["execution_id"]
    while child.get(f"{API}/execution/{run_id}").json()["status"] != "completed":
        time.sleep(0.2)
    path = f"{API}/execution/streaming/{run_id}/status"
    broker_times, cloud_times = [], []
    for _ in range(200):
        for server, times in ((child, broker_times), (cloud, cloud_times)):
            started = time.perf_counter()
            server.get(path).raise_for_status()
            times.append(1000 * (time.perf_counter() - started))
    broker_time, cloud_time = statistics.median(broker_times), statistics.median(cloud_times)
    print(f"a call: {broker_time:.1f} ms through the broker, {cloud_time:.1f} ms direct, "
          f"{broker_time - cloud_time:.1f} ms added")  # fmt: skip
    broker_times, cloud_times = [], []
    for _ in range(3):
        for server, times in ((child, broker_times), (cloud, cloud_times)):
            started = time.perf_counter()
            answer = server.post(f"{API}/execution/streaming/start", json={**START, "code": FLOOD}).json()
            with server.stream("POST", answer["streaming_url"]) as lines:
                size = sum(len(chunk) for chunk in lines.iter_raw())
            times.append(time.perf_counter() - started)
    ratio = min(broker_times) / min(cloud_times)
    print(f"a run that prints {size / 1e6:.1f} MB: {min(broker_times):.2f} s through the broker, "
          f"{min(cloud_times):.2f} s direct, {ratio:.2f} times")  # fmt: skip


def measure_revocation(operator: httpx.Client, cloud: httpx.Client, base_url: str) -> None:
    """Revoke a key with active runs, and measure until the cloud has got the abort of each."""
    key_id, key = issue(operator, credits=10)
    with client(base_url, key) as child:
        runs = [
            child.post(f"{API}/execution/streaming/start", json={**START, "code": SLEEP}).json()["execution_id"]
            for _ in range(5)
        ]
    started = time.perf_counter()
    operator.delete(f"/broker/keys/{key_id}").raise_for_status()
    while any(cloud.get(f"{API}/execution/{run_id}").json()["status"] != "aborted" for run_id in runs):
        time.sleep(0.02)
    print(f"revoked: {len(runs)} runs aborted after {time.perf_counter() - started:.2f} s")


def main() -> None:
    """Measure in front of a fresh local cloud."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = Path(folder)
        upstream = launch.start(data / "cloud")
        stack.callback(launch.stop, upstream.data)
        command = [sys.executable, "-m", "lk_jupyter.broker", "serve", "--data", str(data / "broker")]
        command += ["--upstream", upstream.base_url, "--margin", str(MARGIN)]
        broker = BrokerProcess(command, upstream.api_key)
        stack.callback(broker.kill)
        operator_key = json.loads((data / "broker" / "broker.json").read_text())["api_key"]
        operator, cloud = client(broker.base_url, operator_key), client(upstream.base_url, upstream.api_key)
        overspend(operator, cloud, broker.base_url, options.starts)
        measure_revocation(operator, cloud, broker.base_url)
        compare_speed(client(broker.base_url, issue(operator, credits=10)[1]), cloud)
        kill_repeatedly(broker, operator_key, cloud, options.kills)


if __name__ == "__main__":
    main()
