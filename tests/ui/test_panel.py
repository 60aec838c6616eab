import gzip
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ui.notebook import SCREENS

ROOT = Path(__file__).parents[2]
LOAD = "%load_ext lk_jupyter"
SECRETS = re.compile(r"lk_[A-Za-z0-9]{8,}|eyJ[\w-]{8,}\.|streaming_url|secret_key|session_token|AKIA\w{8,}")


def test_all_scripts_of_the_lab_together_are_smaller_than_what_may_load_before_first_use():
    scripts = list((ROOT / "lk_jupyter" / "labextension" / "static").glob("*.js"))
    assert 1000 < sum(len(gzip.compress(script.read_bytes())) for script in scripts) < 40_000


@pytest.mark.timeout(300)
def test_a_run_is_seen_from_its_start_to_its_result_beside_the_notebook(open_notebook, page, accessible, tmp_path):
    go_on = tmp_path / "go-on"
    book = open_notebook(
        LOAD,
        f"""%%lk_run --gpu A100
import pathlib, time
print("first line")
while not pathlib.Path({str(go_on)!r}).exists():
    time.sleep(0.05)
print("\\x1b[31mlast line\\x1b[0m")""",
    )
    heard = _record(page)
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel = page.locator("#lk-jupyter-panel")
    expect(panel.get_by_text("Balance", exact=True)).to_be_visible()
    book.run_all()
    run = panel.get_by_role("list", name="Runs").get_by_role("listitem").first
    expect(run).to_contain_text("running · gpu.a100")
    expect(run).to_contain_text("≈")
    run.get_by_role("button").first.click()
    document = page.locator(".lk-document")
    expect(document.get_by_role("region", name="Log")).to_contain_text("first line")
    go_on.touch()
    expect(document.get_by_role("region", name="Log")).to_contain_text("last line")
    expect(document).to_contain_text("completed")
    _pictures(book, page, "run-document", accessible, document)
    document.get_by_role("searchbox").fill("last")
    expect(document.get_by_role("status").first).to_have_text("1 of 1 lines")
    document.get_by_role("tab", name="Log").press("ArrowRight")
    expect(document.get_by_role("tabpanel", name="Metrics")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(document.get_by_role("tabpanel", name="Result")).to_contain_text("Exit code")
    expect(run).to_contain_text("completed")
    expect(document).to_contain_text("import pathlib, time")
    for section in ("Machines", "Storage", "Deployments", "VMs"):
        panel.get_by_role("button", name=section).click()
    expect(panel.get_by_role("list", name="Machines")).to_contain_text("gpu.a100")
    expect(panel).not_to_contain_text("Asking")
    _pictures(book, page, "panel", accessible, panel)
    run.get_by_role("button", name="Go to").click()
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").nth(1)).to_have_class(re.compile("jp-mod-active"))
    assert heard
    assert not [line for line in heard if SECRETS.search(line)]


def _record(page):
    """Gather all that the page sends and gets from now on."""
    heard = []
    page.on("request", lambda asked: heard.append(f"{asked.url} {asked.headers} {asked.post_data or ''}"))

    def keep(answer):
        if "/lk/" in answer.url and "/stream" not in answer.url:
            heard.append(f"{answer.headers} {answer.text()}")

    page.on("response", keep)
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: heard.append(str(frame))))
    return heard


def _pictures(book, page, name, accessible, part):
    for theme in book.themes():
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        page.screenshot(path=SCREENS / f"{name}-{theme}.png")
    accessible(part)


@pytest.mark.timeout(300)
def test_a_cell_runs_on_the_machine_that_the_toolbar_offers_and_the_status_bar_counts(open_notebook, page, accessible):
    book = open_notebook("print('hello from', 6 * 7)")
    status = page.locator(".lk-statusbar")
    expect(status).to_contain_text("credits")
    page.get_by_role("button", name="Run on").click()
    page.get_by_role("menuitemcheckbox").or_(page.get_by_role("menuitem")).filter(has_text="H100").click()
    expect(book.output(0)).to_contain_text("hello from 42")
    expect(book.output(0)).to_contain_text("completed")
    badge = page.locator(".lk-badge:visible")
    expect(badge).to_contain_text("✓ completed · H100 · ")
    accessible(badge)
    badge.click()
    page.get_by_role("menuitem", name="Open the run").click()
    document = page.locator(".lk-document")
    expect(document.get_by_role("region", name="Log")).to_contain_text("hello from 42")
    page.get_by_role("tab", name="notebook.ipynb").click()
    source = "() => window.jupyterapp.shell.currentWidget.content.widgets[0].model.sharedModel.source"
    assert page.evaluate(source).startswith("%%lk_run --machine gpu.h100\nprint(")
    page.locator(".jp-NotebookPanel:visible .cm-line").first.hover(position={"x": 100, "y": 8})
    expect(page.locator(".lk-help")).to_contain_text("Machine profile to run on")
    chosen = "() => window.jupyterapp.shell.currentWidget.model.getMetadata('lk_jupyter').machine"
    assert page.evaluate(chosen) == "gpu.h100"
    accessible(status)
    page.screenshot(path=SCREENS / "toolbar.png")
    page.route("**/lk/**", lambda route: route.fulfill(status=200, content_type="text/html", body="<h1>Proxy</h1>"))
    status.click()
    panel = page.locator("#lk-jupyter-panel")
    expect(panel.get_by_role("alert").first).to_contain_text("text/html")
    expect(status).to_contain_text("out of reach")
    page.unroute("**/lk/**")
    panel.get_by_role("button", name="Try again").click()
    expect(panel.get_by_role("button", name="Try again")).to_be_hidden()
    expect(status).to_contain_text("credits")
    _tell(page, "revoked", "The server does not accept your key any more. Sign in again.")
    expect(panel.get_by_label("API key for")).to_be_visible()
    expect(panel).to_contain_text("does not accept your key")
    accessible(panel)
    page.screenshot(path=SCREENS / "panel-revoked.png")


def _tell(page, state, detail):
    """Have every operation of the API answered as for a key that was revoked."""
    page.route("**/lk/api/**", lambda route: route.fulfill(status=424, json={"state": state, "detail": detail}))
