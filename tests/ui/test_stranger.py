"""Somebody who has not signed in yet, on a server under a prefix, with a journal of many runs and two tabs."""

import time
from dataclasses import replace

import pytest
from patience import PATIENCE
from playwright.sync_api import expect
from serverext.conftest import environment

from lk_jupyter.journal.journal import Journal, JournalEntry
from ui import lab
from ui.notebook import picture

PREFIX = "/user/ada/"
HOSTILE = "<img src=x onerror=alert(1)>\u202e.ipynb"
RUNS = 500


@pytest.fixture
def home(tmp_path, cloud):
    """A home where 500 runs were started, some from a notebook of a hostile name; nobody is signed in."""
    journal = Journal(tmp_path / "journal.sqlite")
    for number in range(RUNS):
        journal.add(
            JournalEntry(
                f"token-{number}",
                cloud.base_url,
                execution_id=f"run-{number}",
                notebook=HOSTILE,
                cell_id="cell",
                code="print(1)",
                request={},
                created_at=time.time() - RUNS + number,
                state="completed",
            )
        )
    journal.close()
    return tmp_path


@pytest.fixture
def forgiven(forgiven):
    """Lab says it of what it asks a server that is stopped."""
    return (*forgiven, "Failed to fetch")


@pytest.mark.timeout(900)
def test_the_panel_is_the_sign_in_and_comes_back_after_a_restart_of_the_server(home, cloud, page, accessible):
    (home / "root").mkdir()
    variables = environment(home, LK_BASE_URL=cloud.base_url, LK_JOURNAL=str(home / "journal.sqlite"))
    prefix = f"--ServerApp.base_url={PREFIX}"
    with lab.running(home / "settings", home / "root", variables, prefix, at=PREFIX) as first:
        page.goto(f"{first.url}lab?token={first.token}&reset")
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        expect(page.locator(".lk-statusbar")).to_contain_text("sign in")
        page.locator(".lk-statusbar").press("Enter")
        panel = page.locator("#lk-jupyter-panel")
        accessible(panel)
        picture(page, "panel-signed-out")
        _sign_in(panel, "lk_" + "wrong" * 8)
        expect(panel.get_by_role("alert").filter(has_text="Nothing was changed")).to_be_visible()
        _sign_in(panel, cloud.api_key)
        panel.get_by_role("button", name="Account", exact=True).click()
        expect(panel.get_by_text("local@localhost")).to_be_visible()
        runs = panel.get_by_role("list", name="Runs").get_by_role("listitem")
        expect(runs.filter(has_text=HOSTILE.partition("\u202e")[0]).first).to_be_visible()
        panel.get_by_role("searchbox", name="Find runs").fill("run-499 completed")
        expect(runs).to_have_count(1)
        other = page.context.new_page()
        other.set_default_timeout(1000 * PATIENCE)
        other.goto(f"{first.url}lab?reset")
        other.locator(".lk-statusbar").filter(has_text="credits").click()
        other.get_by_role("button", name="Account", exact=True).click()
        expect(other.locator("#lk-jupyter-panel").get_by_text("local@localhost")).to_be_visible()
        other.get_by_role("button", name="Sign out").click()
        expect(other.get_by_label("API key for")).to_be_visible()
        other.close()
        expect(panel.get_by_label("API key for")).to_be_visible()
        _sign_in(panel, cloud.api_key)
        expect(panel.get_by_text("local@localhost")).to_be_visible()
    expect(panel.get_by_role("alert").first).to_contain_text("The Jupyter server doesn't answer")
    picture(page, "panel-server-gone")
    with lab.serving(replace(first), home / "settings", variables, prefix):
        expect(panel.get_by_role("alert")).to_have_count(0)
        expect(panel.get_by_text("local@localhost")).to_be_visible()


def _sign_in(panel, key):
    panel.get_by_label("API key for").fill(key)
    panel.get_by_label("API key for").press("Enter")
    expect(panel.get_by_label("API key for").filter(has_text=key)).to_have_count(0)
