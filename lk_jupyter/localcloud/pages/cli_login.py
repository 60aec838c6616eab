"""The page in place of the dashboard's browser sign-in.

A password signs in any user with a password. The local user has none, and every user of this machine can open the page:
to sign in as the local user, a person enters the ticket of the data folder, which only the owner can read, or a program
of the owner passes a pass made from the ticket.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from html import escape
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from lk_jupyter.localcloud import ticket
from lk_jupyter.localcloud.accounts.accounts import Accounts
from lk_jupyter.localcloud.accounts.sessions import SessionTokens
from lk_jupyter.localcloud.accounts.users import User
from lk_jupyter.localcloud.cloud import Cloud
from lk_jupyter.localcloud.pages.page import LOOPBACK, check_origin, page

_BODY = """<p>A program on this machine wants to sign in as you. Its key is sent to <code>{callback}</code>.</p>
<p role="alert">{complaint}</p>
<form method="post" action="?{query}">{fields}<button autofocus>Sign in</button></form>"""

_CHOICE = '<label><input type="radio" name="email" value="{email}"{checked}> {email}</label>'

_PROOF = """
<label>Password, if you have one: <input type="password" name="password" autocomplete="off"></label>
<label>Code, if you use MFA: <input name="code" inputmode="numeric" autocomplete="one-time-code"></label>
"""

_TICKET = """
<label>Ticket, if you have no password: <input type="password" name="ticket" autocomplete="off"></label>
<p>The ticket is the text of the file <code>{file}</code>.</p>
"""

_DELIVERY_SECONDS = 10.0
_MOST_ANSWER = 65_536

pages = APIRouter(dependencies=[Depends(check_origin)], include_in_schema=False)


@dataclass(frozen=True)
class _LoginRequest:
    """The parameters of the requesting program, from the address."""

    cloud: Cloud
    callback: str
    state: str
    permit: str

    @property
    def query(self) -> str:
        """The address again, for the form."""
        parameters = {"callback": self.callback, "state": self.state, "pass": self.permit}
        return urlencode({name: value for name, value in parameters.items() if value})

    def answer(self, tokens: SessionTokens, user: User) -> str:
        """Return the address that takes the tokens to the program."""
        facts = {"token": tokens.access, "refresh_token": tokens.refresh, "user": user["email"]}
        query = urlencode({**facts, **({"state": self.state} if self.state else {})})
        return f"{self.callback}{'&' if '?' in self.callback else '?'}{query}"


def _read_request(
    request: Request, callback: str, state: str = "", permit: Annotated[str, Query(alias="pass")] = ""
) -> _LoginRequest:
    """Read the address; 400 for an answer that would leave this machine."""
    if not _is_loopback(callback):
        raise HTTPException(400, "The callback must be an http address on localhost")
    return _LoginRequest(request.app.state.cloud, callback, state, permit)


def _is_loopback(callback: str) -> bool:
    try:
        target = urlsplit(callback)
        return target.scheme == "http" and target.hostname in LOOPBACK and bool(target.port)
    except ValueError:
        return False


@pages.get("/cli-login")
def ask(login: Annotated[_LoginRequest, Depends(_read_request)]) -> HTMLResponse:
    """Show the users, and a button."""
    return _build_page(login)


@pages.post("/cli-login")
async def answer(request: Request, login: Annotated[_LoginRequest, Depends(_read_request)]) -> Response:
    """Sign in and send the tokens to the requesting program."""
    form = {name: values[0] for name, values in parse_qs((await request.body()).decode(errors="replace")).items()}
    return await run_in_threadpool(_answer_form, login, form)


def _answer_form(login: _LoginRequest, form: dict[str, str]) -> Response:
    accounts = login.cloud.accounts
    email = form.get("email") or str(accounts.local_user["email"])
    try:
        user, by_pass = _authenticate_user(login, email, form)
        location = login.answer(_open_session(accounts, user, form.get("code", "").strip()), user)
    except HTTPException as refusal:
        return _build_page(login, email, refusal)
    return _deliver_tokens(location) if by_pass else RedirectResponse(location, status_code=303)


def _authenticate_user(login: _LoginRequest, email: str, form: dict[str, str]) -> tuple[User, bool]:
    """Return the user who signs in, and whether by a pass; 401 for a wrong password, ticket or pass."""
    users, data = login.cloud.accounts.users, login.cloud.data
    user = users.find(email)
    if user is None or users.needs_password(email):
        return users.find_by_password(email, form.get("password", "")), False
    ticket_text = form.get("ticket", "")
    if ticket.use(data, ticket_text):
        return user, False
    if not ticket_text and ticket.use_pass(data, login.permit, login.callback):
        return user, True
    login.cloud.attempts.count_invalid_token("ticket", ticket_text or login.permit)
    raise HTTPException(401, f"The ticket is missing or outdated: copy it from the file {data / ticket.TICKET_FILE}")


def _deliver_tokens(location: str) -> HTMLResponse:
    """Send tokens directly to the requesting program, past the sender of the pass: only the program listens."""
    parts = urlsplit(location)
    host = "127.0.0.1" if parts.hostname == "localhost" else str(parts.hostname)
    connection = http.client.HTTPConnection(host, parts.port, timeout=_DELIVERY_SECONDS)
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}", headers={"Host": parts.netloc})
        connection.getresponse().read(_MOST_ANSWER)
    except (OSError, http.client.HTTPException):
        return page(
            "<p>The program stopped waiting. Nothing was sent. Start the sign-in again in the program.</p>", 502
        )
    finally:
        connection.close()
    return page("<p>The sign-in has reached your program. You may close this tab.</p>")


def _open_session(accounts: Accounts, user: User, code: str) -> SessionTokens:
    """Open a session; 400 where the second factor is on and the code is wrong."""
    if accounts.factors.enrolled_at(user["id"]):
        accounts.factors.use_any_code(user["id"], code)
    return accounts.sessions.open(user["id"])


def _build_page(login: _LoginRequest, email: str | None = None, refusal: HTTPException | None = None) -> HTMLResponse:
    accounts, file = login.cloud.accounts, login.cloud.data / ticket.TICKET_FILE
    users = accounts.users.list_users()
    has_pass = login.permit and not refusal
    needs_ticket = not has_pass and not all(accounts.users.needs_password(user["email"]) for user in users)
    body = _BODY.format(
        callback=escape(login.callback),
        complaint=escape(str(refusal.detail)) if refusal else "",
        query=escape(login.query),
        fields=_format_fields(users, email or users[0]["email"])
        + (_TICKET.format(file=escape(str(file))) if needs_ticket else "")
        + (_PROOF if _needs_proof(accounts, users) else ""),
    )
    answer = page(body, refusal.status_code if refusal else 200)
    answer.headers.update((refusal and refusal.headers) or {})
    return answer


def _format_fields(users: list[User], chosen: str) -> str:
    rows: list[dict[str, Any]] = [
        {"email": escape(user["email"]), "checked": " checked" * (user["email"] == chosen)} for user in users
    ]
    return "".join(_CHOICE.format(**row) for row in rows)


def _needs_proof(accounts: Accounts, users: list[User]) -> bool:
    return any(accounts.users.needs_password(u["email"]) or accounts.factors.enrolled_at(u["id"]) for u in users)
