"""A page that stands in for the dashboard's browser sign-in."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from lk_jupyter.localcloud.pages.page import LOOPBACK, check_origin, page
from lk_jupyter.localcloud.people.accounts import Accounts
from lk_jupyter.localcloud.people.sessions import Tokens
from lk_jupyter.localcloud.people.users import User

_BODY = """<p>A program on this machine asks to act as you. The answer goes to <code>{callback}</code>.</p>
<p role="alert">{complaint}</p>
<form method="post" action="?{query}">{fields}<button autofocus>Sign in</button></form>"""

_CHOICE = '<label><input type="radio" name="email" value="{email}"{checked}> {email}</label>'

_PROOF = """
<label>Password, where you have one: <input type="password" name="password" autocomplete="off"></label>
<label>Code, where you use MFA: <input name="code" inputmode="numeric" autocomplete="one-time-code"></label>
"""

pages = APIRouter(dependencies=[Depends(check_origin)])


@pages.get("/cli-login")
def ask(request: Request, callback: str) -> HTMLResponse:
    """Show the users, and one button."""
    _check(callback)
    return _page(_accounts(request), callback)


@pages.post("/cli-login")
async def answer(request: Request, callback: str) -> Response:
    """Sign in and send the tokens to the program that asked."""
    _check(callback)
    form = {name: values[0] for name, values in parse_qs((await request.body()).decode(errors="replace")).items()}
    return await run_in_threadpool(_answered, _accounts(request), form, callback)


def _answered(accounts: Accounts, form: dict[str, str], callback: str) -> Response:
    email = form.get("email") or str(accounts.local_user["email"])
    try:
        user = _user(accounts, email, form.get("password", ""))
        tokens = _signed_in(accounts, user, form.get("code", "").strip())
    except HTTPException as refusal:
        return _page(accounts, callback, email, refusal)
    query = urlencode({"token": tokens.access, "refresh_token": tokens.refresh, "user": user["email"]})
    return RedirectResponse(f"{callback}{'&' if '?' in callback else '?'}{query}", status_code=303)


def _user(accounts: Accounts, email: str, password: str) -> User:
    """Return the user who signs in; 401 for a wrong password."""
    user = accounts.users.find(email)
    if user and accounts.users.needs_password(email):
        user = accounts.users.by_password(email, password)
    if user is None:
        raise HTTPException(401, "Wrong e-mail address or password")
    return user


def _signed_in(accounts: Accounts, user: User, code: str) -> Tokens:
    """Open a session; 400 where the second factor is on and the code is wrong."""
    if accounts.factors.enrolled_at(user["id"]):
        accounts.factors.check_any(user["id"], code)
    return accounts.sessions.open(user["id"])


def _page(
    accounts: Accounts, callback: str, email: str | None = None, refusal: HTTPException | None = None
) -> HTMLResponse:
    users = accounts.users.all()
    body = _BODY.format(
        callback=escape(callback),
        complaint=escape(str(refusal.detail)) if refusal else "",
        query=escape(urlencode({"callback": callback})),
        fields=_fields(users, email or users[0]["email"]) + (_PROOF if _needs_proof(accounts, users) else ""),
    )
    return page(body, refusal.status_code if refusal else 200)


def _fields(users: list[User], chosen: str) -> str:
    rows: list[dict[str, Any]] = [
        {"email": escape(user["email"]), "checked": " checked" * (user["email"] == chosen)} for user in users
    ]
    return "".join(_CHOICE.format(**row) for row in rows)


def _needs_proof(accounts: Accounts, users: list[User]) -> bool:
    return any(accounts.users.needs_password(u["email"]) or accounts.factors.enrolled_at(u["id"]) for u in users)


def _check(callback: str) -> None:
    """Refuse an answer that would leave this machine."""
    target = urlsplit(callback)
    if target.scheme != "http" or target.hostname not in LOOPBACK:
        raise HTTPException(400, "The callback must be a http address on localhost")


def _accounts(request: Request) -> Accounts:
    accounts: Accounts = request.app.state.cloud.accounts
    return accounts
