import pytest

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import Catalogue, price_label

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
    with pytest.raises(UsageError, match=r"'A1000'\. Nothing was sent\. Similar: gpu\.a100 \(1\.59/h\)"):
        Catalogue.of(TYPES, []).resolve("A1000")


def test_a_name_like_no_other_gets_all_that_may_be_used():
    with pytest.raises(UsageError, match=r"Machines: gpu\.l40s \(1\.19/h\)\. All machines: %lk_machines"):
        Catalogue.of(TYPES, ["gpu.l40s"]).resolve("zzz")


def test_a_machine_outside_the_quota_is_refused_with_those_inside():
    with pytest.raises(
        UsageError, match=r"Your quota doesn't include 'H100'\. Nothing was sent\. You may use: gpu\.l40s \(1\.19/h\)"
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
    assert [price_label(machine) for machine in (TYPES[0], TYPES[-1])] == ["1.19/h", "no price"]
