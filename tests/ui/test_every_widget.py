"""Each widget in one notebook: seen, checked, without a network, cleared, saved, exported, opened again."""

import json
import re

import nbformat
import pytest
from patience import PATIENCE
from playwright.sync_api import expect
from storage.between import Network

from ui.notebook import LOOK, NIGHT

#: The call of each widget, and words of it that stay in the notebook.
ALL = {
    "login": ("Login()", "Signed in as"),
    "machine-picker": ("MachinePicker(memory='40 GB', limit='10 min')", "H100"),
    "form": ("form_for(RunOptions(gpu='A100', timeout=120))", "--gpu A100 --timeout 120"),
    "run-view": ("RunView(run)", "epoch 40"),
    "run-metrics": ("RunMetrics(run)", "simulated GPU"),
    "runs": ("Runs()", "gpu.a100"),
    "balance": ("Balance()", "Running now"),
    "storage-browser": ("StorageBrowser('shop')", "Köln"),
}
#: By day those of three kinds: the others have the same parts, and files of their own test what is theirs.
WIDGETS = ALL if NIGHT else {name: ALL[name] for name in ("run-view", "balance", "storage-browser")}
FIRST = 1  # the cell of the first of them

START = """import os
os.environ["LK_BASE_URL"], os.environ["LK_API_KEY"] = {api!r}, {api_key!r}
import lk_jupyter
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.widgets import *
session = lk_jupyter.connect()
storage = lk_jupyter.session.current().storage
given = storage._credentials._issue
storage._credentials._issue = lambda: given().model_copy(update=dict(endpoint={s3!r}))
storage._wire._pauses = ()
import pandas as pd
cities = dict(city=["Ulm", "Köln", "Bremen"], price=[1.5, 2.5, 2.25], sold=[20, 11, 7])
storage.put(pd.DataFrame(cities).to_parquet(), "shop/cities.parquet")
storage.put(b"# Notes", "shop/notes.md")
storage.put(b"day,sold\\n1,20\\n", "shop/2026/june.csv")
session.run("print('short')", gpu="H100", timeout=60).wait()
code = '''import math, time
for epoch in range(1, 41):
    print(f"epoch {{epoch}}: loss {{2 * math.exp(-epoch / 15):.3f}}", flush=True)
while True:
    sum(range(10**5))
    time.sleep(0.1)'''
run = session.run(code, gpu="A100", timeout=600)"""
OFTEN = "shown = {call}\nshown.every = 1000\nshown"
CLEARED = "for more in (MachinePicker(), Balance()):\n    more.every = 300\n    display(more)"

AWAY = re.compile("reach|connect|answer")
TALL = {"width": 1280, "height": 1800}  # so that what one sees of a widget is all of it
#: Gather which widgets ask, from what goes to the kernels.
HEAR = """() => {
    window.asked = [];
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
        if (text.includes('"do":"refresh"')) {
            window.asked.push(text.match(/"comm_id":"(\\w+)"/)[1]);
        }
        return send.call(this, data);
    };
    window.asked.end = () => { WebSocket.prototype.send = send; delete window.asked; };
}"""
SAVED = "() => window.jupyterapp.shell.currentWidget.context.model.dirty === false"


@pytest.fixture
def network(make_cloud):
    """The ways to a cloud and to its storage, which can be cut and given back."""
    cloud = make_cloud("--simulate-gpu")
    with Network(cloud.base_url) as api, Network(cloud.client.storage.credentials().endpoint) as s3:
        yield cloud, (api, s3)


@pytest.mark.nightly  # test_storage_browser.py, test_headers.py, test_gallery.py
@pytest.mark.timeout(900)  # all widgets, on machines that do much else
def test_each_widget_is_accessible_recovers_stops_when_cleared_and_leaves_its_state(
    network, open_notebook, running_lab, accessible
):
    cloud, ways = network
    start = START.format(api=ways[0].endpoint, api_key=cloud.api_key, s3=ways[1].endpoint)
    book = open_notebook(start, *(OFTEN.format(call=call) for call, _ in WIDGETS.values()), CLEARED)
    book.page.set_viewport_size(TALL)
    book.command("application:toggle-left-area")
    for cell in range(FIRST + len(WIDGETS)):
        book.run(cell)
    book.ended()

    live(book, FIRST + len(WIDGETS) - 1).get_by_role("treeitem", name="cities.parquet").click()
    shows_all(book)
    for theme in book.themes():
        for name, (cell, _) in zip(WIDGETS, cells_and_words(), strict=True):
            accessible(live(book, cell))
            book.picture_of(cell, f"widget-{name}-{theme}")

    for way in ways:
        way.go_away()
    for cell, _ in cells_and_words():
        until(book, lambda: AWAY.search(live(book, cell).inner_text()), f"that the network is away in cell {cell}")  # noqa: B023
    for way in ways:
        way.come_back()
    for cell, _ in cells_and_words():
        until(book, lambda: not AWAY.search(live(book, cell).inner_text()), f"recovery of cell {cell}")  # noqa: B023
    shows_all(book)

    for _, words in cells_and_words():
        book.keeps(words)
    book.save()
    book.page.wait_for_function(SAVED, polling=LOOK)
    saved = next(running_lab.root.glob("*/notebook.ipynb"))
    exported_whole(nbformat.read(saved, 4))
    asks_no_more_when_cleared(book)

    (book.reopen_without_kernel if NIGHT else book.reopen)()
    for cell, words in cells_and_words():
        left = book.output(cell)
        expect(left).to_contain_text(words)
        expect(left.get_by_role("button")).to_have_count(0)
        assert "not found" not in left.inner_text()
    book.picture("widgets-reopened")


def cells_and_words():
    return [(FIRST + at, words) for at, (_, words) in enumerate(WIDGETS.values())]


def live(book, cell):
    """Scroll to the widget of a cell: it lives while it is seen, and those above may push it away."""
    shown = book.output(cell).locator(".lk")
    shown.scroll_into_view_if_needed()
    return shown


def shows_all(book):
    for cell, words in cells_and_words():
        until(book, lambda: words in live(book, cell).inner_text(), words)  # noqa: B023 (called at once)


def asked(book):
    """Return the ids of widgets whose page has asked for news since the last look."""
    return set(book.page.evaluate("() => window.asked.splice(0)"))


def asks_no_more_when_cleared(book):
    """Show two widgets more, and clear their cell; one that stays asks on, all the while."""
    cell, stays = FIRST + len(WIDGETS), FIRST + list(WIDGETS).index("balance")
    book.page.evaluate(HEAR)
    book.run(cell)
    book.ended()
    expect(book.output(cell).locator(".lk")).to_have_count(2)
    cleared, others = ids(book, cell), ids(book, stays)
    for shown in book.output(cell).locator(".lk").all():
        shown.scroll_into_view_if_needed()
        until(book, lambda: cleared & asked(book), "a widget that asks")
    book.command("notebook:clear-cell-output")
    expect(book.output(cell).locator(".lk")).to_have_count(0)
    asked(book)
    for _ in range(3):
        live(book, stays)
        until(book, lambda: others <= now_asking(book, cleared), "a widget that asks on")
    book.page.evaluate("() => window.asked.end()")


def now_asking(book, cleared):
    found = asked(book)
    assert not cleared & found
    return found


def ids(book, cell):
    kept = book.page.evaluate(
        "cell => JSON.stringify(window.jupyterapp.shell.currentWidget.content.widgets[cell].model.toJSON().outputs)",
        cell,
    )
    return {output["metadata"]["lk_jupyter"]["view"] for output in json.loads(kept)}


def until(book, holds, what):
    for _ in range(10 * PATIENCE):
        if holds():
            return
        book.page.wait_for_timeout(100)
    raise AssertionError(what)


def _is_view(output):
    return "view" in output.get("metadata", {}).get("lk_jupyter", {})


def exported_whole(saved):
    """Check that each widget was left in every form, and that an export, which has no kernel, shows it so."""
    from nbconvert import HTMLExporter  # noqa: PLC0415 (each process that collects the tests would import it)

    for cell, words in cells_and_words():
        (left,) = (output["data"] for output in saved.cells[cell].outputs if _is_view(output))
        assert {"text/plain", "text/html", "image/png"} <= set(left)
        alone = nbformat.v4.new_notebook(cells=[saved.cells[cell]], metadata=saved.metadata)
        page, _ = HTMLExporter().from_notebook_node(alone)
        output = page.partition("jp-Cell-outputWrapper")[2]
        assert words in output, words
        assert "widget-view+json" not in page
