"""A run outlives the page and the kernel that started it, and its output continues where a page shows it again."""

import os
import random
import secrets
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect

from ui import lab, notebook
from ui.notebook import OpenNotebook

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(3600)]  # with one reload by day: test_headers.py

LINES = 150
#: Reloads, and how many during one run: the time limit of a run is 600 s.
RELOADS, RUN_RELOADS = int(os.environ.get("LK_RELOADS", "50")), 10

#: Lines between two figures.
FIGURE_PACE = 7

#: Prints numbered lines at random moments, the rest without pauses when the file exists; shows figures and a counter.
CODE = """import pathlib, random, time
from IPython.display import HTML, display
pause = random.Random(38)
counter = display(HTML("<i>counted to 0.</i>"), display_id=True)
for line in range({lines}):
    print(f"line {{line}}.", flush=True)
    if line % {figure_pace} == 0:
        display(HTML(f"<b>figure {{line}}.</b>"))
        counter.update(HTML(f"<i>counted to {{line}}.</i>"))
    end = time.monotonic() + pause.uniform(0, {longest})
    while time.monotonic() < end and not pathlib.Path({go_on!r}).exists():
        time.sleep(0.02)
while not pathlib.Path({go_on!r}).exists():
    time.sleep(0.05)
print("the last line")"""


def talker(go_on, options="", longest=4):
    code = CODE.format(lines=LINES, figure_pace=FIGURE_PACE, longest=longest, go_on=str(go_on))
    return f"%%lk_run --gpu A100 --timeout 600 {options}\n{code}"


def test_after_reloads_at_random_moments_no_line_is_lost_or_doubled_and_nothing_must_be_typed(
    open_notebook, page, tmp_path
):
    chance = random.Random(38)
    ends = [tmp_path / f"go-on-{number}" for number in range(-(-RELOADS // RUN_RELOADS))]
    cells = [talker(go_on) for go_on in ends]
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
        require_all_once(book.output(cell).text_content())  # in view or not
        book.save()
    book.pictures("log-reloaded")


def require_all_once(text, lines=range(LINES)):
    """Check that a text has each line and each figure once and in order, and the last state of the counter."""
    figures = [line for line in range(0, LINES, FIGURE_PACE) if line in lines]
    parts = {f"line {line}.": line for line in lines} | {f"figure {line}.": line + 0.5 for line in figures}
    assert {part: text.count(part) for part in parts if text.count(part) != 1} == {}
    assert sorted(parts, key=text.index) == sorted(parts, key=parts.get)
    assert text.count("counted to") == text.count(f"counted to {figures[-1]}.") == 1
    assert "%lk_attach" not in text


@contextmanager
def own_lab(cloud, folder, *cells):
    """Write a notebook of these cells; give a function that starts a Lab of its user, and again the next day."""
    settings, root = folder / "settings", folder / "notebooks"
    settings.mkdir()
    root.mkdir()
    lab.be_quiet(settings)
    notebook.write(root / "notebook.ipynb", *cells)
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(settings / "journal")}

    @contextmanager
    def start(*options):
        served = lab.Lab(f"http://127.0.0.1:{lab.free_port()}", secrets.token_hex(16), root)
        with lab.serving(served, settings, signed_in, *options):
            yield f"{served.url}/lab/tree/notebook.ipynb?token={served.token}&reset"

    yield start


def start_cell(book, cell=1):
    """Run the first cell and the cell of a run, and wait for the first line."""
    book.page.evaluate(notebook.TRUST)
    book.run(0)
    book.run(cell)
    expect(book.output(cell)).to_contain_text("line 1.")
    expect(book.header(cell)).to_contain_text("Running")
    book.save()


def expect_all(book, cell=1, lines=range(LINES)):
    """Wait for the end of the run in a cell, and check its output."""
    expect(book.output(cell)).to_contain_text("the last line")
    expect(book.header(cell)).to_contain_text("Completed")
    require_all_once(book.output(cell).text_content(), lines)


def test_a_second_tab_shows_what_the_first_shows(open_notebook, page, chromium, tmp_path):
    book = open_notebook("%load_ext lk_jupyter", talker(tmp_path / "go-on"))
    start_cell(book)
    second = OpenNotebook(chromium.new_page())
    try:
        second.page.goto(page.url)
        second._loaded(notebook.KERNEL_IS_CONNECTED)
        expect(second.header(1)).to_contain_text("Running")
        (tmp_path / "go-on").touch()
        for tab in (book, second):
            expect_all(tab)
        second.picture("log-second-tab")
    finally:
        second.page.close()


@pytest.mark.parametrize("ended", [False, True], ids=["active", "ended in the night"])
def test_the_next_day_a_new_server_and_kernel_show_the_same_run(cloud, page, page_of_its_own, tmp_path, ended):
    go_on = tmp_path / "go-on"
    book = OpenNotebook(page)
    with own_lab(cloud, tmp_path, "%load_ext lk_jupyter", talker(go_on)) as start:
        with start() as url:
            book.load(url)
            start_cell(book)
            page.goto("about:blank")
        go_on.touch() if ended else None
        with start() as url:
            book.load(url)
            go_on.touch()
            expect_all(book)
            book.keeps("✓ completed")
            page.goto("about:blank")


def test_the_newest_lines_and_figures_of_a_detached_run_continue_after_a_reload(open_notebook, page, tmp_path):
    go_on = tmp_path / "go-on"
    book = open_notebook("%load_ext lk_jupyter", talker(go_on, "--detach", longest=1))
    page.on("dialog", lambda dialog: dialog.accept())
    start_cell(book)
    expect(book.output(1)).to_contain_text("figure 0.")
    notify = book.output(1).get_by_role("button", name="Notify me on this desktop when it ends")
    expect(notify).to_be_visible()
    book.save()
    book.reload()
    expect(book.header(1)).to_contain_text("Running")
    go_on.touch()
    expect(book.output(1)).to_contain_text("the last line")
    expect(book.header(1)).to_contain_text("Completed")
    text = book.output(1).text_content()
    newest = range(LINES - 39, LINES)  # and the last line
    assert {
        line: text.count(f"line {line}.") for line in range(LINES) if text.count(f"line {line}.") != (line in newest)
    } == {}
    figures = list(range(0, LINES, FIGURE_PACE))
    assert [line for line in figures if f"figure {line}." in text] == figures[-8:]
    assert [text.count(f"figure {line}.") for line in figures[-8:]] == [1] * 8
    book.pictures("log-detached-reloaded")


def test_without_the_server_extension_one_click_follows_the_log(cloud, page, page_of_its_own, tmp_path):
    go_on = tmp_path / "go-on"
    book = OpenNotebook(page)
    page.on("dialog", lambda dialog: dialog.accept())
    without = '--ServerApp.jpserver_extensions={"lk_jupyter": False}'
    with own_lab(cloud, tmp_path, "%load_ext lk_jupyter", talker(go_on, longest=1)) as start, start(without) as url:
        book.load(url)
        start_cell(book)
        book.reload()
        expect(book.header(1)).to_contain_text("Running")
        book.picture("log-without-extension")
        book.output(1).get_by_role("button", name="Follow the log").click()
        go_on.touch()
        expect_all(book, 2)
        page.goto("about:blank")
