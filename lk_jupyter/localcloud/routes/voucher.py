"""Vouchers: the value of a code."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.voucher import Voucher, VoucherValidateRequest
from lk_jupyter.localcloud._mount import implements
from lk_jupyter.localcloud.billing.payments import voucher_id
from lk_jupyter.localcloud.context import Context
from lk_jupyter.localcloud.errors import invalid


@implements(Voucher.validate)
def validate(ctx: Context, request: VoucherValidateRequest) -> dict[str, Any]:
    """Check a code against the vouchers that this cloud was started with."""
    name, _, host = request.email.strip().rpartition("@")
    if not name or not host:
        raise invalid("body", "email", "Give the e-mail address of the account, such as you@example.com")
    verdict = ctx.cloud.payments.check_voucher(request.code)
    voucher = voucher_id(request.code) if verdict.amount else None
    return {
        "valid": verdict.error is None,
        "voucher_id": voucher,
        "voucher_amount": verdict.amount,
        "error": verdict.error,
    }
