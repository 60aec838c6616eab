"""JupyterLab with the extension in Chromium: what it adds to the start, a log of a million lines, what a panel asks."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import httpx
from figures import Figure
from playwright.sync_api import Browser, Page, sync_playwright

from lk_jupyter.api.states import FINAL_STATES
from lk_jupyter.localcloud import launch

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from ui import browser, lab

NAME = "lk-jupyter"
ROUNDS = 9
LINES = 1_000_000
WATCHED = 20.0
CODE = f"""import sys
for start in range(0, {LINES}, 1000):
    sys.stdout.write("".join(f"{{n:07}} loss 0.{{n % 1000:03}} step done\\n" for n in range(start, start + 1000)))"""

#: How long a start took and what its thread computed, in milliseconds.
_Start = tuple[float, float]

#: Milliseconds from the first byte to where Lab has restored what was open, so that one can work.
START = "async () => { await window.jupyterapp.restored; return performance.now(); }"

#: Milliseconds until the first lines of the run can be read, and until all are there.
OPEN = """async ([id, last]) => {
    const begin = performance.now();
    const until = holds => new Promise(done => {
        const look = () => (holds() ? done(performance.now() - begin) : requestAnimationFrame(look));
        look();
    });
    window.jupyterapp.commands.execute('lk:open-run', { id });
    const first = await until(() => document.querySelectorAll('.lk-document .lk-line').length > 20);
    const words = () => document.querySelector('.lk-document .lk-log [role=status]')?.textContent;
    const whole = await until(() => words() === last);
    return [first, whole];
}"""
#: The longest frame while a list is scrolled through in steps of many screens, then of one row of so many pixels.
SCROLL = """async ([list, row]) => {
    const box = document.querySelector(list);
    const frame = () => new Promise(requestAnimationFrame);
    await frame();
    let [longest, last] = [0, await frame()];
    for (let step = 0; step < 120; step++) {
        box.scrollTop = step < 60 ? (box.scrollHeight / 60) * step : box.scrollTop - row;
        const now = await frame();
        longest = Math.max(longest, now - last);
        last = now;
    }
    return longest;
}"""
SEARCH = """async words => {
    const field = document.querySelector('.lk-document input[type=search]');
    const begin = performance.now();
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, words);
    field.dispatchEvent(new Event('input', { bubbles: true }));
    while (!document.querySelector('.lk-document mark')) {
        await new Promise(requestAnimationFrame);
    }
    return performance.now() - begin;
}"""


def measure() -> Iterator[Figure]:
    """Yield the figures of one Lab with the extension and one without, which differ in nothing else."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        cloud = launch.start(folder / "cloud")
        opened.callback(launch.stop, cloud.data)
        signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(folder / "journal")}
        ours = opened.enter_context(_lab(folder / "ours", signed_in))
        bare = opened.enter_context(_lab(folder / "bare", signed_in, _all_but_ours(folder / "others")))
        chromium = opened.enter_context(_chromium())
        yield from _starts(chromium, ours, bare)
        run = _million_lines(cloud)
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        asked = _listen(page)
        _load(page, ours)
        yield _loaded_first(asked)
        yield from _log(page, run)
        yield from _panel(page, asked)


@contextmanager
def _lab(folder: Path, signed_in: dict[str, str], *options: str) -> Iterator[lab.Lab]:
    (folder / "root").mkdir(parents=True)
    with lab.running(folder / "settings", folder / "root", signed_in, *options) as running:
        yield running


def _all_but_ours(folder: Path) -> str:
    folder.mkdir()
    for place in Path(sys.prefix, "share", "jupyter", "labextensions").iterdir():
        if place.name != NAME:
            (folder / place.name).symlink_to(place)
    return f"--LabApp.labextensions_path={folder}"


@contextmanager
def _chromium() -> Iterator[Browser]:
    program = browser.find()
    if not program:
        raise SystemExit(browser.ADVICE)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"]) as chromium,
    ):
        yield chromium


def _load(page: Page, running: lab.Lab) -> float:
    page.goto(f"{running.url}/lab?token={running.token}&reset")
    page.wait_for_function("window.jupyterapp")
    return page.evaluate(START)


def _starts(chromium: Browser, ours: lab.Lab, bare: lab.Lab) -> Iterator[Figure]:
    """Start both by turns, so that both meet the same machine; scripts are in the cache of the browser.

    What the thread of the page computes is what a machine that does much else shows well; the time also has what Lab
    waits for.
    """
    with chromium.new_context() as context:
        page = context.new_page()
        inside = context.new_cdp_session(page)
        inside.send("Performance.enable", {"timeDomain": "threadTicks"})
        starts: tuple[list[_Start], list[_Start]] = ([], [])
        for number in range(ROUNDS + 1):
            for each in (ours, bare) if number % 2 else (bare, ours):
                time = _load(page, each)
                told = {row["name"]: row["value"] for row in inside.send("Performance.getMetrics")["metrics"]}
                if number:
                    starts[each is bare].append((time, 1000 * told["TaskDuration"]))
    what = "the extension adds to Lab's start"
    for at, name in enumerate((what, f"{what}, computed")):
        with_it, without = ([start[at] for start in each] for each in starts)
        added = median(one - other for one, other in zip(with_it, without, strict=True))
        medians = f"{median(with_it):.0f} / {median(without):.0f} ms"
        yield Figure(name, added, 50, "ms", f"{medians}, {ROUNDS} pairs by turns")


def _million_lines(cloud: launch.Address) -> str:
    headers = {"Authorization": f"Bearer {cloud.api_key}"}
    with httpx.Client(base_url=f"{cloud.base_url}/api/v2/external/", headers=headers, timeout=60) as http:
        body = {"code": CODE, "execution_type": "gpu.a100", "timeout": 300}
        run: str = http.post("execution/streaming/start", json=body).raise_for_status().json()["execution_id"]
        while http.get(f"execution/{run}").json()["status"] not in FINAL_STATES:
            sleep(0.2)
    return run


def _listen(page: Page) -> list[tuple[float, str]]:
    """Return a list that gets the time and the address of each request that is ours."""
    asked: list[tuple[float, str]] = []

    def listen(request: object) -> None:
        url = str(request.url)  # type: ignore[attr-defined]
        if "/lk/" in url or NAME in url:
            asked.append((monotonic(), url))

    page.on("request", listen)
    return asked


def _loaded_first(asked: list[tuple[float, str]]) -> Figure:
    sizes = lab.loaded(url for _, url in asked)
    return Figure("loaded before first use, gzip", sum(sizes) / 1000, 40, "kB", f"{len(sizes)} files")


def _log(page: Page, run: str) -> Iterator[Figure]:
    first, whole = page.evaluate(OPEN, [run, f"{LINES:,} lines"])
    what = f"a log of {LINES:,} lines"
    yield Figure(f"{what} can be read", first, 1000, "ms", "from the command on")
    yield Figure(f"{what} is there whole", whole, 1000, "ms", "the same")
    yield Figure(
        f"longest frame while {what} is scrolled",
        page.evaluate(SCROLL, [".lk-document .lk-lines", 18]),
        50,
        "ms",
        "120 steps",
    )
    yield Figure(f"{what} is searched", page.evaluate(SEARCH, "0999999 LOSS"), 1000, "ms", "to its last line")


def _panel(page: Page, asked: list[tuple[float, str]]) -> Iterator[Figure]:
    for shown in (False, True):
        if shown:
            page.evaluate("window.jupyterapp.commands.execute('lk:open-panel')")
            page.locator("#lk-jupyter-panel").get_by_text("Balance", exact=True).wait_for()
        # The open document of the run and the panel read once what they show.
        page.wait_for_timeout(2000)
        begin = monotonic()
        page.wait_for_timeout(1000 * WATCHED)
        count = sum(moment > begin and "/lk/" in url for moment, url in asked)
        name, limit = ("shown", WATCHED / 2 + 1) if shown else ("hidden", 0)
        yield Figure(f"requests of the panel, {name}", count, limit, "requests", f"in {WATCHED:.0f} s")
