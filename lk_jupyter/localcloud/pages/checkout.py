"""The page that replaces the payment provider: a click pays, and no money moves."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from lk_jupyter.localcloud.billing.payments import Payments
from lk_jupyter.localcloud.cloud import Cloud
from lk_jupyter.localcloud.pages.page import check_origin, page

pages = APIRouter(prefix="/checkout/{session_id}", dependencies=[Depends(check_origin)], include_in_schema=False)

_OPEN = """<p>Buy <b>{credits_amount} credits</b>. This cloud is simulated: nothing is paid.</p>
<form method="post" action="{id}/pay"><button autofocus>Pay {credits_amount}.00</button></form>
<form method="post" action="{id}/cancel"><button>Cancel</button></form>
<form method="post" action="{id}/voucher"><p><label>A voucher: <input name="code" autocomplete="off"></label>
<button>Redeem</button></p></form>"""
_PAID = "<p>Paid: <b>{credits_amount} credits</b> were added.</p>"
_CANCELLED = "<p>Cancelled. Nothing was bought.</p>"
_BODIES = {"open": _OPEN, "paid": _PAID, "cancelled": _CANCELLED}


def build_url(cloud: Cloud, session_id: str) -> str:
    """Return the address of a checkout's page, which shows the receipt after the payment."""
    return f"{cloud.base_url}/checkout/{session_id}"


@pages.get("")
def show(request: Request, session_id: str) -> HTMLResponse:
    """Show the purchase, or how the checkout ended."""
    session = _get_payments(request).read_session(session_id)
    return page(_BODIES[session["status"]].format(**session))


@pages.post("/pay")
def pay(request: Request, session_id: str) -> RedirectResponse:
    """Book the credits and lead on."""
    session = _get_payments(request).pay(session_id)
    return RedirectResponse(session["success_url"] or f"/checkout/{session_id}", status_code=303)


@pages.post("/cancel")
def cancel(request: Request, session_id: str) -> RedirectResponse:
    """Book nothing and lead on."""
    session = _get_payments(request).cancel(session_id)
    return RedirectResponse(session["cancel_url"] or f"/checkout/{session_id}", status_code=303)


@pages.post("/voucher")
async def redeem(request: Request, session_id: str) -> HTMLResponse:
    """Turn a voucher into credits of the organization that the checkout is for."""
    payments = _get_payments(request)
    code = parse_qs((await request.body()).decode(errors="replace")).get("code", [""])[0].strip()
    credits = payments.redeem(payments.read_session(session_id)["org_id"], code)  # noqa: A001 (the word of the API)
    back = escape(f"/checkout/{session_id}")
    return page(f'<p>The voucher added <b>{credits:f} credits</b>.</p><p><a href="{back}">Back to the checkout</a></p>')


def _get_payments(request: Request) -> Payments:
    payments: Payments = request.app.state.cloud.payments
    return payments
