"""What a user does in an hour, in pictures of four modes, and each state that the page shows then once."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ui.notebook import SCREENS, WANTED, says_once

LOAD = "%load_ext lk_jupyter"
#: Looks of the page: name → theme, width in pixels, whether the system has its own colors.
MODES = {
    "light": ("light", 1280, "none"),
    "dark": ("dark", 1280, "none"),
    "narrow": ("light", 1000, "none"),
    "contrast": ("light", 1280, "active"),
}


def pictures(book, page, name):
    """Take a picture of the page in each mode, where pictures are requested."""
    for mode, (theme, width, colors) in MODES.items() if WANTED else ():
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(forced_colors=colors)
        book._show_in(theme)
        page.locator("#jupyterlab-splash").wait_for(state="detached")
        page.screenshot(path=SCREENS / f"journey-{name}-{mode}.png")
    page.emulate_media(forced_colors="none")
    page.set_viewport_size({"width": 1280, "height": 900})
    if WANTED:
        book._show_in("light")


def open_panel(page):
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel = page.locator("#lk-jupyter-panel")
    expect(panel.get_by_text("Balance", exact=True)).to_be_visible()
    return panel


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_five_runs_at_once_count_in_the_burn_rate_and_are_grouped_by_cell(open_notebook, page, accessible, tmp_path):
    go = tmp_path / "go"
    code = "import pathlib, time\nprint('training with a long call', 5)\n"
    wait = f"{code}while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)"
    cells = [f"%%lk_run --gpu A100 --detach --fresh\n{wait}" for _ in range(4)]
    book = open_notebook(LOAD, f"%%lk_run --gpu A100 --detach --fresh --name fifth\n{wait}", *cells)
    panel = open_panel(page)
    book.run_all()
    expect(panel).to_contain_text("7.95 credits/h")
    says_once(page, r"7\.95 credits/h")
    runs = panel.get_by_role("list", name="Runs")
    expect(runs.get_by_role("listitem").filter(has_text="running, A100")).to_have_count(5)
    expect(runs).to_contain_text("notebook.ipynb")
    expect(runs).to_contain_text("[6] print(…)")
    expect(runs).to_contain_text("[2] fifth")
    accessible(panel)
    pictures(book, page, "five")
    go.touch()
    book.ended()
    expect(runs.get_by_role("listitem").filter(has_text="running, A100")).to_have_count(0)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_vm_a_deployment_and_a_key_are_started_and_ended_by_clicks(open_notebook, page, cloud, accessible):
    book = open_notebook("")
    panel = open_panel(page)
    panel.get_by_role("button", name="Runs", exact=True).click()
    for section in ("Deployments", "VMs", "Keys"):
        panel.get_by_role("button", name=section, exact=True).click()
    for title, price, verb in (("Rent a VM", "1.59", "Rent"), ("Deploy a model", None, "Deploy")):
        panel.get_by_role("button", name=title).press("Enter")
        form = panel.get_by_role("dialog", name=title)
        offer = form.get_by_label("Offer")
        expect(offer).to_be_focused()
        if price:
            offer.select_option(label=f"A100 · {price} credits/h")
        expect(form).to_contain_text("costs credits until you")
        accessible(panel)
        pictures(book, page, verb.lower())
        form.get_by_role("button", name=re.compile(rf"^{verb} at [\d.]+ credits")).press("Enter")
        expect(panel.get_by_role("status").filter(has_text="starts. It costs")).to_be_visible()
    expect(panel.get_by_role("list", name="VMs").get_by_role("listitem")).to_have_count(1)
    expect(panel.get_by_role("list", name="Deployments").get_by_role("listitem")).to_have_count(1)
    pictures(book, page, "rented")
    panel.get_by_role("list", name="VMs").get_by_role("button", name=re.compile("Delete")).press("Enter")
    panel.get_by_role("alertdialog").get_by_role("button", name="Delete").press("Enter")
    expect(panel.get_by_text("No VMs.")).to_be_visible()
    panel.get_by_role("list", name="Deployments").get_by_role("button", name=re.compile("Stop")).press("Enter")
    panel.get_by_role("alertdialog").get_by_role("button", name="Stop").press("Enter")
    expect(panel.get_by_text("No deployments.")).to_be_visible()
    panel.get_by_role("button", name="Create a key").press("Enter")
    form = panel.get_by_role("dialog", name="Create a key")
    form.get_by_label("Name").fill("journey")
    pictures(book, page, "create")
    with page.expect_response(lambda answer: "rent/keys" in answer.url) as answer:
        form.get_by_role("button", name="Create", exact=True).press("Enter")
    stored = answer.value.json()
    assert Path(stored["path"]).read_text().strip() not in json.dumps(stored)
    row = panel.get_by_role("list", name="Keys").get_by_role("listitem").filter(has_text="journey")
    expect(row).to_have_count(1)
    pictures(book, page, "created")
    row.get_by_role("button", name="Revoke the key journey").press("Enter")
    panel.get_by_role("alertdialog").get_by_role("button", name="Revoke").press("Enter")
    expect(row).to_have_count(0)
    for section in ("Deployments", "VMs", "Keys", "Runs"):
        panel.get_by_role("button", name=section, exact=True).click()


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_low_balance_is_a_warning_whose_button_limits_the_cost(open_notebook, page, make_cloud, accessible):
    poor = make_cloud("--credits", "0.01")
    sign_in = f"%env LK_BASE_URL={poor.base_url}\n%env LK_API_KEY={poor.api_key}\n{LOAD}"
    book = open_notebook(sign_in, "%%lk_run --gpu A100 --timeout 60\nprint('cheap')")
    book.run_all()
    book.ended()
    warning = book.output(1).locator(".lk-run-header-warning")
    expect(warning).to_have_count(1)
    expect(warning).to_contain_text(" credits left, ")
    expect(warning.locator("svg")).to_be_visible()
    button = page.get_by_role("button", name="Limit to 0.01")
    accessible(book.output(1))
    pictures(book, page, "credits")
    button.click()
    source = "() => window.jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.source"
    assert page.evaluate(source).startswith("%%lk_run --gpu A100 --timeout 60 --max-cost 0.01\n")
    expect(button).to_have_count(0)


@pytest.mark.timeout(900)
def test_an_abort_and_a_timeout_show_each_state_once_and_offer_no_notification_afterwards(open_notebook, page):
    sleep = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
    book = open_notebook(
        LOAD, f"%%lk_run --gpu A100 --fresh\n{sleep}", f"%%lk_run --gpu A100 --fresh --timeout 2\n{sleep}"
    )
    panel = open_panel(page)
    book.run(0)
    book.ended()
    output = book.run(1)
    expect(output).to_contain_text("begun")
    expect(panel.get_by_role("listitem").filter(has_text="running, A100")).to_have_count(1)
    book.interrupt()
    book.ended()
    expect(book.header(1)).to_contain_text("Aborted")
    expect(output).to_contain_text("KeyboardInterrupt: You stopped this run.")
    text = output.inner_text()
    assert [len(re.findall(words, text)) for words in ("(?i)aborted", "A100", r"\d credits(?!/h)")] == [1, 1, 1]
    expect(panel.get_by_role("listitem").filter(has_text="aborted, A100").first).to_be_visible()
    says_once(page, "Aborted", cell=1)
    pictures(book, page, "abort")
    output = book.run(2)
    book.ended()
    expect(book.header(2)).to_contain_text("Timeout")
    expect(page.get_by_role("button", name="Add --timeout 4")).to_be_visible()
    says_once(page, "(?<!-)Timeout", cell=2)
    text = output.inner_text()
    assert [len(re.findall(words, text)) for words in ("(?i)(?<!-)time[d ]*out|out of time", "A100")] == [1, 1], text
    expect(page.get_by_role("button", name=re.compile("Notify me"))).to_have_count(0)
    pictures(book, page, "timeout")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_session_shows_each_state_once(open_notebook, page):
    sleep = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
    book = open_notebook(
        LOAD, f"%%lk_run --session s --gpu A100\n{sleep}", "%%lk_run --session s\n1 + 1", "%lk_sessions stop s"
    )
    book.run(0)
    output = book.run(1)
    expect(output).to_contain_text("begun")
    book.interrupt()
    book.ended()
    book.says_once(1, "Aborted", "session s")
    pictures(book, page, "session")
    book.run(2)
    book.ended()
    book.says_once(2, "Completed", "session s")
    pictures(book, page, "session-again")
    book.run(3)
    book.ended()
