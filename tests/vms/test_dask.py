"""Dask clusters on real VMs of a local cloud: started, used and closed, and clients that are killed."""

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from patience import PATIENCE
from serverext.conftest import running, set_parent_server
from ui import browser
from vms.on_vm import active_keys, facts_of, living, until

from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError

pytest.importorskip("asyncssh")
KilledWorker = pytest.importorskip("distributed").KilledWorker
dask = pytest.importorskip("lk_jupyter.dask")

#: The oldest Dask warns about packages that only this kernel has, such as pandas.
pytestmark = pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning")

#: A program that starts a cluster and waits; times of the client's loss are shortened.
PROGRAM = """
import time
from lk_jupyter.vms import sending
sending.LINGER_SECONDS = 1.0
from lk_jupyter.dask import LyceumCluster
cluster = LyceumCluster(n_workers=1, gpu="A100", max_cost=2)
cluster.get_client().submit(time.sleep, 600)
print(cluster.run.execution_id, flush=True)
time.sleep(600)
"""


def rent(session, **options):
    return dask.LyceumCluster(session=session, **{"n_workers": 2, "gpu": "A100", "max_cost": 2, **options})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"requirements": ["dask==2020.1"]}, "requirements: 'dask==2020.1' excludes "),
        (
            {"gpu": "16xA100"},
            "gpu: a cluster runs on one VM with at most 8 GPUs, but 16 were requested. Nothing was rented. ",
        ),
        ({"idle_timeout": "soon"}, "idle_timeout must be a time such as '5 minutes', got 'soon'. Nothing was rented."),
        ({"n_workers": -1}, "n_workers must be 0 or more, got -1. Nothing was rented."),
        ({"max_cost": None}, "Nothing was rented. To rent the VM without a question: LyceumCluster(max_cost=1.72)"),
    ],
)
def test_a_cluster_that_cant_work_or_has_no_consent_rents_nothing(session, vms, monkeypatch, options, problem):
    questions = []
    monkeypatch.setattr("builtins.input", lambda text: questions.append(text) or "")
    with pytest.raises(UsageError) as refusal:
        rent(session, **options)
    assert str(refusal.value).startswith(problem)
    assert (living(vms), [text.partition(":")[0] for text in questions]) == (
        [],
        ["Rent VM A100 at 1.59 credits/h for this cluster"] if "max_cost" in options else [],
    )


@pytest.mark.nightly
def test_a_cluster_computes_and_its_close_deletes_the_vm_and_ends_the_bill(session, vms):
    with rent(session) as cluster, cluster.get_client() as client:
        assert client.gather(client.map(pow, range(20), [2] * 20)) == [number**2 for number in range(20)]
        assert client.run(lambda: __import__("os").environ["CUDA_VISIBLE_DEVICES"]).keys() == set(
            client.scheduler_info()["workers"]
        )
        assert len(living(vms)) == 1
    assert (living(vms), active_keys(vms), cluster.status.name) == ([], [], "closed")
    assert (cluster.run.status, cluster.cost) == ("completed", facts_of(cluster.run).billed)
    assert cluster.cost > 0


@pytest.mark.nightly
def test_a_cluster_that_is_closed_before_its_start_deletes_its_vm(session, vms):
    async def close_early():
        await rent(session, asynchronous=True).close()

    asyncio.run(close_early())
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_a_cluster_whose_workers_are_all_killed_computes_with_new_workers(session, vms):
    with rent(session) as cluster, cluster.get_client() as client:
        before = client.run(os.getpid)
        with suppress(KilledWorker, OSError):  # the connections end without an answer
            client.run(os._exit, 1)
        assert client.gather(client.map(pow, range(20), [2] * 20)) == [number**2 for number in range(20)]
        client.wait_for_workers(2)
        assert not {*before.values()} & {*client.run(os.getpid).values()}
    assert living(vms) == []


@pytest.mark.nightly
def test_a_vm_with_other_versions_is_deleted(session, vms, monkeypatch):
    monkeypatch.setattr(dask, "_read_local_versions", lambda: {"python": "3.99"})
    with pytest.raises(UsageError, match=r"^The VM has python .*, but this kernel has 3.99.* The VM was deleted"):
        rent(session)
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_a_vm_without_its_killed_client_deletes_itself(session, vms, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline().startswith("vm-")
        assert len(living(vms)) == 1
        client.kill()
    until(lambda: not living(vms))


def look_at_dashboard(server, vm_id):
    """Sign in to a Jupyter server, open a dashboard, and return its figures, origin and received messages."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        path = browser.find()
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = chromium.new_page()
        sockets = []
        page.on("websocket", lambda socket: socket.on("framereceived", lambda _: sockets.append(socket.url)))
        page.goto(f"{server.url}tree?token={server.token}")
        page.goto(f"{server.url}lk/ports/{vm_id}/dashboard/status")
        page.locator("canvas").first.wait_for(state="attached", timeout=1000 * PATIENCE)
        origin, address = page.evaluate("() => window.origin"), page.url
        chromium.close()
    return origin, address, sockets


@pytest.mark.nightly
def test_the_dashboard_is_shown_through_the_jupyter_server_and_cant_use_its_cookies(session, tmp_path, monkeypatch):
    with running(tmp_path, LK_JOURNAL=str(setting("journal"))) as server:
        set_parent_server(server, tmp_path, monkeypatch)
        with rent(session, n_workers=1) as cluster, ThreadPoolExecutor(1) as threads:  # the browser has an event loop
            vm_id = facts_of(cluster.run).vm_id
            origin, address, sockets = threads.submit(look_at_dashboard, server, vm_id).result()
            path = address.removeprefix(server.url)
            with httpx.Client(base_url=server.url, timeout=PATIENCE) as stranger:
                assert stranger.get(f"lk/ports/{vm_id}/dashboard/status").status_code == 403
                assert stranger.get(path).status_code == 200
        assert (origin, bool(sockets)) == ("null", True)
    with httpx.Client(base_url=server.url, cookies=server.page.cookies) as page, pytest.raises(httpx.ConnectError):
        page.get(path)


@pytest.mark.nightly
def test_adapt_starts_and_ends_workers_and_an_idle_cluster_closes(session, vms):
    with rent(session, n_workers=0, idle_timeout="20s") as cluster:
        cluster.adapt(minimum=0, maximum=2, interval="200ms", wait_count=2)
        with cluster.get_client() as client:
            assert client.gather(client.map(pow, range(4), [2] * 4)) == [0, 1, 4, 9]
        until(lambda: not cluster.scheduler_info["workers"])
        until(lambda: not living(vms))
        until(lambda: cluster.status.name == "closed")
    assert cluster.run.status == "completed"


@pytest.mark.nightly
def test_a_shuffle_of_1_gb_on_two_workers_equals_the_result_of_one_worker(session):
    frames = pytest.importorskip("dask.dataframe")
    rows = int(os.environ.get("LK_SHUFFLE_ROWS", "62500000"))  # of 16 bytes
    results = []
    for workers in (1, 2):
        with rent(session, n_workers=workers, timeout="2h", max_cost=5) as cluster, cluster.get_client() as client:
            table = frames.from_map(make_part, range(32), rows=rows // 32).shuffle("key", npartitions=16)
            assert len(client.scheduler_info()["workers"]) == workers
            results.append(client.compute(table.map_partitions(sum_groups)).result().sort_index().to_dict())
    assert sum(results[0]["count"].values()) == rows // 32 * 32
    assert results[0] == results[1]


def make_part(number, rows):
    """Return a part of a table with 64 keys."""
    import numpy as np  # noqa: PLC0415 (on the VM)
    import pandas as pd  # noqa: PLC0415 (on the VM)

    index = np.arange(number * rows, (number + 1) * rows)
    return pd.DataFrame({"key": index * 7919 % 64, "value": index})


def sum_groups(rows):
    """Return a sum and a count for each key: a key in two partitions would appear twice."""
    return rows.groupby("key").value.agg(["sum", "count"])


make_part.__module__ = sum_groups.__module__ = "__main__"  # as in a notebook: the VM can't import this file
