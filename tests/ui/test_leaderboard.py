"""A sweep is a leaderboard: live curves, the best run first, and buttons that go on with a run."""

import re

import pytest
from playwright.sync_api import expect

SWEEP = """%%lk_run --gpu A100,L40S,H100 --sweep lr=0.3,0.1,0.01 --metric val_acc
import math, pathlib, time
best = 0.0
for epoch in range(1, 31):
    loss = 2.3 * math.exp(-lr * epoch / 2) + lr * 0.4 + 0.02 * math.sin(epoch * 7)
    best = 1 - loss / 2.5
    print(f"epoch {epoch}/30 - loss: {loss:.4f} - val_acc: {best:.4f}", flush=True)
    while epoch == 20 and not pathlib.Path({go!r}).exists():
        time.sleep(0.05)
    time.sleep(0.01)"""


#: The buttons of the leaderboard that its box cuts, and the pixels by which the table is wider than the box.
CUT = """() => {
    const box = document.querySelector('.lk-board .lk-scroll');
    const { left, right } = box.getBoundingClientRect();
    const isCut = one => one.left < left - 1 || one.right > right + 1;
    const cut = [...box.querySelectorAll('button')].filter(one => isCut(one.getBoundingClientRect()));
    const wide = box.scrollWidth - box.clientWidth;
    return [...cut.map(one => one.outerHTML), ...(wide > 0 ? [wide] : [])];
}"""


#: Theme → color of the lines behind the plots.
GRIDS = {"light": [226, 226, 226], "dark": [61, 61, 61]}

#: Whether the first plot has at least 100 pixels of a color.
HAS_COLOR = """([canvas, color]) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) count += color.every((part, n) => data[at + n] === part);
    return count > 100;
}"""


def expect_grid(output, color):
    """Wait until the first plot has lines of this color."""
    canvas = output.locator(".lk-board canvas").first.element_handle()
    output.page.wait_for_function(HAS_COLOR, arg=[canvas, color], timeout=20_000)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_sweep_ranks_its_runs_while_they_run_and_the_best_is_used_by_a_click(
    open_notebook, page, accessible, tmp_path
):
    go = tmp_path / "go"
    book = open_notebook("%load_ext lk_jupyter", SWEEP.replace("{go!r}", repr(str(go))), "best, type(best)")
    book.command("application:toggle-left-area")
    book.run(0)
    book.run(1)
    rows = book.output(1).locator(".lk-board tbody tr")
    expect(rows).to_have_count(9)
    expect(rows.first).to_contain_text("Running")
    expect(book.output(1).locator(".lk-board .lk-panels canvas").first).to_be_visible()
    expect(book.output(1).locator(".lk-board-value path").nth(8)).to_be_attached()
    book.take_journey_pictures("sweep-live")
    for theme in book.themes():
        expect_grid(book.output(1), GRIDS[theme])
    expect_grid(book.output(1), GRIDS["light"])
    accessible(book.output(1))
    go.touch()
    book.ended()
    expect(rows.filter(has_text="Completed")).to_have_count(9)
    expect(rows.first).to_contain_text("best")
    book.take_journey_pictures("sweep")
    heading = book.output(1).get_by_role("button", name="Cost")
    heading.focus()
    heading.press("Enter")
    expect(book.output(1).get_by_role("columnheader", name="Cost")).to_have_attribute("aria-sort", "ascending")
    book.page.set_viewport_size({"width": 1000, "height": 900})
    heights = {round(row.bounding_box()["height"]) for row in rows.all()}
    assert max(heights) < 40, heights  # no row wraps
    assert page.evaluate(CUT) == []
    book.page.set_viewport_size({"width": 1280, "height": 900})
    rows.filter(has_text="best").get_by_role("button", name="Use this run").click()
    expect(book.output(2)).to_contain_text(re.compile("Completed|Set"))
    book.ended()
    book.take_journey_pictures("sweep-used")


SHORT = """%%lk_run --gpu A100 --sweep lr=0.3,0.2,0.1 --timeout 60
import pathlib, time
for step in range(1, 6):
    print(f"step {step} loss: {1 / step / lr:.4f}", flush=True)
while not pathlib.Path({go!r}).exists():
    time.sleep(0.05)"""


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_all_but_the_best_are_stopped_and_a_run_is_repeated_with_twice_the_time(open_notebook, page, tmp_path):
    go = tmp_path / "go"
    book = open_notebook("%load_ext lk_jupyter", SHORT.replace("{go!r}", repr(str(go))))
    book.run(0)
    book.run(1)
    board = book.output(1).locator(".lk-board")
    rows = board.locator("tbody tr")
    expect(board.locator(".lk-board-value path")).to_have_count(3)
    board.get_by_role("button", name="Stop all runs except the best run").click()
    question = board.get_by_role("alertdialog")
    expect(question).to_contain_text("Stop 2 runs and keep run 1 lr=0.3?")
    question.get_by_role("button", name="Stop 2 runs").click()
    expect(rows.filter(has_text="Aborted")).to_have_count(2)
    expect(rows.filter(has_text="Running")).to_have_count(1)
    go.touch()
    book.ended()
    expect(rows.first).to_contain_text("Completed")
    board.get_by_role("button", name="Rerun 2 lr=0.2 longer (limit 2 min").click()
    book.ended()
    book.says_once(2, "Completed")
    source = "() => window.jupyterapp.shell.currentWidget.content.widgets[2].model.sharedModel.source"
    assert re.fullmatch(r"%lk_rerun \S+ --timeout 120", page.evaluate(source))
