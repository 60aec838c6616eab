"""A broker rents VMs for child keys and calls models for them, for no more than it reserved."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime

import pytest
from broker.running import API, read_state, wait_settled
from conftest import for_each
from magics.conftest import run_cell as run_cell  # noqa: PLC0414 (a fixture)
from magics.conftest import shell as shell  # noqa: PLC0414
from patience import wait_until
from vms.on_vm import facts_of

import lk_jupyter
from lk_jupyter.api.vms import VM, CreateVMRequest
from lk_jupyter.broker.ledger import GrantLedger
from lk_jupyter.errors import RunAborted, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.vms import vms

CHAT = {"model": "local/echo", "messages": [{"role": "user", "content": "hello there"}]}
RENTAL = {"user_public_key": "ssh-ed25519 AAAA test", "hardware_profile": "a100", "display_name": "box"}

#: Credits that a lease of a minute reserves: 120 s of an A100.
LEASE = 1.59 * 120 / 3600


def rent(client, **changes):
    return client.post(f"{API}/vms/create", json={**RENTAL, "timeout": 60, **changes})


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
        ({}, {"ends_in": 30}, 422, "this key expires after"),
        ({}, {"machines": ["gpu.h100"]}, 403, "doesn't allow gpu.a100"),
    ]
)
def test_a_vm_beyond_a_limit_is_refused_and_reserves_nothing(row, broker):
    changes, limits, status, words = row
    child = broker.grant(**{"scopes": ["vms"], **limits})
    answer = rent(child, **changes)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True), answer.text
    assert read_state(child)["used"] == 0


@pytest.fixture
def vm_child(broker, home, monkeypatch):
    """A key that rents VMs, with which the cells of the test run."""
    pytest.importorskip("asyncssh")
    child = broker.grant(scopes=["runs", "files", "vms"])
    for name, value in (("LK_BASE_URL", broker.base_url), ("LK_API_KEY", child.key), ("LK_CARRY", "always")):
        monkeypatch.setenv(name, value)
    return child


@pytest.fixture
def answers(home, monkeypatch):
    """The questions that were asked, each answered with yes; the SSH key is in the home of the test."""
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(" ".join(question.split())) or "y")
    folder = home / ".ssh"
    folder.mkdir()
    (folder / "id_ed25519.pub").write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO5Lc8oWn0c9iX0rZ0l1sT7v m@laptop\n")
    return questions


def read_lease(child, broker):
    [vm] = child.get(f"{API}/vms/list").json()["vms"]
    ledger = GrantLedger(broker.data / "ledger.sqlite")
    row = ledger.run(vm["vm_id"])
    ledger.close()
    assert datetime.fromisoformat(vm["lease_ends_at"]).timestamp() == int(row.created_at + row.timeout)
    return row.timeout, f"{datetime.fromtimestamp(row.created_at + row.timeout).astimezone():%H:%M}"


def test_the_magic_rents_a_vm_for_a_lease_and_shows_its_end_before_and_after(vm_child, broker, answers, run_cell):
    output = run_cell("%lk_vm create --gpu A100 --timeout 2h --name train")
    seconds, end = read_lease(vm_child, broker)
    assert seconds == 7200
    assert re.search(
        r"for at most 3\.18 credits\? The broker deletes the VM at (\d\d \w+ )?\d\d:\d\d\. \[y/N\]", answers[0]
    )
    assert re.search(r"Cost +1\.59 credits per hour, at most 3\.18 credits in the lease of 2 h", output)
    assert re.search(rf"ends at (\d\d \w+ )?{end} by the broker", output), output
    assert re.search(rf"Ends +(\d\d \w+ )?{end} by the broker", output), output
    assert re.search(rf"Ends\n(?s:.*) (\d\d \w+ )?{end} by the broker", run_cell("%lk_vm list"))
    assert re.search(rf"ends at (\d\d \w+ )?{end} by the broker", run_cell("%lk_vm status train"))
    run_cell("%lk_vm delete train --yes")


def test_without_a_time_a_lease_is_an_hour_or_the_rest_of_the_key(broker, vm_child, answers, run_cell, monkeypatch):
    run_cell("%lk_vm create --gpu A100 --no-wait")
    assert read_lease(vm_child, broker)[0] == 3600
    assert "for at most 1.59 credits?" in answers[0]
    child = broker.grant(scopes=["vms"], ends_in=1800)
    monkeypatch.setenv("LK_API_KEY", child.key)
    run_cell("%lk_vm create --gpu A100 --no-wait")
    assert 1700 < read_lease(child, broker)[0] <= 1800
    assert re.search(r"for at most 0\.7\d+ credits\?", answers[1])
    refused = run_cell("%lk_vm create --gpu A100 --no-wait --timeout 2h")
    assert "this key expires after" in refused
    for each in (child, vm_child):
        for vm in each.get(f"{API}/vms/list").json()["vms"]:
            each.delete(f"{API}/vms/{vm['vm_id']}")


@pytest.mark.parametrize("end", [None, 7, "soon", ["x"], "9999-12-31T23:59:59-12:00", "2020-01-01T00:00:00+00:00"])
def test_an_odd_end_of_a_lease_is_one_line_and_the_vm_is_rented(end, vm_child, answers, run_cell, monkeypatch):
    create = vms.create_once

    def create_with_odd_end(*arguments):
        fields = create(*arguments).model_dump()
        del fields["lease_ends_at"]
        return VM.model_validate(fields if end is None else {**fields, "lease_ends_at": end})

    monkeypatch.setattr(vms, "create_once", create_with_odd_end)
    output = run_cell("%lk_vm create --gpu A100 --no-wait --name box")
    [vm] = vm_child.get(f"{API}/vms/list").json()["vms"]
    note = f"The broker didn't report when it deletes VM {vm['vm_id'][:8]}. Check: %lk_vm list"
    assert note in " ".join(output.split())
    assert "pending" in output
    run_cell("%lk_vm delete box --yes")


def test_the_field_of_a_lease_is_not_sent_to_a_cloud_that_ignores_it(upstream, monkeypatch, home):
    monkeypatch.setenv("LK_BASE_URL", upstream.base_url)
    monkeypatch.setenv("LK_API_KEY", upstream.api_key)
    earlier = len(upstream.client.vms.list())
    request = CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="a100", timeout=7200)
    with lk_jupyter.connect() as session, pytest.raises(UsageError, match=r"isn't a broker\. Nothing was sent\."):
        session.client.vms.create(request)
    assert len(upstream.client.vms.list()) == earlier


def test_the_typed_call_rents_a_vm_for_a_lease_as_its_first_request(vm_child, broker):
    request = CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="a100", timeout=7200)
    with lk_jupyter.connect() as session:
        vm = session.client.vms.create(request)
        assert read_lease(vm_child, broker)[0] == 7200
        assert vm.lease_ends_at == session.client.vms.status(vm.vm_id).lease_ends_at
        assert 7100 < (vm.lease_ends_at - session.client.utc_now).total_seconds() <= 7200
        session.client.vms.delete(vm.vm_id)
        with pytest.raises(ValueError, match="timeout"):
            CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="a100", timeout=59)


def test_a_cell_of_three_hours_runs_on_a_vm_that_the_broker_deletes_and_its_receipt_is_the_bill(
    vm_child, upstream, run_cell, shell, monkeypatch
):
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "y")
    shell.user_ns["steps"] = [1, 2]
    output = run_cell("%%lk_run --gpu A100 --timeout 3h\nsteps.append(len(steps) + 1)\nprint('sum', sum(steps))")
    assert ("sum 6" in output, shell.user_ns["steps"]) == (True, [1, 2, 3]), output
    question = " ".join(questions[0].split())
    assert re.search(r"At \d\d:\d\d, the broker deletes the VM\. The VM gets no API key, so this notebook", question)
    assert "--retries" not in question
    [entry] = journal().entries(limit=1)
    wait_settled(vm_child)
    [bill] = vm_child.get("/broker/runs").json()
    assert (entry.state, float(entry.cost)) == ("completed", pytest.approx(bill["credits"], abs=1e-8))
    assert entry.cost > 0
    assert [vm.status for vm in upstream.client.vms.list() if vm.vm_id == bill["run"]] == ["terminated"]
    assert list(upstream.client.auth.list_api_keys()) == []


def test_a_vm_of_a_broker_has_a_lease_that_ends_after_the_code_and_its_results(vm_child, broker):
    with lk_jupyter.connect() as session:
        run = session.run("import time; time.sleep(600)", gpu="A100", on="vm", max_cost=4, timeout=1800)
        [row] = [row for row in GrantLedger(broker.data / "ledger.sqlite").open_runs() if row.grant_id == vm_child.id]
        assert (row.timeout, row.created_at + row.timeout >= facts_of(run).ends_at) == (2100, True)
        wait_until(lambda: run.status == "running")
        broker.operator.delete(f"/broker/keys/{vm_child.id}")
        with pytest.raises(RunAborted, match=r"was stopped: the key was revoked at 20\d\d-.* UTC"):
            run.result()


def test_options_that_need_a_key_on_the_vm_are_refused_before_a_vm_of_a_broker_is_rented(vm_child, run_cell):
    output = run_cell("%%lk_run --gpu A100 --on vm --max-cost 4 --timeout 1h --retries 2\nprint(1)")
    assert "--retries needs an API key on the VM" in output
    assert "Nothing was rented. Leave out --retries, because a key of a broker can't issue another key." in output
    assert vm_child.get("/broker/runs").json() == []


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
