"""Runs in the background in a real Lab: what the desktop is told."""

import re

from playwright.sync_api import expect

from ui.notebook import LOOK

#: In the place of the browser's own, which no test can see.
DESKTOP = """permission => {
  window.told = [];
  window.Notification = class {
    static own = window.Notification;
    static permission = permission;
    static async requestPermission() { this.permission = "granted"; }
    constructor(words) { window.told.push(words); }
  };
}"""
UNDO = "() => { window.Notification = window.Notification.own; delete window.told; }"


def test_a_detached_run_is_told_on_the_desktop_once_and_followed_again(open_notebook, tmp_path):
    go = tmp_path / "go"
    wait = f"import pathlib, time\nprint('first step')\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(.05)"
    book = open_notebook(
        "%load_ext lk_jupyter",
        f"%%lk_run --detach --quiet --name away\n{wait}\nprint('done')",
        "import lk_jupyter\nid = lk_jupyter.session.current().history(limit=1).execution_id.iloc[0]\n%lk_attach $id",
    )
    book.page.evaluate(DESKTOP, "default")
    book.run(0)
    book.run(1)
    button = book.output(1).get_by_role("button", name="Notify me on this desktop when it ends")
    expect(button).to_be_visible()
    assert button.evaluate("node => getComputedStyle(node).borderTopWidth") == "1px"
    book.pictures("notify")
    button.click()
    expect(button).to_have_count(0)
    assert book.page.evaluate("window.Notification.permission") == "granted"
    go.touch()
    book.page.wait_for_function("window.told.length > 0", polling=LOOK)
    book.page.get_by_role("tab", name="GPU cloud", exact=True).click()
    book.says_once(1, "Completed")
    (told,) = book.page.evaluate("window.told")
    assert re.search(r": completed · .* s · .* credits$", told)
    book.run(2)
    book.says_once(2, "Completed", "first step", "done")
    book.page.evaluate(UNDO)
