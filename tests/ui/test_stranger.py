"""Somebody who has not signed in yet, on a server under a prefix, with a journal of many runs and two organizations."""

import os
import time
from dataclasses import replace

import pytest
from playwright.sync_api import expect
from serverext.conftest import environment

from lk_jupyter.api.orgs import OrgCreate
from lk_jupyter.journal.journal import Journal, JournalEntry
from ui import lab
from ui.notebook import KERNEL_IS_READY, OpenNotebook, picture, write

PREFIX = "/user/ada/"
HOSTILE = "<img src=x onerror=alert(1)>\u202e.ipynb"
RUNS = 500

#: Milliseconds until Lab shows a sign-in: a second on a quiet machine, as in the nightly set; more beside other tests.
LIMIT = 1000 if "LK_NIGHTLY" in os.environ else 5000


@pytest.fixture
def cloud(make_cloud):
    """A cloud whose user has two organizations, with a folder in the bucket of the first."""
    cloud = make_cloud()
    cloud.http.post("storage/upload", params={"key": "data/mine.txt"}, files={"file": b"mine"}).raise_for_status()
    cloud.client.orgs.create(OrgCreate(name="The team", slug="team"))
    return cloud


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
def test_the_status_bar_shows_the_sign_in_and_the_sign_out_of_a_kernel_within_a_second(tmp_path, page):
    (tmp_path / "root").mkdir()
    cells = ("%load_ext lk_jupyter", "%lk_login --local", "%lk_logout")
    write(tmp_path / "root" / "first.ipynb", *cells)
    with lab.running(tmp_path / "settings", tmp_path / "root", environment(tmp_path)) as first:
        try:
            page.goto(f"{first.url}/lab/tree/first.ipynb?token={first.token}&reset")
            page.wait_for_function(KERNEL_IS_READY)
            book = OpenNotebook(page)
            status_bar = page.locator(".lk-statusbar")
            expect(status_bar).to_contain_text("sign in")
            for cell, text in ((0, "sign in"), (1, "Local user · "), (2, "sign in")):
                book.run(cell)
                book.ended()
                expect(status_bar).to_contain_text(text, timeout=LIMIT)
        finally:
            response = first.http.delete("/lk/local")
            assert response.status_code == 200, response.text


@pytest.mark.nightly  # test_widgets.py, tests/serverext/test_account.py
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
        _in_another_organization(page, panel)
        first.http.post("lk/signout").raise_for_status()  # as another page does
        expect(panel.get_by_label("API key for")).to_be_visible()
        _sign_in(panel, cloud.api_key)
        expect(panel.get_by_text("local@localhost")).to_be_visible()
    expect(panel.get_by_role("alert").first).to_contain_text("The Jupyter server doesn't answer")
    picture(page, "panel-server-gone")
    with lab.serving(replace(first), home / "settings", variables, prefix):
        expect(panel.get_by_role("alert")).to_have_count(0)
        expect(panel.get_by_text("local@localhost")).to_be_visible()


def _in_another_organization(page, panel):
    """Change to the other organization, whose bucket is empty, and back; then the panel is in view."""
    page.get_by_title("Bucket of the GPU cloud").click()
    files = page.locator("#lk-jupyter-bucket .jp-DirListing-item")
    files.filter(has_text="data").dblclick()
    expect(files).to_contain_text(["mine.txt"])
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel.get_by_label("Organization").select_option(label="The team")
    expect(page.locator(".lk-statusbar")).to_contain_text("The team")
    page.get_by_title("Bucket of the GPU cloud").click()
    expect(page.get_by_text("No files. Drop files here, or click Upload.")).to_be_visible()
    expect(files).to_have_count(0)
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel.get_by_label("Organization").select_option(label="Local user")
    expect(page.locator(".lk-statusbar")).not_to_contain_text("The team")
    panel.get_by_role("button", name="Storage", exact=True).click()
    panel.get_by_role("button", name="Open the bucket").click()
    expect(files).to_contain_text(["data"])
    page.get_by_role("tab", name="GPU cloud", exact=True).click()


def _sign_in(panel, key):
    panel.get_by_label("API key for").fill(key)
    panel.get_by_label("API key for").press("Enter")
    expect(panel.get_by_label("API key for").filter(has_text=key)).to_have_count(0)
