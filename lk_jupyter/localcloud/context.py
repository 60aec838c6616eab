"""The context of a handler: the caller, and the organization that the caller acts for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException, Request

from lk_jupyter.api._endpoint import IRIS, endpoint_of
from lk_jupyter.api.mfa import Mfa
from lk_jupyter.localcloud.accounts.accounts import ORGANIZATION_KEY, Caller
from lk_jupyter.localcloud.accounts.members import Org
from lk_jupyter.localcloud.accounts.users import User

if TYPE_CHECKING:
    from lk_jupyter.localcloud.cloud import Cloud

#: Requests that a session may send before its second factor. The API doesn't document the sign-in with MFA: in this
#: cloud, the first token allows nothing else until a code is verified, and is the session's token afterwards.
_BEFORE_SECOND_FACTOR = {
    endpoint.server + endpoint.path for endpoint in (endpoint_of(Mfa.verify), endpoint_of(Mfa.status))
}


@dataclass(frozen=True)
class AnonymousContext:
    """A request that needs no token."""

    cloud: Cloud


@dataclass(frozen=True)
class Context(AnonymousContext):
    """A request of a known user."""

    caller: Caller

    @property
    def person(self) -> User:
        """The user, for actions of a person; 401 for a key of an organization."""
        if self.caller.via == ORGANIZATION_KEY:
            raise HTTPException(401, "This key belongs to an organization: sign in, or use a personal key")
        return self.caller.user

    def require_org(self, slug: str, right: str = "read") -> Org:
        """Return the organization of a path; 403 unless the caller's role has this right of members.RIGHTS."""
        return self.cloud.accounts.require_right(self.caller, slug, right)[0]


#: The scheme of a signed request, by its name in the API description.
BEARER = "bearerAuth"

#: Inputs of ``caller`` for the description of operations: as arguments, they would slow the start of each route.
SIGNED: dict[str, Any] = {
    "security": [{BEARER: []}],
    "parameters": [
        {
            "name": "x-org-slug",
            "in": "header",
            "required": False,
            "schema": {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "X-Org-Slug"},
        }
    ],
    "responses": {
        "422": {
            "description": "Validation Error",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}},
        }
    },
}


async def visitor(request: Request) -> AnonymousContext:
    """Return the context of a public handler."""
    return AnonymousContext(request.app.state.cloud)


def _read_authorization(request: Request) -> str:
    """Return how a request is signed. Clients of Anthropic's form send a key in another header."""
    if request.url.path.startswith(f"{IRIS}/anthropic/") and (key := request.headers.get("x-api-key")):
        return f"Bearer {key}"
    return request.headers.get("authorization", "")


async def caller(request: Request) -> Context:
    """Return the context of a handler; 401 without a valid token, 403 for a foreign organization."""
    cloud: Cloud = request.app.state.cloud
    scheme, _, token = _read_authorization(request).partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401, "Missing token: send the header Authorization: Bearer <key>")
    principal = cloud.accounts.find_caller(token.strip(), request.headers.get("x-org-slug"))
    if not principal.verified and request.url.path not in _BEFORE_SECOND_FACTOR:
        raise HTTPException(401, "The second factor is missing: send a code to POST /mfa/verify, with this token")
    return Context(cloud, principal)
