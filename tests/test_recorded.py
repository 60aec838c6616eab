"""Recordings in the form of ``%lk_check --record``: read by the client, replayed through it, and what the local cloud
answers held against them. Their shapes are those of the live service; all values are made up.
"""

from __future__ import annotations

import re
import time
from decimal import Decimal
from operator import itemgetter

import pytest
from conftest import for_each
from patience import PATIENCE
from pydantic import TypeAdapter
from stand_in import KEY, RECORDED, Replay, recorded
from test_contract import comparable, contents, resolved

from lk_jupyter import session
from lk_jupyter.api._endpoint import ENDPOINTS, PLACEHOLDER
from lk_jupyter.api._tolerant import read
from lk_jupyter.api.inference import CreateDeploymentRequest
from lk_jupyter.api.vms import CreateVMRequest
from lk_jupyter.errors import BadRequest, NotFound, ServerError, UsageError
from lk_jupyter.inference import deploy
from lk_jupyter.journal.journal import journal
from lk_jupyter.vms import vms
from lk_jupyter.vms.offers import VmShape, choose_offer, list_offers
from lk_jupyter.vms.ssh import SshEndpoint

NAMES = sorted(path.stem for path in RECORDED.glob("*.json"))
EXCHANGES = [(f"{name} {number}", row) for name in NAMES for number, row in enumerate(recorded(name))]


def operation(row):
    """Return the declaration of a recorded request that does not stream."""
    method, path = row["request"].split(" ")
    for endpoint in sorted(ENDPOINTS, key=lambda each: each.path.count("{")):
        for server in endpoint.servers:
            pattern = PLACEHOLDER.sub("[^/]+", server + endpoint.path)
            if endpoint.method == method and re.fullmatch(pattern, path):
                return endpoint
    raise AssertionError(f"{row['request']} is no operation")


@pytest.fixture
def replayed(home, monkeypatch):
    """A session on a server that answers as a recording does."""
    monkeypatch.setattr(deploy, "PACE", 0)
    monkeypatch.setattr("lk_jupyter.api._creation.LOOK_PAUSE", 0)
    monkeypatch.setattr(vms, "PAUSES", (0.0,))
    opened = []

    def open_session(name):
        server = Replay(name)
        opened.append((server, session.connect(server.url, KEY)))
        return opened[-1][1]

    yield open_session
    for server, connected in opened:
        connected.close()
        server.close()


# Bodies


@for_each(EXCHANGES, itemgetter(0))
def test_every_recorded_answer_is_read_without_loss(exchange):
    _, row = exchange
    endpoint = operation(row)
    if row["status"] >= 300 or endpoint.streams:
        return
    found, odd = read(endpoint.answer_type, endpoint.returns, TypeAdapter(object).dump_json(row["answer"]))
    assert odd == ""
    written = endpoint.answer_type.dump_python(found, mode="json", by_alias=True, exclude_unset=True)
    assert comparable(written) == comparable(row["answer"])


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_holds_addresses_of_the_documentation_and_no_key(name):
    text = (RECORDED / f"{name}.json").read_text("utf-8")
    assert not re.search(r"lk_|Bearer|eyJ|ssh-|BEGIN", text)
    for address in re.findall(r"\d+\.\d+\.\d+\.\d+", text):
        assert address.startswith(("192.0.2.", "198.51.100.", "203.0.113."))


# Sequences


def test_a_vm_is_rented_waited_for_reached_and_deleted(replayed):
    client = replayed("vm").client
    offer = choose_offer(list_offers(client.vms.availability()), VmShape("a100", 2))
    assert offer.per_hour == Decimal("3.18")
    with pytest.raises(UsageError, match="isn't sold as spot"):
        choose_offer(list_offers(client.vms.availability()), VmShape("l40s", 1, "spot"))
    assert [each.free for each in list_offers(client.vms.availability()) if each.instance_type == "spot"] == [False] * 4
    request = vms.request_for(VmShape("a100", 2), "ssh-ed25519 AAAA", "train", [], move=False)
    with pytest.raises(ServerError, match="Nothing was rented or charged"):
        vms.create_once(client, request, offer)
    with pytest.raises(BadRequest, match="Valid options"):
        client.vms.create(CreateVMRequest(user_public_key="ssh-ed25519 AAAA", hardware_profile="a1000"))
    made = vms.create_once(client, request, offer)
    assert (made.status, made.instance_specs.gpu_count, made.created_at.tzinfo is None) == ("pending", 2, False)
    states = list(vms.poll_states(client, made.vm_id))
    assert [(each.status, each.usable) for each in states] == [("pending", False), ("ready", False), ("ready", True)]
    assert SshEndpoint.of(states[-1].ip_address).ssh_command(None) == "ssh lyceum@203.0.113.10"
    later = client.vms.status(made.vm_id)
    assert SshEndpoint.of(later.ip_address).ssh_command(None) == "ssh lyceum@203.0.113.10"
    assert client.vms.delete(made.vm_id).status == "terminated"
    assert vms.active_vms(client) == []
    assert [each.display_name for each in client.vms.list()] == ["train", "train"]
    with pytest.raises(UsageError, match="matches several"):
        vms.find_vm(client, "train")
    with pytest.raises(NotFound):
        client.vms.status("00000000-0000-4000-8000-000000000000")


def test_a_run_is_started_followed_and_remembered(replayed):
    connected = replayed("run")
    run = connected.run("print('epoch 1')", gpu="L40S")
    text = "".join(getattr(each, "content", "") for each in run.follow())
    assert text.startswith("epoch 1\n")
    result = run.result(timeout=PATIENCE)
    assert result.return_code == 0
    assert run.record.billed == Decimal("0.0021")
    assert journal().get(run.execution_id).state == "completed"
    rows = list(connected.client.billing.history(limit=1).all())
    assert [row.status for row in rows] == ["completed", "failed_user", "aborted"]
    run.abort()


def test_a_page_of_prices_prices_every_machine(replayed):
    book = replayed("prices").client.pricing.get()
    assert len(book) == 48
    assert {card: round(price, 2) for card, price in book.by_card().items()} == {
        card: Decimal(price)
        for card, price in zip(
            ("l40s", "a100", "h100", "h200", "b200", "b300"),
            ("1.19", "1.59", "2.79", "4.29", "6.49", "7.99"),
            strict=True,
        )
    }


def test_a_deployment_is_asked_for_waited_for_and_stopped(replayed):
    connected = replayed("deployment")
    (offer,) = connected.client.inference.models()
    wanted = CreateDeploymentRequest(hf_model_id=offer.serving_name, hardware_profile="gpu.a100", gpu_count=1)
    made = deploy.create_once(connected.client, wanted)
    steps = list(deploy.follow_start(connected, made.deployment_id, 60, pause=lambda _: None))
    assert [deploy.has_serving_replica(each) for each in steps] == [False, False, True]
    assert connected.client.inference.stop({"deployment_id": made.deployment_id}).status == "stopped"


# The local cloud


@pytest.fixture(scope="module")
def answers(cloud):
    """What the local cloud answers in the same sequences: operation and status → answers."""
    found = {}

    def ask(method, path, **request):
        answer = cloud.http.request(method, path, **request)
        found.setdefault((method, template(path), answer.status_code), []).append(answer.json())
        return answer.json()

    for path in ("/health/ping", "/health/version", "/user/status", "/user/quotas/available-hardware"):
        ask("GET", path)
    for path in ("/machine-types", "/pricing", "/vms/availability", "/inference/models", "/workloads/list"):
        ask("GET", path)
    rented = {"user_public_key": "ssh-ed25519 AAAA", "hardware_profile": "a100", "display_name": "train"}
    ask("POST", "/vms/create", json={**rented, "hardware_profile": "a1000"})
    made = ask("POST", "/vms/create", json=rented)["vm_id"]
    until(lambda: ask("GET", f"/vms/{made}/status")["ip_address"])
    ask("GET", "/vms/list")
    ask("DELETE", f"/vms/{made}")
    ask("GET", "/vms/00000000-0000-4000-8000-000000000000/status")
    run = ask("POST", "/execution/streaming/start", json={"code": "print('epoch 1')", "execution_type": "gpu.l40s"})
    run_id = run["execution_id"]
    until(lambda: ask("GET", f"/execution/streaming/{run_id}/status")["status"] == "completed")
    for path in (f"/execution/{run_id}", f"/logs/execution/{run_id}", "/billing/history"):
        ask("GET", path)
    ask("POST", f"/workloads/abort/{run_id}")
    deployment = ask("POST", "/inference/create", json={"hf_model_id": "local/echo"})["deployment_id"]
    query = {"deployment_id": deployment}
    until(lambda: any(each["healthy"] for each in ask("GET", "/inference/get", params=query)["replicas"]))
    ask("GET", "/inference/list")
    ask("DELETE", "/inference/stop", json=query)
    return found


def until(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # the pace of the cloud's clock


def template(path):
    return re.sub(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", "ID", path.partition("?")[0])


KINDS = {bool: "boolean", int: "number", float: "number", str: "string", type(None): "null"}


def shape(value, place=""):
    """Yield place and kind of everything in an answer; the rows of a list are one place."""
    if isinstance(value, dict):
        yield place, "object"
        for name, inner in value.items():
            yield from shape(inner, f"{place}.{name}")
    elif isinstance(value, list):
        yield place, "array"
        for inner in value:
            yield from shape(inner, f"{place}[]")
    else:
        yield place, KINDS[type(value)]


def kinds(values):
    found = {}
    for place, kind in (row for value in values for row in shape(value)):
        found.setdefault(place, set()).add(kind)
    return found


def nullable(schema, place):
    """Whether the description allows null at a place."""
    for step in place.replace("[]", ".[]").split("."):
        if step:
            schema = resolved(schema)
            schema = schema["items"] if step == "[]" else schema.get("properties", {}).get(step, {})
    schema = resolved(schema)
    options = [resolved(each) for each in schema.get("anyOf", [schema])]
    return any(
        "null" in ([each.get("type")] if isinstance(each.get("type"), str) else each.get("type", ()))
        for each in options
    )


@for_each(sorted({(row["request"], row["status"]) for _, row in EXCHANGES if not isinstance(row["answer"], str)}))
def test_the_local_cloud_answers_in_the_recorded_form(exchange, answers):
    request_line, status = exchange
    method, path = request_line.split(" ")
    rows = [row for _, row in EXCHANGES if (row["request"], row["status"]) == (request_line, status)]
    key = (method, template(path.removeprefix("/api/v2/external")), status)
    if status == 500:  # what the option --no-capacity answers, and a test of its own
        return
    theirs, ours = kinds(row["answer"] for row in rows), kinds(answers[key])
    assert theirs.keys() - ours.keys() == set()
    for place, wanted in theirs.items():
        assert wanted - {"null"} <= ours[place] or ours[place] == {"null"}, place
        if "null" in wanted and "null" not in ours[place]:
            (content, *_) = contents(operation(rows[0]), "application/json")
            assert nullable(content["schema"], place), place
