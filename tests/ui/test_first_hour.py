"""What somebody sees who opens Lab for the first time."""

import json
import re

import pytest
from playwright.sync_api import expect

from ui import lab, notebook

#: What the tile's picture is drawn in.
COLOR = "#0f7fd6"


#: The cells of the quickstart that load the extension and train; test_notebooks.py executes all.
FIRST_RUN = (1, 2)

#: The number of the first cell that has the header of a run.
CELL_OF_A_RUN = "cells => cells.findIndex(cell => cell.querySelector('.lk-run-header'))"


@pytest.mark.nightly  # its notebook: tests/test_notebooks.py
@pytest.mark.timeout(900)
def test_the_launcher_has_a_tile_of_its_own_that_opens_the_quickstart(running_lab, page):
    quickstart = running_lab.root / "quickstart.ipynb"
    quickstart.unlink(missing_ok=True)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{running_lab.url}/lab?token={running_lab.token}&reset")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    tile = page.locator(".jp-LauncherCard[data-category='GPU cloud']", has_text="GPU cloud")
    expect(tile).to_be_visible()
    assert COLOR in tile.locator("svg").inner_html()
    headings = page.locator(".jp-Launcher-sectionTitle").all_inner_texts()
    in_order = page.evaluate("window.jupyterapp.version >= '4.3'")  # before, what is Lab's own came first
    assert not in_order or headings.index("GPU cloud") < headings.index("Other")
    assert 20_000 < sum(lab.loaded(asked)) < 40_000  # the rest is loaded at first use
    assert not [url for url in asked if "/lk/storage" in url]  # nor is the bucket asked for
    book = notebook.OpenNotebook(page)
    book.take_journey_pictures("launcher")
    tile.click()
    page.wait_for_function(notebook.KERNEL_IS_READY, polling=notebook.LOOK)
    expect(page.locator(".jp-NotebookPanel:visible")).to_contain_text("Quickstart")
    expect(page.locator("#lk-jupyter-panel")).to_be_visible()
    for cell in FIRST_RUN:
        book.run(cell)
    book.ended()
    expect(page.locator(".jp-NotebookPanel:visible")).to_contain_text("epoch 8/8")
    at = page.locator(".jp-NotebookPanel:visible .jp-Cell").evaluate_all(CELL_OF_A_RUN)
    book.says_once(at, "Completed")
    balance = page.locator("#lk-jupyter-panel dt:text-is('Balance') + dd")
    notebook.says_once(page, re.escape(balance.inner_text()), "Local cloud, no GPU")
    book.take_journey_pictures("first-screen")
    kept = json.loads(quickstart.read_text())
    quickstart.write_text(json.dumps(kept | {"cells": kept["cells"][:1]}))
    book.leave()
    running_lab.end_kernels()

    page.locator(".jp-LauncherCard[data-category='GPU cloud']", has_text="GPU cloud").click()
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell")).to_have_count(1)  # what is there is not written over
    page.wait_for_function(notebook.KERNEL_IS_CONNECTED, polling=notebook.LOOK)
    page.close()
    running_lab.end_kernels()


def source_of(book, cell):
    script = "at => window.jupyterapp.shell.currentWidget.content.widgets[at].model.sharedModel.source"
    return book.page.evaluate(script, cell)


@pytest.mark.timeout(900)
def test_a_run_fails_says_why_once_and_the_button_of_its_hint_mends_the_cell(open_notebook, page, accessible):
    book = open_notebook("%load_ext lk_jupyter", "y = 3", "%%lk_run --gpu A100 --fresh\nprint(y)")
    for cell in range(3):
        book.run(cell)
    book.ended()
    book.says_once(2, "Failed", "name 'y' is not defined")
    expect(book.output(2)).to_contain_text("RunFailed")
    hint = book.output(2).get_by_role("note")
    expect(hint).to_have_text("Hint: A fresh process doesn't have the notebook's variable 'y'. Send it: --sync.")
    expect(book.output(2).locator(".jp-OutputArea-output").last).to_contain_text("Hint")
    button = page.get_by_role("button", name="Add --sync")
    expect(button).to_be_visible()
    accessible(page.locator(".lk-hints:visible"))
    book.pictures("hint")
    button.click()
    expect(button).to_have_count(0)
    assert source_of(book, 2) == "%%lk_run --gpu A100 --sync\nprint(y)"
    book.run(2)
    book.ended()
    book.says_once(2, "Completed")
    expect(page.locator(".lk-hints:visible")).to_have_count(0)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_reopened_notebook_offers_to_load_the_extension(open_notebook, page):
    book = open_notebook("x = 1", "%%lk_run --gpu A100\nprint('back again')")
    book.run(1)
    book.ended()
    expect(book.output(1)).to_contain_text("Cell magic `%%lk_run` not found")
    book.pictures("not-loaded")
    page.get_by_role("button", name="Load lk_jupyter and run the cell").click()
    expect(book.output(2)).to_contain_text("Completed")
    assert source_of(book, 0) == "%load_ext lk_jupyter"
    expect(page.locator(".lk-hints:visible")).to_have_count(0)


@pytest.mark.nightly  # with it loaded: test_panel.py
@pytest.mark.timeout(900)
def test_run_on_writes_the_cell_that_loads_the_extension_once(open_notebook, page):
    book = open_notebook("print('over there')")
    button = page.locator(".jp-NotebookPanel:visible .lk-run-on")
    expect(button).to_have_text("Run on")
    expect(button).to_have_attribute("aria-haspopup", "menu")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(button).to_be_focused()
    for _ in range(2):
        notebook.run_on(page, "A100")
        expect(button).to_have_text("A100 · 1.59 credits/h")
        book.says_once(1, "Completed")
        notebook.says_once(page, r"\d+\.\d+ credits(?!/h)", cell=0)  # what is left, in the status bar
    assert source_of(book, 0) == "%load_ext lk_jupyter"
    assert source_of(book, 1) == "%%lk_run --gpu A100\nprint('over there')"
    assert page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.length") == 2


@pytest.mark.nightly  # by a run: test_panel.py
@pytest.mark.timeout(900)
def test_a_machine_is_chosen_without_running_a_cell_and_is_the_machine_of_lines_without_one(open_notebook, page):
    book = open_notebook("print('local')", "%load_ext lk_jupyter", "%%lk_run\nprint('on it')")
    button = page.locator(".jp-NotebookPanel:visible .lk-run-on")
    button.click()
    page.locator(".lm-Menu-item").filter(has_text="Choose a machine for the notebook").hover()
    choices = page.locator(".lm-Menu").nth(1)
    choices.locator(".lm-Menu-item").filter(has_text="A100").wait_for()
    book.picture("choose-machine")
    choices.locator(".lm-Menu-item").filter(has_text="A100").click()
    expect(button).to_have_text("A100 · 1.59 credits/h")
    assert source_of(book, 0) == "print('local')"
    expect(book.output(0)).to_be_empty()
    metadata = "() => window.jupyterapp.shell.currentWidget.content.model.getMetadata('lk_jupyter')"
    assert page.evaluate(metadata) == {"machine": "gpu.a100"}
    book.run(1)
    book.run(2)
    book.ended()
    book.says_once(2, "Completed")
    expect(book.output(2)).to_contain_text("A100")
    assert source_of(book, 2) == "%%lk_run\nprint('on it')"


#: The cells of a newcomer: own data, a model that is trained in a run, and an experiment that is interrupted.
OWN_DATA = """import pandas as pd
from sklearn.linear_model import LogisticRegression

df = pd.DataFrame({"hours": range(40), "passed": [hour > 17 for hour in range(40)]})
model = LogisticRegression()
scores, best = [], None"""
OWN_MODEL = """%%lk_run --gpu A100
model.fit(df[["hours"]], df["passed"])
df["chance"] = model.predict_proba(df[["hours"]])[:, 1].round(3)
print("accuracy", model.score(df[["hours"]], df["passed"]))"""
EXPERIMENT = """%%lk_run --gpu A100
import time

for step in range(len(scores), len(scores) + 600):
    scores.append(1 / (step + 1))
    best = min(scores)
    print(f"Step {step + 1} of 600: {best:.4f}")
    time.sleep(0.1)"""


@pytest.mark.nightly  # by parts: the question in test_sync_question.py, the interrupt in tests/magics
@pytest.mark.timeout(900)
def test_a_newcomers_own_frame_own_model_and_half_done_experiment_need_no_option(open_notebook, page, accessible):
    book = open_notebook(
        "%load_ext lk_jupyter",
        "%%lk_run --gpu A100\nprint('Hello from the cloud')",
        OWN_DATA,
        OWN_MODEL,
        "df.tail(3)",
        EXPERIMENT,
        "len(scores) > 3, best == scores[-1]",
        "%%lk_run --gpu A100\nprint('continues at', len(scores) > 3, best == scores[-1])",
    )
    book.run(0)
    book.run(1)
    book.ended()
    book.says_once(1, "Completed")
    book.picture("hour-1-first-cell")
    book.run(2)
    book.run(3)
    page.get_by_role("button", name="Always in this notebook").wait_for()
    book.picture("hour-2-question")
    page.get_by_role("button", name="Always in this notebook").click()
    book.run(4)
    book.ended()
    expect(book.output(3)).to_contain_text("accuracy")
    expect(book.output(4)).to_contain_text("chance")
    book.picture("hour-3-own-frame-and-model")
    book.run(5)
    expect(book.output(5)).to_contain_text("Step 5 of 600")
    book.picture("hour-4-experiment")
    book.interrupt()
    book.ended()
    book.picture("hour-5-interrupted")
    book.run(6)
    book.run(7)
    book.ended()
    expect(book.output(6)).to_contain_text("(True, True)")
    expect(book.output(7)).to_contain_text("continues at True True")
    book.picture("hour-6-continued")
