"""The ledger of an organization, purchases and vouchers, called by the client on a local cloud."""

from __future__ import annotations

import httpx
import pytest
from api.calls import calls

from lk_jupyter.api.billing import Billing, CheckoutRequest
from lk_jupyter.api.orgs import Orgs
from lk_jupyter.api.voucher import Voucher, VoucherValidateRequest
from lk_jupyter.errors import BadRequest


@calls(Orgs.transactions)
def transactions(client, ended):
    slug = client.user.org().slug
    rows = {row.metadata.get("execution_id"): row for row in client.orgs.transactions(slug, source="executions")}
    assert (rows[ended.id].kind, rows[ended.id].amount) == ("debit", client.execution.get(ended.id).billed)
    assert {row.kind for row in client.orgs.transactions(slug, kind="credit")} == {"credit"}
    assert len(client.orgs.transactions(slug, limit=1)) == 1


@calls(Orgs.aggregate_transactions)
def aggregate_transactions(client, ended):
    sums = client.orgs.aggregate_transactions(client.user.org().slug, "executions", "hardware_profile")
    (group,) = [group for group in sums if group.group_by_value == "gpu.a100"]
    assert group.count >= 1
    assert group.total_amount >= client.execution.get(ended.id).billed
    with pytest.raises(BadRequest, match="group_by"):
        client.orgs.aggregate_transactions(client.user.org().slug, "executions", "a b")


def buy(client, amount):
    """Buy credits with a click on the page, and return the checkout's id."""
    session = client.billing.checkout(CheckoutRequest(credits_amount=amount))
    assert httpx.post(f"{session.checkout_url}/pay").status_code == 303
    return session.session_id


@calls(Billing.checkout)
def checkout(client, _):
    before = client.billing.credits()
    buy(client, 5)
    after = client.billing.credits()
    assert after.purchased_credits - before.purchased_credits == 5
    assert after.monthly_free_credits == before.monthly_free_credits
    with pytest.raises(BadRequest, match="at a time"):
        client.billing.checkout(CheckoutRequest(credits_amount=0))


@calls(Billing.invoices)
def invoices(client, _):
    for amount in (1, 2, 3):
        buy(client, amount)
    page = client.billing.invoices(limit=2)
    assert [invoice.amount for invoice in page] == [3, 2]
    everything = list(page.all())
    assert len(everything) == page.total_invoices >= 3
    assert everything[1:] == list(client.billing.invoices(limit=1, offset=1).all())


@calls(Billing.activities)
def activities(client, ended):
    everything = list(client.billing.activities(limit=2).all())
    assert len(everything) == client.billing.activities().total_activities
    bills = [row.amount for row in everything if row.hardware_profile == "gpu.a100" and row.type == "execution"]
    assert client.execution.get(ended.id).billed in bills


@calls(Voucher.validate)
def voucher(client, _):
    answer = client.voucher.validate(VoucherValidateRequest(email="a@example.com", code="NONE"))
    assert not answer.valid
    assert answer.error
