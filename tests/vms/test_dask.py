"""Dask clusters on real VMs of a local cloud: started, used and closed, and clients that are killed."""

import subprocess
import sys

import pytest
from vms.on_vm import active_keys, facts_of, living, until

from lk_jupyter.errors import UsageError

pytest.importorskip("asyncssh")
pytest.importorskip("distributed")
dask = pytest.importorskip("lk_jupyter.dask")

#: A program that starts a cluster and waits; times of the client's loss are shortened.
PROGRAM = """
import time
from lk_jupyter.vms import hosted
hosted.LINGER_SECONDS = 1.0
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
        ({"requirements": ["dask==2020.1"]}, "requirements: 'dask==2020.1' excludes the version of this kernel, "),
        ({"gpu": "16xA100"}, "gpu: a cluster is on one VM, with at most 8 GPUs, got 16. Nothing was rented. "),
        ({"idle_timeout": "soon"}, "idle_timeout must be a time such as '5 minutes', got 'soon'. Nothing was rented."),
        ({"n_workers": -1}, "n_workers must be 0 or more, got -1. Nothing was rented."),
        ({"max_cost": None}, "Nothing was rented. Without a question, rent the VM with: LyceumCluster(max_cost=1.72)"),
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
def test_a_vm_with_other_versions_is_deleted(session, vms, monkeypatch):
    monkeypatch.setattr(dask, "_local_versions", lambda: {"python": "3.99"})
    with pytest.raises(UsageError, match=r"^The VM has python .*, this kernel has 3.99.* The VM was deleted"):
        rent(session)
    assert (living(vms), active_keys(vms)) == ([], [])


@pytest.mark.nightly
def test_a_vm_without_its_killed_client_deletes_itself(session, vms, monkeypatch):
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout.readline().startswith("vm-")
        assert len(living(vms)) == 1
        client.kill()
    until(lambda: not living(vms))
