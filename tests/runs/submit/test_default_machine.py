"""Runs that name no machine, and starts of which the server refuses a part, on a stand-in of the cloud."""

from __future__ import annotations

import pytest
from patience import PATIENCE
from stand_in import KEY, StandIn

from lk_jupyter import session
from lk_jupyter.api import _creation
from lk_jupyter.errors import ApiError, Forbidden, Invalid, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.machines.default import default_profile, refuses_machine
from lk_jupyter.machines.offers import build_offers

START = "POST /execution/streaming/start"
PRICES = {"cpu": 0.1, "gpu.h100": 2.79, "gpu.l40s": 1.19, "gpu.a100": 1.59, "gpu.free": 0, "gpu.new": None}


@pytest.fixture
def cloud(home, monkeypatch):
    monkeypatch.setattr(_creation, "LOOK_PAUSE", 0)
    stand_in = StandIn()
    list_machines(stand_in, PRICES)
    yield stand_in
    stand_in.close()


@pytest.fixture
def connected(cloud):
    with session.connect(cloud.url, KEY) as connection:
        yield connection


def list_machines(cloud, prices):
    rows = [{"hardware_profile": name, "price_per_hour": price} for name, price in prices.items()]
    cloud.on("GET /machine-types", {"machine_types": rows})


def refuse(cloud, refused, status=403, words="{} is not available for your account"):
    def reply(request):
        profile = request.json["execution_type"]
        if profile in refused:
            return status, {"detail": words.format(profile)}
        return {"execution_id": cloud.taken(request)}

    cloud.on(START, reply)


def start_run(connected, **options):
    run = connected.run("print('hello')", **options)
    run.result(timeout=PATIENCE)
    return run


@pytest.mark.parametrize(
    ("allowed", "profile"),
    [
        (None, "gpu.l40s"),
        (["gpu.h100", "gpu.a100", "cpu"], "gpu.a100"),
        (["gpu.new", "gpu.free"], "gpu.free"),
        (["gpu.new", "gpu.free", "gpu.l40s"], "gpu.l40s"),
    ],
)
def test_the_default_is_the_cheapest_gpu_that_the_account_may_use(cloud, connected, allowed, profile):
    cloud.on("GET /user/quotas/available-hardware", {"available_hardware_profiles": allowed or []})
    run = start_run(connected)
    assert run.machine.hardware_profile == profile
    assert cloud.bodies[START][0]["execution_type"] == profile
    reason = "" if profile == "gpu.l40s" else "cheapest GPU of your account"
    assert run.bundle.machine_reason == reason
    assert default_profile(connected.offers()) == profile


def test_a_server_without_a_list_of_machines_decides(cloud, connected):
    list_machines(cloud, {})
    assert start_run(connected).machine.hardware_profile == "gpu.l40s"


def test_the_setting_goes_before_the_cheapest_gpu(cloud, connected, monkeypatch):
    monkeypatch.setenv("LK_MACHINE", "gpu.h100")
    assert start_run(connected).machine.hardware_profile == "gpu.h100"
    assert default_profile(build_offers(connected.machines(), None)) == "gpu.h100"


REFUSALS = {
    403: "{} is not available for your account",
    400: "Hardware profile not allowed",
    422: "execution_type: quota exceeded",
}


@pytest.mark.parametrize("status", REFUSALS)
def test_the_next_cheapest_gpu_replaces_a_default_that_the_server_refuses(cloud, connected, status):
    refuse(cloud, {"gpu.l40s", "gpu.a100"}, status, REFUSALS[status])
    run = start_run(connected)
    assert [body["execution_type"] for body in cloud.bodies[START]] == ["gpu.l40s", "gpu.a100", "gpu.h100"]
    assert run.machine.hardware_profile == "gpu.h100"
    assert run.bundle.machine_reason == "cheaper GPUs aren't available for your account"
    entry = journal().get(run.execution_id)
    assert (entry.machine, entry.request["execution_type"]) == ("gpu.h100", "gpu.h100")
    start_run(connected)
    assert cloud.bodies[START][3]["execution_type"] == "gpu.h100"
    assert len(cloud.runs) == 2


def test_a_replacement_keeps_the_maximum_cost(cloud, connected):
    refuse(cloud, {"gpu.l40s"})
    run = start_run(connected, max_cost=0.01)
    assert run.bundle.worst_case <= run.bundle.max_cost
    assert cloud.bodies[START][1]["timeout"] < cloud.bodies[START][0]["timeout"]


def test_a_replacement_beyond_a_budget_is_not_sent(cloud, connected, monkeypatch):
    monkeypatch.setenv("LK_DAY_BUDGET", "0.025")
    refuse(cloud, {"gpu.l40s"})
    with pytest.raises(UsageError, match=r"day budget .* Nothing was sent"):
        start_run(connected, timeout=60)
    assert len(cloud.bodies[START]) == 1


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({"gpu": "L40S"}, 403, "{} is not available for your account"),
        ({}, 403, "Your key is read-only"),
        ({}, 422, "timeout: Input should be less than 5"),
        ({}, 402, "gpu.l40s: not available, no credits"),
    ],
)
def test_a_refusal_of_something_else_or_of_a_named_machine_is_raised(cloud, connected, options, status, words):
    refuse(cloud, {"gpu.l40s"}, status, words)
    with pytest.raises(ApiError):
        start_run(connected, timeout=10, **options)
    assert len(cloud.bodies[START]) == 1
    assert not refuses_machine(Forbidden(403, "Your key is read-only"), "gpu.l40s")


def test_the_last_refusal_is_raised_if_no_machine_is_left(cloud, connected):
    refuse(cloud, PRICES)
    with pytest.raises(Forbidden, match=r"gpu\.h100 is not available"):
        start_run(connected)
    assert not cloud.runs


# Refused fields


def refuse_fields(cloud, fields, status=422, words="{}: Extra inputs are not permitted"):
    def reply(request):
        for name in fields:
            if name in request.json:
                return status, {"detail": words.format(name)}
        return {"execution_id": cloud.taken(request)}

    cloud.on(START, reply)


@pytest.mark.parametrize(
    ("status", "words"), [(422, "{}: Extra inputs are not permitted"), (400, "Unexpected field '{}'")]
)
def test_a_start_is_sent_without_a_field_that_the_server_refuses(cloud, connected, caplog, status, words):
    refuse_fields(cloud, ["metadata", "labels"], status, words)
    start_run(connected, label=["a"])
    assert [sorted({"metadata", "labels"} & body.keys()) for body in cloud.bodies[START]] == [
        ["labels", "metadata"],
        ["labels"],
        [],
    ]
    start_run(connected)
    assert len(cloud.bodies[START]) == 4
    assert len(cloud.runs) == 2
    assert caplog.text.count("refuses the field 'metadata'") == 1


def test_a_lost_start_without_metadata_is_found_by_its_file_name(cloud, connected):
    refuse_fields(cloud, ["metadata"])
    start_run(connected)

    def lose(request):
        cloud.taken(request)
        return ()

    cloud.on(START, lose)
    cloud.on("GET /workloads/list", lambda _: [cloud._row(name) for name in cloud.runs])
    assert start_run(connected).execution_id == list(cloud.runs)[1]
    assert len(cloud.runs) == 2


def test_a_refusal_of_a_field_that_a_run_needs_is_raised(cloud, connected):
    refuse_fields(cloud, ["code"])
    with pytest.raises(Invalid):
        start_run(connected)
    assert len(cloud.bodies[START]) == 1
