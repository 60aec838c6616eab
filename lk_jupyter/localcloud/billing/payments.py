"""Money that comes in: checkouts and vouchers, each booked once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from fastapi import HTTPException

from lk_jupyter.api.billing import CheckoutRequest
from lk_jupyter.localcloud.billing.ledger import Ledger
from lk_jupyter.localcloud.clock import now
from lk_jupyter.localcloud.store import Store

Session = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """The value of a voucher code, or the reason why the code can't be used."""

    amount: Decimal | None = None
    error: str | None = None


class Payments:
    """Checkout sessions and the vouchers of this cloud; ``vouchers`` maps a code to its credits."""

    def __init__(self, store: Store, ledger: Ledger, vouchers: dict[str, Decimal]) -> None:
        self._store = store
        self._ledger = ledger
        self._vouchers = vouchers

    def open(self, org_id: str, request: CheckoutRequest) -> Session:
        """Start a checkout."""
        session = {
            **request.model_dump(include={"credits_amount", "success_url", "cancel_url"}),
            "id": f"cs_local_{uuid4().hex}",
            "org_id": org_id,
            "status": "open",
            "created_at": now(),
        }
        self._store.put("checkout", session["id"], session)
        return session

    def read_session(self, session_id: str) -> Session:
        """Return a checkout; 404 for an unknown id."""
        session = self._store.get("checkout", session_id)
        if session is None:
            raise HTTPException(404, "No such checkout")
        return session

    def pay(self, session_id: str) -> Session:
        """Complete a checkout and book its credits, once; 409 for a cancelled checkout."""
        with self._store.write() as db:
            session = self._end_checkout(session_id, "paid")
            amount, payment = Decimal(session["credits_amount"]), f"pi_{session_id}"
            self._ledger.credit(
                db, session["org_id"], "purchases", session_id, amount, description="Credits", payment_intent_id=payment
            )
        return session

    def cancel(self, session_id: str) -> Session:
        """End a checkout without a payment; 409 for a paid checkout."""
        with self._store.write():
            return self._end_checkout(session_id, "cancelled")

    def _end_checkout(self, session_id: str, status: str) -> Session:
        session = self.read_session(session_id)
        if session["status"] not in {"open", status}:
            raise HTTPException(409, f"This checkout is {session['status']}")
        session["status"] = status
        self._store.put("checkout", session_id, session)
        return session

    def check_voucher(self, code: str) -> Verdict:
        """Return the credits of a voucher, or the reason why the voucher can't be used."""
        amount = self._vouchers.get(code)
        if amount is None:
            return Verdict(error="No voucher has this code")
        if self._ledger.find_entry("vouchers", voucher_id(code)):
            return Verdict(error="This voucher was used before")
        return Verdict(amount)

    def redeem(self, org_id: str, code: str) -> Decimal:
        """Turn a voucher into credits, once; 400 for an unusable voucher."""
        verdict = self.check_voucher(code)
        with self._store.write() as db:
            if verdict.amount and self._ledger.credit(
                db, org_id, "vouchers", voucher_id(code), verdict.amount, description="Voucher"
            ):
                return verdict.amount
        raise HTTPException(400, verdict.error or "This voucher was used before")


def voucher_id(code: str) -> str:
    """Return the id of a voucher, which doesn't reveal its code."""
    return str(uuid5(NAMESPACE_URL, f"voucher:{code}"))
