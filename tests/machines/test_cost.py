"""What runs cost, told before, and the time that an amount buys."""

from decimal import Decimal

import pytest

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.cost import cost_of, seconds_for
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package.bundle import Limits, bundle

A100 = MachineType(hardware_profile="gpu.a100", price_per_hour="1.59")
UNPRICED = MachineType(hardware_profile="gpu.secret", price_per_hour=None)


@pytest.mark.parametrize("amount", ["0.001", "0.01", "0.5", "2", "123.456"])
def test_the_time_that_an_amount_buys_costs_no_more_also_when_the_end_takes_a_second(amount):
    seconds = seconds_for(A100, Decimal(amount))
    assert cost_of(A100, seconds + 1) <= Decimal(amount) < cost_of(A100, seconds + 2)


def test_an_amount_that_buys_nothing_is_refused_with_what_two_seconds_cost():
    with pytest.raises(UsageError, match=r"two seconds of gpu\.a100, which cost 0\.0009 credits\. Nothing was sent"):
        seconds_for(A100, Decimal("0.0008"))


def test_a_maximum_cannot_be_kept_without_a_price():
    with pytest.raises(UsageError, match=r"gpu\.secret has no published price"):
        seconds_for(UNPRICED, Decimal(1))


def made(timeout=None, max_cost=None, machine=A100):
    limits = Limits(60, 600, Decimal(max_cost) if max_cost else None)
    return bundle(Source("print(1)"), RunOptions(timeout=timeout), machine, limits)


def test_without_a_maximum_cost_the_time_limit_binds():
    package = made(timeout=600)
    assert package.timeout == 600
    assert package.at_most == "at most 0.2650 credits (time limit 600 s)"


def test_a_high_maximum_cost_leaves_the_time_limit_alone():
    package = made(timeout=600, max_cost="1")
    assert (package.timeout, package.cost_binds) == (600, False)
    assert package.at_most == "at most 0.2650 credits (time limit 600 s)"


def test_a_low_maximum_cost_shortens_the_time_that_is_sent_so_that_the_server_keeps_it_too():
    package = made(timeout=600, max_cost="0.1")
    assert (package.timeout, package.cost_binds) == (225, True)
    assert package.at_most == "at most 0.1000 credits (--max-cost, time limit 225 s)"
    assert package.options.max_cost == Decimal("0.1")


def test_a_machine_without_a_price_says_so_in_place_of_a_worst_case():
    assert made(machine=UNPRICED).at_most == "price unknown, 60 s at most"
