"""Simulated machines and volumes: their life by the clock, what is refused, what they cost."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample user@host"
FAST = ("--clock-speed", "100")


def body(**fields):
    return {"user_public_key": KEY, "hardware_profile": "a100", **fields}


def create(api, **fields):
    answer = api.post("/vms/create", body(**fields))
    assert answer.status_code == 200, answer.text
    return answer.json()["vm_id"]


def status(api, vm):
    return api.get(f"/vms/{vm}/status").json()


def end(api, vm):
    answer = api.http.delete(f"/vms/{vm}")
    assert answer.status_code == 200
    return answer.json()


def up(api, until, **fields):
    """Create a machine and wait until it is up."""
    vm = create(api, **fields)
    until(lambda: status(api, vm)["status"] == "running")
    return vm


def used(api):
    return Decimal(str(api.get("/billing/credits").json()["used_credits"]))


def bills(api):
    """Return what the bills of machines say: their id and the amount."""
    slug = api.get("/user/org").json()["slug"]
    rows = api.get(f"/orgs/{slug}/transactions", source="vms").json()["transactions"]
    return {row["metadata"]["vm_id"]: Decimal(row["amount"]) for row in rows}


def volume_ids(api):
    return [volume["volume_id"] for volume in api.get("/storage/block").json()["volumes"]]


def test_answers_have_the_forms_that_were_seen_on_the_real_cloud(api):
    created = api.post("/vms/create", body()).json()
    assert re.fullmatch(r"[\d-]+T[\d:.]+", created["created_at"])
    assert status(api, created["vm_id"])["created_at"].endswith("Z")
    unknown = api.get("/vms/0123456789abcdef0123456789abcdef/status")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "VM not found"})
    odd = api.post("/vms/create", body(instance_specs={"gpu_count": 3}))
    assert odd.status_code == 400
    assert odd.json()["detail"].startswith("The instance request was invalid.")


def test_a_machine_comes_up_by_the_clock_says_that_it_is_simulated_and_has_an_address_then(make_api, until):
    api = make_api("--clock-speed", "4")
    created = api.post("/vms/create", body(display_name="box")).json()
    vm, states = created["vm_id"], [created["status"]]

    def running():
        now = status(api, vm)
        assert now["ip_address"] is None or now["status"] == "running"
        states.extend([now["status"]] * (now["status"] not in states))
        return now["ip_address"] and now

    view = until(running)
    assert states == ["pending", "provisioning", "running"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", view["ip_address"])
    assert view["display_name"] == "box"
    assert view["name"].startswith("simulated-")
    assert end(api, vm)["status"] == "terminated"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hardware_profile": "a1000"}, "Valid options: a100, b200, b300, h100, h200, l40s"),
        ({"hardware_profile": "gpu.a100"}, "Valid options"),
        ({"instance_specs": {"gpu_count": 3}}, "The instance request was invalid"),
        ({"instance_specs": {"gpu_count": -1}}, "The instance request was invalid"),
        ({"instance_specs": {"gpu_count": 10**30}}, "The instance request was invalid"),
        ({"hardware_profile": "l40s", "instance_type": "spot"}, "not available as spot"),
        ({"volume_ids": ["vol-none"]}, "'vol-none' is unknown"),
        ({"volume_ids": ["v"], "new_volume": {"size_gb": 1}}, "not both"),
        ({"volume_migration_allowed": True}, "needs volume_ids"),
        ({"new_volume": {"size_gb": 10**30}}, "at most 100,000 GB"),
    ],
)
def test_a_machine_that_is_not_sold_is_refused_and_nothing_is_kept(api, fields, words):
    before = api.get("/vms/list").json()["total"], volume_ids(api)
    answer = api.post("/vms/create", body(**fields))
    assert answer.status_code == 400
    assert words in answer.json()["detail"]
    assert (api.get("/vms/list").json()["total"], volume_ids(api)) == before


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"user_public_key": ""}, "user_public_key"),
        ({"instance_type": "weekly"}, "instance_type"),
        ({"new_volume": {"size_gb": 0}}, "size_gb"),
        ({"volume_ids": "vol-1"}, "volume_ids"),
    ],
)
def test_a_field_that_does_not_fit_is_named(api, fields, field):
    answer = api.post("/vms/create", body(**fields))
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][-1] == field


def test_a_card_without_capacity_costs_nothing_and_is_not_offered(make_api):
    api = make_api("--no-capacity", "b200,h100")
    answer = api.post("/vms/create", body(hardware_profile="b200"))
    assert answer.status_code == 500
    assert "could not be provisioned" in answer.json()["detail"]
    assert api.get("/vms/list").json() == {"vms": [], "total": 0}
    free = {
        (row["hardware_profile"], row["instance_type"]): row["available_gpus_per_instance"]
        for row in api.get("/vms/availability").json()["available_instance_variants"]
    }
    assert free["b200", "spot"] == free["h100", "on-demand"] == []
    assert free["a100", "spot"] == [1, 2, 4, 8]


def test_without_credits_there_is_no_machine(make_api):
    assert make_api("--credits", "0").post("/vms/create", body()).status_code == 402


def test_the_list_shows_the_wanted_states(make_api, until):
    api = make_api(*FAST)
    gone, running = create(api), up(api, until)
    end(api, gone)

    def listed(**filters):
        answer = api.get("/vms/list", **filters).json()
        assert answer["total"] == len(answer["vms"])
        return {vm["vm_id"] for vm in answer["vms"]}

    assert listed() == {gone, running}
    assert listed(include_terminated=False) == {running}
    assert listed(include_provisioning=False, include_ready=False) == {gone}
    end(api, running)


def test_a_name_is_set_and_cleared_and_need_not_be_unique(api):
    one, two = create(api, display_name="same"), create(api, display_name="same")
    assert api.http.patch(f"/vms/{one}", json={"display_name": ""}).json() == {"vm_id": one, "display_name": None}
    assert status(api, one)["display_name"] is None
    assert status(api, two)["display_name"] == "same"
    for vm in (one, two):
        end(api, vm)
    dashed = f"{one[:8]}-{one[8:12]}-{one[12:16]}-{one[16:20]}-{one[20:]}"
    assert status(api, dashed)["status"] == "terminated"


def test_a_machine_costs_its_price_from_running_to_its_end_and_once(make_api, until):
    api = make_api(*FAST)
    vm = up(api, until, instance_type="spot", instance_specs={"gpu_count": 8})
    assert until(lambda: used(api)) > 0
    end(api, vm)
    view = status(api, vm)
    (amount,) = bills(api).values()
    assert used(api) == amount == Decimal(str(view["billed"]))
    per_second = Decimal("0.80") * 8 / 3600
    assert view["uptime_seconds"] <= amount / per_second < view["uptime_seconds"] + 1
    end(api, vm)
    assert list(bills(api).values()) == [amount]
    assert view["ip_address"] == "127.0.0.1"


def test_a_machine_that_never_ran_costs_nothing(make_api):
    api = make_api("--clock-speed", "0.001")
    end(api, create(api))
    assert used(api) == 0
    assert bills(api) == {}


def test_a_machine_goes_on_and_costs_while_the_cloud_is_down(make_api, until):
    api = make_api(*FAST)
    vm = up(api, until, hardware_profile="b300", instance_specs={"gpu_count": 8})
    before = until(lambda: used(api))
    api.cloud.kill()
    api.cloud.start()
    api.connect()
    assert status(api, vm)["status"] == "running"
    assert used(api) > before
    end(api, vm)
    amount = bills(api)[vm]
    api.cloud.kill()
    api.cloud.start()
    api.connect()
    assert (status(api, vm)["status"], bills(api)) == ("terminated", {vm: amount})


def test_a_volume_outlives_its_machine_and_belongs_to_one_at_a_time(api):
    one = api.post("/vms/create", body(new_volume={"size_gb": 50})).json()
    assert (one["volume"]["size_gb"], one["volume"]["status"]) == (50, "pending")
    (volume,) = status(api, one["vm_id"])["volumes"]
    assert api.http.delete(f"/storage/block/{volume['volume_id']}").status_code == 409
    assert "attached" in api.http.delete(f"/storage/block/{volume['volume_id']}").json()["detail"]
    second = api.post("/vms/create", body(volume_ids=[volume["volume_id"]]))
    assert second.status_code == 400
    assert end(api, one["vm_id"])["detached_volumes"] == [volume]
    two = create(api, volume_ids=[volume["volume_id"]])
    assert status(api, two)["volumes"] == [volume]
    end(api, two)
    assert volume["volume_id"] in volume_ids(api)
    assert api.http.delete(f"/storage/block/{volume['volume_id']}").status_code == 200
    assert volume["volume_id"] not in volume_ids(api)
    assert api.http.delete(f"/storage/block/{volume['volume_id']}").status_code == 404


def test_a_volume_costs_until_it_is_deleted(make_api, until):
    api = make_api("--clock-speed", "0.001")
    end(api, create(api, new_volume={"size_gb": 100_000}))
    before = until(lambda: used(api))
    (volume,) = volume_ids(api)
    assert until(lambda: used(api) > before)
    api.http.delete(f"/storage/block/{volume}")
    total = used(api)
    api.cloud.restart()
    api.connect()
    assert used(api) == total > before
