"""Leases: keys of a broker that spend a limited part of the key in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from lk_jupyter.api._detail import error_message
from lk_jupyter.errors import InvalidResponse, UsageError, error_for
from lk_jupyter.text.secrets import register_secrets

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


@dataclass(frozen=True)
class BrokerLease:
    """A lease: limits and use. ``credits`` and ``used`` in credits, ``minutes`` of runs; None is no limit."""

    id: str
    name: str
    project: str
    state: str
    credits: Decimal | None
    used: Decimal
    minutes: float | None
    minutes_used: float
    machines: tuple[str, ...] | None
    active: int
    ends_at: datetime | None

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> BrokerLease:
        """Return the lease in an answer of a broker. Raises InvalidResponse."""
        try:
            credits_limit, ends_at = fields.get("credits"), fields.get("ends_at")
            return cls(
                id=str(fields["id"]),
                name=str(fields.get("name") or ""),
                project=str(fields.get("project") or ""),
                state=str(fields["state"]),
                credits=None if credits_limit is None else Decimal(str(credits_limit)),
                used=Decimal(str(fields["used"])),
                minutes=None if fields.get("minutes") is None else float(fields["minutes"]),
                minutes_used=float(fields["minutes_used"]),
                machines=None if fields.get("machines") is None else tuple(map(str, fields["machines"])),
                active=int(fields["active"]),
                ends_at=None if ends_at is None else datetime.fromtimestamp(float(ends_at), timezone.utc),
            )
        except (KeyError, TypeError, ValueError, ArithmeticError, OSError):
            raise InvalidResponse("The broker's description of the key can't be read. List leases: %lk_lease") from None


def create_lease(session: Connection, limits: Mapping[str, Any]) -> tuple[BrokerLease, str]:
    """Issue a key with these limits, and return the lease and the key. Raises UsageError, ApiError."""
    answer = _send(session, "POST", "/broker/keys", dict(limits))
    key = answer.get("api_key") if isinstance(answer, dict) else None
    if not isinstance(key, str):
        raise InvalidResponse(
            "The broker issued a key, but its answer doesn't contain the key. List and revoke leases: %lk_lease"
        )
    register_secrets(key)
    return BrokerLease.parse(answer), key


def list_leases(session: Connection) -> list[BrokerLease]:
    """Return the leases of the key in use, oldest first. Raises UsageError, ApiError."""
    answer = _send(session, "GET", "/broker/keys")
    return [BrokerLease.parse(row) for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []


def revoke_lease(session: Connection, prefix: str) -> BrokerLease:
    """Revoke the lease whose id starts with this text; its runs are aborted. Raises UsageError, ApiError."""
    matches = [lease for lease in list_leases(session) if lease.id.startswith(prefix)] if prefix else []
    if len(matches) != 1:
        count = "No lease starts" if not matches else f"{len(matches)} leases start"
        raise UsageError(f"{count} with '{prefix}'. Nothing was revoked. List leases: %lk_lease")
    return BrokerLease.parse(_send(session, "DELETE", f"/broker/keys/{matches[0].id}"))


def _send(session: Connection, method: str, path: str, body: Any = None) -> Any:
    """Send a request to the broker, and return its JSON. Raises UsageError if the server isn't a broker, ApiError."""
    answer = session.client.probe(method, path, body)
    if answer.is_absent or (answer.status < 400 and answer.json is None):
        raise UsageError(
            f"{session.base_url} isn't a broker. Nothing was granted. Sign in to a broker. The operator of the "
            "broker starts it with: python -m lk_jupyter.broker serve"
        )
    if answer.status >= 400:
        raise error_for(answer.status, error_message(answer.content) or "The broker refused")
    return answer.json
