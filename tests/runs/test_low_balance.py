"""When a balance is low."""

from decimal import Decimal

import pytest

from lk_jupyter.runs.account import Balance
from lk_jupyter.runs.low_balance import low_balance


def test_credits_that_end_within_the_hour_are_warned_of_with_the_time_that_they_last():
    (remark,) = low_balance(Balance(Decimal("0.53"), 2, Decimal("3.18")))
    assert str(remark).startswith(
        "⚠ 0.5300 credits are left: at the present rate of 3.18 an hour they last for 10 min 00 s."
    )


def test_credits_that_are_used_up_last_for_nothing():
    (remark,) = low_balance(Balance(Decimal("-0.01"), 1, Decimal("1.59")))
    assert "they last for 0.0 s" in str(remark)


@pytest.mark.parametrize(
    "balance",
    [
        None,
        Balance(Decimal(100), 1, Decimal("1.59")),
        Balance(Decimal("0.1"), 0, Decimal(0)),
        Balance(Decimal("0.1"), 1, None),
    ],
)
def test_there_is_no_warning_where_they_last_or_nobody_knows(balance):
    assert low_balance(balance) == []
