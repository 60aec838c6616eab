"""A broker rents VMs for child keys and calls models for them, for no more than it reserved."""

from __future__ import annotations

import json
import time

import pytest
from broker.running import API, read_state, wait_settled
from conftest import for_each
from patience import wait_until

import lk_jupyter

CHAT = {"model": "local/echo", "messages": [{"role": "user", "content": "hello there"}]}
VM = {"user_public_key": "ssh-ed25519 AAAA test", "hardware_profile": "a100", "display_name": "box"}

#: Credits that a lease of a minute reserves: 120 s of an A100.
LEASE = 1.59 * 120 / 3600


def rent(client, **changes):
    return client.post(f"{API}/vms/create", json={**VM, "timeout": 60, **changes})


def read_models(client):
    return [row for row in client.get("/broker/runs").json() if row["machine"] == "local/echo"]


def balance(cloud):
    return cloud.http.get("/billing/credits").json()["remaining_credits"]


def wait_deleted(cloud, vm_id):
    return wait_until(lambda: cloud.http.get(f"/vms/{vm_id}/status").json()["status"] == "terminated")


def test_an_answer_of_a_model_costs_what_the_cloud_bills(broker, upstream):
    child, before = broker.grant(scopes=["models"]), balance(upstream)
    answer = child.post(f"{API}/serverless/chat/completions", json=CHAT)
    assert answer.json()["choices"][0]["message"]["content"].endswith("hello there")
    with child.stream("POST", f"{API}/serverless/chat/completions", json={**CHAT, "stream": True}) as lines:
        pieces = [json.loads(line[5:]) for line in lines.iter_lines() if line.startswith("data: {")]
    assert "".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces).endswith("hello there")
    child.post("/openai/v1/embeddings", json={"model": "local/hash-embedding", "input": ["one"]}).raise_for_status()
    used = wait_until(lambda: (state := read_state(child))["active"] == 0 and state["used"])
    assert used == pytest.approx(before - balance(upstream), abs=5e-9)
    assert not [row["alarm"] for row in read_models(child) if row["alarm"]]


@for_each(
    [
        ({}, {"scopes": ["runs"]}, 403, "scope 'models'"),
        ({"max_tokens": 60_000}, {"credits": 0.000001}, 402, "left"),
        ({"max_tokens": 10**6}, {}, 422, "65536"),
        ({"max_tokens": True}, {}, 422, "whole number"),
        ({"n": 8}, {}, 403, "one answer"),
        ({"model": "lyceum/router"}, {}, 403, "no published price"),
        ({"model": ["local/echo"]}, {}, 422, "model"),
        ({"model": "local/echo"}, {"machines": ["gpu.a100"]}, 403, "doesn't allow local/echo"),
        ({"messages": [{"content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, {}, 403, "images"),
    ]
)
def test_a_call_of_a_model_beyond_a_limit_is_refused(row, broker):
    changes, limits, status, words = row
    child = broker.grant(**{"scopes": ["models"], **limits})
    answer = child.post(f"{API}/serverless/chat/completions", json={**CHAT, **changes})
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert read_state(child)["used"] == 0


@pytest.mark.nightly
def test_the_openai_client_calls_a_model_with_a_child_key(broker, home, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("LK_BASE_URL", broker.base_url)
    monkeypatch.setenv("LK_API_KEY", broker.grant(scopes=["models"]).key)
    with lk_jupyter.openai(max_retries=0) as client:
        answer = client.chat.completions.create(model="local/echo", messages=CHAT["messages"])
        assert answer.choices[0].message.content.endswith("hello there")
        stream = client.chat.completions.create(model="local/echo", messages=CHAT["messages"], stream=True)
        assert "".join(piece.choices[0].delta.content or "" for piece in stream).endswith("hello there")


def test_a_vm_reserves_its_lease_and_costs_its_bill_when_its_key_deletes_it(broker, upstream):
    child, other = broker.grant(scopes=["vms"]), broker.grant(scopes=["vms"])
    answer = rent(child).raise_for_status().json()
    vm_id = answer["vm_id"]
    assert (answer["display_name"], read_state(child)["used"]) == ("box", pytest.approx(LEASE, abs=1e-8))
    assert [row["display_name"] for row in child.get(f"{API}/vms/list").json()["vms"]] == ["box"]
    assert other.get(f"{API}/vms/list").json()["vms"] == []
    for method, path in (("GET", f"/vms/{vm_id}/status"), ("DELETE", f"/vms/{vm_id}"), ("PATCH", f"/vms/{vm_id}")):
        assert other.request(method, API + path, json={"display_name": "x"}).status_code == 404
    assert child.patch(f"{API}/vms/{vm_id}", json={"display_name": "new"}).json()["display_name"] == "new"
    assert "lk-broker-" in upstream.http.get(f"/vms/{vm_id}/status").json()["display_name"]
    assert child.get(f"{API}/vms/{vm_id}/status").json()["display_name"] == "new"
    assert child.delete(f"{API}/vms/{vm_id}").json()["status"] == "terminated"
    wait_settled(child)
    bill = float(upstream.http.get(f"/vms/{vm_id}/status").json()["billed"] or 0)
    assert read_state(child)["used"] == pytest.approx(bill, abs=1e-8)


@for_each(
    [
        ({}, {"scopes": ["runs"]}, 403, "scope 'vms'"),
        ({"timeout": 3600}, {"credits": 1}, 402, "left"),
        ({"timeout": None}, {"credits": 1}, 402, "left"),
        ({"timeout": 0}, {}, 422, "lease"),
        ({"instance_specs": {"gpu_count": 8}}, {"credits": 0.2}, 402, "left"),
        ({"instance_specs": {"gpu_count": 0}}, {}, 422, "gpu_count"),
        ({"new_volume": {"size_gb": 10}}, {}, 403, "volume"),
        ({"volume_ids": ["x"]}, {}, 403, "volume"),
        ({"hardware_profile": "none"}, {}, 403, "no published price"),
        ({}, {"ends_in": 30}, 422, "this key ends then"),
        ({}, {"machines": ["gpu.h100"]}, 403, "doesn't allow gpu.a100"),
    ]
)
def test_a_vm_beyond_a_limit_is_refused_and_reserves_nothing(row, broker):
    changes, limits, status, words = row
    child = broker.grant(**{"scopes": ["vms"], **limits})
    answer = rent(child, **changes)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert read_state(child)["used"] == 0


def test_the_vm_of_a_revoked_key_is_deleted(broker, upstream):
    child = broker.grant(scopes=["vms"])
    vm_id = rent(child).json()["vm_id"]
    broker.operator.delete(f"/broker/keys/{child.id}")
    wait_deleted(upstream, vm_id)


@pytest.mark.nightly
def test_a_vm_is_deleted_at_the_end_of_its_lease_also_after_the_broker_was_killed(broker, upstream):
    child = broker.grant(scopes=["vms"])
    started = time.monotonic()
    vm_id = rent(child).json()["vm_id"]
    broker.kill()
    broker.start()
    wait_deleted(upstream, vm_id)
    assert time.monotonic() - started > 55
    child.base_url = broker.base_url
    wait_settled(child)
    assert read_state(child)["state"] == "active"


def test_a_vm_whose_rental_got_no_usable_answer_is_found_by_its_mark_and_deleted(odd_broker, odd_cloud):
    odd_cloud.answer = lambda _: (500, {"detail": "failed"})
    child = odd_broker.grant(scopes=["vms"])
    assert rent(child).status_code == 502
    assert read_state(child)["used"] == pytest.approx(LEASE, abs=1e-8)
    odd_cloud.add_vm("vm-1", odd_cloud.starts[0]["display_name"])
    odd_broker.operator.delete(f"/broker/keys/{child.id}")
    wait_until(lambda: "vm-1" in odd_cloud.deleted)
    odd_cloud.vms["vm-1"] |= {"status": "terminated", "billed": 0.01}
    wait_until(lambda: not odd_broker.operator.get("/broker/keys").json()[0]["active"])
    assert odd_broker.operator.get("/broker/keys").json()[0]["used"] == pytest.approx(0.01)


def test_a_rental_without_capacity_reserves_nothing(odd_broker, odd_cloud):
    odd_cloud.answer = lambda _: (500, {"detail": "The instance could not be provisioned right now."})
    child = odd_broker.grant(scopes=["vms"])
    assert (rent(child).status_code, read_state(child)["used"]) == (500, 0)


@pytest.mark.nightly
def test_a_model_without_token_counts_costs_its_reservation(odd_broker, odd_cloud):
    odd_cloud.answer = lambda _: (200, {"choices": []})
    child = odd_broker.grant(scopes=["models"])
    assert child.post(f"{API}/serverless/chat/completions", json=CHAT).status_code == 200
    (row,) = read_models(child)
    assert (odd_cloud.starts[0]["max_tokens"], row["credits"] > 0.004, "number of tokens" in row["alarm"]) == (
        4096,
        True,
        True,
    )
