"""A day of metrics at one sample a second, drawn in Chromium: 86,400 points of each of 12 series, then live."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import Figure
from playwright.sync_api import Page, Route, sync_playwright

from lk_jupyter.runs.metrics.series import SERIES
from lk_jupyter.widgets._view import STATIC

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from ui import browser

POINTS = 86_400
ROUNDS = 5
UPDATES = 10
CHARTS = 4  # that are open at once
ADDRESS = "http://plots.invalid/"

#: What a notebook does for a widget: it holds the traits, and tells of changes.
PAGE = """<!doctype html><link rel="stylesheet" href="widgets.css"><body><script type="module">
import widget from './run_metrics.js';

const SERIES = %s;
const day = points => {
  const columns = new Float64Array(points * (SERIES.length + 1));
  for (let at = 0; at < points; at++) {
    columns[at] = at;
    for (let series = 1; series <= SERIES.length; series++) {
      columns[series * points + at] = at %% 5000 < 10 ? NaN : 50 + 40 * Math.sin(at / 900 + series) + Math.random();
    }
  }
  return [{ run: 'one', step: 1, series: SERIES, points: new DataView(columns.buffer) }];
};

const shown = panels => new Promise(done => {
  const look = () => {
    const told = [...document.querySelectorAll('[role=img]')].filter(img => img.ariaLabel.includes('last'));
    told.length >= panels ? requestAnimationFrame(() => done(performance.now())) : requestAnimationFrame(look);
  };
  look();
});

const traits = { notice: { kind: 'info', text: '' }, every: 0, empty: '', frames: [] };
const heard = new Set();
const model = {
  get: name => traits[name],
  on: (event, callback) => event === 'change' && heard.add(callback),
  off: (_, callback) => heard.delete(callback),
  send: () => undefined
};

let tidy = () => undefined;
window.draw = async (points, panels) => {
  tidy();
  document.querySelector('main')?.remove();
  const el = document.body.appendChild(document.createElement('main'));
  traits.frames = day(points);
  await new Promise(done => setTimeout(done, 200));
  const begin = performance.now();
  tidy = widget.render({ model, el });
  return (await shown(panels)) - begin;
};
window.live = async (points, updates) => {
  const longest = [0];
  const observer = new PerformanceObserver(list => longest.push(...list.getEntries().map(entry => entry.duration)));
  const days = [];
  for (let more = 1; more <= updates; more++) days.push(day(points + more));
  await new Promise(done => setTimeout(done, 500));
  observer.observe({ type: 'longtask' });
  for (const frames of days) {
    traits.frames = frames;
    heard.forEach(callback => callback());
    await new Promise(done => setTimeout(done, 1000));
  }
  observer.disconnect();
  return Math.max(...longest);
};
window.ready = true;
</script>"""


def measure() -> Iterator[Figure]:
    """Yield how long the first drawing takes, and the longest task of the page while samples come."""
    with sync_playwright() as playwright:
        program = browser.find()
        if not program:
            raise SystemExit(browser.ADVICE)
        with playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"]) as chromium:
            page = chromium.new_page()
            _open(page)
            times = [
                page.evaluate("([points, charts]) => draw(points, charts)", [POINTS, CHARTS]) for _ in range(ROUNDS)
            ]
            longest = page.evaluate("([points, updates]) => live(points, updates)", [POINTS, UPDATES])
    what = f"{POINTS:,} points of {len(SERIES)} series drawn"
    yield Figure(what, min(times), 300, "ms", f"best of {ROUNDS}, worst {max(times):.0f} ms")
    yield Figure("longest task of the page while they are live", longest, 50, "ms", f"{UPDATES} updates, 0 is below 50")


def _open(page: Page) -> None:
    series = [{"label": each.label, "unit": each.unit, "panel": each.panel} for each in SERIES]
    html = PAGE % json.dumps(series)
    page.route(f"{ADDRESS}**", lambda route: _answer(route, html))
    page.goto(ADDRESS)
    page.wait_for_function("window.ready")


def _answer(route: Route, html: str) -> Any:
    name = route.request.url.removeprefix(ADDRESS)
    if not name:
        return route.fulfill(body=html, content_type="text/html")
    return route.fulfill(path=STATIC / name)
