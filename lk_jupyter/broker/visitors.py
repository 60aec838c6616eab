"""The pages of a broker for people: who may see them, and how they sign in.

At a service of JupyterHub, the hub signs users in. Elsewhere a form accepts a key. In both cases the browser gets a
random text in a cookie, and the key or token stays in the memory of the broker. No key is part of an address.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lk_jupyter.broker.grants import Grant, RefusedCall
from lk_jupyter.broker.hub import HubUsers
from lk_jupyter.broker.ledger import ROOT, GrantLedger
from lk_jupyter.broker.page import POLICY, PageVisitor, refusal_page, sign_in_page, spending_page
from lk_jupyter.broker.spending import Month, month_csv, read_uses, runs_csv
from lk_jupyter.broker.upstream import read_limited

#: Path of the pages without a hub.
_BASE = "/broker"

#: Cookies of a signed-in browser, and of a sign-in at the hub that isn't complete.
_SESSION, _STATE = "lk-broker", "lk-broker-state"

#: Seconds until a browser must sign in again, and until a sign-in must be complete; most signed-in browsers.
SESSION_SECONDS, _STATE_SECONDS, _MAX_SESSIONS = 8 * 3600, 600, 10_000

#: Most bytes of a form.
_MAX_FORM = 4096

_UNAUTHORIZED = 401


@dataclass(frozen=True)
class _Session:
    """A signed-in browser: the token of the hub, or the id of the grant whose key was entered."""

    started_at: float
    token: str = ""
    grant_id: str = ""


class SpendingPages:
    """The spending page, its CSV files, and the sign-in.

    ``authenticate`` returns the grant of the key in the headers of a request, as for every other request.
    """

    def __init__(
        self,
        ledger: GrantLedger,
        authenticate: Callable[[Request], Awaitable[Grant]],
        users: HubUsers | None,
    ) -> None:
        self._ledger = ledger
        self._authenticate = authenticate
        self._users = users
        self._service = users.service if users else None
        self._sessions: dict[str, _Session] = {}
        self._pages = {
            ("GET", "spending"): self._show_spending,
            ("GET", "spending.csv"): self._export_month,
            ("GET", "runs.csv"): self._export_runs,
            ("POST", "sign-in"): self._sign_in,
            ("POST", "sign-out"): self._sign_out,
        }

    async def answer(self, request: Request) -> Response | None:
        """Answer a request for a page; return None for other requests."""
        path = request.scope["path"]
        if self._service and path == self._service.callback_path:
            page: Callable[[Request], Awaitable[Response]] | None = self._end_hub_sign_in
        elif self._service and path == f"{self._service.prefix}/":
            return RedirectResponse(f"{self._service.prefix}/spending")
        else:
            base, _, name = path.rpartition("/")
            page = self._pages.get((request.method, name)) if base in self._bases else None
        if page is None:
            return None
        try:
            response = await page(request)
        except RefusedCall as refusal:
            if "authorization" in request.headers or refusal.status == _UNAUTHORIZED:
                raise
            response = HTMLResponse(refusal_page(refusal.detail), refusal.status)
        response.headers.update(
            {
                "Cache-Control": "no-store",
                "Content-Security-Policy": POLICY,
                "Referrer-Policy": "same-origin",
                "X-Content-Type-Options": "nosniff",
            }
        )
        return response

    @property
    def _bases(self) -> set[str]:
        return {_BASE} | ({self._service.prefix} if self._service else set())

    def _is_at_hub(self, request: Request) -> bool:
        return self._service is not None and request.scope["path"].startswith(f"{self._service.prefix}/")

    async def _show_spending(self, request: Request) -> Response:
        visitor = await self._find_visitor(request)
        if visitor is None:
            if self._is_at_hub(request):
                return self._start_hub_sign_in(request)
            return HTMLResponse(sign_in_page(), _UNAUTHORIZED)
        month = Month.parse(request.query_params.get("month"))
        return HTMLResponse(spending_page(self._ledger, visitor, month))

    async def _export_month(self, request: Request) -> Response:
        visitor, month = await self._require_visitor(request), Month.parse(request.query_params.get("month"))
        return _build_csv_response(month_csv(read_uses(self._ledger, visitor.top_id, month), month), "spending", month)

    async def _export_runs(self, request: Request) -> Response:
        visitor, month = await self._require_visitor(request), Month.parse(request.query_params.get("month"))
        return _build_csv_response(runs_csv(self._ledger, visitor.top_id, month), "runs", month)

    async def _require_visitor(self, request: Request) -> PageVisitor:
        visitor = await self._find_visitor(request)
        if visitor is None:
            raise RefusedCall(_UNAUTHORIZED, "The key is missing. Open the page 'spending' to sign in.")
        return visitor

    async def _find_visitor(self, request: Request) -> PageVisitor | None:
        """Return who sent a request, by the key in its headers or by its cookie. Raises RefusedCall."""
        if {"authorization", "x-api-key"} & set(request.headers):
            return _build_key_visitor(await self._authenticate(request), has_session=False)
        session = self._sessions.get(request.cookies.get(_SESSION, ""))
        if session is None or time.monotonic() - session.started_at > SESSION_SECONDS:
            return None
        if session.grant_id:
            grant = self._ledger.grant(session.grant_id)
            return _build_key_visitor(grant, has_session=True) if grant.revoked_at is None else None
        return await self._find_hub_visitor(session.token)

    async def _find_hub_visitor(self, token: str) -> PageVisitor | None:
        """Return the user of a token that the hub still accepts. Raises RefusedCall for a user without a budget."""
        user = await self._users.read_user(token) if self._users else None
        if self._users is None or user is None:
            return None
        is_administrator = self._users.is_administrator(user)
        try:
            grant = self._users.user_grant(user)
        except RefusedCall:
            if not is_administrator:
                raise
            grant = None
        return PageVisitor(user["name"], grant, is_administrator, has_session=True)

    async def _sign_in(self, request: Request) -> Response:
        """Sign a browser in with a key that its user entered."""
        _require_same_origin(request)
        form = parse_qs((await read_limited(request.stream(), _MAX_FORM) or b"").decode(errors="replace"))
        key = form.get("key", [""])[0].strip()
        grant = self._ledger.find_grant(key) if key else None
        if grant is None or grant.revoked_at is not None:
            return HTMLResponse(sign_in_page("This key is unknown or was revoked."), _UNAUTHORIZED)
        return self._open_session(request, _Session(time.monotonic(), grant_id=grant.id))

    async def _sign_out(self, request: Request) -> Response:
        _require_same_origin(request)
        self._sessions.pop(request.cookies.get(_SESSION, ""), None)
        response = HTMLResponse(refusal_page("Signed out.", link="Sign in again"))
        response.delete_cookie(_SESSION, path=_build_cookie_path(request))
        return response

    def _start_hub_sign_in(self, request: Request) -> Response:
        if self._service is None:
            raise RefusedCall(404, "There is no such page.")
        state = secrets.token_urlsafe(32)
        response = RedirectResponse(self._service.sign_in_url(state), 302)
        _set_cookie(response, request, _STATE, state, _STATE_SECONDS)
        return response

    async def _end_hub_sign_in(self, request: Request) -> Response:
        """Sign a browser in with the code that it got at the hub, if this browser started the sign-in."""
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        expected = request.cookies.get(_STATE, "")
        if self._service is None or not expected or not hmac.compare_digest(state.encode(), expected.encode()):
            raise RefusedCall(403, "This sign-in wasn't started in this browser, or took too long.")
        token = await self._service.read_token(code)
        response = self._open_session(request, _Session(time.monotonic(), token=token))
        response.delete_cookie(_STATE, path=_build_cookie_path(request))
        return response

    def _open_session(self, request: Request, session: _Session) -> Response:
        oldest = time.monotonic() - SESSION_SECONDS
        self._sessions = {name: each for name, each in self._sessions.items() if each.started_at > oldest}
        if len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_urlsafe(32)
        self._sessions[name] = session
        response = RedirectResponse(f"{_build_cookie_path(request)}spending", 303)
        _set_cookie(response, request, _SESSION, name, SESSION_SECONDS)
        return response


def _build_key_visitor(grant: Grant, *, has_session: bool) -> PageVisitor:
    if grant.id == ROOT:
        return PageVisitor("operator", is_administrator=True, has_session=has_session)
    return PageVisitor(grant.limits.name or grant.id, grant, has_session=has_session)


def _build_csv_response(text: str, name: str, month: Month) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}-{month.label}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _build_cookie_path(request: Request) -> str:
    """Return the folder of the pages, with a slash at the end."""
    return str(request.scope["path"]).rpartition("/")[0] + "/"


def _set_cookie(response: Response, request: Request, name: str, value: str, seconds: int) -> None:
    """Set a cookie that no script can read. The proxy of a hub reports whether the browser uses TLS."""
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme).partition(",")[0]
    response.set_cookie(
        name, value, seconds, path=_build_cookie_path(request), secure=scheme == "https", httponly=True, samesite="lax"
    )


def _require_same_origin(request: Request) -> None:
    """Raise RefusedCall for a form of another website."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if site != "same-origin" if site else is_foreign:
        raise RefusedCall(403, "The form was sent from another website. Nothing was done.")
