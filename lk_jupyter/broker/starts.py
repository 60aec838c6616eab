"""Starts: reserve the highest bill of a run, then forward the request with the time limit of the reservation."""

from __future__ import annotations

from typing import Any

from lk_jupyter.api.execution import (
    DEFAULT_TIMEOUT,
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    StreamingExecutionRequest,
)
from lk_jupyter.api.states import is_run_id
from lk_jupyter.broker.grants import Grant, RefusedCall
from lk_jupyter.broker.ledger import GrantLedger
from lk_jupyter.broker.upstream import Answer, OddAnswer, OrganizationClient, read_id
from lk_jupyter.protocol.metadata import REQUEST_KEY, SOURCE_KEY

#: Key of the broker's mark in the metadata of a run.
MARK = "lk_broker"

#: Longest time limit that the broker forwards, in seconds. The cloud may allow less.
MAX_TIMEOUT = 7 * 24 * 3600

#: Path of a start → fields that are forwarded. Other fields are removed, so that no unknown field starts more.
START_FIELDS: dict[str, frozenset[str]] = {
    path: frozenset(model.model_fields)
    for path, model in (
        ("/execution/streaming/start", StreamingExecutionRequest),
        ("/execution/image/start", DockerExecutionRequest),
        ("/execution/compose/start", DockerComposeExecutionRequest),
    )
}

#: The longest time between the stop signal and the kill of a container, in seconds.
MAX_GRACE = 300

#: Statuses that prove that nothing was started. A timeout, a failed server or a redirect proves nothing.
REFUSED_STATUSES = frozenset({400, 402, 403, 404, 405, 409, 413, 415, 422, 429})
_UNAUTHORIZED = 401


class Starter:
    """Start runs of child keys. ``margin`` are seconds that are reserved besides the time limit."""

    def __init__(self, ledger: GrantLedger, upstream: OrganizationClient, margin: int) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._margin = margin

    async def start(self, grant: Grant, path: str, body: Any) -> Answer:
        """Start a run of a grant, and return the answer of the cloud. Raises RefusedCall.

        The reservation is on disk before the request is sent. It is released only if the cloud certainly refused. A
        start key starts one run of a grant, also from several computers.
        """
        fields, machine, timeout = _read_request(path, body)
        margin = self._margin + _read_grace(fields)
        grant.require("runs")
        try:
            price = await self._read_price(machine)
            await self._require_no_secrets(grant)
        except OddAnswer as problem:
            raise RefusedCall(502, f"{problem} Nothing was started. Try again.") from None
        if "enable_s3_mount" in START_FIELDS[path] and not grant.allows("bucket"):
            fields["enable_s3_mount"] = False
        mark = self._ledger.reserve(
            grant,
            operation=path,
            machine=machine,
            price=price,
            timeout=timeout,
            margin=margin,
            start_key=_read_start_key(fields["metadata"]),
        )
        fields["metadata"] = {**fields.get("metadata", {}), MARK: mark}
        try:
            answer = await self._upstream.send("POST", path, body=fields)
        except OddAnswer as problem:
            self._ledger.doubt(mark, str(problem))
            raise RefusedCall(502, f"{problem} The run may be active. List runs before you start it again.") from None
        return self._read_answer(mark, answer)

    def _read_answer(self, mark: str, answer: Answer) -> Answer:
        if answer.status in REFUSED_STATUSES:
            self._ledger.release(mark)
            return answer
        if answer.status == _UNAUTHORIZED:
            self._ledger.release(mark)
            raise RefusedCall(
                502, "The cloud refused the broker's key. Nothing was started. Report this problem to the operator."
            )
        fields = answer.fields or {}
        execution_id, address = read_id(fields), fields.get("streaming_url")
        stream = address if isinstance(address, str) else None
        if is_run_id(execution_id) and self._ledger.activate(mark, str(execution_id), stream):
            return answer
        self._ledger.doubt(
            mark,
            f"The cloud answered the request that starts the run with HTTP {answer.status}, but without a usable id.",
        )
        raise RefusedCall(
            502,
            "The cloud answered in an unknown form. The run may be active. List runs before you start the run again.",
        )

    async def _read_price(self, machine: str) -> int:
        """Return the price of a machine type in billionths per hour. Raises RefusedCall, OddAnswer."""
        price = await self._upstream.price(machine)
        if price is None:
            raise RefusedCall(403, f"{machine} has no published price. Nothing was started. Use another machine type.")
        return price

    async def _require_no_secrets(self, grant: Grant) -> None:
        """Raise RefusedCall if a run could read secrets that the grant doesn't allow. Raises OddAnswer."""
        if not grant.allows("secrets") and await self._upstream.has_secrets():
            raise RefusedCall(
                403,
                "Each run can read the organization's stored secrets, but this key lacks the scope 'secrets'. "
                "Nothing was started.",
            )


def _read_request(path: str, body: Any) -> tuple[dict[str, Any], str, int]:
    """Return the forwarded fields, the machine type and the time limit of a start. Raises RefusedCall."""
    if not isinstance(body, dict):
        raise RefusedCall(422, "Send a JSON object. Nothing was started.")
    fields = {name: value for name, value in body.items() if name in START_FIELDS[path]}
    timeout = fields.setdefault("timeout", DEFAULT_TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or not 1 <= timeout <= MAX_TIMEOUT:
        raise RefusedCall(422, f"timeout must be whole seconds from 1 to {MAX_TIMEOUT}. Nothing was started.")
    machine = fields.setdefault("execution_type", "cpu")
    if not isinstance(machine, str):
        raise RefusedCall(422, "execution_type must be the name of a machine type. Nothing was started.")
    if fields.get("metadata") is None:
        fields["metadata"] = {}
    if not isinstance(fields["metadata"], dict):
        raise RefusedCall(422, "metadata must be an object. Nothing was started.")
    return fields, machine, timeout


def _read_grace(fields: dict[str, Any]) -> int:
    """Return the seconds of a request after the stop signal, in which the run is billed. Raises RefusedCall."""
    grace = fields.get("graceful_timeout") or 0
    if isinstance(grace, bool) or not isinstance(grace, int) or not 0 <= grace <= MAX_GRACE:
        raise RefusedCall(422, f"graceful_timeout must be whole seconds from 1 to {MAX_GRACE}. Nothing was started.")
    return grace


def _read_start_key(metadata: dict[str, Any]) -> str | None:
    """Return the token of a start key; None for a start without a key, whose token is never sent again."""
    token = metadata.get(REQUEST_KEY) if SOURCE_KEY in metadata else None
    return token if isinstance(token, str) else None
