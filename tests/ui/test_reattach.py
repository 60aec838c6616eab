"""A run outlives the page and the kernel that started it, and its log continues where a page shows it again."""

import os
import random

import pytest
from playwright.sync_api import expect

LINES = 150
#: Reloads, and how many during one run: the time limit of a run is 600 s.
RELOADS, RUN_RELOADS = int(os.environ.get("LK_RELOADS", "50")), 10

#: Prints numbered lines at random moments, the rest without pauses when the file exists.
TALKER = """%%lk_run --gpu A100 --timeout 600
import pathlib, random, time
pause = random.Random(38)
for line in range({lines}):
    print(f"line {{line}}.", flush=True)
    end = time.monotonic() + pause.uniform(0, {longest})
    while time.monotonic() < end and not pathlib.Path({go_on!r}).exists():
        time.sleep(0.02)
while not pathlib.Path({go_on!r}).exists():
    time.sleep(0.05)
print("the last line")"""


@pytest.mark.nightly  # with one reload by day: test_headers.py
@pytest.mark.timeout(3600)
def test_after_reloads_at_random_moments_no_line_is_lost_or_doubled_and_nothing_must_be_typed(
    open_notebook, page, tmp_path
):
    chance = random.Random(38)
    ends = [tmp_path / f"go-on-{number}" for number in range(-(-RELOADS // RUN_RELOADS))]
    cells = [TALKER.format(lines=LINES, longest=4, go_on=str(go_on)) for go_on in ends]
    book = open_notebook("%load_ext lk_jupyter", *cells)
    page.on("dialog", lambda dialog: dialog.accept())  # whether to leave what isn't saved
    book.command("application:toggle-left-area")
    book.run(0)
    for cell, go_on in enumerate(ends, 1):
        book.run(cell)
        expect(book.output(cell)).to_contain_text("line 0.")
        for _ in range(min(RELOADS, RUN_RELOADS)):
            page.wait_for_timeout(chance.uniform(0, 2500))
            if chance.random() < 0.5:
                book.save()
            book.reload()
            expect(book.header(cell)).to_contain_text("Running")
        go_on.touch()
        expect(book.output(cell)).to_contain_text("the last line")
        expect(book.header(cell)).to_contain_text("Completed")
        book.keeps("✓ completed")
        require_each_line_once(book.output(cell).text_content())  # in view or not
        book.save()
    book.pictures("log-reloaded")


def require_each_line_once(text):
    assert [text.count(f"line {line}.") for line in range(LINES)] == [1] * LINES
    places = [text.index(f"line {line}.") for line in range(LINES)]
    assert places == sorted(places)
    assert "%lk_attach" not in text
