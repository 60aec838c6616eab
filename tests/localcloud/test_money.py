"""Money over the API: every view tells the same, purchases and vouchers are booked once."""

from __future__ import annotations

import re
from decimal import Decimal

import httpx
import pytest


class Money:
    """The account of the local user, read in every way that there is."""

    def __init__(self, api):
        self.api = api
        self.slug = api.get("/user/org").json()["slug"]

    def credits(self):
        return {key: exact(value) for key, value in self.api.get("/billing/credits").json().items()}

    def balance(self):
        return Decimal(self.api.get(f"/orgs/{self.slug}/balance").json()["balance"])

    def transactions(self, **query):
        return self.api.get(f"/orgs/{self.slug}/transactions", **{"limit": 10_000, **query}).json()["transactions"]

    def aggregates(self, category, group_by):
        path = f"/orgs/{self.slug}/transactions/aggregate"
        return self.api.get(path, category=category, group_by=group_by).json()["aggregates"]

    def checkout(self, amount, **urls):
        return self.api.post("/billing/checkout", {"credits_amount": amount, **urls}).json()["checkout_url"]


def exact(value):
    """Read a number of the API as the decimal that it says."""
    return Decimal(repr(value)) if isinstance(value, float) else value


def signed(row):
    return Decimal(row["amount"]) * (1 if row["kind"] == "credit" else -1)


@pytest.fixture
def money(make_api):
    return Money(make_api("--credits", "10", "--voucher", "SPRING50=50"))


@pytest.fixture
def shared_money(api):
    """The account of the cloud that all tests share, for what changes nothing."""
    return Money(api)


def spend(money):
    """Let some runs, a purchase and a cancelled one happen; return what the runs cost."""
    records = [money.api.run("print(1)", execution_type=f"gpu.{card}") for card in ("a100", "h100", "a100")]
    money.api.run("print(1)")
    httpx.post(money.checkout(25) + "/pay")
    httpx.post(money.checkout(7) + "/cancel")
    return {record["execution_id"]: exact(record["billed"]) for record in records}


def check_that_all_views_agree(money, costs):
    used, rows, credit = sum(costs.values()), money.transactions(), money.credits()
    assert money.balance() == sum(signed(row) for row in rows) == credit["remaining_credits"] == 35 - used
    assert credit["used_credits"] == credit["total_credits_used"] == used
    assert (credit["monthly_free_credits"], credit["purchased_credits"]) == (10, 25)
    assert credit["available_credits"] == 35
    details = money.api.get("/billing/credits/details").json()
    assert exact(details["available_credits"]) - exact(details["used_credits"]) == money.balance()
    groups = {row["group_by_value"]: row for row in money.aggregates("executions", "hardware_profile")}
    assert {card: row["count"] for card, row in groups.items()} == {"gpu.a100": 2, "gpu.h100": 1}
    assert sum(Decimal(row["total_amount"]) for row in groups.values()) == used
    history = money.api.get("/billing/history").json()
    assert exact(history["total_credits_spent"]) == used
    assert (history["total_executions"], history["counts_by_status"]) == (4, {"completed": 4})
    assert sum(exact(row["billed"]) for row in history["executions"]) == used
    activities = money.api.get("/billing/activities", limit=100).json()
    bills = [exact(row["amount"]) for row in activities["activities"] if row["type"] == "execution"]
    assert sorted(bills) == sorted(costs.values())
    assert activities["total_activities"] == len(rows) == 5


def test_all_views_tell_the_same_before_and_after_a_crash(money):
    costs = spend(money)
    check_that_all_views_agree(money, costs)
    money.api.cloud.kill()
    money.api.cloud.start()
    money.api.connect()
    check_that_all_views_agree(money, costs)


def test_a_run_that_goes_on_is_in_every_balance(money, until):
    run = money.api.start("import time\nprint('up')\ntime.sleep(600)", execution_type="gpu.b200")
    money.api.first_line(run)
    until(lambda: money.balance() < 10)
    first, credit, last = money.balance(), money.credits()["remaining_credits"], money.balance()
    assert first >= credit >= last
    money.api.post(f"/workloads/abort/{run}")
    assert money.api.ended(run)["billed"] == float(10 - money.balance())


def test_what_a_run_cost_stays_known_when_its_record_is_gone(money):
    run = money.api.run("print(1)", execution_type="gpu.a100", file_name="train.py")
    money.api.http.delete(f"/execution/{run['execution_id']}")
    history = money.api.get("/billing/history").json()
    assert (history["executions"], history["total_executions"], history["counts_by_status"]) == ([], 0, {})
    [row] = money.transactions(kind="debit")
    assert Decimal(row["amount"]) == exact(run["billed"])
    assert (row["metadata"]["source"], row["metadata"]["description"]) == ("executions", "train.py")
    [activity] = [
        row for row in money.api.get("/billing/activities").json()["activities"] if row["type"] == "execution"
    ]
    assert (activity["description"], activity["status"]) == ("train.py", "completed")
    assert activity["hardware_profile"] == "gpu.a100"


def test_one_click_completes_a_purchase_and_a_second_one_adds_nothing(money):
    url = money.checkout(25, success_url="https://example.com/ok?a=1")
    assert "25 credits" in httpx.get(url).text
    for _ in range(2):
        answer = httpx.post(f"{url}/pay")
        assert (answer.status_code, answer.headers["location"]) == (303, "https://example.com/ok?a=1")
    assert money.balance() == 35
    [invoice] = money.api.get("/billing/invoices").json()["invoices"]
    assert (invoice["amount"], invoice["credits"], invoice["status"]) == (25, 25, "paid")
    assert "Paid" in httpx.get(invoice["receipt_url"]).text


def test_a_cancelled_purchase_books_nothing_and_cannot_be_paid(money):
    url = money.checkout(25)
    answer = httpx.post(f"{url}/cancel", follow_redirects=True)
    assert "Nothing was bought" in answer.text
    assert httpx.post(f"{url}/pay").status_code == 409
    assert money.balance() == 10
    assert money.api.get("/billing/invoices").json() == {"invoices": [], "total_invoices": 0}


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}])
def test_no_other_site_pays(shared_money, headers):
    invoices = shared_money.api.get("/billing/invoices").json()
    assert httpx.post(shared_money.checkout(25) + "/pay", headers=headers).status_code == 403
    assert shared_money.api.get("/billing/invoices").json() == invoices


def test_a_button_of_the_page_pays(money):
    url = money.checkout(25)
    page = httpx.get(url)
    assert page.headers["content-security-policy"] == "frame-ancestors 'none'"
    action = re.search(r'action="([^"]*/pay)"', page.text)[1]
    origin = {"Origin": money.api.cloud.base_url}
    assert httpx.post(httpx.URL(url).join(action), headers=origin, follow_redirects=True).status_code == 200
    assert money.balance() == 35


@pytest.mark.parametrize("amount", [0, -5, 1_000_001, 10**30])
def test_amounts_that_are_not_sold_are_refused(shared_money, amount):
    answer = shared_money.api.post("/billing/checkout", {"credits_amount": amount})
    assert answer.status_code == 400
    assert "at a time" in answer.json()["detail"]


@pytest.mark.parametrize("address", ["javascript:alert(1)", "//evil", "http://[", "x", ""])
def test_a_checkout_leads_to_web_addresses_only(shared_money, address):
    assert shared_money.api.post("/billing/checkout", {"credits_amount": 1, "success_url": address}).status_code == 400


def test_an_unknown_checkout_is_not_found(shared_money):
    for path in ("", "/pay", "/cancel"):
        url = f"{shared_money.api.cloud.base_url}/checkout/cs_local_none{path}"
        assert (httpx.post(url) if path else httpx.get(url)).status_code == 404


def test_a_voucher_is_checked_redeemed_once_and_used_before_bought_credits(money):
    def check(code):
        return money.api.post("/voucher/validate", {"email": "a@example.com", "code": code}).json()

    verdict = check("SPRING50")
    assert (verdict["valid"], verdict["voucher_amount"], verdict["error"]) == (True, 50, None)
    assert "SPRING50" not in verdict["voucher_id"]
    url = money.checkout(1)
    assert "50 credits" in httpx.post(f"{url}/voucher", data={"code": "SPRING50"}).text
    assert httpx.post(f"{url}/voucher", data={"code": "SPRING50"}).status_code == 400
    assert (money.balance(), money.credits()["monthly_free_credits"]) == (60, 60)
    assert check("SPRING50") == {**check("SPRING50"), "valid": False, "error": "This voucher was used before"}
    assert check("AUTUMN") == {**check("AUTUMN"), "valid": False, "error": "No voucher has this code"}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/billing/history", {"limit": -1}),
        ("/billing/history", {"offset": 10**30}),
        ("/billing/activities", {"limit": 2**31}),
        ("/billing/invoices", {"offset": -1}),
        ("/orgs/local/transactions", {"limit": -1}),
        ("/orgs/local/transactions", {"kind": "gift"}),
        ("/orgs/local/transactions/aggregate", {"category": "gifts", "group_by": "vm_id"}),
        ("/orgs/local/transactions/aggregate", {"category": "vms"}),
    ],
)
def test_what_no_list_has_is_refused(api, path, query):
    assert api.get(path, **query).status_code == 422


def test_transactions_are_found_by_kind_and_source(money):
    spend(money)
    assert {row["metadata"]["source"] for row in money.transactions(kind="credit")} == {"grants", "purchases"}
    assert [Decimal(row["amount"]) for row in money.transactions(source="purchases")] == [25]
    assert money.transactions(source="purchases", kind="debit") == money.transactions(source="none") == []
    rows = money.transactions()
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    assert money.transactions(limit=2) == rows[:2]


def test_a_key_that_no_entry_has_gives_no_sums(money):
    spend(money)
    assert money.aggregates("executions", "vm_id") == []
    assert len(money.aggregates("executions", "execution_id")) == 3


def test_the_price_book_names_each_selector_once_and_the_prices_of_runs(api):
    prices = api.get("/pricing").json()["prices"]
    keys = [(row["meter_slug"], str(row["applies_to"])) for row in prices]
    assert len(set(keys)) == len(keys)
    by_hour = {row["applies_to"]["hardware_profile"]: row for row in prices if row["meter_slug"] == "vm_running"}
    machines = {
        row["hardware_profile"]: row["price_per_hour"] for row in api.get("/machine-types").json()["machine_types"]
    }
    for profile in filter(None, (row.removeprefix("gpu.") for row in machines if row.startswith("gpu."))):
        row = by_hour[f"on-demand.{profile}.1x"]
        assert float(row["unit_price_per_hour"]) == machines[f"gpu.{profile}"]
        assert abs(Decimal(row["unit_price"]) * 3600 - Decimal(row["unit_price_per_hour"])) < Decimal("1e-8")
