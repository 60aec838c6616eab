"""Answers about the account and lists of runs, as far as a child key may read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Any

from lk_jupyter.broker.grants import BILLION, Grant
from lk_jupyter.broker.keeper import read_mark
from lk_jupyter.broker.ledger import MODEL_CALLS, RENTAL, ROOT, GrantLedger, RunRow
from lk_jupyter.broker.spending import GrantBudget, read_budgets
from lk_jupyter.broker.upstream import Answer, OddAnswer, OrganizationClient

#: Pages of the organization's history that are searched for the runs of a key.
_PAGES = 20

#: Fields of a listed run about other members.
_HIDDEN = frozenset({"execution_owner"})

Reader = Callable[["Reads", Grant, dict[str, str]], Awaitable[Answer]]


class Reads:
    """Answer the reads of child keys that aren't about a single run."""

    def __init__(self, ledger: GrantLedger, upstream: OrganizationClient) -> None:
        self._ledger = ledger
        self._upstream = upstream

    async def pass_on(self, path: str) -> Answer:
        """Return an answer that is the same for every key, such as prices."""
        return await self._upstream.send("GET", path)

    async def status(self, grant: Grant, _: dict[str, str]) -> Answer:
        """Return the profile without personal data; the id is needed to recognize runs."""
        answer = await self.pass_on("/user/status")
        if answer.fields is None:
            raise OddAnswer("The cloud's answer contains no account.")
        remaining = await self._read_remaining_credits(self._find_smallest_budget(grant))
        fields = {name: answer.fields.get(name) for name in ("user_id", "org_id", "created_at")}
        return Answer(200, {**fields, "is_active": True, "credit_balance": remaining, "status": "authenticated"})

    async def organization(self, grant: Grant, _: dict[str, str]) -> Answer:
        """Return the grant in place of the organization."""
        name = grant.limits.name or f"key {grant.id}"
        return Answer(200, {"org_id": grant.id, "slug": None, "name": name, "is_personal": True, "is_key_scoped": True})

    async def credits(self, grant: Grant, _: dict[str, str]) -> Answer:
        """Return the rest of the grant in place of the balance, with the budget that ends first."""
        used = self._ledger.usage(grant).credits / BILLION
        budget = self._find_smallest_budget(grant)
        rest = await self._read_remaining_credits(budget)
        amounts = dict.fromkeys(("remaining_credits", "available_credits"), rest)
        amounts |= dict.fromkeys(("used_credits", "total_credits_used"), used)
        return Answer(200, {**amounts, "budget": budget and budget.describe()})

    def _find_smallest_budget(self, grant: Grant) -> GrantBudget | None:
        """Return the budget with the smallest rest, of a grant and the grants above it; None for the operator."""
        return min(read_budgets(self._ledger, grant), key=lambda budget: budget.remaining, default=None)

    async def _read_remaining_credits(self, budget: GrantBudget | None) -> float:
        """Return the credits that may still be reserved: of a budget, otherwise of the organization."""
        if budget is not None:
            return budget.remaining / BILLION
        answer = await self.pass_on("/billing/credits")
        if answer.fields is None:
            raise OddAnswer("The cloud's answer contains no balance.")
        return float(answer.fields.get("remaining_credits") or 0)

    async def machine_types(self, grant: Grant, _: dict[str, str]) -> Answer:
        """Return the machine types that the grant allows."""
        answer = await self.pass_on("/machine-types")
        allowed = self._list_allowed_machines(grant)
        if answer.fields is None or allowed is None:
            return answer
        rows = [row for row in answer.fields.get("machine_types") or () if row.get("hardware_profile") in allowed]
        return Answer(answer.status, {**answer.fields, "machine_types": rows, "count": len(rows)})

    async def available_hardware(self, grant: Grant, _: dict[str, str]) -> Answer:
        """Return the machine types that both the organization and the grant allow."""
        answer = await self.pass_on("/user/quotas/available-hardware")
        allowed = self._list_allowed_machines(grant)
        if answer.fields is None or allowed is None:
            return answer
        names = answer.fields.get("available_hardware_profiles") or sorted(allowed)
        return Answer(answer.status, {"available_hardware_profiles": [name for name in names if name in allowed]})

    def _list_allowed_machines(self, grant: Grant) -> set[str] | None:
        """Return the machine types that a grant and all grants above it allow; None without a restriction."""
        lists = [self._ledger.grant(grant_id).limits.machines for grant_id in grant.chain]
        sets = [set(names) for names in lists if names is not None]
        return set.intersection(*sets) if sets else None

    async def active_runs(self, grant: Grant, _: dict[str, str]) -> Answer:
        """Return the active runs of a grant. A run whose start had no answer is recognized by its mark."""
        rows = self._ledger.runs_below(grant.id)
        ids = {row.execution_id for row in rows}
        marks = {row.mark for row in rows if row.execution_id is None}
        listed = []
        for run_id, run in (await self._upstream.list_active()).items():
            mark = read_mark(run)
            if run_id in ids or (mark in marks and self._ledger.activate(str(mark), run_id, None)):
                listed.append(_remove_hidden_fields(run))
            elif grant.id == ROOT and mark is None:
                listed.append(run)
        return Answer(200, listed)

    async def ended_runs(self, grant: Grant, query: dict[str, str]) -> Answer:
        """Return the runs of a grant with their bills, newest first."""
        limit, offset = _read_count(query.get("limit"), 50), _read_count(query.get("offset"), 0)
        rows_below = self._ledger.runs_below(grant.id)
        ids = {str(row.execution_id) for row in rows_below if row.execution_id and row.operation != RENTAL}
        runs: dict[str, Any] = {}
        async for page in self._upstream.history(_PAGES if ids else 0):
            runs |= {run_id: _remove_hidden_fields(run) for run_id, run in page.items() if run_id in ids}
            if len(runs) >= min(offset + limit, len(ids)):
                break
        rows = list(runs.values())[offset : offset + limit]
        spent = self._ledger.usage(grant).credits / BILLION
        return Answer(
            200,
            {
                "executions": rows,
                "total_executions": len(ids),
                "total_credits_spent": spent,
                "limit": limit,
                "offset": offset,
            },
        )

    async def activities(self, grant: Grant, query: dict[str, str]) -> Answer:
        """Return the bills of a grant in the ledger, newest first, in place of the organization's."""
        limit, offset = _read_count(query.get("limit"), 10), _read_count(query.get("offset"), 0)
        rows = [row for row in reversed(self._ledger.runs_below(grant.id)) if row.billed is not None]
        bills = [_describe_bill(row) for row in rows[offset : offset + limit]]
        return Answer(200, {"activities": bills, "total_activities": len(rows)})


def _create_forwarding_reader(path: str) -> Reader:
    return lambda reads, _grant, _query: reads.pass_on(path)


def _create_empty_reader(name: str) -> Reader:
    """Return a reader for a list that is empty for child keys: clients search it for a name."""

    async def read(_reads: Reads, _grant: Grant, _query: dict[str, str]) -> Answer:
        return Answer(200, {name: []})

    return read


#: Paths whose answers are the same for every key.
SHARED = frozenset({"/pricing", "/vms/availability", "/serverless/models", "/health/ping", "/health/version"})

#: Path of a read → its function.
READERS: dict[str, Reader] = {
    "/user/status": Reads.status,
    "/user/org": Reads.organization,
    "/user/quotas/available-hardware": Reads.available_hardware,
    "/billing/activities": Reads.activities,
    "/billing/credits": Reads.credits,
    "/billing/history": Reads.ended_runs,
    "/inference/list": _create_empty_reader("deployments"),
    "/machine-types": Reads.machine_types,
    "/storage/block": _create_empty_reader("volumes"),
    "/workloads/list": Reads.active_runs,
    **{path: _create_forwarding_reader(path) for path in SHARED},
}


def _read_count(text: str | None, default: int) -> int:
    return min(int(text), 1000) if text and text.isascii() and text.isdigit() and len(text) < 10 else default


def _describe_bill(row: RunRow) -> dict[str, Any]:
    is_model_call = row.operation.startswith(MODEL_CALLS)
    return {
        "activity_id": row.mark,
        "created_at": datetime.fromtimestamp(row.created_at, timezone.utc).isoformat(),
        "type": "vms" if row.operation == RENTAL else "serverless" if is_model_call else "executions",
        "status": row.state,
        "amount": (row.billed or 0) / BILLION,
        "hardware_profile": row.machine,
    }


def _remove_hidden_fields(run: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name not in _HIDDEN}
