"""A folder with very many keys opened in Lab: from the click on it in a StorageBrowser to its first page in Chromium.

LK_BENCH_FOLDER_KEYS says how many keys. They are made first, about a thousand a second: a million, with which the
first page opens as fast, takes a quarter of an hour. Each step is printed when it begins.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from figures import Figure
from playwright.sync_api import Page, sync_playwright

from lk_jupyter.api._client import Client
from lk_jupyter.localcloud import launch
from lk_jupyter.storage.storage import Storage
from lk_jupyter.widgets.storage_browser import PAGE

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from ui import browser, lab, notebook
from ui.conftest import FLAGS

KEYS = int(os.environ.get("LK_BENCH_FOLDER_KEYS", "20_000"))
ROUNDS = 5
BATCH, AT_ONCE = 1000, 16

SHOW = "from lk_jupyter.widgets import StorageBrowser\nStorageBrowser('bench')"
#: Click on the folder and wait for the rows of a page; nothing else looks at the page meanwhile.
OPEN = """rows => new Promise(done => {
    const tree = document.querySelector('.lk-tree');
    const folder = tree.querySelector('[data-folder$="many/"]');
    const look = () => {
        if (tree.querySelectorAll('.lk-tree-file').length >= rows) {
            watched.disconnect();
            requestAnimationFrame(() => done(performance.now() - begin));
        }
    };
    const watched = new MutationObserver(look);
    watched.observe(tree, { childList: true });
    const begin = performance.now();
    folder.click();
})"""


def measure() -> Iterator[Figure]:
    """Yield how long the folder takes to open."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        address = launch.start(folder / "cloud")
        try:
            with Client(address.base_url, address.api_key) as client:
                _fill(Storage(client.storage.credentials))
            times = list(_opened(folder, {"LK_BASE_URL": address.base_url, "LK_API_KEY": address.api_key}))
        finally:
            launch.stop(folder / "cloud")
    told = f"median of {ROUNDS}, first {times[0]:.2f} s, worst {max(times):.2f} s"
    yield Figure(f"a folder of {KEYS:,} keys opened in Chromium", sorted(times)[ROUNDS // 2], 1, "s", told)


def _fill(storage: Storage) -> None:
    """Make empty objects."""
    print(f"making {KEYS:,} objects", file=sys.stderr, flush=True)

    def batch(first: int) -> None:
        if first and first % (KEYS // 4 // BATCH * BATCH or KEYS) == 0:
            print(f"  {first:,}", file=sys.stderr, flush=True)
        for number in range(first, min(first + BATCH, KEYS)):
            storage._wire.put(f"bench/many/{number:07}.bin", b"")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(batch, range(0, KEYS, BATCH)))


def _opened(folder: Path, signed_in: dict[str, str]) -> Iterator[float]:
    """Open and close the folder in a notebook; yield the seconds that each opening took."""
    (folder / "settings").mkdir()
    (folder / "books").mkdir()
    with (
        lab.running(folder / "settings", folder / "books", signed_in) as running,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=_program(), args=FLAGS) as chromium,
    ):
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        print("opening Lab", file=sys.stderr, flush=True)
        _show(running, page)
        for number in range(ROUNDS):
            print(f"opening the folder, {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
            yield page.evaluate(OPEN, min(PAGE, KEYS)) / 1000
            page.get_by_role("treeitem", name="many/").click()
            page.wait_for_function("() => !document.querySelector('.lk-tree-file')")
        running.end_kernels()


def _show(running: lab.Lab, page: Page) -> None:
    book = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    book.cells = [nbformat.v4.new_code_cell(SHOW)]
    nbformat.write(book, running.root / "book.ipynb")
    running.start_kernel("book.ipynb")
    opened = notebook.OpenNotebook(page)
    opened.load(f"{running.url}/lab/tree/book.ipynb?token={running.token}&reset")
    opened.run(0)
    page.get_by_role("treeitem", name="many/").wait_for()


def _program() -> str:
    found = browser.find()
    if not found:
        raise SystemExit(browser.ADVICE)
    return found
