"""Machines as rows to choose from."""

from decimal import Decimal

import pytest

from lk_jupyter import session
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.offers import (
    MachineFilter,
    MachineOffer,
    cheapest,
    filter_offers,
    highest_cost,
    make_offer,
    offer_row,
    parse_gib,
    parse_seconds,
    sort_offers,
)


def offer(profile, memory=None, price=None, *, allowed=True, free=None):
    gpu = profile.rpartition(".")[2].upper() if memory else "none"
    return MachineOffer(
        profile, gpu, int(memory is not None), memory, None, None, price and Decimal(price), allowed, free
    )


CPU = offer("cpu")
L40S = offer("gpu.l40s", 45, "1.19")
A100 = offer("gpu.a100", 80, "1.59")
H100 = offer("gpu.h100", 80, "2.79", free=False)
B300 = offer("gpu.b300", 282, "7.99", allowed=False)
ALL = [H100, CPU, B300, A100, L40S]


@pytest.mark.parametrize(
    ("need", "found"),
    [
        ({}, ALL),
        ({"memory": 40}, [H100, B300, A100, L40S]),
        ({"memory": "48 GB"}, [H100, B300, A100, L40S]),
        ({"memory": "48 GiB"}, [H100, B300, A100]),
        ({"price": "1.59"}, [A100, L40S]),
        ({"available": True}, [CPU, A100, L40S]),
        ({"text": " GPU 100 "}, [H100, A100]),
        ({"memory": "80", "price": 2, "available": True, "text": "a1"}, [A100]),
    ],
)
def test_what_is_needed_leaves_out_the_other_machines(need, found):
    assert filter_offers(ALL, MachineFilter.of(**need)) == found


@pytest.mark.parametrize(
    ("by", "descending", "found"),
    [
        ("price_per_hour", False, [L40S, A100, H100, B300, CPU]),
        ("price_per_hour", True, [B300, H100, A100, L40S, CPU]),
        ("gpu", False, [A100, B300, H100, L40S, CPU]),
        ("memory_gib", True, [B300, A100, H100, L40S, CPU]),
    ],
)
def test_machines_are_put_in_order_and_the_unknown_is_last(by, descending, found):
    assert sort_offers(ALL, by, descending=descending) == found


def test_the_cheapest_that_fits_may_be_launched_and_is_not_taken():
    assert cheapest(ALL, MachineFilter.of("40 GB")) == L40S
    assert cheapest(ALL, MachineFilter.of(60)) == A100
    assert cheapest([H100, B300, offer("gpu.h200", 140, "4.29")], MachineFilter.of(60)).profile == "gpu.h200"


def test_that_nothing_fits_says_what_there_is():
    with pytest.raises(
        UsageError, match=r"No machine that you may use has 200 GiB. The largest is gpu\.\w+ \(80 GiB\)\."
    ):
        cheapest(ALL, MachineFilter.of(200))
    with pytest.raises(UsageError, match="Try less memory, a higher price"):
        cheapest(ALL, MachineFilter.of(40, price=0.5))
    with pytest.raises(UsageError, match="may not use any machine"):
        cheapest([B300], MachineFilter())


def test_the_highest_cost_is_the_time_limit_and_a_second_at_the_price():
    assert highest_cost(A100, parse_seconds("10 min")) == Decimal("1.59") * 601 / 3600
    assert highest_cost(CPU, 600) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), (600, 600), ("1,5 h", 5400), ("10m", 600), ("2 hours", 7200)]
)
def test_a_time_limit_is_read_as_people_write_it(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda: parse_gib("lots"), "Memory 'lots' isn't valid. Examples: 40 or 40 GB"),
        (lambda: parse_gib("-3"), "Memory '-3' isn't valid"),
        (lambda: parse_gib("40 TB/s"), "Memory '40 TB/s' isn't valid"),
        (
            lambda: MachineFilter.of(price="cheap"),
            "The price 'cheap' isn't valid. Give credits per hour, such as 2.50.",
        ),
        (lambda: MachineFilter.of(price="nan"), "The price 'nan' isn't valid"),
        (lambda: MachineFilter.of(price=-1), "The price '-1' isn't valid"),
        (lambda: parse_seconds("soon"), "The time limit 'soon' isn't valid"),
        (lambda: parse_seconds("0"), "The time limit must be 1 second or more."),
        (
            lambda: parse_seconds("2 h", longest=600),
            "The time limit must be 10 min 00 s or less, as set in max_timeout.",
        ),
        (lambda: sort_offers(ALL, "colour"), "Unknown column 'colour'. Columns: profile, gpu,"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(read, said):
    with pytest.raises(UsageError) as caught:
        read()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_the_rows_are_what_the_server_tells(make_cloud):
    cloud = make_cloud("--no-capacity", "h100", "--quota", "cpu,gpu.l40s,gpu.h100")
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        found = {offer.profile: offer for offer in connected.offers()}
    assert found["gpu.l40s"] == MachineOffer(
        "gpu.l40s", "L40S", 1, 45, None, None, Decimal("1.19"), allowed=True, free=True
    )
    assert (found["gpu.h100"].allowed, found["gpu.h100"].free) == (True, False)
    assert not found["gpu.b200"].allowed
    assert (found["cpu"].gpus, found["cpu"].free, found["cpu"].price_per_hour) == (0, None, None)
    assert offer_row(found["gpu.l40s"])["price_per_hour"] == 1.19


def test_figures_that_a_server_adds_are_shown():
    told = make_offer(MachineType(hardware_profile="gpu.a100.4x", instance_specs={"cpu": 48, "memory": 360}))
    assert (told.gpus, told.vcpus, told.ram_gib) == (4, 48, 360)
