"""``%lk_billing`` and ``%lk_pricing``: what was spent, what was paid, and what things cost."""

from __future__ import annotations

import webbrowser
from html import escape
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.billing import BillingActivity, CheckoutRequest, ExecutionSummary, Invoice
from lk_jupyter.api.voucher import VoucherValidateRequest
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._ask import ask_hidden
from lk_jupyter.magics._billing_options import CheckoutOptions, EntriesOptions, PricingOptions
from lk_jupyter.magics._frames import frame
from lk_jupyter.magics._line import Note
from lk_jupyter.magics._parser import Verbs, magic
from lk_jupyter.magics._views import Table, say
from lk_jupyter.options import NoOptions
from lk_jupyter.runs.cost import credits_label
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.runs.pricing import COLUMNS, price_rows
from lk_jupyter.runs.session import current
from lk_jupyter.widgets.pictures.table import Drawing

_SAFE = frozenset({"https", "http"})
_LATER = "The balance grows some time after you have paid: %lk_balance."

lk_billing = Verbs(
    "lk_billing",
    "See what runs cost and what was paid, check a voucher, buy credits.\n\n"
    "%lk_balance tells what is left, %lk_org transactions the ledger of an organization.",
)


@lk_billing.verb("history", EntriesOptions)
def _history(options: EntriesOptions, _shell: InteractiveShell) -> Any:
    """Give your runs with their cost as a DataFrame, newest first; also those that no notebook here has started.

    Example: ``spent = %lk_billing history -n 500``
    """
    page = current().client.billing.history(limit=min(options.limit, 100))
    rows = [_run_row(run) for run in islice(page.all(), options.limit)]
    display(Note(f"{page.total:,} runs in all, {credits_label(page.total_credits_spent)}."))
    return frame(rows, ("run", "started", "state", "machine", "credits", "kind", "execution_id"))


@lk_billing.verb("activities", EntriesOptions)
def _activities(options: EntriesOptions, _shell: InteractiveShell) -> Any:
    """Give charges and top-ups in one timeline, as a DataFrame, newest first.

    Example: ``%lk_billing activities -n 200``
    """
    page = current().client.billing.activities(limit=min(options.limit, 100))
    rows = [_activity_row(each) for each in islice(page.all(), options.limit)]
    return frame(rows, ("time", "credits", "type", "description", "state", "hardware"))


@lk_billing.verb("invoices", EntriesOptions)
def _invoices(options: EntriesOptions, _shell: InteractiveShell) -> None:
    """List what was paid, with links to invoices and receipts.

    Example: ``%lk_billing invoices``
    """
    page = current().client.billing.invoices(limit=min(options.limit, 100))
    rows = [_invoice_row(each) for each in islice(page.all(), options.limit)]
    note = "" if rows else "Nothing was paid yet. %lk_billing checkout 50 buys credits."
    columns = ("Paid", "Amount", "Credits", "State", "Invoice", "Receipt")
    display(Table(columns, rows, note=note, right=frozenset({"Amount", "Credits"})))


@lk_billing.verb("account", NoOptions)
def _account(_: NoOptions, _shell: InteractiveShell) -> None:
    """Tell the credits of your account: free ones, bought ones, used ones."""
    display(current().client.billing.credits_details())


@lk_billing.verb("voucher", NoOptions)
def _voucher(_: NoOptions, _shell: InteractiveShell) -> None:
    """Tell what a voucher is worth, and whether it can be used; asks for the code without showing it."""
    client = current().client
    email = client.user.status().email
    if not email:
        raise UsageError("A voucher is for a person, and this key is none's: sign in with a key of yours.")
    code = ask_hidden("Code of the voucher (it is not shown): ", "run %lk_billing voucher where you can type")
    told = client.voucher.validate(VoucherValidateRequest(email=email, code=code))
    if not told.valid:
        reason = (told.error or "It cannot be used").rstrip(".")
        raise UsageError(f"{reason}. Ask who gave it to you for another, or %lk_billing checkout 50 buys credits.")
    worth = credits_label(told.voucher_amount) if told.voucher_amount is not None else "credits"
    say(f"Good for {worth}. Redeem it in the dashboard (Billing); checking has not used it.")


@lk_billing.verb("checkout", CheckoutOptions)
def _checkout(options: CheckoutOptions, _shell: InteractiveShell) -> None:
    """Give the page where credits are paid; nothing is bought before you pay there.

    Example: ``%lk_billing checkout 50``
    """
    if options.credits < 1:
        raise UsageError(f"%lk_billing checkout: give the credits to buy, 1 or more, not {options.credits}.")
    address = current().client.billing.checkout(CheckoutRequest(credits_amount=options.credits)).checkout_url
    display(Table(("Buy", "Pay here"), [(f"{options.credits} credits", _link(address, address))], note=_LATER))
    if options.open and urlsplit(address).scheme in _SAFE:
        webbrowser.open(address)


@magic(PricingOptions)
def lk_pricing(options: PricingOptions, shell: InteractiveShell) -> Any:  # noqa: ARG001 (every magic takes both)
    """Give the price book as a DataFrame: machines by the hour, models by the million tokens, in credits.

    Examples::

        %lk_pricing
        %lk_pricing spot h100
    """
    rows = price_rows(current().client.pricing.get(), options.words)
    if not rows:
        raise UsageError(f"No price has {' and '.join(options.words)}. %lk_pricing alone lists all.")
    return frame(rows, COLUMNS)


def _run_row(run: ExecutionSummary) -> dict[str, Any]:
    return {
        "run": run.execution_id[:SHORT_ID],
        "started": run.created_at,
        "state": run.status,
        "machine": run.hardware_profile,
        "credits": None if run.billed is None else float(run.billed),
        "kind": run.execution_type,
        "execution_id": run.execution_id,
    }


def _activity_row(each: BillingActivity) -> dict[str, Any]:
    return {
        "time": each.created_at,
        "credits": None if each.amount is None else float(each.amount),
        "type": each.type,
        "description": each.description,
        "state": each.status,
        "hardware": each.hardware_profile or "",
    }


def _invoice_row(each: Invoice) -> tuple[str | Drawing, ...]:
    bought = "" if each.credits is None else f"{each.credits:,.2f}"
    paid = (f"{each.created_at.astimezone():%d %b %Y %H:%M}", f"{each.amount:,.2f}", bought, each.status)
    return (*paid, _link(each.invoice_pdf, "PDF"), _link(each.receipt_url, "Receipt"))


def _link(address: str | None, label: str) -> str | Drawing:
    """Return a link that is the address in text; nothing for what is no address of the web."""
    if not address or urlsplit(address).scheme not in _SAFE:
        return ""
    anchor = f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(label)}</a>'
    return Drawing(anchor, address)
