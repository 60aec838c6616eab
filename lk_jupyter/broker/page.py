"""The pages of a broker as HTML: the spending of a visitor, the sign-in, and refusals. They need no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from html import escape
from typing import Any

from lk_jupyter.broker.grants import BILLION, Grant
from lk_jupyter.broker.ledger import MODEL_CALLS, RENTAL, ROOT, GrantLedger, RunRow
from lk_jupyter.broker.spending import (
    GrantBudget,
    GrantUse,
    Month,
    Use,
    read_affiliation,
    read_budgets,
    read_uses,
    sum_uses,
)
from lk_jupyter.text.units import budget_label, count_label, credits_label, size_label

#: Most rows of a table; the CSV files have all.
_MAX_ROWS = 100

_STYLE = """
:root{color-scheme:light dark;--lk-ink:#1b1f24;--lk-quiet:#57606a;--lk-line:#d0d7de;--lk-ground:#fff;
--lk-card:#f6f8fa;--lk-mark:#1a5fb4;
--lk-bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--lk-ink:#e6edf3;--lk-quiet:#9aa4af;--lk-line:#3d444d;--lk-ground:#0d1117;
--lk-card:#161b22;
--lk-mark:#79b8ff;--lk-bad:#ff8f87}}
*{box-sizing:border-box}
body{margin:0;background:var(--lk-ground);color:var(--lk-ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:70rem;margin:0 auto;padding:1.5rem 1rem 3rem}
header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline;justify-content:space-between}
h1{font-size:1.6rem;margin:0}
h2{font-size:1.2rem;margin:2rem 0 .5rem}
p{margin:.25rem 0}
a{color:var(--lk-mark)}
:focus-visible{outline:2px solid var(--lk-mark);outline-offset:2px}
.quiet{color:var(--lk-quiet)}
.bad{color:var(--lk-bad)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:1rem;list-style:none;margin:0;padding:0}
.cards li{background:var(--lk-card);border:1px solid var(--lk-line);border-radius:8px;padding:.75rem 1rem}
.cards strong{font-size:1.15rem}
meter{width:100%;height:1rem}
nav,.links{display:flex;flex-wrap:wrap;gap:.25rem 1.5rem;margin:.5rem 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid var(--lk-line);padding:.35rem 1.25rem .35rem 0;text-align:left;vertical-align:top;
overflow-wrap:anywhere}
th:last-child,td:last-child{padding-right:0}
thead th{color:var(--lk-quiet);font-weight:600;white-space:nowrap}
.figure{text-align:right;white-space:nowrap}
input,button{font:inherit;padding:.4rem .75rem;border:1px solid var(--lk-line);border-radius:6px;
background:var(--lk-card);color:inherit}
input{width:min(100%,28rem)}
label{display:block;margin:1rem 0 .25rem}
form p{margin:.75rem 0}
@media (max-width:640px){
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
table,tbody,tr,th,td{display:block}
tr{border-bottom:1px solid var(--lk-line);padding:.5rem 0}
tbody th,td{border:0;padding:.1rem 0;display:flex;gap:1rem;justify-content:space-between;text-align:right}
tbody th::before,td::before{content:attr(data-name);color:var(--lk-quiet);font-weight:400;white-space:nowrap}
.figure{white-space:normal}
td:empty{display:none}
}
"""

#: The policy of the pages: no script, no foreign content, no frame around them.
POLICY = (
    "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'"
)


@dataclass(frozen=True)
class PageVisitor:
    """Who sees a page: ``grant`` has the visitor's budgets, and is None for the operator.

    An administrator sees the spending of all keys. ``has_session`` is whether the browser is signed in by a cookie.
    """

    name: str
    grant: Grant | None = None
    is_administrator: bool = False
    has_session: bool = False

    @property
    def top_id(self) -> str:
        """Id of the grant whose spending, and the spending below it, the visitor may see."""
        return self.grant.id if self.grant is not None and not self.is_administrator else ROOT


def spending_page(ledger: GrantLedger, visitor: PageVisitor, month: Month) -> str:
    """Return the page of a visitor for a month."""
    uses = read_uses(ledger, visitor.top_id, month)
    parts = [_build_header(visitor)]
    if visitor.grant is not None:
        parts.append(_build_budget_cards(visitor.grant, read_budgets(ledger, visitor.grant)))
    parts.append(_build_month_part(month, uses))
    if visitor.is_administrator:
        budgets = _map_named_budgets(ledger)
        parts += [
            _build_use_table("Users", "User", sum_uses(uses, lambda row: row.user), budgets.get("user", {})),
            _build_use_table("Groups", "Group", sum_uses(uses, lambda row: row.group), budgets.get("group", {})),
            _build_use_table("Projects", "Project", sum_uses(uses, lambda row: row.project), {}),
        ]
    parts.append(_build_keys_table(ledger, visitor, {row.grant.id: row.use for row in uses}))
    parts += _build_runs_tables(ledger, visitor, month)
    return _build_page("Spending", "".join(parts))


def sign_in_page(problem: str = "") -> str:
    """Return the form that accepts a key."""
    alert = f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else ""
    return _build_page(
        "Spending: sign in",
        f"<header><h1>Spending</h1></header>{alert}"
        '<form method="post" action="sign-in"><label for="key">Key of the broker</label>'
        '<input id="key" name="key" type="password" required autocomplete="off" autofocus aria-describedby="about">'
        '<p id="about" class="quiet">A child key shows its own spending. The key of the operator shows all spending. '
        "The browser doesn't store the key.</p>"
        '<p><button type="submit">Sign in</button></p></form>',
    )


def refusal_page(detail: str, link: str = "Open the page again") -> str:
    """Return a page with the reason of a refusal."""
    return _build_page(
        "Spending", f'<header><h1>Spending</h1></header><p>{escape(detail)}</p><p><a href="spending">{link}</a></p>'
    )


def _build_page(title: str, content: str) -> str:
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{content}</main></body></html>"
    )


def _build_header(visitor: PageVisitor) -> str:
    role = " (administrator)" if visitor.is_administrator and visitor.grant is not None else ""
    button = '<form method="post" action="sign-out"><button type="submit">Sign out</button></form>'
    return (
        f"<header><h1>Spending</h1>{button if visitor.has_session else ''}</header>"
        f'<p class="quiet">{escape(visitor.name)}{role} · times in UTC</p>'
    )


def _build_budget_cards(grant: Grant, budgets: Iterable[GrantBudget]) -> str:
    cards = "".join(_build_budget_card(budget, is_shared=budget.grant.id != grant.id) for budget in budgets)
    return f'<section aria-labelledby="left"><h2 id="left">Left</h2><ul class="cards">{cards}</ul></section>'


def _build_budget_card(budget: GrantBudget, *, is_shared: bool) -> str:
    """Return the rest of a budget, when it renews and ends, and why it can't be spent."""
    limits, usage = budget.grant.limits, budget.usage
    title = f"Shared: {limits.name or budget.grant.id}" if is_shared else "Your budget"
    rest, total = budget.remaining / BILLION, budget.credits / BILLION
    lines = [count_label(usage.active, "active run")] if usage.active else []
    if limits.seconds is not None:
        minutes = max(0, limits.seconds - usage.seconds) / 60
        lines.append(f"{minutes:.0f} of {count_label(round(limits.seconds / 60), 'minute')} left")
    if limits.machines is not None:
        lines.append(f"Machines: {', '.join(limits.machines)}")
    lines += [f"Renews {budget.renews_at:%a %d %b %Y %H:%M}"] if budget.renews_at else []
    lines += [f"Ends {_format_moment(limits.ends_at)}"] if limits.ends_at is not None else []
    lines += ["Doesn't renew"] if not budget.renews_at and limits.ends_at is None else []
    text = "".join(f'<p class="quiet">{escape(line)}</p>' for line in lines)
    problem = f'<p class="bad">Blocked: {escape(budget.grant.blocked)}</p>' if budget.grant.blocked else ""
    label = _format_rest(budget)
    return (
        f"<li><p>{escape(title)}</p><p><strong>{label}</strong></p>"
        f'<meter min="0" max="{total}" low="{total / 5}" optimum="{total}" value="{rest}" aria-label="Credits left">'
        f"{label}</meter>{problem}{text}</li>"
    )


def _format_rest(budget: GrantBudget) -> str:
    rest, total = Decimal(budget.remaining) / BILLION, Decimal(budget.credits) / BILLION
    return budget_label(rest, total, budget.grant.limits.period)


def _build_month_part(month: Month, uses: Sequence[GrantUse]) -> str:
    """Return the sums of a month, and the links to other months and to the CSV files."""
    start = datetime.fromtimestamp(month.start, timezone.utc)
    earlier, later = start - timedelta(days=1), start + timedelta(days=32)
    links = [f'<a href="?month={earlier:%Y-%m}">← {earlier:%B %Y}</a>']
    if later.replace(day=1) <= datetime.now(timezone.utc):
        links.append(f'<a href="?month={later:%Y-%m}">{later:%B %Y} →</a>')
    total = sum((row.use for row in uses), Use())
    facts = [count_label(total.runs, "run"), _format_credits(total.credits)]
    facts[1:1] = [count_label(total.model_calls, "model call")] if total.model_calls else []
    facts[1:1] = [count_label(total.vms, "VM")] if total.vms else []
    facts += [f"{_format_credits(total.reserved)} of this sum are reserved for active runs"] if total.reserved else []
    facts += [f"{size_label(total.uploaded_bytes)} uploaded"] if total.uploaded_bytes else []
    return (
        f'<section aria-labelledby="month"><h2 id="month">{start:%B %Y}</h2><p>{" · ".join(facts)}</p>'
        f'<nav aria-label="Months">{"".join(links)}</nav><p class="links">'
        f'<a href="spending.csv?month={month.label}" download>CSV by user, project and key</a>'
        f'<a href="runs.csv?month={month.label}" download>CSV of all runs</a></p></section>'
    )


def _build_use_table(title: str, column: str, sums: dict[str, Use], budgets: dict[str, GrantBudget]) -> str:
    """Return the sums of a month by user, group or project, with the rest of their budgets now."""
    if not sums and not budgets:
        return ""
    names = [*sums, *sorted(budgets.keys() - sums.keys())]
    columns = [
        column,
        "Runs:",
        "VMs:",
        "Model calls:",
        "Uploaded (GiB):",
        "Credits:",
        *(["Budget now"] if budgets else []),
    ]
    rows = []
    for name in names[:_MAX_ROWS]:
        use, budget = sums.get(name, Use()), budgets.get(name)
        rest = [_format_rest(budget) if budget else ""] if budgets else []
        rows.append(
            [
                name, str(use.runs), str(use.vms), str(use.model_calls), f"{use.uploaded_bytes / (1 << 30):,.3f}",
                _format_amount(use.credits), *rest,
            ]
        )  # fmt: skip
    return _build_table(title, columns, rows, len(names))


def _map_named_budgets(ledger: GrantLedger) -> dict[str, dict[str, GrantBudget]]:
    """Return the budgets of users and groups of a hub by kind and name."""
    budgets: dict[str, dict[str, GrantBudget]] = {}
    for grant_id, label in ledger.grant_names().items():
        kind, _, name = label.partition(" ")
        first = next(read_budgets(ledger, ledger.grant(grant_id)), None)
        if first is not None and first.grant.id == grant_id:
            budgets.setdefault(kind, {})[name] = first
    return budgets


def _build_keys_table(ledger: GrantLedger, visitor: PageVisitor, uses: dict[str, Use]) -> str:
    """Return the keys below a visitor, which people see as grants: limits, use and state."""
    names = ledger.grant_names()
    grants = [grant for grant in ledger.grants_below(visitor.top_id) if grant.id not in names]
    if not grants:
        return ""
    people = ["User", "Project"] if visitor.is_administrator else ["Project"]
    rows = []
    for grant in sorted(grants, key=lambda grant: -uses.get(grant.id, Use()).credits)[:_MAX_ROWS]:
        user, _, project = read_affiliation(ledger, grant, names)
        budget = next(read_budgets(ledger, grant))
        owners = [user, project] if visitor.is_administrator else [project]
        rows.append(
            [
                grant.limits.name or grant.id, *owners, _format_state(grant), str(budget.usage.active),
                _format_amount(uses.get(grant.id, Use()).credits), _format_rest(budget),
                "never" if grant.limits.ends_at is None else _format_moment(grant.limits.ends_at),
            ]
        )  # fmt: skip
    return _build_table(
        "Keys", ["Key", *people, "State", "Active:", "Credits:", "Budget now", "Ends"], rows, len(grants)
    )


def _build_runs_tables(ledger: GrantLedger, visitor: PageVisitor, month: Month) -> list[str]:
    """Return the newest runs, VMs and calls of models of a month, each in a table."""
    tables: dict[str, list[RunRow]] = {"Runs": [], "VMs": [], "Model calls": []}
    for row in ledger.runs_below(visitor.top_id, month.start, month.end):
        is_call = row.operation.startswith(MODEL_CALLS)
        tables["VMs" if row.operation == RENTAL else "Model calls" if is_call else "Runs"].append(row)
    who = "User" if visitor.is_administrator else "Key"
    names = ledger.grant_names()
    return [
        _build_table(
            title, ["Id", who, "Machine", "Started", "Time:", "State", "Credits:"],
            [_build_run_cells(ledger, visitor, row, names) for row in reversed(rows[-_MAX_ROWS:])], len(rows),
        )
        for title, rows in tables.items() if rows
    ]  # fmt: skip


def _build_run_cells(ledger: GrantLedger, visitor: PageVisitor, row: RunRow, names: Mapping[str, str]) -> list[str]:
    grant = ledger.grant(row.grant_id)
    user = read_affiliation(ledger, grant, names)[0] if visitor.is_administrator else grant.limits.name
    return [
        (row.execution_id or "no id")[:8], user, row.machine, _format_moment(row.created_at),
        "" if row.seconds is None else str(timedelta(seconds=row.seconds)),
        row.alarm or (f"{row.state}, credits reserved" if row.is_reserved else row.state), _format_amount(row.amount),
    ]  # fmt: skip


def _build_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], count: int) -> str:
    """Return a table; a column whose name ends with a colon has figures."""
    names = [column.rstrip(":") for column in columns]
    kinds = [' class="figure"' if column.endswith(":") else "" for column in columns]
    head = "".join(
        f'<th role="columnheader" scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(names, kinds, strict=True)
    )
    body = "".join(f'<tr role="row">{_build_cells(names, kinds, row)}</tr>' for row in rows)
    more = (
        f'<p class="quiet">The table shows {len(rows)} of {count_label(count, "row")}. The CSV file has all rows.</p>'
        if count > len(rows)
        else ""
    )
    name = title.lower().replace(" ", "-")
    return (
        f'<section><h2 id="{name}">{escape(title)}</h2><table role="table" aria-labelledby="{name}">'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{body}</tbody></table>'
        f"{more}</section>"
    )


def _build_cells(names: Sequence[str], kinds: Sequence[str], row: Sequence[Any]) -> str:
    """Return the cells of a row. Roles are explicit: a narrow page shows the rows as blocks."""
    cells = []
    for position, (name, kind, value) in enumerate(zip(names, kinds, row, strict=True)):
        tag, role = ("td", "cell") if position else ('th scope="row"', "rowheader")
        cells.append(f'<{tag} role="{role}" data-name="{escape(name)}"{kind}>{escape(value)}</{tag[:2]}>')
    return "".join(cells)


def _format_state(grant: Grant) -> str:
    ends_at = grant.limits.ends_at
    if grant.revoked_at is not None:
        return "revoked"
    if grant.blocked:
        return f"blocked: {grant.blocked}"
    return "ended" if ends_at is not None and ends_at <= datetime.now(timezone.utc).timestamp() else "active"


def _format_moment(seconds: float) -> str:
    """Return Unix seconds as a moment in UTC: the broker doesn't know the zone of a visitor."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%d %b %Y %H:%M}"


def _format_credits(amount: int) -> str:
    return credits_label(Decimal(amount) / BILLION)


def _format_amount(amount: int) -> str:
    """Return an amount for a column of credits, in which all amounts have four decimals."""
    credits_used = Decimal(amount) / BILLION
    return f"{max(credits_used, Decimal('0.0001')):,.4f}" if amount > 0 else f"{credits_used:,.4f}"
