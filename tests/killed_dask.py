"""Kill clients of Dask clusters at random moments, and compare the VMs and the bills with the promises.

python tests/killed_dask.py [--count 50] [--seed 1] starts a local cloud with shortened times and a Jupyter server. In
each case, a client starts a cluster that computes, and is killed at a random moment: before its VM is rented, while the
VM starts, or during the computation. Five clients are active at the same time. Then:

- no VM is active after its time to live and a grace period,
- the bill of each VM doesn't change any more.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from killed_vms import GRACE, SETUP, SHORTENED, TIMEOUT, Parts
from vms.on_vm import living

AT_ONCE = 5

#: Seconds after the import of a client within which the client is killed.
LATEST = 40.0

CLIENT = f"""
{SHORTENED}
import time
from lk_jupyter.dask import LyceumCluster
print("imported", flush=True)
cluster = LyceumCluster(n_workers=1, gpu="A100", max_cost="0.05", timeout={TIMEOUT})
print("ready", flush=True)
cluster.get_client().submit(time.sleep, 600)
time.sleep(600)
"""


def kill_client(moment: float) -> str:
    """Start a client, kill the client at this moment after its import, and return the moment and its progress."""
    with subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        assert client.stdout.readline() == "imported\n"
        killer = threading.Timer(moment, client.kill)
        killer.start()
        progress = client.stdout.read().split()
        killer.cancel()
    return f"killed after {moment:.1f} s, the cluster was {'ready' if 'ready' in progress else 'not ready'}"


def run_batch(parts: Parts, moments: list[float]) -> list[str]:
    """Kill clients at these moments, and return what happened. Raises AssertionError for a VM that stays."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        lines = list(threads.map(kill_client, moments))
    end = time.monotonic() + TIMEOUT + SETUP + GRACE
    while active := living(parts.cloud):
        assert time.monotonic() < end, f"{len(active)} VMs are active after their time to live"
        time.sleep(0.2)
    return lines


def main() -> int:
    """Run all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance, lines = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as folder:
        parts = Parts(Path(folder))
        try:
            while len(lines) < options.count:
                count = min(AT_ONCE, options.count - len(lines))
                lines += run_batch(parts, [chance.uniform(0, LATEST) for _ in range(count)])
                print("\n".join(lines[-count:]), flush=True)
            bills = {vm.vm_id: vm.billed for vm in parts.cloud.client.vms.list()}
            for _ in range(10):  # a bill that goes on changes within this time
                time.sleep(0.2)
            later = {vm.vm_id: vm.billed for vm in parts.cloud.client.vms.list()}
            active = living(parts.cloud)
        finally:
            parts.stop()
    ready = sum(line.endswith("was ready") for line in lines)
    print(
        f"{len(lines)} clients killed, {ready} with a ready cluster: {len(bills)} VMs rented, {len(active)} active, "
        f"{sum(bills[vm] != later[vm] for vm in bills)} bills changed"
    )
    return 1 if active or bills != later else 0


if __name__ == "__main__":
    sys.exit(main())
