"""A run outlives the page and the kernel that started it."""

import os
import re

import pytest
from playwright.sync_api import expect

#: Seconds that the run takes at least; the wait for its reader is what counts, so not long in the tests.
SECONDS = float(os.environ.get("LK_REATTACH_SECONDS", "5"))
LINES = 50


@pytest.mark.nightly  # as in test_headers.py, and in a kernel: tests/magics/test_reattach.py
@pytest.mark.timeout(900)
def test_a_run_outlives_page_and_kernel_and_is_shown_whole(open_notebook, tmp_path):
    go_on = tmp_path / "go-on"
    book = open_notebook(
        "%load_ext lk_jupyter",
        f"""%%lk_run --gpu A100 --timeout 300 --attach auto
import pathlib, time
for line in range({LINES}):
    print(f"line {{line}}.")
    time.sleep({SECONDS / LINES})
    while line == {LINES // 2} and not pathlib.Path({str(go_on)!r}).exists():
        time.sleep(0.05)""",
    )
    book.command("application:toggle-left-area")
    book.run_all()
    expect(book.output(1)).to_contain_text(f"line {LINES // 2}.")
    book.reload()
    book.restart_kernel()
    book.run_all()
    expect(book.output(0)).to_contain_text("· running ·")
    expect(book.output(1)).to_contain_text(f"line {LINES // 2}.")
    book.picture("attached")
    go_on.touch()
    expect(book.output(1)).to_contain_text(re.compile(r"Completed.*credits.*line 0\.", re.DOTALL))
    shown = book.output(1).inner_text()
    assert [shown.count(f"line {line}.") for line in range(LINES)] == [1] * LINES
    book.picture("attached-whole")
