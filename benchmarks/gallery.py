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
RUNS, HEADERS, MEMBERS, SECONDS = 1000, 50, 100, 20
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
        page.close()
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        yield from _leaderboard(page)


def _open(page: Page, what: str, awaited: str) -> None:
    page.route(f"{ADDRESS}*.*", lambda route: route.fulfill(path=BUILT / route.request.url.removeprefix(ADDRESS)))
    page.route(ADDRESS, lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(ADDRESS + what)
    page.locator(awaited).first.wait_for()


#: The milliseconds from the first render to the first charts, and the longest task of the page while runs print.
PAINTED = """['start', 'drawn'].map(name => performance.getEntriesByName(name)[0].startTime)
    .reduce((start, drawn) => drawn - start)"""
WATCH_TASKS = """() => {
    window.tasks = [0];
    new PerformanceObserver(list => tasks.push(...list.getEntries().map(entry => entry.duration))).observe({
        type: 'longtask', buffered: false
    });
}"""
MARK_CHARTS = """new MutationObserver(() => {
    if (!performance.getEntriesByName('drawn').length && document.querySelector('.lk-board canvas')) {
        requestAnimationFrame(() => performance.mark('drawn'));
    }
}).observe(document, { subtree: true, childList: true });"""


def _leaderboard(page: Page) -> Iterator[Figure]:
    page.add_init_script(MARK_CHARTS)
    _open(page, f"#board={MEMBERS}", ".lk-board tbody tr")
    page.wait_for_function("performance.getEntriesByName('drawn').length")
    yield Figure(f"first paint of {MEMBERS} runs with 1,000 points each", page.evaluate(PAINTED), 300, "ms")
    page.wait_for_timeout(2000)
    page.evaluate(WATCH_TASKS)
    page.wait_for_timeout(1000 * SECONDS // 2)
    longest = page.evaluate("Math.max(...tasks)")
    yield Figure("longest task of the page while they print", longest, 50, "ms", "0 is below 50")


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
