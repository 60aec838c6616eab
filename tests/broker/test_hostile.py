"""1,000 parallel and hostile starts by four clients spend no more than the grant, and show no child the key.

By night: it takes minutes. The clients are ours, the cloud's own, a client of MCP, and curl.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from broker.running import API, RESERVED, START, ChildAccount, read_state, wait_settled
from jupyter_client.manager import start_new_kernel
from localcloud.test_lyceum_cli import Lyceum
from mcp_client import call_tools, install_clients
from patience import PATIENCE

from lk_jupyter.api._client import Client
from lk_jupyter.errors import LkError

pytestmark = pytest.mark.nightly

SLEEP = "import time; print('started', flush=True); time.sleep(600)"

#: Starts of each client: raw requests of curl are the largest part, as the other clients need a process or a second.
CURL_STARTS, OUR_STARTS, MCP_STARTS, OFFICIAL_STARTS = 600, 300, 90, 10


def hostile_body(source):
    """Return a start that is valid, or that would spend more."""
    changes = source.choice(
        [
            {}, {}, {},
            {"timeout": 10**9}, {"timeout": -1}, {"timeout": True}, {"timeout": "60"}, {"timeout": 1.5},
            {"execution_type": "gpu.h100"}, {"execution_type": "cpu"}, {"gpu_count": 8},
            {"metadata": {"lk_broker": "0" * 32}},
        ]
    )  # fmt: skip
    return {**START, **changes}


def start_by_curl(broker, key, folder):
    """Send hostile starts by curl, 50 at a time, also to operations that are refused and with forged keys."""
    source = random.Random(1)
    paths = [
        *[f"{API}/execution/streaming/start"] * 6,
        *(f"{API}{path}" for path in ("/execution/image/start", "/execution/compose/start", "/vms/create", "/batches")),
        *(f"{API}{path}" for path in ("/execution/gpu_selection/start", "/inference/create", "/serverless/embeddings")),
    ]
    lines = ["parallel", "parallel-immediate", "parallel-max = 50", "silent"]
    for number in range(CURL_STARTS):
        (folder / f"{number}.json").write_text(json.dumps(hostile_body(source)))
        forged = source.choice([key] * 9 + [key[:-1]])
        lines += [
            "next", f'url = "{broker.base_url}{source.choice(paths)}"', f'header = "Authorization: Bearer {forged}"',
            'header = "Content-Type: application/json"', f'data = "@{folder}/{number}.json"',
            f'output = "{folder}/{number}.out"', 'write-out = "%{http_code}\\n"',
        ]  # fmt: skip
    (folder / "curl.config").write_text("\n".join(lines))
    done = subprocess.run(["curl", "-K", folder / "curl.config"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def start_by_our_client(broker, key):
    """Start runs by our client in 20 threads; return what was refused."""
    source = random.Random(2)
    with Client(broker.base_url, key) as client, ThreadPoolExecutor(20) as threads:
        bodies = [hostile_body(source) for _ in range(OUR_STARTS)]
        return list(threads.map(lambda body: send(client, body), bodies))


def send(client, body):
    try:
        client.execution.start_streaming(body)
    except (LkError, ValueError) as error:
        return error
    return None


def start_by_the_official_client(broker, key, folder):
    """Start runs by the cloud's own client, all at the same time; return its outputs."""
    lyceum = Lyceum(ChildAccount(broker.base_url, key), folder)
    processes = [lyceum.start("python", "run", "print(6 * 7)", "-m", "gpu.a100") for _ in range(OFFICIAL_STARTS)]
    return [process.communicate(timeout=PATIENCE)[0] for process in processes]


def memory_contains(process_id, text):
    """Return whether the memory of a process has a text (Linux)."""
    process = Path(f"/proc/{process_id}")
    with (process / "maps").open() as maps, (process / "mem").open("rb", buffering=0) as memory:
        for line in maps:
            start, end = (int(number, 16) for number in line.split()[0].split("-"))
            if "r" not in line.split()[1] or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, OverflowError):
                continue  # a mapping that can't be read, such as of a device
            if text.encode() in content:
                return True
    return False


def test_1000_starts_of_four_clients_spend_no_more_than_the_grant(broker, upstream, home, tmp_path):
    pytest.importorskip("lyceum")
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    python = install_clients()
    child = broker.grant(credits=20.5 * RESERVED, machines=["gpu.a100"])
    (tmp_path / "curl").mkdir()
    (tmp_path / "official").mkdir()
    calls = [
        ["lk_start", {"code": "print(6 * 7)", "gpu": "A100", "timeout": "60s", "key": str(number)}]
        for number in range(MCP_STARTS)
    ]
    with ThreadPoolExecutor(4) as threads:
        curl_future = threads.submit(start_by_curl, broker, child.key, tmp_path / "curl")
        client_future = threads.submit(start_by_our_client, broker, child.key)
        official_future = threads.submit(start_by_the_official_client, broker, child.key, tmp_path / "official")
        mcp_future = threads.submit(
            call_tools, python, "mcp", "legacy", calls, LK_BASE_URL=broker.base_url, LK_API_KEY=child.key
        )
        futures = (curl_future, client_future, official_future)
        curl_statuses, our_results, outputs = (future.result(PATIENCE * 2) for future in futures)
        codes = [call["answer"]["exit_code"] for call in mcp_future.result(PATIENCE * 2)["calls"]]
    assert [len(results) for results in (curl_statuses, our_results, outputs, codes)] == [
        CURL_STARTS, OUR_STARTS, OFFICIAL_STARTS, MCP_STARTS
    ]  # fmt: skip
    wait_settled(child)
    runs = [row["run"] for row in child.get("/broker/runs").json() if row["run"]]
    bills = sum(float(upstream.http.get(f"/execution/{run}").json()["billed"] or 0) for run in runs)
    refused = {status: curl_statuses.count(status) for status in sorted(set(curl_statuses))}
    print(f"{len(runs)} runs; curl {refused}; granted {20.5 * RESERVED:.6f}, bills {bills:.9f}")
    assert runs
    assert bills <= 20.5 * RESERVED
    assert read_state(child)["used"] == pytest.approx(bills, abs=1e-7)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
def test_the_key_of_the_organization_is_in_no_memory_of_a_child(broker, upstream, home, tmp_path):
    child = broker.grant()
    env = {**os.environ, "LK_API_KEY": child.key, "LK_BASE_URL": broker.base_url}
    manager, kernel = start_new_kernel(env=env, cwd=str(tmp_path), startup_timeout=PATIENCE)
    try:
        for cell in ("%load_ext lk_jupyter", "%%lk_run --gpu A100 --timeout 60\nanswer = 6 * 7", "assert answer == 42"):
            reply = kernel.execute_interactive(cell, timeout=PATIENCE, output_hook=lambda _: None)
            assert reply["content"]["status"] == "ok", reply
        assert memory_contains(manager.provisioner.pid, child.key)
        assert not memory_contains(manager.provisioner.pid, upstream.api_key)
        assert memory_contains(broker.process.pid, upstream.api_key)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)
    code = f"import os\nprint(f'pid {{os.getpid()}}', flush=True)\n{SLEEP}"
    answer = child.post(f"{API}/execution/streaming/start", json={**START, "code": code}).json()
    with broker.client("none").stream("POST", answer["streaming_url"]) as lines:
        match = next(match for line in lines.iter_lines() if (match := re.search(r"pid (\d+)", line)))
    assert not memory_contains(match[1], upstream.api_key)
    child.post(f"{API}/workloads/abort/{answer['execution_id']}")
