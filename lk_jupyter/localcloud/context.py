"""Who asks, and as which organization: what every handler is given."""

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

#: What a session may ask for before its second factor. The API does not tell how a sign-in with MFA goes:
#: here the first token opens nothing else until a code was verified with it, and is the session's token then.
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
        """The user, for what only a person may do; 401 for a key that stands for an organization."""
        if self.caller.via == ORGANIZATION_KEY:
            raise HTTPException(401, "This key stands for an organization: sign in, or use a personal key")
        return self.caller.user

    def org(self, slug: str, right: str = "read") -> Org:
        """Return the organization of a path; 403 unless the caller's role there has a right of members.RIGHTS."""
        return self.cloud.accounts.org_with_right(self.caller, slug, right)[0]


#: The scheme of a signed request, by its name in the description of the API.
BEARER = "bearerAuth"

#: What ``caller`` reads, for the description of an operation: as arguments they would delay the start for each route.
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
    """Give a public handler its context."""
    return AnonymousContext(request.app.state.cloud)


def _authorization(request: Request) -> str:
    """Return how a request is signed. Clients of Anthropic's form send a key in another header."""
    if request.url.path.startswith(f"{IRIS}/anthropic/") and (key := request.headers.get("x-api-key")):
        return f"Bearer {key}"
    return request.headers.get("authorization", "")


async def caller(request: Request) -> Context:
    """Give a handler its context; 401 without a good token, 403 for a foreign organization."""
    cloud: Cloud = request.app.state.cloud
    scheme, _, token = _authorization(request).partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401, "Missing token: send the header Authorization: Bearer <key>")
    principal = cloud.accounts.caller(token.strip(), request.headers.get("x-org-slug"))
    if not principal.verified and request.url.path not in _BEFORE_SECOND_FACTOR:
        raise HTTPException(401, "The second factor is missing: send a code to POST /mfa/verify, with this token")
    return Context(cloud, principal)
