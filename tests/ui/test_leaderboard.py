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
