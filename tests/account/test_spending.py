"""What goes on and costs, and what was spent."""

import json
import sqlite3
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from patience import wait_until

from lk_jupyter import session
from lk_jupyter.account.active import (
    ActiveResource,
    Prices,
    Rate,
    counts_label,
    hardware_label,
    list_active,
    price_resources,
    sum_prices,
)
from lk_jupyter.account.spending import (
    Charge,
    Spending,
    read_charges,
    read_organizations,
    read_spending,
    relative_shares,
)
from lk_jupyter.api.block import BlockVolume
from lk_jupyter.api.inference import CreateDeploymentRequest, DedicatedModel, Deployment
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.pricing import PriceEntry
from lk_jupyter.api.vms import VM, CreateVMRequest, VMAvailability, VMInstanceVariant
from lk_jupyter.api.workloads import Workload
from lk_jupyter.errors import UsageError

NOON = datetime(2026, 6, 2, 12, tzinfo=timezone.utc)


@pytest.fixture
def fast(make_cloud):
    """A session on a cloud whose machines come up at once."""
    cloud = make_cloud("--clock-speed", "1000")
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        connected.data = cloud.data
        yield connected


def charge(days_ago, kind, hardware, amount):
    moment = NOON - timedelta(days=days_ago)
    return Charge(f"{moment}{kind}{amount}", moment, kind, hardware, Decimal(amount))


MONTH = Spending(
    (
        charge(0, "Runs", "A100", "0.1"),
        charge(2, "VMs", "H100", "5.58"),
        charge(2, "Runs", "H100", "0.2"),
    ),
    days=4,
    today=NOON.date(),
)


def test_runs_machines_and_deployments_burn_what_their_prices_say(fast):
    assert list_active(fast).billed == ()
    assert (sum_prices(()), counts_label(())) == (Rate(Decimal(0)), "nothing")
    vm = fast.client.vms.create(
        CreateVMRequest(
            user_public_key="ssh-ed25519 AAAA u@h", hardware_profile="h100", instance_specs={"gpu_count": 2}
        )
    )
    fast.client.inference.create(CreateDeploymentRequest(hf_model_id="local/echo", min_replicas=2, max_replicas=2))
    run = fast.run("import time; print('on', flush=True); time.sleep(60)", gpu="A100")
    next(iter(run.follow()))
    wait_until(lambda: len(list_active(fast).billed) == 3)
    wait_until(lambda: all(thing.hardware != "L40S" for thing in list_active(fast).billed))
    found = {thing.kind: thing for thing in list_active(fast).billed}
    left = fast.balance()
    run.abort()
    fast.client.vms.delete(vm.vm_id)
    assert (found["run"].hardware, found["run"].per_hour) == ("A100", Decimal("1.59"))
    assert (found["VM"].hardware, found["VM"].per_hour) == ("2 x H100", Decimal("5.58"))
    assert (found["deployment"].hardware, found["deployment"].per_hour) == ("2 x L40S", Decimal("2.38"))
    assert (left.active_count, left.per_hour) == (3, Decimal("9.55"))
    assert counts_label(left.resources) == "1 run, 1 VM, 1 deployment"


def test_one_unknown_price_leaves_the_sum_of_the_others():
    known, unknown = (ActiveResource("run", "1", "", "A100", price) for price in (Decimal("1.59"), None))
    assert sum_prices([known, known]) == Rate(Decimal("3.18"))
    assert sum_prices([known, known]).label == "3.18 credits/h"
    assert sum_prices([known, unknown]) == Rate(Decimal("1.59"), complete=False)
    assert sum_prices([known, unknown]).label == "at least 1.59 credits/h"
    assert sum_prices([unknown]).label == "price unknown"
    assert counts_label([known, unknown]) == "2 runs"


def test_hardware_that_the_server_does_not_name_is_left_out():
    unnamed = (
        [Workload(execution_id="1", status="running")],
        [VM(vm_id="2", status="ready", gpu_count=2)],
        [BlockVolume(volume_id="3"), BlockVolume(volume_id="4", size_gb=200)],
        [Deployment(deployment_id="5", hf_model_id="a/b", status="created", current_replicas=2)],
    )
    assert [thing.hardware for thing in price_resources(*unnamed, Prices(MACHINES))] == ["", "", "", "200 GB", ""]


MACHINES = (
    MachineType(hardware_profile="gpu.a100", price_per_hour="1.59"),
    MachineType(hardware_profile="gpu.h100", price_per_hour="2.79"),
    MachineType(hardware_profile="gpu.secret", price_per_hour=None),
)
BOOK = (
    PriceEntry(
        meter_slug="vm_running", applies_to={"hardware_profile": "spot.h100.2x"}, unit_price="0.0005", group_by=None
    ),
)
SOLD = VMAvailability(
    available_instance_variants=[VMInstanceVariant(hardware_profile="a100", instance_type="spot", price_per_hour="0.8")]
)


@pytest.mark.parametrize(
    ("facts", "price"),
    [
        ({"hardware_profile": "a100", "instance_type": "spot", "gpu_count": 4}, "3.2"),  # as sold now
        ({"hardware_profile": "h100", "instance_type": "spot", "gpu_count": 2}, "1.8"),  # by the price book
        ({"hardware_profile": "spot.h100.2x"}, "1.8"),
        ({"hardware_profile": "h100"}, "2.79"),  # in no offer: it cannot be had now
        ({"hardware_profile": "on-demand.h100.2x"}, "5.58"),
        ({"instance_specs": {"gpu_type": "H100", "gpu_count": 8}, "instance_type": "on-demand"}, "22.32"),
        ({"hardware_profile": "b300"}, None),
        ({"hardware_profile": "h100", "instance_type": "spot"}, None),
        ({}, None),
    ],
)
def test_a_vm_is_priced_by_whatever_the_server_says_of_its_shape(facts, price):
    vm = VM(vm_id="1", status="ready", created_at=NOON, **{"instance_specs": {"gpu_count": 1}, **facts})
    hourly_price = Prices(MACHINES, SOLD, (), BOOK).hourly_vm_price(vm)
    assert hourly_price == (None if price is None else Decimal(price))


@pytest.mark.parametrize(
    ("profile", "replicas", "price"),
    [
        ("gpu.h200", 2, "9.0"),
        ("gpu.a100", 2, "6.36"),
        ("a100", 1, "3.18"),
        ("gpu.secret", 1, None),
        ("gpu.b300", 1, None),
    ],
)
def test_a_deployment_costs_what_its_model_does_on_that_card_or_else_its_machine(profile, replicas, price):
    facts = {"gpu_type": "H200", "gpu_count": 2, "is_gpu_available": None, "ready_timeout_s": 1}
    model = DedicatedModel(serving_name="m", hf_model_id="org/m", price_per_hour="4.5", **facts)
    deployment = Deployment(
        deployment_id="1",
        hf_model_id="org/m",
        hardware_profile=profile,
        status="created",
        current_replicas=replicas,
        min_replicas=1,
        max_replicas=2,
    )
    hourly_price = Prices(MACHINES, None, (model,)).deployment_price(deployment)
    assert hourly_price == (None if price is None else Decimal(price))


@pytest.mark.parametrize(
    ("profile", "label"),
    [
        ("gpu.a100", "A100"),
        ("a100", "A100"),
        ("spot.h100.4x", "H100"),
        ("gpu.rtx6000pro", "RTX 6000 Pro"),
        ("cpu", "CPU"),
        ("gpu", "none"),
        (None, "none"),
    ],
)
def test_hardware_has_one_name_whatever_the_profile(profile, label):
    assert hardware_label(profile) == label


def test_sums_by_kind_and_hardware_are_exact_and_the_largest_is_first():
    assert MONTH.total == Decimal("5.88")
    assert [(each.label, each.count, each.amount) for each in MONTH.by_kind()] == [
        ("VMs", 1, Decimal("5.58")),
        ("Runs", 2, Decimal("0.3")),
    ]
    assert [(each.label, each.amount) for each in MONTH.by_hardware()] == [
        ("H100", Decimal("5.78")),
        ("A100", Decimal("0.1")),
    ]
    assert [share for _, share in relative_shares(MONTH.by_hardware())] == [1.0, pytest.approx(0.0173, abs=1e-4)]


def test_days_without_a_charge_are_nothing_and_not_missing():
    assert [(each.label[-2:], each.amount) for each in MONTH.by_day()] == [
        ("30", 0),
        ("31", Decimal("5.78")),
        ("01", 0),
        ("02", Decimal("0.1")),
    ]


def test_the_charges_are_a_frame_by_time():
    frame = MONTH.df
    assert str(frame.index.tz) == "UTC"
    assert frame.groupby("kind")["credits"].sum().to_dict() == pytest.approx({"Runs": 0.3, "VMs": 5.58})
    assert list(Spending((), 30).df.columns) == ["credits", "kind", "hardware", "description"]


def test_nothing_spent_is_a_month_of_nothing():
    nothing = Spending((), 30, today=date(2026, 6, 2))
    assert (nothing.total, nothing.by_kind(), len(nothing.by_day())) == (0, [], 30)
    assert relative_shares(nothing.by_day())[0][1] == 0.0


@pytest.mark.parametrize("days", [0, -1, 99_999, "soon"])
def test_a_number_of_days_that_cannot_be_is_refused(fast, days):
    with pytest.raises(UsageError, match="1 to 3660 days"):
        read_spending(fast, days)


def test_the_ledger_is_read_as_far_as_it_is_wanted(fast):
    book(fast, 250)
    asked = []
    with fast.client._http._borrow_client() as calls:
        calls.event_hooks = {"request": [lambda request: asked.append(str(request.url))]}
    first = next(read_charges(fast))
    assert (first.kind, first.hardware, first.amount) == ("VMs", "A100", Decimal("0.25"))
    assert [url.partition("limit=")[2] for url in asked if "transactions" in url] == ["100&kind=debit"]
    every = [each.description for each in read_charges(fast)]
    assert len(every) == len(set(every)) == 250
    assert read_spending(fast).total == Decimal("62.5")
    assert [slug for slug, _ in read_organizations(fast)] == [read_spending(fast).organization]


def book(connected, count):
    """Write charges of a VM into the ledger of a cloud, oldest first."""
    with sqlite3.connect(connected.data / "cloud.sqlite") as db:
        (org,) = db.execute("SELECT org FROM entries").fetchone()
        for number in range(count):
            facts = {"hardware_profile": "on-demand.a100.1x", "description": f"box {number}"}
            row = (str(number), org, time.time(), "vms", str(number), 0.0, -250_000_000, 0, json.dumps(facts))
            db.execute(
                "INSERT INTO entries (id, org, time, category, source, since, billionths, free, facts)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
    db.close()
