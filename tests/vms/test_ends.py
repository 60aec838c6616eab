"""The end of a VM, on clouds whose single answers about it are wrong, and ids of VMs in any form."""

import json
import re
import threading
import time
from urllib.parse import quote

import pytest
from patience import PATIENCE, wait_until
from stand_in import IDS, KEY, NO_VM, StandIn
from vms.on_vm import active_keys, living
from vms.test_bad_input import add_fault, rent  # noqa: F401 (a fixture)

from lk_jupyter import session as sessions
from lk_jupyter.api import _lifecycle
from lk_jupyter.api._lifecycle import EndProof, Sighting, StateDoubt
from lk_jupyter.api.states import VM_PHASES, LifecyclePhase, read_phase
from lk_jupyter.errors import ConnectionFailed, DeploymentFailed, LkError
from lk_jupyter.inference.deploy import describe_odd_state, follow_start, has_serving_replica
from lk_jupyter.protocol.vm_run import make_vm_key, parse_run_key
from lk_jupyter.stop import read_active
from lk_jupyter.vms import ends, facts, hosted
from lk_jupyter.vms import vms as rented
from lk_jupyter.vms.driver import drive_in_thread
from lk_jupyter.vms.offers import list_offers
from lk_jupyter.vms.sending import create_key

pytest.importorskip("asyncssh")

ODD_IDS = [
    "0B7E57C0-9A51-4F0E-8E6D-3F2A1C9B7D45",
    "vm_8Kd/../3f",
    "vm-2026-0001",
    "GPU machine 'ü' #1?x=%2F",
    "7" * 200,
]


@pytest.fixture
def cloud(monkeypatch):
    monkeypatch.setattr(_lifecycle, "CONFIRM_SECONDS", 0.5)
    monkeypatch.setattr(_lifecycle, "ABSENCE_SECONDS", 0.2)
    for name in ("SHORTEST_LOOK", "LONGEST_LOOK", "RESEND_SECONDS"):
        monkeypatch.setattr(_lifecycle, name, 0.05)
    monkeypatch.setattr(_lifecycle, "REPEAT_SECONDS", 0.05)
    monkeypatch.setattr(ends, "VOLUME_ABSENCE_SECONDS", 0.2)
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


@pytest.fixture
def connected(cloud, home):
    with sessions.connect(cloud.url, KEY) as session:
        yield session


def rent_vm(connected):
    """Rent a VM of a run on the stand-in; its code isn't sent."""
    offers = list_offers(connected.client.vms.availability())
    return hosted.VmRun.rent(connected, next(each for each in offers if each.machine == "vm.a100"), "a" * 32, 60, {})


def test_absences_prove_an_end_only_together_and_over_some_time(monkeypatch):
    monkeypatch.setattr(_lifecycle, "ABSENCE_SECONDS", 0.0)
    proof = EndProof()
    assert [proof.add(Sighting.ABSENT) for _ in range(2)] == [False, False]
    assert not proof.add(Sighting.ACTIVE)
    assert [proof.add(Sighting.ABSENT) for _ in range(3)] == [False, False, True]
    monkeypatch.setattr(_lifecycle, "ABSENCE_SECONDS", 60.0)
    assert not any(EndProof().add(Sighting.ABSENT) for _ in range(10))
    assert EndProof().add(Sighting.ENDED)


@pytest.mark.parametrize("word", ["stopped", "Preempted", "reclaimed", "evicted", "powered-off", "zorp"])
def test_a_state_that_is_neither_starting_nor_usable_nor_final_is_doubted_until_it_changes(monkeypatch, word):
    monkeypatch.setattr(_lifecycle, "ODD_SECONDS", 0.0)
    doubt = StateDoubt()
    assert doubt.add(read_phase(word, VM_PHASES))
    assert not doubt.add(LifecyclePhase.RUNNING)
    assert not doubt.add(read_phase("provisioning", VM_PHASES))


def test_one_404_and_one_empty_list_do_not_end_the_vm_of_a_run_nor_revoke_its_key(session, vms, add_fault):  # noqa: F811
    run = rent(session)
    create_key(run)
    add_fault("/vms/", method="DELETE", status=404, detail="VM not found")
    add_fault("/vms/list", method="GET", body='{"vms": []}')
    add_fault("/status", method="GET", status=404, detail="VM not found")
    run.delete()
    assert (living(vms), active_keys(vms), run.facts.is_deleted) == ([], [], True)


def test_a_vm_that_the_cloud_forgets_has_ended_after_several_answers_without_it(cloud, connected):
    run = rent_vm(connected)
    cloud.on("DELETE /vms/{}", lambda _: cloud.vms.clear() or {})
    start = time.monotonic()
    run.delete()
    assert run.facts.is_deleted
    assert time.monotonic() - start >= _lifecycle.ABSENCE_SECONDS
    assert cloud.calls["GET /vms/list"] >= _lifecycle.ABSENCES


def test_a_deletion_that_is_accepted_and_ignored_is_reported_and_repeated_until_it_works(cloud, connected):
    run = rent_vm(connected)
    works = threading.Event()
    vm_id = run.facts.vm_id
    cloud.on("DELETE /vms/{}", lambda _: cloud._ended(vm_id) if works.is_set() else {"vm_id": vm_id})
    run.end(facts.final_state("completed", ""))
    assert (run.facts.is_deleted, run.state()["status"]) == (False, "completed")
    assert run.watch.notice.startswith(
        f"VM {vm_id[:8]} may still be active and billed: the cloud accepted its deletion"
    )
    assert "repeated in the background" in run.watch.notice
    assert facts.read_facts(run.facts.token).is_deleted is False  # listed until the end is proven
    with pytest.raises(ConnectionFailed, match=f"%lk_vm delete {vm_id[:8]}"):
        run.delete()
    works.set()
    wait_until(lambda: run.facts.is_deleted)
    assert (facts.read_facts(run.facts.token).is_deleted, run.watch.notice) == (True, "")


@pytest.mark.parametrize("vm_id", ODD_IDS)
def test_an_id_is_sent_as_the_server_wrote_it_and_names_a_run_and_its_files_safely(cloud, connected, vm_id):
    cloud.vm_ids = [vm_id]
    run = rent_vm(connected)
    assert parse_run_key(run.execution_id) == run.facts.token
    assert re.fullmatch("[0-9a-f]{32}", make_vm_key(vm_id))
    assert facts.read_facts(run.facts.token).vm_id == vm_id
    assert [path.parent for path in facts.facts_folder().rglob("*.json")] == [facts.facts_folder()]
    run.watch.read()
    assert not run.watch.has_failed
    run.delete()
    assert cloud.vms[vm_id]["status"] == "terminated"
    assert run.facts.is_deleted


@pytest.mark.parametrize("vm_id", ODD_IDS)
def test_a_vm_with_any_id_is_found_by_its_id_and_by_the_id_of_a_command(cloud, connected, vm_id):
    cloud.vm_ids = [vm_id]
    rent_vm(connected)
    for text in (vm_id, vm_id.lower(), vm_id[:9]):
        assert rented.find_vm(connected.client, text).vm_id == vm_id


def test_a_list_that_writes_an_id_with_dashes_shows_and_deletes_the_same_vm(cloud, connected):
    run = rent_vm(connected)
    dashed = {**cloud.vms.pop(run.facts.vm_id), "vm_id": IDS[0]}
    cloud.vms[IDS[0]] = dashed
    run.watch.read()
    assert not run.watch.proof.is_complete
    run.delete()
    assert (dashed["status"], run.facts.is_deleted) == ("terminated", True)


@pytest.mark.parametrize("word", ["preempted", "stopped", "evicted", "zorp"])
def test_a_run_whose_vm_never_starts_ends_soon_with_the_word_and_the_vm_is_deleted(cloud, connected, monkeypatch, word):
    monkeypatch.setattr(_lifecycle, "ODD_SECONDS", 0.3)
    monkeypatch.setattr(ends, "ODD_SECONDS", 0.3)
    monkeypatch.setattr(rented, "PAUSES", (0.02,))
    run = rent_vm(connected)
    cloud.vms[run.facts.vm_id]["status"] = word
    drive_in_thread(run, {"timeout": 60})
    wait_until(lambda: run.watch.notice)
    assert f"as '{word}', and may bill it" in run.watch.notice
    run._start.join(PATIENCE)
    assert run.state()["status"] == "system_failure"
    assert f"the cloud reported it as '{word}'" in run.state()["details"]
    assert cloud.vms[run.facts.vm_id]["status"] == "terminated"


@pytest.mark.parametrize("word", ["preempted", "shutdown"])
def test_a_vm_that_is_stopped_while_its_code_runs_fails_after_a_moment_and_not_before(
    cloud, connected, monkeypatch, word
):
    monkeypatch.setattr(_lifecycle, "ODD_SECONDS", 0.3)
    run = rent_vm(connected)
    run._store_facts(is_started=True, address="127.0.0.1:1")
    cloud.vms[run.facts.vm_id]["status"] = word
    with pytest.raises(ConnectionFailed):
        run.state()
    assert f"'{word}'" in run.watch.notice
    state = wait_until(lambda: _read_final_state(run))
    assert (state["status"], state["is_saved"]) == ("system_failure", True)
    run.end(state)
    assert cloud.vms[run.facts.vm_id]["status"] == "terminated"


def test_a_vm_whose_record_is_missing_once_is_not_lost(cloud, connected):
    run = rent_vm(connected)
    run._store_facts(is_started=True, address="127.0.0.1:1")
    cloud.on("GET /vms/{}/status", NO_VM)
    with pytest.raises(LkError):
        run.state()
    assert (run.facts.state, run.facts.is_deleted) == ({}, False)
    listed = json.loads(json.dumps(cloud.vms))
    cloud.vms.clear()
    with pytest.raises(LkError):
        run.state()
    cloud.vms.update(listed)
    with pytest.raises(LkError):
        run.state()
    cloud.vms.clear()
    assert wait_until(lambda: _read_final_state(run))["status"] == "system_failure"


def _read_final_state(run):
    try:
        state = run.state()
    except LkError:
        return None
    return state if state.get("is_final") else None


VOLUME = {"volume_id": "Vol/7 ü", "size_gb": 10, "status": "available"}
DEPLOYMENT = {"deployment_id": IDS[0], "hf_model_id": "local/echo", "status": "running"}


class Endings:
    """A cloud with a volume and a deployment. ``works`` is whether deletions have an effect."""

    def __init__(self, cloud):
        self.works = threading.Event()
        self.rows = {"volume": VOLUME, "deployment": DEPLOYMENT}
        self.hidden = 0  # answers without the object
        cloud.on(f"DELETE /storage/block/{quote(VOLUME['volume_id'], safe='')}", lambda _: self.delete("volume"))
        cloud.on("DELETE /inference/stop", lambda _: self.delete("deployment"))
        cloud.on("GET /storage/block", lambda _: {"volumes": self.list("volume")})
        cloud.on("GET /inference/list", lambda _: {"deployments": self.list("deployment")})

    def delete(self, kind):
        if self.works.is_set():
            self.rows.pop(kind, None)
        return {"message": "accepted"}

    def list(self, kind):
        self.hidden -= 1
        return [self.rows[kind]] if kind in self.rows and self.hidden < 0 else []


DELETIONS = {
    "volume": lambda client: ends.VolumeDeletion(client, VOLUME["volume_id"]),
    "deployment": lambda client: ends.DeploymentDeletion(client, DEPLOYMENT["deployment_id"]),
}


@pytest.mark.parametrize("kind", DELETIONS)
def test_a_deletion_without_effect_is_reported_repeated_and_listed_as_active(cloud, connected, kind):
    endings = Endings(cloud)
    deletion = DELETIONS[kind](connected.client)
    with pytest.raises(ConnectionFailed, match=r"(?s)may still .* billed.*repeated while this process"):
        _lifecycle.delete_or_repeat(connected.client, deletion)
    assert (kind, deletion.object_id) in [(each.kind, each.id) for each in read_active(connected).resources]
    endings.hidden = 1
    assert (kind, deletion.object_id) in [(each.kind, each.id) for each in read_active(connected).resources]
    endings.works.set()
    wait_until(lambda: not list(_lifecycle.iterate_repeats(connected.client)))
    assert kind not in endings.rows
    assert kind not in [each.kind for each in read_active(connected).resources]


@pytest.mark.parametrize("kind", DELETIONS)
def test_one_list_without_an_object_is_no_proof_of_its_end(cloud, connected, kind):
    endings = Endings(cloud)
    endings.hidden = 1
    with pytest.raises(ConnectionFailed):
        DELETIONS[kind](connected.client).run()
    endings.works.set()
    DELETIONS[kind](connected.client).run()
    assert kind not in endings.rows


@pytest.mark.parametrize("word", ["reclaimed", "zorp", "terminating"])
def test_an_odd_state_of_a_starting_deployment_is_described_and_ends_the_waiting(connected, cloud, word, monkeypatch):
    monkeypatch.setattr(_lifecycle, "ODD_SECONDS", 0.1)
    cloud.on("GET /inference/get", {**DEPLOYMENT, "status": word, "replicas": []})
    states = follow_start(connected, IDS[0], 60, pause=lambda _: time.sleep(0.02))
    first = describe_odd_state(next(states))
    assert first.startswith(f"The cloud reports deployment {IDS[0][:8]} as '{word}', and may bill it. Stop it: ")
    with pytest.raises(DeploymentFailed, match=first):
        list(states)


def test_a_running_deployment_without_a_list_of_replicas_serves(connected, cloud):
    cloud.on("GET /inference/get", DEPLOYMENT)
    (detail,) = follow_start(connected, IDS[0], 60)
    assert has_serving_replica(detail)
