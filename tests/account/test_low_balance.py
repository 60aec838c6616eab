"""When a balance is low."""

import threading
import time
from decimal import Decimal

import pytest
from patience import PATIENCE

from lk_jupyter.account import low_balance as low
from lk_jupyter.account.active import ActiveResource
from lk_jupyter.account.balance import AccountBalance
from lk_jupyter.account.low_balance import low_balance, low_balance_notices, read_balance_soon
from lk_jupyter.api.billing import CreditsBalance
from lk_jupyter.errors import NotFound, ServerError
from lk_jupyter.protocol.notice import WARNING
from lk_jupyter.session import connect


def costing(*prices):
    return tuple(ActiveResource("run", "1", "", "A100", None if price is None else Decimal(price)) for price in prices)


def test_credits_that_end_within_the_hour_are_warned_of_with_the_time_that_they_last():
    (remark,) = low_balance(AccountBalance(Decimal("0.53"), costing("1.59", "1.59")))
    assert str(remark).startswith(
        "⚠ 0.5300 credits left, about 10 min 00 s at 3.18 credits/h. Buy credits: %lk_billing checkout 50"
    )


def test_credits_that_are_used_up_last_for_nothing():
    (remark,) = low_balance(AccountBalance(Decimal("-0.01"), costing("1.59")))
    assert "left, about 0.0 s at 1.59 credits/h" in str(remark)


@pytest.mark.parametrize(
    "balance",
    [
        None,
        AccountBalance(Decimal(100), costing("1.59")),
        AccountBalance(Decimal("0.1")),
        AccountBalance(Decimal("0.1"), costing(None)),
    ],
)
def test_there_is_no_warning_where_they_last_or_nobody_knows(balance):
    assert low_balance(balance) == []


def test_a_price_that_is_not_known_does_not_hide_the_others():
    (remark,) = low_balance(AccountBalance(Decimal("0.53"), costing("1.59", None)))
    assert "left, at most 20 min 00 s at 1.59 credits/h" in str(remark)


class Accounts:
    """A session whose server answers the balance as it is told, and counts how often it was asked."""

    def __init__(self, answer):
        self.answer, self.asked, self.client = answer, 0, self

    @property
    def user(self):
        return self

    billing = user

    def org(self):
        raise NotFound(404, "no organizations here")

    def credits(self):
        self.asked += 1
        return self.answer()


def left(amount):
    return lambda: CreditsBalance(available_credits=1, used_credits=0, total_credits_used=0, remaining_credits=amount)


def test_a_run_that_can_cost_more_than_is_left_is_warned_of():
    (remark,) = low_balance_notices(Accounts(left("0.01")), Decimal("0.0265"))
    assert remark.text == (
        "0.0100 credits left, but this run can cost 0.0265 credits. The cloud may stop it early. "
        "Limit it: --max-cost 0.01. Buy credits: %lk_billing checkout 50"
    )
    assert remark.kind == WARNING


def test_starts_in_a_row_ask_for_an_ample_balance_once():
    account = Accounts(left("100"))
    read_balance_soon(account)
    assert [low_balance_notices(account, Decimal("0.02")) for _ in range(5)] == [[]] * 5
    assert account.asked == 1


def test_a_balance_that_does_not_come_holds_no_start_twice(monkeypatch):
    monkeypatch.setattr(low, "_PATIENCE", 0.5)
    answered = threading.Event()
    account = Accounts(lambda: answered.wait(PATIENCE))
    began = time.monotonic()
    assert [low_balance_notices(account, Decimal(1)) for _ in range(50)] == [[]] * 50
    assert time.monotonic() - began < 20
    answered.set()


def test_a_balance_that_cannot_be_read_warns_of_nothing():
    def fails():
        raise ServerError(500, "no")

    account = Accounts(fails)
    assert [low_balance_notices(account, Decimal(1)) for _ in range(5)] == [[]] * 5
    assert account.asked == 1
    assert low_balance_notices(Accounts(left("0")), None) == []


def test_a_connection_that_is_closed_meanwhile_is_not_opened_again(cloud, monkeypatch):
    connection = connect(cloud.base_url, cloud.api_key)
    resources = low.list_active
    read = []

    def resources_after_the_end(session):
        connection.close()
        read.append(session)
        return resources(session)

    monkeypatch.setattr(low, "list_active", resources_after_the_end)
    low.balance_watch(connection).look()
    for thread in [each for each in threading.enumerate() if each.name == "lk-balance"]:
        thread.join()
    assert read
    assert connection._client is None
