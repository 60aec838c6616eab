"""Credits: balance, purchases and spending (``/billing``)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import (
    Cost,
    Credits,
    Id,
    Items,
    Model,
    OffsetPage,
    RunId,
    State,
    Text,
    Timestamp,
    TotalPage,
    unless_null,
)
from lk_jupyter.api.execution import Metadata, RunState
from lk_jupyter.api.states import UNKNOWN


class GrantedBudget(Model):
    """The budget of a child key at a broker: ``credits`` for each ``period`` (week, month), or in total."""

    name: Text = ""
    credits: Credits | None = None
    period: Literal["week", "month"] | None = None
    renews_at: Timestamp | None = None
    ends_at: Timestamp | None = None


class CreditsBalance(Model):
    """The credit balance; ``remaining_credits`` can still be spent. Only a broker answers with a ``budget``."""

    remaining_credits: Credits
    available_credits: Credits | None = None
    used_credits: Credits | None = None
    total_credits_used: Credits | None = None
    monthly_free_credits: Credits | None = None
    purchased_credits: Credits | None = None
    signup_grant_claimed_at: Timestamp | None = None
    budget: GrantedBudget | None = None


class UserCredits(Model):
    """The credit balance with account data."""

    available_credits: Credits
    user_id: Text = ""
    email: Text = ""
    used_credits: Credits | None = None
    total_credits_used: Credits | None = None
    created_at: Timestamp | None = None
    last_updated: Timestamp | None = None
    stripe_customer_id: str | None = None
    monthly_free_credits: Credits | None = None
    purchased_credits: Credits | None = None


class ExecutionSummary(RunState):
    """A run, past or present, with the cost in credits."""

    execution_id: RunId
    created_at: Timestamp | None = None
    execution_type: Text = ""
    hardware_profile: Text = ""
    status_details: str | None = None
    local_imports: str | list[str] | None = None
    billed: Cost | None = None
    execelet_start: Timestamp | None = None
    start_time: Timestamp | None = None
    end_time: Timestamp | None = None
    finish_time: Timestamp | None = None
    job_start: Timestamp | None = None
    job_end: Timestamp | None = None
    file_name: str | None = None
    errors_docker: str | None = None
    parent_execution_id: str | None = None
    job_type: str | None = None
    metadata: Metadata | None = None


class ExecutionHistory(OffsetPage[ExecutionSummary]):
    """Runs with their cost, newest first."""

    _key = "executions"
    executions: Items[ExecutionSummary]
    total_executions: int | None = None
    total_credits_spent: Credits | None = None
    counts_by_status: Annotated[dict[str, int], unless_null({})] = {}

    @property
    def total(self) -> int | None:
        """The total number of runs."""
        return self.total_executions


class BillingActivity(Model):
    """A charge or top-up, in credits."""

    activity_id: Id
    created_at: Timestamp | None = None
    type: Text = Field("", description="Kind of charge, such as execution or purchase.")
    description: Text = ""
    status: State = UNKNOWN
    amount: Credits | None = None
    hardware_profile: str | None = None
    local_imports: list[str] | None = None


class BillingActivities(TotalPage[BillingActivity]):
    """Charges and top-ups, newest first."""

    _key = "activities"
    activities: Items[BillingActivity]
    total_activities: int | None = None

    @property
    def total(self) -> int | None:
        """The total number of entries."""
        return self.total_activities


class Invoice(Model):
    """One payment: ``amount`` of money for ``credits``."""

    id: Id
    created_at: Timestamp | None = None
    amount: Credits | None = None
    status: State = UNKNOWN
    credits: Credits | None = None
    invoice_pdf: str | None = None
    receipt_url: str | None = None
    payment_intent_id: str | None = None


class Invoices(TotalPage[Invoice]):
    """Payments, newest first."""

    _key = "invoices"
    invoices: Items[Invoice]
    total_invoices: int | None = None

    @property
    def total(self) -> int | None:
        """The total number of payments."""
        return self.total_invoices


class CheckoutRequest(Model):
    """Credits to buy, and the next address of the browser."""

    credits_amount: int = Field(description="Credits to buy.")
    success_url: str | None = Field(None, description="Address to open after the payment.")
    cancel_url: str | None = Field(None, description="Address to open after a cancelled payment.")


class CheckoutSession(Model):
    """A payment to make in a browser."""

    checkout_url: str = Field(description="Address of the payment page.")
    session_id: Text = ""


class Billing(Group):
    """Credits: the balance, what they were used for, and how to get more.

    Example:
        >>> from lk_jupyter.api.billing import CheckoutRequest
        >>> credits = client.billing.credits()
        >>> credits.remaining_credits == credits.available_credits - credits.used_credits
        True
        >>> client.billing.credits_details().email == client.user.status().email
        True
        >>> [run.billed for run in client.billing.history(limit=2)]
        [...]
        >>> [row.amount for row in client.billing.activities().all()]
        [...]
        >>> [invoice.amount for invoice in client.billing.invoices()]
        [...]
        >>> client.billing.checkout(CheckoutRequest(credits_amount=5)).checkout_url
        'http...'
    """

    @GET("/billing/credits", magic="%lk_balance")
    def credits(self) -> CreditsBalance:
        """Read the credit balance."""
        ...

    @GET("/billing/credits/details", magic="%lk_billing account")
    def credits_details(self) -> UserCredits:
        """Read the credit balance with account data."""
        ...

    @GET("/billing/history", magic="%lk_runs, %lk_billing history")
    def history(self, limit: int = 50, offset: int = 0) -> ExecutionHistory:
        """List runs with their cost. ``next_page()`` of the result requests the next page."""
        ...

    @GET("/billing/activities", magic="%lk_billing activities")
    def activities(self, limit: int = 10, offset: int = 0) -> BillingActivities:
        """List charges and top-ups in one timeline. ``next_page()`` of the result requests the next page."""
        ...

    @GET("/billing/invoices", magic="%lk_billing invoices")
    def invoices(self, limit: int = 10, offset: int = 0) -> Invoices:
        """List payments. ``next_page()`` of the result requests the next page."""
        ...

    @POST("/billing/checkout", effect="writes", magic="%lk_billing checkout")
    def checkout(self, request: CheckoutRequest) -> CheckoutSession:
        """Start a purchase of credits.

        Open ``checkout_url`` in a browser to pay; the balance grows some time after the payment. Raises
        BadRequest for an amount that isn't sold.
        """
        ...
