"""The cloud as a part of Jupyter Notebook 7, as far as it has the places."""

import re

import nbformat
import pytest
from playwright.sync_api import expect

from ui import lab
from ui.beside import NOTEBOOK
from ui.notebook import OpenNotebook, allow_untrusted, picture, run_on, write
from ui.test_saved_widgets import HOSTILE_BOOK, requests  # noqa: F401 (a fixture)

PROGRAM = ("notebook", "--JupyterNotebookApp.expose_app_in_browser=True")


@pytest.fixture
def forgiven(forgiven):
    """Notebook has a fault of its own when it starts, without our extension too."""
    return (*forgiven, "Cannot read properties of undefined (reading 'schema')")


@pytest.fixture
def notebook(cloud, tmp_path):
    """A server of Notebook 7 with an open notebook in its folder."""
    settings, root = tmp_path / "settings", tmp_path / "notebooks"
    root.mkdir()
    write(root / "notebook.ipynb", "print('hello from', 6 * 7)")
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(settings / "journal")}
    with lab.running(settings, root, {**signed_in, **NOTEBOOK.variables}, program=PROGRAM) as running:
        yield running


@pytest.mark.nightly  # as in Lab
@pytest.mark.timeout(900)
def test_a_cell_runs_on_a_machine_and_the_panel_shows_the_run(notebook, page, accessible):
    page.goto(f"{notebook.url}/notebooks/notebook.ipynb?token={notebook.token}")
    run_on(page, "H100")
    allow_untrusted(page)
    output = page.locator(".jp-Cell-outputArea").nth(1)  # the first loads the extension
    expect(output).to_contain_text("hello from 42")
    header = output.locator(".lk-run-header")
    expect(header).to_contain_text("CompletedH100")
    page.get_by_role("menuitem", name="View", exact=True).click()
    menu = page.locator(".lm-Menu")
    menu.get_by_text("Left Sidebar").click()
    menu.get_by_text("Show GPU cloud").click()
    panel = page.locator("#lk-jupyter-panel")
    run = panel.get_by_role("list", name="Runs").get_by_role("listitem").first
    expect(run).to_contain_text("completed, H100")
    accessible(panel)
    header.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Open the run").click()
    document = page.locator(".lk-document")
    log = document.get_by_role("log", name="Log")
    expect(log).to_contain_text("hello from 42")
    expect(log.get_by_text("hello from 42")).to_be_in_viewport()
    picture(page, "notebook7")
    run.get_by_role("button", name="Go to").click()
    expect(page.locator(".jp-Cell").nth(1)).to_have_class(re.compile("jp-mod-active"))


@pytest.mark.nightly  # as in Lab
@pytest.mark.timeout(900)
def test_a_received_notebook_runs_no_code_of_its_widgets_before_it_is_trusted(notebook, page, requests, accessible):  # noqa: F811
    nbformat.write(HOSTILE_BOOK, notebook.root / "received.ipynb")
    page.goto(f"{notebook.url}/notebooks/received.ipynb?token={notebook.token}")
    notice = page.get_by_role("region", name="Blocked widgets")
    expect(notice).to_be_visible()
    accessible(notice)
    book = OpenNotebook(page)
    book.pictures("notebook7-saved-widgets-blocked")
    notice.get_by_role("button", name="Trust…").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Cancel").click()
    expect(notice).to_be_visible()
    assert not requests
    assert not (notebook.root / "WRITTEN.txt").exists()
    notice.get_by_role("button", name="Trust…").click()
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(book.output(0)).to_contain_text("drawn by the notebook")
    expect(notice).to_have_count(0)
    assert [request.partition(" ")[0] for request in requests] == ["PUT", "POST"]
