"""Runs as one watches them in Lab: their metrics, their log, and the buttons that end them."""

import re

import pytest
from playwright.sync_api import expect

LAST = re.compile(r"last .*, min .*, max .* %")
HOSTILE = "<img src=x onerror=alert(1)>"

START = """import os
os.environ["LK_BASE_URL"], os.environ["LK_API_KEY"] = {base_url!r}, {api_key!r}
import lk_jupyter
from lk_jupyter.widgets import RunMetrics, Runs, RunView
code = '''import time
print({hostile!r}, flush=True)
for line in range(3000):
    print("line", line, flush=True)
while True:
    sum(range(10**5)); time.sleep(.05)'''
run = lk_jupyter.connect().run(code, gpu="A100", timeout=600)"""


@pytest.fixture
def watched(make_cloud, open_notebook):
    """A cloud with a fault switch, and a notebook whose first cell starts a run there."""
    cloud = make_cloud("--faults", "--simulate-gpu")
    faults = f"{cloud.base_url}/_faults"
    cloud.pull = lambda path: cloud.http.post(faults, json={"path": path, "status": 503, "times": None})
    cloud.give_back = lambda: cloud.http.delete(faults)
    start = START.format(base_url=cloud.base_url, api_key=cloud.api_key, hostile=HOSTILE)
    return cloud, lambda *cells: open_notebook(start, *cells)


@pytest.mark.nightly  # by parts: RunCard.test.tsx, tests/widgets/test_run_view.py
@pytest.mark.timeout(900)
def test_a_run_is_watched_let_go_stopped_and_leaves_its_last_state(watched, accessible):
    cloud, notebook = watched
    book = notebook("plots = RunMetrics(run)\nplots", "RunView(run)", "run.wait()", "plots.df.columns[0]", "Runs()")
    book.run(0)
    plots, view = book.run(1), book.run(2)
    expect(plots.get_by_role("img", name="CPU")).to_have_attribute("aria-label", LAST)
    expect(plots.get_by_role("list", name="Mean and peak")).to_have_css("list-style-type", "none")
    accessible(plots)
    zooms_by_key(plots)
    expect(view.get_by_text("3,001 lines")).to_be_visible()
    searches(view)
    accessible(view)
    book.pictures("run-view")
    waiting = book.run(3)
    view.get_by_role("button", name="Detach").click()
    expect(waiting).to_contain_text("is still active in the background")
    recovers(cloud, view)
    table = book.run(5)
    looks_around(table)
    accessible(table)
    book.pictures("runs")
    view.get_by_role("button", name="Abort the run").click()
    expect(view.locator(".lk-run-header").get_by_role("status")).to_have_text("Aborted")
    expect(book.run(4)).to_contain_text("gpu_utilization")
    book.save()
    book.reopen()
    expect(book.output(2)).to_contain_text("■ aborted")
    expect(book.output(2)).to_contain_text("line 2999")
    expect(book.output(1)).to_contain_text("GPU power")
    expect(book.output(1).locator("svg").first).to_be_visible()
    expect(book.output(5)).to_contain_text("gpu.a100")
    assert "not found" not in "".join(book.output(cell).inner_text() for cell in (1, 2, 5))
    book.picture("run-view-reopened")


def zooms_by_key(plots):
    group = plots.get_by_role("group", name="Plots")
    group.press("+")
    expect(plots.get_by_role("button", name="Entire run")).to_be_enabled()
    group.press("0")
    expect(plots.get_by_role("button", name="Entire run")).to_be_disabled()


def searches(view):
    field = view.get_by_role("searchbox", name="Search the log")
    field.fill("LINE 2999")
    expect(view.get_by_text("1 of 3,001 lines")).to_be_visible()
    expect(view.locator("mark")).to_have_text("line 2999")
    field.fill("onerror")
    expect(view.get_by_role("log")).to_contain_text(HOSTILE)
    expect(view.get_by_role("log").locator("img")).to_have_count(0)
    field.fill("")


def looks_around(table):
    table.get_by_role("searchbox", name="Filter").fill("no such run")
    expect(table.get_by_text(re.compile(r"^0 of \d+$"))).to_be_visible()
    table.get_by_role("searchbox", name="Filter").fill("running a100")
    table.get_by_role("button", name="Open run").click()
    expect(table.get_by_text("3,001 lines")).to_be_visible()
    table.get_by_role("button", name="Abort run").click()
    table.get_by_role("button", name="Cancel", exact=True).click()


def recovers(cloud, view):
    cloud.pull("/execution/")
    expect(view.get_by_role("alert")).to_be_visible()
    cloud.give_back()
    expect(view.get_by_role("alert")).to_have_count(0)
