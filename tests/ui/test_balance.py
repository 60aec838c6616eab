"""Money as a user sees it: what is left, what runs, what was spent, of one organization and of another."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from lk_jupyter import session
from lk_jupyter.api.orgs import OrgCreate

GONE = re.compile("connection|answer|reach")


@pytest.fixture
def cloud_in_use(make_cloud, home):
    """A cloud that fails on request, on which something was spent and something runs."""
    cloud = make_cloud("--faults")
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        connected.client.orgs.create(OrgCreate(name="The team", slug="team"))
        connected.run("import time; time.sleep(0.2)", gpu="H100").wait()
        going = connected.run("import time; print('on', flush=True); time.sleep(600)", gpu="A100", timeout=600)
        next(iter(going.follow()))
        yield cloud
        going.abort()


@pytest.mark.nightly  # by parts: Balance.test.tsx, tests/widgets/test_widgets.py
@pytest.mark.timeout(900)  # a whole path, on machines that do much else
def test_money_is_shown_switched_and_kept(open_notebook, accessible, cloud_in_use):
    sign_in = f'os.environ.update(LK_BASE_URL="{cloud_in_use.base_url}", LK_API_KEY="{cloud_in_use.api_key}")'
    shows = "from lk_jupyter.widgets import Balance\nmoney = Balance()\nmoney.every = 1000\nmoney"
    book = open_notebook(f"import os\n{sign_in}\n{shows}")
    shown = book.run(0)
    book.ended()
    expect(shown.get_by_role("definition").filter(has_text="1 run")).to_be_visible()
    expect(shown.get_by_role("table", name="Running now")).to_contain_text("A100")
    expect(shown.get_by_role("table", name="By hardware")).to_contain_text("H100")
    shown.get_by_text("Spending on 1 day, as a table").press("Enter")
    expect(shown.get_by_role("table", name="By day")).to_be_visible()
    for theme in book.themes():
        accessible(shown)
        book.picture(f"balance-{theme}")

    faults = [{"path": "/workloads/list", "times": None, "lose_answer": True}]
    httpx.post(f"{cloud_in_use.base_url}/_faults", json=faults).raise_for_status()
    expect(shown.get_by_role("alert")).to_contain_text(GONE)
    expect(shown.get_by_role("table", name="Running now")).to_contain_text("A100")
    httpx.delete(f"{cloud_in_use.base_url}/_faults").raise_for_status()
    expect(shown.get_by_role("alert")).to_have_count(0)

    shown.get_by_label("Organization").select_option(label="The team")
    expect(shown.get_by_text(re.compile("No spending in the last 30 days"))).to_be_visible()
    expect(shown.get_by_role("table", name="Running now")).to_have_count(0)
    book.keeps("Credits of team")
    book.save()
    book.reopen()
    expect(book.output(0)).to_contain_text("Credits of team")
    assert "not found" not in book.output(0).inner_text()
