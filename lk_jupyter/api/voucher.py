"""Vouchers (``/voucher``)."""

from __future__ import annotations

from pydantic import Field

from lk_jupyter.api._endpoint import POST, Group
from lk_jupyter.api._models import Credits, Model


class VoucherValidateRequest(Model):
    """A code to look up, and the e-mail address of the account for the voucher."""

    email: str
    code: str = Field(repr=False)


class VoucherValidation(Model):
    """Whether a voucher is valid; ``voucher_amount`` in credits, ``error`` is the reason if invalid."""

    valid: bool | None = None
    voucher_id: str | None = None
    voucher_amount: Credits | None = None
    error: str | None = None


class Voucher(Group):
    """Vouchers: codes that are worth credits.

    Example:
        >>> from lk_jupyter.api.voucher import VoucherValidateRequest
        >>> client.voucher.validate(VoucherValidateRequest(email="mira@example.com", code="NONE")).valid
        False
    """

    @POST("/voucher/validate", effect="reads", repeatable=True, magic="%lk_billing voucher")
    def validate(self, request: VoucherValidateRequest) -> VoucherValidation:
        """Check a voucher code without using the code."""
        ...
