"""What a user does in an hour, in pictures of four modes, and each state that the page shows then once."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ui.notebook import says_once

LOAD = "%load_ext lk_jupyter"


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
    book.take_journey_pictures("five")
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
        book.take_journey_pictures(verb.lower())
        form.get_by_role("button", name=re.compile(rf"^{verb} at [\d.]+ credits")).press("Enter")
        expect(panel.get_by_role("status").filter(has_text="is starting. It costs")).to_be_visible()
    expect(panel.get_by_role("list", name="VMs").get_by_role("listitem")).to_have_count(1)
    expect(panel.get_by_role("list", name="Deployments").get_by_role("listitem")).to_have_count(1)
    book.take_journey_pictures("rented")
    panel.get_by_role("list", name="VMs").get_by_role("button", name=re.compile("Delete")).press("Enter")
    panel.get_by_role("alertdialog").get_by_role("button", name="Delete").press("Enter")
    expect(panel.get_by_text("No VMs.")).to_be_visible()
    panel.get_by_role("list", name="Deployments").get_by_role("button", name=re.compile("Stop")).press("Enter")
    panel.get_by_role("alertdialog").get_by_role("button", name="Stop").press("Enter")
    expect(panel.get_by_text("No deployments.")).to_be_visible()
    panel.get_by_role("button", name="Create a key").press("Enter")
    form = panel.get_by_role("dialog", name="Create a key")
    form.get_by_label("Name").fill("journey")
    book.take_journey_pictures("create")
    with page.expect_response(lambda answer: "rent/keys" in answer.url) as answer:
        form.get_by_role("button", name="Create", exact=True).press("Enter")
    stored = answer.value.json()
    assert Path(stored["path"]).read_text().strip() not in json.dumps(stored)
    row = panel.get_by_role("list", name="Keys").get_by_role("listitem").filter(has_text="journey")
    expect(row).to_have_count(1)
    book.take_journey_pictures("created")
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
    book.take_journey_pictures("credits")
    button.click()
    source = "() => window.jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.source"
    assert page.evaluate(source).startswith("%%lk_run --gpu A100 --timeout 60 --max-cost 0.01\n")
    expect(button).to_have_count(0)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_without_credits_nothing_is_charged_and_the_reason_appears_once(open_notebook, page, make_cloud, accessible):
    empty = make_cloud("--credits", "0")
    sign_in = f"%env LK_BASE_URL={empty.base_url}\n%env LK_API_KEY={empty.api_key}\n{LOAD}"
    book = open_notebook(sign_in, "%%lk_run --gpu A100\nprint('never')", "%lk_balance")
    for cell in range(3):
        book.run(cell)
    book.ended()
    output = book.output(1)
    book.take_journey_pictures("no-credits")
    expect(output).to_contain_text("Nothing was charged. Buy credits:")
    assert len(re.findall("(?i)insufficient credits", output.inner_text())) == 1
    book.says_once(1, "Refused")
    accessible(output)


OWN_DATA = """import numpy as np
from sklearn.linear_model import SGDClassifier

x = np.random.default_rng(0).normal(size=(300, 4))
y = x[:, 0] + x[:, 1] > 0
model = SGDClassifier(random_state=0)"""
OWN_TRAINING = """%%lk_run --gpu A100 --name own
for epoch in range(1, 13):
    model.partial_fit(x[:200], y[:200], classes=[False, True])
    print(f"epoch {epoch}/12 val_acc: {model.score(x[200:], y[200:]):.3f}", flush=True)
best = model.score(x[200:], y[200:])"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_an_own_experiment_is_seen_as_curves_saved_as_a_page_and_continued_with_its_model(
    open_notebook, page, cloud, accessible
):
    book = open_notebook(LOAD, OWN_DATA, OWN_TRAINING, "model.predict(x[:3]).tolist(), best > 0.5")
    panel = open_panel(page)
    for cell in range(3):
        book.run(cell)
    page.get_by_role("button", name="Always in this notebook").wait_for()
    book.take_journey_pictures("own-question")
    page.get_by_role("button", name="Always in this notebook").click()
    book.ended()  # the question returns the focus to its cell
    book.run(3)
    book.ended()
    expect(book.header(2).locator(".lk-run-header-curves path")).to_be_visible()
    expect(book.output(3)).to_contain_text("True)")
    book.says_once(2, "Completed")
    run = panel.get_by_role("list", name="Runs").get_by_role("listitem").filter(has_text="own").first
    expect(run.locator(".lk-run-score")).to_have_text(re.compile(r"^0\.\d+$"))
    accessible(book.output(2))
    accessible(panel)
    book.take_journey_pictures("own")
    run.get_by_role("button").first.click()
    document = page.locator(".lk-document:visible")
    document.get_by_role("tab", name="Curves").click()
    expect(document.locator("canvas")).to_be_visible()
    says_once(page, "Completed")
    accessible(document)
    book.take_journey_pictures("own-curves")
    document.get_by_role("button", name="Add a note").press("Enter")
    expect(document.get_by_role("textbox", name="Note")).to_be_focused()
    page.keyboard.type("best so far")
    accessible(document)
    document.get_by_role("button", name="Save", exact=True).press("Enter")
    expect(document.get_by_role("button", name="Edit the note")).to_be_focused()
    says_once(page, "best so far")
    document.get_by_role("tab", name="Result").click()
    book.take_journey_pictures("own-note")
    with page.expect_download() as download:
        document.get_by_role("button", name="Save as HTML").click()
    saved = Path(download.value.path()).read_text("utf-8")
    assert download.value.suggested_filename.endswith(".html")
    assert "val_acc" in saved
    assert "best so far" in saved
    assert "partial_fit" in saved
    assert cloud.api_key not in saved


@pytest.mark.nightly  # abort: test_lab.py
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
    book.take_journey_pictures("abort")
    output = book.run(2)
    book.ended()
    expect(book.header(2)).to_contain_text("Timeout")
    expect(page.get_by_role("button", name="Add --timeout 4")).to_be_visible()
    says_once(page, "(?<!-)Timeout", cell=2)
    text = output.inner_text()
    assert [len(re.findall(words, text)) for words in ("(?i)(?<!-)time[d ]*out|out of time", "A100")] == [1, 1], text
    expect(page.get_by_role("button", name=re.compile("Notify me"))).to_have_count(0)
    book.take_journey_pictures("timeout")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_session_shows_each_state_once(open_notebook, page):
    sleep = "import time\nprint('begun', flush=True)\ntime.sleep(60)"
    book = open_notebook(
        LOAD,
        f"%%lk_run --session s --gpu A100\n{sleep}",
        "%%lk_run --session s\n1 + 1",
        "%lk_sessions stop s",
        f"%%lk_run --session t --gpu A100 --timeout 8\n{sleep}",
    )
    book.run(0)
    output = book.run(1)
    expect(output).to_contain_text("begun")
    book.interrupt()
    book.ended()
    book.says_once(1, "Aborted", "session s")
    book.take_journey_pictures("session")
    book.run(2)
    book.ended()
    book.says_once(2, "Completed", "session s")
    book.take_journey_pictures("session-again")
    book.run(3)
    book.ended()
    output = book.run(4)
    book.ended()
    says_once(page, "(?<!-)Timeout", cell=4)
    text = output.inner_text()
    states = "(?i)(?<!-)time[d ]*out|out of time|lost"
    assert [len(re.findall(words, text)) for words in (states, "A100")] == [1, 1], text
    book.take_journey_pictures("session-timeout")


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_run_on_a_vm_shows_each_state_once(open_notebook, page, make_cloud, accessible):
    fast = make_cloud("--clock-speed", "50", "--credits", "1000")
    sign_in = f"%env LK_BASE_URL={fast.base_url}\n%env LK_API_KEY={fast.api_key}\n{LOAD}"
    line = "%%lk_run --gpu A100 --on vm --max-cost 9 --timeout 3h --fresh"
    book = open_notebook(sign_in, f"{line}\nprint('on it')", f"{line}\n1 / 0")
    for cell, state in ((1, "Completed"), (2, "Failed")):
        book.run(0)
        book.run(cell)
        book.ended()
        book.says_once(cell, state)
        text = book.output(cell).inner_text()
        assert [len(re.findall(words, text)) for words in ("A100", r"\d credits(?!/h)")] == [1, 1], text
        book.take_journey_pictures(f"vm-{state.lower()}")
        accessible(book.header(cell))
