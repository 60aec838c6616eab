"""Credits, what was bought with money and what they were used for (``/billing``)."""

from __future__ import annotations

from pydantic import Field

from lk_jupyter.api._endpoint import GET, POST, Group
from lk_jupyter.api._models import Credits, Model, OffsetPage, Timestamp, TotalPage
from lk_jupyter.api.execution import Metadata


class CreditsBalance(Model):
    """The credit balance; ``remaining_credits`` can still be spent."""

    available_credits: Credits
    used_credits: Credits
    total_credits_used: Credits
    remaining_credits: Credits
    monthly_free_credits: Credits = 0  # type: ignore[assignment]
    purchased_credits: Credits = 0  # type: ignore[assignment]
    signup_grant_claimed_at: Timestamp | None = None


class UserCredits(Model):
    """The credit balance with account data."""

    user_id: str
    email: str
    available_credits: Credits
    used_credits: Credits
    total_credits_used: Credits
    created_at: Timestamp
    last_updated: Timestamp
    stripe_customer_id: str | None = None
    monthly_free_credits: Credits | None = None
    purchased_credits: Credits | None = None


class ExecutionSummary(Model):
    """A run, past or present, with its cost in credits."""

    execution_id: str
    created_at: Timestamp
    execution_type: str
    status: str
    hardware_profile: str
    status_details: str | None = None
    local_imports: str | list[str] | None = None
    billed: Credits | None = None
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
    executions: list[ExecutionSummary]
    total_executions: int
    total_credits_spent: Credits
    counts_by_status: dict[str, int] = {}

    @property
    def total(self) -> int:
        """How many runs there are in all."""
        return self.total_executions


class BillingActivity(Model):
    """One charge or top-up, in credits."""

    activity_id: str
    created_at: Timestamp
    type: str = Field(description="Such as execution or purchase.")
    description: str
    status: str
    amount: Credits | None = None
    hardware_profile: str | None = None
    local_imports: list[str] | None = None


class BillingActivities(TotalPage[BillingActivity]):
    """Charges and top-ups, newest first."""

    _key = "activities"
    activities: list[BillingActivity]
    total_activities: int

    @property
    def total(self) -> int:
        """How many there are in all."""
        return self.total_activities


class Invoice(Model):
    """One payment: ``amount`` of money for ``credits``."""

    id: str
    created_at: Timestamp
    amount: Credits
    status: str
    credits: Credits | None = None
    invoice_pdf: str | None = None
    receipt_url: str | None = None
    payment_intent_id: str | None = None


class Invoices(TotalPage[Invoice]):
    """Payments, newest first."""

    _key = "invoices"
    invoices: list[Invoice]
    total_invoices: int

    @property
    def total(self) -> int:
        """How many there are in all."""
        return self.total_invoices


class CheckoutRequest(Model):
    """Credits to buy, and where the browser goes afterwards."""

    credits_amount: int = Field(description="Credits to buy.")
    success_url: str | None = Field(None, description="Where a paid checkout leads.")
    cancel_url: str | None = Field(None, description="Where a cancelled checkout leads.")


class CheckoutSession(Model):
    """A payment to be made in a browser."""

    checkout_url: str = Field(description="Page of the payment provider.")
    session_id: str


class Billing(Group):
    """Credits: the balance, what they were used for, and how to get more."""

    @GET("/billing/credits")
    def credits(self) -> CreditsBalance:
        """Read the credit balance."""
        ...

    @GET("/billing/credits/details")
    def credits_details(self) -> UserCredits:
        """Read the credit balance with account data."""
        ...

    @GET("/billing/history")
    def history(self, limit: int = 50, offset: int = 0) -> ExecutionHistory:
        """List runs with their cost; the page knows how to fetch on."""
        ...

    @GET("/billing/activities")
    def activities(self, limit: int = 10, offset: int = 0) -> BillingActivities:
        """List charges and top-ups in one timeline; the page knows how to fetch on."""
        ...

    @GET("/billing/invoices")
    def invoices(self, limit: int = 10, offset: int = 0) -> Invoices:
        """List payments; the page knows how to fetch on."""
        ...

    @POST("/billing/checkout")
    def checkout(self, request: CheckoutRequest) -> CheckoutSession:
        """Begin to buy credits.

        Open ``checkout_url`` in a browser to pay; the balance grows some time after that. Raises
        BadRequest for an amount that is not sold.
        """
        ...
