"""The spending page of a broker and its CSV files: each visitor sees their own spending, an administrator sees all."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal

import httpx
import pytest
from broker.running import API, read_state, start_run, wait_settled

import lk_jupyter
from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.broker.grants import BILLION, GrantLimits, RefusedCall
from lk_jupyter.broker.page import PageVisitor, spending_page
from lk_jupyter.broker.spending import MONTH_COLUMNS, Month, month_csv, read_budgets, read_uses, runs_csv
from lk_jupyter.cli import main
from lk_jupyter.views.credits import balance

NOW = Month.parse(None)
LIMITS = GrantLimits(credits=10 * BILLION)
FORMULA = '=cmd|" /C calc"!A0'


@pytest.fixture
def team(ledger):
    """The grants of the user ana in the group vision, of a key below ana, and of a key without a hub."""
    root = ledger.grant("root")
    vision = ledger.named_grant(
        root, "group vision", replace(LIMITS, name="vision", period="week", credits=50 * BILLION)
    )
    ana = ledger.named_grant(vision, "user ana", replace(LIMITS, name="ana", period="week"))
    agent, _ = ledger.add_grant(ana, replace(LIMITS, name=FORMULA, project="moon"))
    lena, _ = ledger.add_grant(root, replace(LIMITS, name="lena"))
    return {"vision": vision, "ana": ana, "agent": agent, "lena": lena}


def add_run(ledger, grant, operation="/execution/streaming/start", credits_billed=None, machine="gpu.a100"):
    price = 36 * BILLION // 100
    mark = ledger.reserve(grant, operation=operation, machine=machine, price=price, timeout=3600, margin=0)
    if credits_billed is not None:
        ledger.settle(mark, int(credits_billed * BILLION), 1800)
    return mark


def read_rows(text):
    return list(csv.DictReader(text.splitlines()))


def test_the_csv_of_a_month_has_a_row_for_each_key_with_user_and_project(ledger, team):
    add_run(ledger, team["ana"], credits_billed=0.25)
    add_run(ledger, team["agent"], credits_billed=0.5)
    add_run(ledger, team["agent"])
    add_run(ledger, team["lena"], operation="/vms/create", credits_billed=1)
    add_run(ledger, team["lena"], operation="/serverless/chat/completions", credits_billed=0.125)
    ledger.release(add_run(ledger, team["lena"]))
    ledger.reserve_upload(team["agent"], 1 << 30)
    rows = {row["key"]: row for row in read_rows(month_csv(read_uses(ledger, "root", NOW), NOW))}
    ana, agent, lena = (rows[team[name].id] for name in ("ana", "agent", "lena"))
    assert tuple(ana) == MONTH_COLUMNS
    assert [(row["user"], row["group"], row["project"]) for row in (ana, agent, lena)] == [
        ("ana", "vision", ""),
        ("ana", "vision", "moon"),
        ("lena", "", ""),
    ]
    assert (ana["runs"], ana["run_hours"], ana["run_credits"]) == ("1", "0.5000", "0.250000000")
    assert (agent["runs"], agent["run_credits"], agent["reserved_credits"]) == ("2", "0.500000000", "0.360000000")
    assert (lena["runs"], lena["vms"], lena["vm_hours"], lena["vm_credits"]) == ("0", "1", "0.5000", "1.000000000")
    assert (lena["model_calls"], lena["model_credits"]) == ("1", "0.125000000")
    assert agent["uploaded_gib"] == "1.000000"
    assert {row[name] for row in rows.values() for name in ("volumes", "volume_credits", "storage_credits")} == {""}
    assert not read_rows(month_csv(read_uses(ledger, "root", Month.parse("2001-02")), Month.parse("2001-02")))


def test_a_member_sees_only_their_own_key_and_the_keys_below(ledger, team):
    add_run(ledger, team["agent"], credits_billed=0.5)
    add_run(ledger, team["lena"], credits_billed=1)
    assert [row.grant.id for row in read_uses(ledger, team["ana"].id, NOW)] == [team["agent"].id]
    assert [row["key"] for row in read_rows(runs_csv(ledger, team["ana"].id, NOW))] == [team["agent"].id]
    page = spending_page(ledger, PageVisitor("ana", team["ana"]), NOW)
    assert "9.50 of 10 credits left this week" in page
    assert "49.50 of 50 credits left this week" in page
    assert "Renews Mon" in page
    assert "lena" not in page
    everything = spending_page(ledger, PageVisitor("operator", is_administrator=True), NOW)
    assert all(f">{name}<" in everything for name in ("ana", "lena", "vision", "moon"))


def test_a_page_has_a_table_for_each_kind_and_one_precision_in_each_column(ledger, team):
    for credits_billed in (5.5, 0.25, 0.00001, 0):
        add_run(ledger, team["agent"], credits_billed=credits_billed)
    add_run(ledger, team["ana"], operation="/vms/create", credits_billed=1, machine="gpu.h100")
    add_run(ledger, team["lena"], operation="/serverless/chat/completions", credits_billed=2, machine="local/echo")
    ledger.reserve_upload(team["agent"], 1 << 20)
    page = spending_page(ledger, PageVisitor("operator", is_administrator=True), NOW)
    tables = dict(re.findall(r'<h2 id="[\w-]+">([\w ]+)</h2><table(.*?)</table>', page))
    assert list(tables) == ["Users", "Groups", "Projects", "Keys", "Runs", "VMs", "Model calls"]
    for title, machine in (("Runs", "gpu.a100"), ("VMs", "gpu.h100"), ("Model calls", "local/echo")):
        assert set(read_cells(tables[title], "Machine")) == {machine}
    assert read_cells(tables["Runs"], "Credits") == ["0.0000", "0.0001", "0.2500", "5.5000"]
    for table in tables.values():
        for name, form in (
            ("Credits", r"[\d,]+\.\d{4}"),
            ("Time", r"\d+:\d\d:\d\d"),
            (r"Uploaded \(GiB\)", r"\d+\.\d{3}"),
        ):
            assert not [cell for cell in read_cells(table, name) if not re.fullmatch(form, cell)]


def read_cells(table, column):
    return re.findall(rf'data-name="{column}"[^>]*>([^<]*)<', table)


@pytest.mark.parametrize("name", [FORMULA, "+1", "-1", "@SUM(A1)", "  =1", "\uff1d1"])
def test_no_name_is_a_formula_in_a_csv(name, ledger):
    grant, _ = ledger.add_grant(ledger.grant("root"), replace(LIMITS, name=name, project=name))
    add_run(ledger, grant, credits_billed=1)
    for text in (month_csv(read_uses(ledger, "root", NOW), NOW), runs_csv(ledger, "root", NOW)):
        (row,) = read_rows(text)
        assert {row[column] for column in ("user", "project", "name") if column in row} == {f"'{name}"}


def test_a_name_is_never_html(ledger):
    limits = replace(LIMITS, name="<script>x</script>", project='"><img src=x>')
    grant, _ = ledger.add_grant(ledger.grant("root"), limits)
    add_run(ledger, grant, credits_billed=1, machine="<b>a</b>")
    for visitor in (PageVisitor(grant.limits.name, grant), PageVisitor("operator", is_administrator=True)):
        page = spending_page(ledger, visitor, NOW)
        assert not [tag for tag in ("<script", "<img", "<b>") if tag in page]
        assert "&lt;script&gt;" in page


def test_a_budget_renews_at_the_start_of_the_next_week_or_month(ledger):
    moment = datetime(2026, 12, 31, 15, 30, tzinfo=timezone.utc)
    ends = [GrantLimits(period=period).period_end(moment) for period in ("week", "month", "")]
    assert ends == [datetime(2027, 1, day, tzinfo=timezone.utc) for day in (4, 1)] + [None]
    assert list(read_budgets(ledger, ledger.grant("root"))) == []


@pytest.mark.parametrize("text", ["2026-13", "2026", "x", "2026-1", "1999-01"])
def test_a_month_in_another_form_is_refused(text):
    with pytest.raises(RefusedCall, match="2026-11"):
        Month.parse(text)


def test_a_key_signs_a_browser_in_until_it_is_revoked(broker):
    child, other = broker.grant(name="lena"), broker.grant(name="mira")
    run_id = start_run(child)
    wait_settled(child)
    with httpx.Client(base_url=broker.base_url, follow_redirects=True) as browser:
        assert browser.get("/broker/spending").status_code == 401
        assert browser.get("/broker/spending.csv").status_code == 401
        assert browser.post("/broker/sign-in", data={"key": "lk_forged"}).status_code == 401
        foreign = browser.post("/broker/sign-in", data={"key": child.key}, headers={"Origin": "http://elsewhere.test"})
        assert (foreign.status_code, len(browser.cookies)) == (403, 0)
        page = browser.post("/broker/sign-in", data={"key": child.key})
        assert (page.status_code, page.url.path, page.url.query) == (200, "/broker/spending", b"")
        assert child.key not in page.text + str(browser.cookies)
        assert run_id[:8] in page.text
        assert "mira" not in page.text
        assert [row["name"] for row in read_rows(browser.get("/broker/spending.csv").text)] == ["lena"]
        assert [row["run"] for row in read_rows(browser.get("/broker/runs.csv").text)] == [run_id]
        assert browser.get(f"{API}/workloads/list").status_code == 401  # the cookie only opens the pages
        broker.operator.delete(f"/broker/keys/{child.id}")
        assert browser.get("/broker/spending").status_code == 401
        page = browser.post("/broker/sign-in", data={"key": broker.operator_key})
        assert all(name in page.text for name in ("lena", "mira"))
        assert browser.post("/broker/sign-out").status_code == 200
        assert browser.get("/broker/spending").status_code == 401
    assert read_rows(other.get("/broker/spending.csv").text) == []
    assert other.get("/broker/spending?month=x").status_code == 422


def test_a_page_needs_no_script_and_allows_none(broker):
    answer = broker.operator.get("/broker/spending")
    assert answer.status_code == 200
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"


def test_the_balance_of_a_key_has_the_budget_that_ends_first(broker):
    child = broker.grant(credits=2, period="week", name="lena", scopes=["runs", "lease"])
    lease = child.post("/broker/keys", json={"credits": 5}).json()["api_key"]
    budget = broker.client(lease).get(f"{API}/billing/credits").json()["budget"]
    assert (budget["name"], budget["credits"], budget["period"]) == ("lena", 2, "week")
    assert datetime.fromisoformat(budget["renews_at"]) > datetime.now(timezone.utc)
    assert broker.operator.get(f"{API}/billing/credits").json()["budget"] is None


def test_the_package_shows_the_budget_and_the_spending_of_a_key(broker, home, monkeypatch, capsys):
    child = broker.grant(credits=2, period="week")
    start_run(child)
    wait_settled(child)
    used = read_state(child)["used"]
    monkeypatch.setenv("LK_BASE_URL", broker.base_url)
    monkeypatch.setenv("LK_API_KEY", child.key)
    assert main(["balance"]) == 0
    assert re.match(r"[12]\.\d\d of 2 credits left this week, renews Mon ", capsys.readouterr().out)
    with lk_jupyter.connect() as session:
        assert [(charge.kind, float(charge.amount)) for charge in session.spending().charges] == [
            ("Runs", pytest.approx(used))
        ]
        text = balance(session.balance()).text
        assert "of 2 credits left this week" in text
        assert "Renews       Mon" in text
        (warning,) = low_balance_notices(session, Decimal(50))
        assert "The budget renews on" in warning.text
        assert "lk_billing" not in warning.text
