"""Grants: what a child key may do and spend."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

#: Parts of a credit in which the ledger counts.
BILLION = 10**9

#: Scope → what it allows. A key without a scope can only read its own runs.
SCOPES = {
    "runs": "start and abort runs",
    "lease": "issue keys that spend the credits of this key, and revoke these keys",
    "models": "call models, which are billed per token",
    "vms": "rent VMs, which the broker deletes at the end of their lease",
    "files": "read and write files in a bucket folder that no other key can access",
    "bucket": "read and write files in the organization's bucket, with storage credentials and in containers",
    "secrets": "start runs that can read the organization's stored secrets",
}

#: Most characters of a name, and most entries of a list.
_MAX_NAME, _MAX_ENTRIES = 100, 50


class RefusedCall(Exception):
    """A refused request: HTTP status, reason and more fields for the caller. Nothing was forwarded."""

    def __init__(self, status: int, detail: str, fields: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.fields = dict(fields or {})


#: Fields of a request for a grant.
GRANT_FIELDS = (
    "credits", "minutes", "machines", "parallel", "ends_in", "period", "upload_gib", "scopes", "name", "project",
)  # fmt: skip

#: Periods after which the limits of credits and minutes count from 0 again.
PERIODS = ("week", "month")

#: Scopes of a key whose request lists none, and GiB that it may upload.
DEFAULT_SCOPES, DEFAULT_UPLOAD_GIB = ("runs", "files"), 10


@dataclass(frozen=True)
class GrantLimits:
    """The limits of a grant; None is no limit.

    ``credits`` in billionths, ``seconds`` of all runs together, ``machines`` the machine types, ``parallel`` the number
    of active runs, ``ends_at`` in Unix seconds, ``upload_bytes`` of all uploads together. After each ``period``,
    credits and seconds count from 0 again; empty: never. ``project`` groups keys in reports.
    """

    credits: int | None = None
    seconds: int | None = None
    machines: tuple[str, ...] | None = None
    parallel: int | None = None
    ends_at: float | None = None
    upload_bytes: int | None = None
    period: str = ""
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    name: str = ""
    project: str = ""

    @classmethod
    def parse(cls, fields: Any, now: float) -> GrantLimits:
        """Return the limits of a request, which may have the fields of GRANT_FIELDS; ``ends_in`` is in seconds.

        Raises RefusedCall for an unknown field or a value that isn't valid. A grant needs credits.
        """
        if not isinstance(fields, dict) or fields.keys() - GRANT_FIELDS:
            raise RefusedCall(
                422, f"Send a JSON object that has only these fields: {', '.join(GRANT_FIELDS)}. Nothing was granted."
            )
        amount = _read_number(fields, "credits")
        if amount is None:
            raise RefusedCall(422, "A grant needs the field 'credits'. Nothing was granted.")
        minutes, parallel = _read_number(fields, "minutes"), _read_number(fields, "parallel")
        ends_in = _read_number(fields, "ends_in")
        machines = _read_words(fields, "machines")
        upload_gib = _read_number(fields, "upload_gib") or DEFAULT_UPLOAD_GIB
        scopes = _read_words(fields, "scopes") or DEFAULT_SCOPES
        if unknown := set(scopes) - SCOPES.keys():
            raise RefusedCall(422, f"Unknown scope '{min(unknown)}'. Scopes: {', '.join(SCOPES)}. Nothing was granted.")
        period = fields.get("period") or ""
        if period and period not in PERIODS:
            raise RefusedCall(422, f"'period' must be one of: {', '.join(PERIODS)}. Nothing was granted.")
        return cls(
            credits=math.floor(amount * BILLION),
            seconds=None if minutes is None else math.floor(minutes * 60),
            machines=machines,
            parallel=None if parallel is None else math.floor(parallel),
            ends_at=None if ends_in is None else now + float(ends_in),
            upload_bytes=math.floor(upload_gib * (1 << 30)),
            period=period,
            scopes=scopes,
            name=_read_label(fields, "name"),
            project=_read_label(fields, "project"),
        )

    def period_end(self, now: datetime) -> datetime | None:
        """Return when credits and minutes count from 0 again, in UTC; None without a period."""
        if not self.period:
            return None
        start = datetime.fromtimestamp(self.period_start(now), timezone.utc)
        return start + timedelta(days=7) if self.period == "week" else (start + timedelta(days=32)).replace(day=1)

    def period_start(self, now: datetime) -> float:
        """Return the start of the current period in Unix seconds, in UTC; 0 without a period."""
        day = now.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        if self.period == "week":
            return (day - timedelta(days=day.weekday())).timestamp()
        return day.replace(day=1).timestamp() if self.period == "month" else 0.0


#: Largest number in a grant: amounts of the ledger fit 64 bits.
_MAX_NUMBER = Decimal(10**9)


def _read_number(fields: dict[str, Any], name: str) -> Decimal | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        number = Decimal(str(value)) if isinstance(value, (str, int, float)) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or not 0 < number <= _MAX_NUMBER:
        raise RefusedCall(422, f"'{name}' must be a number above 0, got {str(value)[:50]!r}. Nothing was granted.")
    return number


def _read_label(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name) or ""
    if not isinstance(value, str) or len(value) > _MAX_NAME or not value.isprintable():
        raise RefusedCall(422, f"'{name}' must be a text of at most {_MAX_NAME} characters. Nothing was granted.")
    return value


def _read_words(fields: dict[str, Any], name: str) -> tuple[str, ...] | None:
    value = fields.get(name)
    if value is None:
        return None
    is_list = isinstance(value, list) and 0 < len(value) <= _MAX_ENTRIES
    if not is_list or not all(isinstance(word, str) and 0 < len(word) <= _MAX_NAME for word in value):
        raise RefusedCall(422, f"'{name}' must be a list of words. Nothing was granted.")
    return tuple(dict.fromkeys(value))


def moment_text(moment: float) -> str:
    """Return a moment in Unix seconds for people, such as 2026-11-30 15:04 UTC."""
    return f"{datetime.fromtimestamp(moment, timezone.utc):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Grant:
    """A child key: its id, its limits, and its state. ``chain`` are the ids of the grant and the grants above it.

    ``ends_at`` is the earliest end of these grants, in Unix seconds; None without an end.
    """

    id: str
    chain: tuple[str, ...]
    limits: GrantLimits
    revoked_at: float | None = None
    blocked: str = ""
    ends_at: float | None = None

    @property
    def end_reason(self) -> str:
        """Why the grant has ended, as a part of a sentence; empty for a grant that hasn't ended."""
        if self.revoked_at is not None:
            return f"the key was revoked at {moment_text(self.revoked_at)}"
        if self.ends_at is not None and self.ends_at <= time.time():
            return f"the lease ended at {moment_text(self.ends_at)}"
        return ""

    @property
    def is_revoked(self) -> bool:
        """Whether the grant, or a grant above it, was revoked."""
        return self.revoked_at is not None

    def allows(self, scope: str) -> bool:
        """Return whether the grant has a scope."""
        return scope in self.limits.scopes

    def require(self, scope: str) -> None:
        """Raise RefusedCall without a scope."""
        if not self.allows(scope):
            raise RefusedCall(403, f"This key lacks the scope '{scope}' ({SCOPES[scope]}).")
