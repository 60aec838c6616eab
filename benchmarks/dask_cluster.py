"""Start a Dask cluster with two workers on a local VM: the seconds from a usable VM to the first answer, and its parts.

The figure is next to the seconds of Dask's own LocalCluster, which starts the same processes on this machine. The
parts are moments on the clock of this machine: SSH until the code was sent, the environment until the code started, the
scheduler until its ports are forwarded, the workers until both have joined, and the first answer.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from distributed import LocalCluster
from figures import Figure

import lk_jupyter
from lk_jupyter.dask import LyceumCluster, VmScheduler
from lk_jupyter.localcloud import launch
from lk_jupyter.vms import hosted, sending

_moments: dict[str, float] = {}


def measure() -> Iterator[Figure]:
    """Yield the seconds until the first answer, and the seconds of each part."""
    for owner, name, part in (
        (sending, "_wait_until_usable", "VM"),
        (hosted, "send_code", "SSH"),
        (VmScheduler, "_connect_to_scheduler", "scheduler"),
    ):
        setattr(owner, name, _with_moment(getattr(owner, name), part))
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"), "--clock-speed", "50")
        settings = {"HOME": folder, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
        settings |= {"LK_LOG_DIR": f"{folder}/logs", "LK_JOURNAL": f"{folder}/journal.sqlite"}
        try:
            with (
                patch.dict(os.environ, settings),
                lk_jupyter.connect() as session,
                LyceumCluster(2, gpu="A100", max_cost=2, session=session) as cluster,
            ):
                _moments["workers"] = time.time()
                with cluster.get_client() as client:
                    assert client.submit(sum, [1, 2]).result() == 3
                    _moments["answer"] = time.time()
                _moments["environment"] = cluster._scheduler.vm_run.state()["started"]
        finally:
            launch.stop(cloud.data)
    order = ("VM", "SSH", "environment", "scheduler", "workers", "answer")
    spans = [f"{part} {_moments[part] - _moments[last]:.1f}" for last, part in pairwise(order)]
    seconds = _moments["answer"] - _moments["VM"]
    beside = f"{', '.join(spans)}; LocalCluster {_seconds_of_local_cluster():.1f} s"
    yield Figure("dask: a usable VM to the first answer of 2 workers", seconds, 10, "s", beside)


def _seconds_of_local_cluster() -> float:
    """Return the seconds from the start of a LocalCluster with two workers to its first answer."""
    start = time.perf_counter()
    with LocalCluster(n_workers=2, dashboard_address=":0") as cluster, cluster.get_client() as client:
        assert client.submit(sum, [1, 2]).result() == 3
        return time.perf_counter() - start


def _with_moment(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    """Return a function that also records the moment of its end."""

    def call(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        _moments[part] = time.time()
        return result

    return call
