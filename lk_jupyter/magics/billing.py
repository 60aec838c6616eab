"""``%lk_billing`` and ``%lk_pricing``: costs, payments and prices."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter._python import open_page
from lk_jupyter.account.price_book import COLUMNS, price_rows
from lk_jupyter.api.billing import BillingActivity, CheckoutRequest, ExecutionSummary, Invoice
from lk_jupyter.api.voucher import VoucherValidateRequest
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._engine.ask import ask_hidden
from lk_jupyter.magics._engine.parser import Subcommands, magic
from lk_jupyter.magics._engine.tables import Table, build_data_frame, show_text
from lk_jupyter.magics._output.live import Note
from lk_jupyter.options.billing import CheckoutOptions, EntriesOptions, PricingOptions
from lk_jupyter.options.runs import NoOptions
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.session import current
from lk_jupyter.text.terminal import plain
from lk_jupyter.text.units import count_label, credits_label, moment_label
from lk_jupyter.views.table import Drawing

_SAFE = frozenset({"https", "http"})
_LATER = "After you pay, the balance rises with some delay. Check: %lk_balance"

lk_billing = Subcommands(
    "lk_billing",
    "Show the cost of runs and your payments, check a voucher, or buy credits.\n\n%lk_balance shows the "
    "remaining credits. %lk_org transactions shows the ledger of an organization.",
)


@lk_billing.verb("history", EntriesOptions)
def _history(options: EntriesOptions, _shell: InteractiveShell) -> Any:
    """List your runs with their cost as a DataFrame, newest first, including runs started on other machines.

    Example: ``spent = %lk_billing history -n 500``
    """
    page = current().client.billing.history(limit=min(options.limit, 100))
    rows = [_build_run_row(run) for run in islice(page.all(), options.limit)]
    many = f"{count_label(page.total, 'run')} in total, " if page.total is not None else ""
    display(Note(f"{many}{credits_label(page.total_credits_spent)}."))
    return build_data_frame(rows, ("run", "started", "state", "machine", "credits", "kind", "execution_id"))


@lk_billing.verb("activities", EntriesOptions)
def _activities(options: EntriesOptions, _shell: InteractiveShell) -> Any:
    """List charges and top-ups in a timeline as a DataFrame, newest first.

    Example: ``%lk_billing activities -n 200``
    """
    page = current().client.billing.activities(limit=min(options.limit, 100))
    rows = [_build_activity_row(each) for each in islice(page.all(), options.limit)]
    return build_data_frame(rows, ("time", "credits", "type", "description", "state", "hardware"))


@lk_billing.verb("invoices", EntriesOptions)
def _invoices(options: EntriesOptions, _shell: InteractiveShell) -> None:
    """List payments, with links to invoices and receipts.

    Example: ``%lk_billing invoices``
    """
    page = current().client.billing.invoices(limit=min(options.limit, 100))
    rows = [_build_invoice_row(each) for each in islice(page.all(), options.limit)]
    note = "" if rows else "No payments. Buy credits: %lk_billing checkout 50"
    columns = ("Paid", "Amount", "Credits", "State", "Invoice", "Receipt")
    display(Table(columns, rows, note=note, right=frozenset({"Amount", "Credits"})))


@lk_billing.verb("account", NoOptions)
def _account(_: NoOptions, _shell: InteractiveShell) -> None:
    """Show the credits of your account: free, bought and used."""
    display(current().client.billing.credits_details())


@lk_billing.verb("voucher", NoOptions)
def _voucher(_: NoOptions, _shell: InteractiveShell) -> None:
    """Show the value of a voucher and whether it's valid. Prompts for the code and hides what you type."""
    client = current().client
    email = client.user.status().email
    if not email:
        raise UsageError(
            "Vouchers are for personal accounts, and this key belongs to an organization. "
            "Sign in with a personal key: %lk_login"
        )
    code = ask_hidden(
        "Code of the voucher (it is not shown): ", "run %lk_billing voucher in an open notebook or in a terminal"
    )
    validation = client.voucher.validate(VoucherValidateRequest(email=email, code=code))
    if not validation.valid:
        reason = (validation.error or "The voucher isn't valid").rstrip(".")
        raise UsageError(f"{reason}. Request another one from the issuer, or buy credits: %lk_billing checkout 50")
    worth = credits_label(validation.voucher_amount) if validation.voucher_amount is not None else "credits"
    show_text(f"Worth {worth}. Redeem it in the dashboard (Billing); this check didn't use it.")


@lk_billing.verb("checkout", CheckoutOptions)
def _checkout(options: CheckoutOptions, _shell: InteractiveShell) -> None:
    """Show a link to the page where you pay for credits. You buy nothing until you pay on that page.

    Example: ``%lk_billing checkout 50``
    """
    if options.credits < 1:
        raise UsageError(
            f"%lk_billing checkout takes 1 credit or more, got {options.credits}. Example: %lk_billing checkout 50"
        )
    address = current().client.billing.checkout(CheckoutRequest(credits_amount=options.credits)).checkout_url
    display(Table(("Buy", "Pay here"), [(f"{options.credits} credits", _build_link(address, address))], note=_LATER))
    if options.open and urlsplit(address).scheme in _SAFE:
        open_page(address)


@magic(PricingOptions)
def lk_pricing(options: PricingOptions, shell: InteractiveShell) -> Any:  # noqa: ARG001 (every magic takes both)
    """Show all prices in credits as a DataFrame: machines per hour, models per million tokens.

    Examples::

        %lk_pricing
        %lk_pricing spot h100
    """
    rows = price_rows(current().client.pricing.get(), options.words)
    if not rows:
        raise UsageError(f"No price contains {' and '.join(options.words)}. All prices: %lk_pricing")
    return build_data_frame(rows, COLUMNS)


def _build_run_row(run: ExecutionSummary) -> dict[str, Any]:
    return {
        "run": run.execution_id[:SHORT_ID],
        "started": run.created_at,
        "state": run.status,
        "machine": run.hardware_profile,
        "credits": None if run.billed is None else float(run.billed),
        "kind": run.execution_type,
        "execution_id": run.execution_id,
    }


def _build_activity_row(each: BillingActivity) -> dict[str, Any]:
    return {
        "time": each.created_at,
        "credits": None if each.amount is None else float(each.amount),
        "type": each.type,
        "description": each.description,
        "state": each.status,
        "hardware": each.hardware_profile or "",
    }


def _build_invoice_row(each: Invoice) -> tuple[str | Drawing, ...]:
    bought = "" if each.credits is None else f"{each.credits:,.2f}"
    amount = "" if each.amount is None else f"{each.amount:,.2f}"
    paid = (moment_label(each.created_at), amount, bought, each.status)
    return (*paid, _build_link(each.invoice_pdf, "PDF"), _build_link(each.receipt_url, "Receipt"))


def _build_link(address: str | None, label: str) -> str | Drawing:
    """Return a link whose text form is the address; return "" unless the address is a web address."""
    address = plain(address or "")
    if not address or urlsplit(address).scheme not in _SAFE:
        return ""
    anchor = f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(label)}</a>'
    return Drawing(anchor, address)
