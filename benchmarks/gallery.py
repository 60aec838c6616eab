"""Fifty live headers of runs and a list of a thousand runs, drawn in Chromium."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from figures import Figure
from lab import SCROLL
from playwright.sync_api import Page, sync_playwright

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from ui import browser

BUILT = Path(__file__).parents[1] / "labextension" / "lib" / "gallery"
RUNS, HEADERS, SECONDS = 1000, 50, 20
ADDRESS = "http://gallery.invalid/"
PAGE = (
    """<!doctype html><link rel="stylesheet" href="index.css"><body><main></main><script src="gallery.js"></script>"""
)

#: How often the first header was drawn anew in so many seconds.
CHANGES = """seconds => new Promise(done => {
    const moments = new Set();
    const watched = new MutationObserver(() => moments.add(performance.now()));
    watched.observe(document.querySelector('.lk-run-header'), { subtree: true, childList: true, characterData: true });
    setTimeout(() => done(moments.size), 1000 * seconds);
})"""


def measure() -> Iterator[Figure]:
    """Yield the longest frame of the list, and what headers that count on take of the page."""
    program = browser.find()
    if not program:
        raise SystemExit(browser.ADVICE)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"]) as chromium,
    ):
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        _open(page, f"#runs={RUNS}", ".lk-rows [role=listitem]")
        longest = page.evaluate(SCROLL, [".lk-rows", 24])
        yield Figure(f"longest frame while {RUNS:,} runs are scrolled", longest, 50, "ms", "120 steps")
        page.close()
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        _open(page, f"#headers={HEADERS}", f".lk-run-header >> nth={HEADERS - 1}")
        yield from _headers(page)


def _open(page: Page, what: str, awaited: str) -> None:
    page.route(f"{ADDRESS}*.*", lambda route: route.fulfill(path=BUILT / route.request.url.removeprefix(ADDRESS)))
    page.route(ADDRESS, lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(ADDRESS + what)
    page.locator(awaited).first.wait_for()


def _headers(page: Page) -> Iterator[Figure]:
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")

    def used() -> float:
        """Return the seconds of processor time of the page."""
        found = devtools.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in found if each["name"] == "ProcessTime"))

    before = used()
    changes = page.evaluate(CHANGES, SECONDS)
    share = 100 * (used() - before) / SECONDS
    yield Figure(f"{HEADERS} live headers: share of one core", share, 5, "%", f"over {SECONDS} s")
    yield Figure("changes of a live header", changes / SECONDS, 2, "a second", f"over {SECONDS} s")
