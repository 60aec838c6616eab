"""How soon the first line of a run is on the screen, beside a bare submit-and-stream to the same local cloud.

On the screen means: as ordinary output of a kernel. So the yardstick is a cell too, with what its author would
write who has only httpx. Beside it stands what there is at the very least: over a connection that is open already,
into a file. In a shell, ``lk run`` stands beside the cloud's own command: both start a process for a ``print``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import httpx
from bare_reader import read
from figures import Figure
from kernel import Kernel, running_kernel

from lk_jupyter.localcloud import launch

WORD = "first-line"
CODE = f"print({WORD!r})"
ROUNDS = 11

#: As plain as the bare submit is; shim.py measures what more than text adds.
OURS = f"%%lk_run --gpu L40S --no-rich --fresh\n{CODE}"
BARE = f"""
import json, os, httpx
signed_in = {{"Authorization": "Bearer " + os.environ["LK_API_KEY"]}}
with httpx.Client(base_url=os.environ["LK_BASE_URL"], headers=signed_in, timeout=600) as client:
    request = {{"code": {CODE!r}, "execution_type": "gpu.l40s"}}
    started = client.post("/api/v2/external/execution/streaming/start", json=request).raise_for_status().json()
    with client.stream("POST", started["streaming_url"]) as response:
        for line in response.iter_lines():
            if line.startswith("data:") and "output" in (event := json.loads(line[5:])):
                print(event["output"]["content"], end="", flush=True)
"""


def measure() -> Iterator[Figure]:
    """Yield the ratios; both sides take turns, so that they meet the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"))
        try:
            yield _compare(cloud, Path(folder))
            if find_spec("lyceum"):
                yield _compare_commands(cloud, Path(folder))
        finally:
            launch.stop(cloud.data)


def _compare(cloud: launch.Address, folder: Path) -> Figure:
    kept = {"LK_LOG_DIR": str(folder / "logs"), "LK_JOURNAL": str(folder / "journal.sqlite")}
    settings = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, **kept}
    signed_in = {"Authorization": f"Bearer {cloud.api_key}"}
    with (
        running_kernel(**settings) as our_kernel,
        running_kernel(**settings) as bare_kernel,
        httpx.Client(base_url=cloud.base_url, headers=signed_in) as client,
    ):
        rounds = [
            (_seconds(our_kernel, OURS), _seconds(bare_kernel, BARE), read(client, CODE, folder / "bare.log")[0])
            for _ in range(ROUNDS + 1)
        ]
    ours, bare, least = (median(times) for times in zip(*rounds[1:], strict=True))
    beside = f"{ours * 1000:.0f} ms / {bare * 1000:.0f} ms, medians of {ROUNDS}; at the least {least * 1000:.0f} ms"
    return Figure("first log line on screen, times a bare submit-and-stream", ours / bare, 1.2, "x", beside)


def _seconds(kernel: Kernel, cell: str) -> float:
    return kernel.execute(cell).first(WORD)


def _compare_commands(cloud: launch.Address, folder: Path) -> Figure:
    """Return the time of ``lk run`` relative to ``lyceum python run``, which needs a file with the key."""
    script, settings = folder / "print.py", folder / ".lyceum" / "config.json"
    script.write_text(CODE)
    settings.parent.mkdir()
    settings.write_text(json.dumps({"api_key": cloud.api_key, "base_url": cloud.base_url}))
    env = {**os.environ, "HOME": str(folder), "USERPROFILE": str(folder), "LK_LOG_DIR": str(folder / "logs")}
    commands = (
        [sys.executable, "-m", "lk_jupyter.cli", "run", str(script), "--machine", "cpu"],
        [sys.executable, "-m", "lyceum", "python", "run", str(script), "-m", "cpu"],
    )
    rounds = [[_seconds_of_process(command, env) for command in commands] for _ in range(ROUNDS + 1)]
    lk, lyceum = (median(times) for times in zip(*rounds[1:], strict=True))
    beside = f"{lk:.2f} s / {lyceum:.2f} s, medians of {ROUNDS}"
    return Figure("lk run of a print, times the cloud's own command", lk / lyceum, 1, "x", beside)


def _seconds_of_process(command: list[str], env: dict[str, str]) -> float:
    start_time = time.perf_counter()
    output = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    assert WORD in output
    return time.perf_counter() - start_time
