"""What values look like: HTML that needs no stylesheet to be read, and the same facts as text."""

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from xml.etree import ElementTree as ET

from conftest import for_each

from lk_jupyter.account.active import ActiveResource
from lk_jupyter.account.balance import AccountBalance
from lk_jupyter.account.spending import Charge, Spending
from lk_jupyter.api.billing import CreditsBalance, UserCredits
from lk_jupyter.api.execution import ExecutionMetrics
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.orgs import OrgBalance
from lk_jupyter.api.pricing import PriceBook
from lk_jupyter.machines.catalogue import Catalogue
from lk_jupyter.storage._tree import Branch, Tree
from lk_jupyter.storage.objects import ObjectInfo, Objects
from lk_jupyter.views import credits as money
from lk_jupyter.views import machines, metrics, prices, storage
from lk_jupyter.views.table import MOST

NOON = datetime(2026, 6, 2, 12, tzinfo=timezone.utc)
EVIL = '"><img src=x onerror=alert(1)>'
TYPES = [
    MachineType(hardware_profile="gpu.h100", price_per_hour=2.79),
    MachineType(hardware_profile="gpu.l40s", price_per_hour=1.19),
    MachineType(hardware_profile=EVIL),
]


def price(meter, selector, unit, hour=None):
    return {"meter_slug": meter, "group_by": selector, "unit_price": unit, "unit_price_per_hour": hour}


BOOK = PriceBook(
    count=5,
    prices=[
        price("vm_running", {"hardware_profile": "on-demand.a100.1x"}, "0.00044", "1.59"),
        price("vm_running", {"hardware_profile": "on-demand.a100.2x"}, "0.00088", "3.18"),
        price("vm_running", {"hardware_profile": "spot.a100.1x"}, "0.00022", "0.80"),
        price("serverless_inference_prompt_tokens", {"deployment_id": f"serverless:{EVIL}"}, "0.0000006"),
        price("volume_gb", {"resource": EVIL}, "0.00000003", "0.0001"),
    ],
)
USED = ExecutionMetrics(
    executionId="3f0c2a9e-5b1d",
    hostname=EVIL,
    gpuUtilizationPercent=[
        {"timestamp": NOON + timedelta(seconds=at), "value": value} for at, value in enumerate([10, None, 30, 80])
    ],
    systemRamUsedBytes=[{"timestamp": NOON, "value": 2**31}],
)
FILES = [ObjectInfo(f"data/{number:04}.csv", 1234, NOON) for number in range(120)]
SPENT = Spending(
    (Charge("1", NOON, "Runs", "A100", Decimal("0.5")), Charge("2", NOON, "VMs", EVIL, Decimal("1.5"))),
    30,
    today=NOON.date(),
)
GOING = (
    ActiveResource("run", "3f0c2a9e", EVIL, "A100", Decimal("1.59")),
    ActiveResource("VM", "aa", "", "H100", None),
)

PICTURES = {
    "machines": machines.machines(TYPES),
    "one machine": machines.machine(TYPES[0]),
    "catalogue": machines.catalogue(Catalogue.of(TYPES, ["gpu.l40s"])),
    "prices": prices.prices(BOOK),
    "metrics": metrics.answer(USED),
    "no metrics": metrics.answer(ExecutionMetrics(executionId="3f0c")),
    "listing": storage.listing(Objects(iter(FILES))),
    "objects": storage.objects([ObjectInfo(f"data/{EVIL}/", 0, None), *FILES[:2]]),
    "nothing": storage.objects([]),
    "tree": storage.tree(Tree("lk://", (Branch("data/", "", (Branch(EVIL, "12 B"),)), Branch("and more")))),
    "spending": money.spending(SPENT),
    "nothing spent": money.spending(Spending((), 30)),
    "balance": money.balance(AccountBalance(Decimal("3.58"), GOING, suspended=True)),
    "organization": money.org_balance(OrgBalance(org_id="1", balance="12.5", account_suspended=True)),
    "account": money.credits_balance(
        CreditsBalance(available_credits=10, used_credits=2.5, total_credits_used=2.5, remaining_credits=7.5)
    ),
    "user": money.user_credits(
        UserCredits(
            user_id="1",
            email=EVIL,
            available_credits=10,
            used_credits=2,
            total_credits_used=2,
            created_at=NOON,
            last_updated=NOON,
        )
    ),
}


@for_each(PICTURES)
def test_foreign_text_is_text(name):
    assert "<img" not in PICTURES[name].html


@for_each(PICTURES)
def test_the_html_is_whole_and_its_tables_can_be_heard(name):
    html = re.sub(r"<style>.*?</style>", "", PICTURES[name].html, flags=re.DOTALL)
    for heading in ET.fromstring(html.replace("&nbsp;", " ")).iter("th"):
        assert heading.get("scope") in {"col", "row"}


@for_each(PICTURES)
def test_each_fact_of_the_html_stands_in_the_text_too(name):
    html = re.sub(r"<style>.*?</style>", "", PICTURES[name].html, flags=re.DOTALL)
    words = {word.strip() for word in ET.fromstring(html).itertext() if word.strip()}
    missing = [word for word in words if word not in PICTURES[name].text]
    assert not missing


def test_machines_are_cheapest_first_and_say_what_may_be_used():
    assert PICTURES["catalogue"].text.splitlines()[3].split() == ["gpu.l40s", "L40S", "45", "1.19", "credits/h", "yes"]
    assert PICTURES["machines"].text.splitlines()[0] == "3 machine types, prices in credits"


def test_prices_of_machines_stand_by_card_and_count():
    lines = PICTURES["prices"].text.splitlines()
    assert lines[:5] == [
        "Virtual machines, credits per hour",
        "GPU   Sold as    1 GPU  2 GPUs",
        "----  ---------  -----  ------",
        "A100  on-demand   1.59    3.18",
        "A100  spot         0.8",
    ]
    assert any(line.startswith('"><img') and line.split()[-1] == "0.6" for line in lines), "per million tokens"


def test_metrics_are_figures_with_units_and_a_course_with_its_gaps():
    lines = PICTURES["metrics"].text.splitlines()
    assert re.split(r"  +", lines[3]) == ["GPU utilization", "80.0", "40.0", "80.0", "%", "▂ ▄█"]
    assert re.split(r"  +", lines[4])[:5] == ["RAM used", "2.0", "2.0", "2.0", "GiB"]
    path = re.search(r'<path d="([^"]+)"', PICTURES["metrics"].html)[1]
    assert path.count("M") == 2, "the line breaks at the null"


def test_no_samples_say_when_they_come():
    assert "the first arrives 15 s after the start" in PICTURES["no metrics"].text


def test_a_long_listing_is_cut_and_nothing_is_taken_from_it():
    found = Objects(iter(FILES))
    shown = storage.listing(found)
    assert len(re.findall(r"\.csv +1\.2 kB", shown.text)) == MOST
    assert "… and more: for info in session.storage.ls(...)" in shown.text
    assert [info.key for info in found] == [info.key for info in FILES]
    assert f"… and {len(FILES) - MOST} more: " in storage.objects(FILES).text


def test_a_tree_can_be_folded():
    assert '<details open=""><summary>data/</summary><ul><li>' in PICTURES["tree"].html
    assert PICTURES["tree"].text.splitlines()[:2] == ["lk://", "├── data/"]


def test_spending_has_bars_beside_its_figures():
    assert re.search(r"^VMs +1\.50 +█{20}$", PICTURES["spending"].text, re.MULTILINE)
    assert re.search(r"^Runs +0\.5000 +█{6,7}$", PICTURES["spending"].text, re.MULTILINE)
    assert "Last 30 days   0.0000" in PICTURES["nothing spent"].text


def test_a_price_that_is_not_known_leaves_the_sum_of_the_others():
    assert "1 run, 1 VM, at least 1.59 credits/h" in PICTURES["balance"].text
    assert "Lasts        2 h 15 min, until" in PICTURES["balance"].text
    assert "at the latest" in PICTURES["balance"].text
    assert "The account is suspended." in PICTURES["balance"].text
