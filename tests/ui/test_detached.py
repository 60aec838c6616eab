"""Runs in the background in a real Lab: what the desktop is told."""

import re

from playwright.sync_api import expect

CELLS = ("%load_ext lk_jupyter", "%%lk_run --detach --quiet\nprint('done')")

#: In the place of the browser's own, which no test can see.
DESKTOP = """permission => {
  window.told = [];
  window.Notification = class {
    static permission = permission;
    static async requestPermission() { this.permission = "granted"; }
    constructor(words) { window.told.push(words); }
  };
}"""


def test_the_end_of_a_run_is_told_on_the_desktop_once(open_notebook):
    book = open_notebook(*CELLS)
    book.page.evaluate(DESKTOP, "granted")
    book.run_all()
    book.page.wait_for_function("window.told.length > 0")
    expect(book.output(1)).to_contain_text("Completed")
    (told,) = book.page.evaluate("window.told")
    assert re.search(r": completed · .* s · .* credits$", told)


def test_a_button_asks_for_the_permission(open_notebook, tmp_path):
    go = tmp_path / "go"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(.05)"
    book = open_notebook(CELLS[0], f"%%lk_run --detach --quiet\n{wait}")
    book.page.evaluate(DESKTOP, "default")
    book.run_all()
    button = book.output(1).get_by_role("button", name="Notify me on this desktop when it ends")
    expect(button).to_be_visible(timeout=60_000)
    assert button.evaluate("node => getComputedStyle(node).borderTopWidth") == "1px"
    book.pictures("notify")
    button.click()
    expect(button).to_have_count(0)
    assert book.page.evaluate("window.Notification.permission") == "granted"
    go.touch()
    expect(book.output(1)).to_contain_text("Completed")
