from decimal import Decimal

import pytest

from lk_jupyter.api.inference import DedicatedModel
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.pricing import PriceBook
from lk_jupyter.api.vms import VM, VMHardwareProfile, VMInstanceVariant
from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import Catalogue, machine_cost, price_label, seconds_for
from lk_jupyter.machines.prices import Prices
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package.bundle import BundleBuilder, Limits

PRICES = {
    "gpu.l40s": 1.19,
    "gpu.a100": 1.59,
    "gpu.a100.40gb": 1.2,
    "gpu.h100": 2.79,
    "gpu.h200.141gb": 4.29,
    "cpu": None,
}
TYPES = [MachineType(hardware_profile=profile, price_per_hour=price) for profile, price in PRICES.items()]


@pytest.mark.parametrize(
    ("wish", "profile"),
    [
        ("A100", "gpu.a100"),
        ("a100", "gpu.a100"),
        ("gpu.a100", "gpu.a100"),
        ("GPU.A100", "gpu.a100"),
        ("a100.40gb", "gpu.a100.40gb"),
        ("H200", "gpu.h200.141gb"),
        ("cpu", "cpu"),
        ("B200|H100", "gpu.h100"),
        ("H100|A100", "gpu.h100"),
        (" h100 | a100 ", "gpu.h100"),
    ],
)
def test_a_wish_finds_its_machine(wish, profile):
    assert Catalogue.of(TYPES, []).resolve(wish).hardware_profile == profile


def test_the_first_that_the_caller_may_use_is_taken():
    assert Catalogue.of(TYPES, ["gpu.a100"]).resolve("H100|A100").hardware_profile == "gpu.a100"


def test_an_unknown_name_gets_the_near_ones_with_prices():
    with pytest.raises(UsageError, match=r"'A1000'\. Nothing was sent\. Similar: gpu\.a100 \(1\.59 credits/h\)"):
        Catalogue.of(TYPES, []).resolve("A1000")


def test_a_name_like_no_other_gets_all_that_may_be_used():
    with pytest.raises(UsageError, match=r"Machines: gpu\.l40s \(1\.19 credits/h\)\. All machines: %lk_machines"):
        Catalogue.of(TYPES, ["gpu.l40s"]).resolve("zzz")


def test_a_machine_outside_the_quota_is_refused_with_those_inside():
    with pytest.raises(
        UsageError,
        match=r"Your quota doesn't include 'H100'\. Nothing was sent\. You may use: gpu\.l40s \(1\.19 credits/h\)",
    ):
        Catalogue.of(TYPES, ["gpu.l40s"]).resolve("H100")


def test_no_available_profile_means_no_restriction():
    catalogue = Catalogue.of(TYPES, [])
    assert all(catalogue.allows(machine) for machine in catalogue)


def test_memory_and_card_are_read_from_the_profile():
    by_profile = {machine.hardware_profile: machine for machine in TYPES}
    assert (by_profile["gpu.a100.40gb"].card_name, by_profile["gpu.a100.40gb"].memory_gib) == ("A100", 40)
    assert (by_profile["gpu.l40s"].card_name, by_profile["gpu.l40s"].memory_gib) == ("L40S", 45)
    assert (by_profile["cpu"].card, by_profile["cpu"].memory_gib) == (None, None)


def test_a_price_is_said_per_hour():
    assert [price_label(machine) for machine in (TYPES[0], TYPES[-1])] == ["1.19 credits/h", "price unknown"]


def test_a_gpu_that_costs_0_has_no_known_price_anywhere():
    assert price_label(MachineType(hardware_profile="gpu.a100", price_per_hour=0)) == "price unknown"
    assert price_label(MachineType(hardware_profile="cpu", price_per_hour=0)) == "free of charge"
    assert VMHardwareProfile(hardware_profile="a100", price_per_hour="0.00").price_per_hour is None
    assert VMInstanceVariant(hardware_profile="a100", instance_type="spot", price_per_hour=0).price_per_hour is None
    assert DedicatedModel(serving_name="m", price_per_hour="0").price_per_hour is None
    rows = [
        {"meter_slug": "vm_running", "group_by": {"hardware_profile": "on-demand.a100.1x"}, "unit_price_per_hour": "0"},
        {"meter_slug": "vm_running", "group_by": {"hardware_profile": "on-demand.h100.1x"}, "unit_price": "0.001"},
    ]
    prices = Prices(book=tuple(PriceBook(prices=rows)))
    rented = [VM(vm_id="1", status="running", hardware_profile=f"on-demand.{card}.1x") for card in ("a100", "h100")]
    assert [prices.hourly_vm_price(vm) for vm in rented] == [None, Decimal("3.6")]


A100 = MachineType(hardware_profile="gpu.a100", price_per_hour="1.59")
UNPRICED = MachineType(hardware_profile="gpu.secret", price_per_hour=None)


@pytest.mark.parametrize("amount", ["0.001", "0.01", "0.5", "2", "123.456"])
def test_the_time_that_an_amount_buys_costs_no_more_also_when_the_end_takes_a_second(amount):
    seconds = seconds_for(A100, Decimal(amount))
    assert machine_cost(A100, seconds + 1) <= Decimal(amount) < machine_cost(A100, seconds + 2)


def test_an_amount_that_buys_nothing_is_refused_with_what_two_seconds_cost():
    minimum = r"too low for gpu\.a100: the minimum is 0\.0009 credits\. Nothing was sent"
    with pytest.raises(UsageError, match=minimum):
        seconds_for(A100, Decimal("0.0008"))


def test_a_maximum_cannot_be_kept_without_a_price():
    with pytest.raises(UsageError, match=r"gpu\.secret has no published price"):
        seconds_for(UNPRICED, Decimal(1))


def made(timeout=None, max_cost=None, machine=A100):
    limits = Limits(60, 600, Decimal(max_cost) if max_cost else None)
    return BundleBuilder(Source("print(1)"), RunOptions(timeout=timeout), machine, limits).build()


def test_without_a_maximum_cost_the_time_limit_binds():
    package = made(timeout=600)
    assert package.timeout == 600
    assert package.at_most == "at most 0.2654 credits (time limit 600 s)"


def test_a_high_maximum_cost_leaves_the_time_limit_alone():
    package = made(timeout=600, max_cost="1")
    assert (package.timeout, package.cost_binds) == (600, False)
    assert package.at_most == "at most 0.2654 credits (time limit 600 s)"


def test_a_low_maximum_cost_shortens_the_time_that_is_sent_so_that_the_server_keeps_it_too():
    package = made(timeout=600, max_cost="0.1")
    assert (package.timeout, package.cost_binds) == (225, True)
    assert package.at_most == "at most 0.1000 credits (--max-cost, time limit 225 s)"
    assert package.options.max_cost == Decimal("0.1")


def test_a_machine_without_a_price_says_so_in_place_of_a_worst_case():
    assert made(machine=UNPRICED).at_most == "price unknown, 60 s at most"
