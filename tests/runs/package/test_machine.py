"""``--gpu any``: the cheapest available GPU that meets the requirements."""

from types import SimpleNamespace

import pytest

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.vms import VMAvailability
from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import Catalogue
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package.machine import choose_machine
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.views.plan import plan_view

PRICES = {
    "cpu": 0.05,
    "gpu.l40s": 1.1,
    "gpu.a100": 1.59,
    "gpu.h100": 2.6,
    "gpu.h200": 3.2,
    "gpu.b200": None,
    "gpu.t4": 0.4,
}


def account(*, sold_out=(), quota=tuple(PRICES)):
    machines = [MachineType(hardware_profile=name, price_per_hour=price) for name, price in PRICES.items()]
    rows = [
        {
            "hardware_profile": name.removeprefix("gpu."),
            "instance_type": "on-demand",
            "allowed_gpus_per_instance": [1],
            "available_gpus_per_instance": [] if name in sold_out else [1],
        }
        for name in PRICES
        if name != "cpu"
    ]
    answer = {"available_hardware_profiles": [], "available_instance_variants": rows}
    availability = VMAvailability.model_validate(answer)
    catalogue = Catalogue.of(machines, quota)
    return SimpleNamespace(machines=lambda: catalogue, vm_availability=lambda: availability)


@pytest.mark.parametrize(
    ("options", "sold_out", "machine"),
    [
        ({}, (), "gpu.t4"),
        ({"memory": 40}, (), "gpu.l40s"),
        ({"memory": 40, "max_price": 2}, ("gpu.l40s",), "gpu.a100"),
        ({"memory": 80}, (), "gpu.a100"),
        ({"memory": 100}, (), "gpu.h200"),
    ],
)
def test_the_cheapest_match_is_chosen_and_the_reason_lists_its_rivals(options, sold_out, machine):
    chosen, reason = choose_machine(account(sold_out=sold_out), RunOptions(gpu="any", **options))
    assert chosen.hardware_profile == machine
    assert f": {machine} (" in reason
    assert reason.startswith("cheapest of ")


@pytest.mark.parametrize(
    ("options", "facts", "message"),
    [
        (
            {"memory": 40, "max_price": 1},
            {},
            r"gpu.l40s \(45 GiB, 1.1 credits/h\): --max-price 1.1; gpu.t4 .*: --memory 15",
        ),
        ({"memory": 300}, {}, r"The largest is gpu.b200 \(179 GiB\)"),
        ({"memory": 100}, {"sold_out": ("gpu.h200",)}, r"gpu.h200 \(3.2 credits/h\) match, but are sold out"),
        ({}, {"quota": ("cpu",)}, "Your account may not use any machine|No machine matches"),
    ],
)
def test_without_a_match_the_message_lists_what_would_match(options, facts, message):
    with pytest.raises(UsageError, match=rf"No available GPU has .*{message}") as error:
        choose_machine(account(**facts), RunOptions(gpu="any", **options))
    assert "Nothing was sent." in str(error.value)


def test_a_named_machine_must_meet_the_requirements_too():
    with pytest.raises(
        UsageError, match=r"'H100' \(80 GiB, 2.6 credits/h\) doesn't meet a price up to 2 credits/h\. Noth"
    ):
        choose_machine(account(), RunOptions(gpu="H100", max_price=2))
    assert choose_machine(account(), RunOptions(gpu="A100", max_price=2, memory=40))[1] == ""


def test_the_plan_shows_the_reason(session):
    bundle = prepare(session, Source("print(1)"), RunOptions(gpu="any", memory=40, max_price=2))
    assert bundle.machine.price_per_hour <= 2
    assert bundle.machine.memory_gib >= 40
    assert "cheapest of" in str(plan_view(bundle))
