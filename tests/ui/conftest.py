"""One Lab and one browser for all tests of this folder; a page and a notebook for each."""

from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import httpx
import pytest
from patience import PATIENCE
from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

from ui import axe, lab, notebook
from ui import browser as installed

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
#: One process less; no page lives long enough for what V8's best compilers make to pay.
LIGHT = ("--in-process-gpu", "--js-flags=--no-maglev --no-turbofan")


def pytest_itemcollected(item):
    """Run the tests of this folder in one process, in the night in two: they share what takes long to start."""
    if Path(__file__).parent in item.path.parents:
        half = "" if not notebook.NIGHT else ", first half" if item.path.name < "test_m" else ", second half"
        item.add_marker(pytest.mark.xdist_group(f"ui{half}"))


def pytest_collection_modifyitems(items):
    """Run first, one after the other, the tests that leave a page of Lab to each other."""
    items.sort(key=lambda item: ("open_notebook" not in item.fixturenames, "page_of_its_own" in item.fixturenames))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show beside a failure what Lab's server last heard of its kernels: a page may hear no more of its own."""
    report = yield
    if call.when == "call" and report.failed and (running := item.funcargs.get("running_lab")):
        with suppress(httpx.HTTPError):  # the server may be what failed
            rows = running.http.get("/api/kernels").json()
            report.sections.append(("kernels", "\n".join(map(str, [datetime.now(timezone.utc), *rows]))))
    return report


@pytest.fixture(scope="package")
def running_lab(cloud, tmp_path_factory):
    """JupyterLab with settings of its own, its kernels signed in to the local cloud."""
    settings, root = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("notebooks")
    signed_in = {"LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    with lab.running(settings, root, {**signed_in, "LK_JOURNAL": str(settings / "journal.sqlite")}) as running:
        yield running


@pytest.fixture(scope="package")  # not longer: while it lives, its thread has a running event loop
def chromium(tmp_path_factory: pytest.TempPathFactory):
    """A browser with its cache, which on disk keeps Lab's scripts compiled; it asks for nothing and opens no window."""
    with sync_playwright() as playwright:
        program = installed.find()
        assert program, installed.ADVICE
        folder = tmp_path_factory.mktemp("chromium")
        opened = playwright.chromium.launch_persistent_context(
            folder / "profile",
            executable_path=installed.without_network_changes(program, folder),
            args=[*FLAGS, *LIGHT],
            viewport=notebook.SIZE,
        )
        with opened as context:
            yield context


@pytest.fixture
def forgiven() -> tuple[str, ...]:
    """How faults begin that are not ours: Lab says it of what it had asked a kernel that was restarted."""
    return ("Canceled future for",)


@pytest.fixture(scope="package")
def kept_pages():
    """The page of Lab that the last test has left as it was, and how it was: to load another takes seconds."""
    kept: dict[Page, str] = {}
    yield kept
    _close_all(kept)


def _close_all(kept: dict[Page, str]) -> None:
    while kept:
        kept.popitem()[0].close()


@pytest.fixture
def page_of_its_own() -> None:
    """For a test that opens a notebook: it neither has the page of Lab that another has left, nor leaves its own."""


@pytest.fixture
def may_keep(request: pytest.FixtureRequest):
    """Whether the test may have the page of Lab that another has left, and leave it to the next one."""
    return "open_notebook" in request.fixturenames and "page_of_its_own" not in request.fixturenames


@pytest.fixture
def page(chromium: BrowserContext, kept_pages: dict[Page, str], forgiven: tuple[str, ...], may_keep):
    """An empty page, or for a test that opens a notebook one of Lab without any, if there is one.

    The test fails when a script of the page did, or a module of an extension is missing.
    """
    expect.set_options(timeout=1000 * PATIENCE)
    if not may_keep:
        _close_all(kept_pages)  # Lab gives a workspace of its own to a second page
    page = next(iter(kept_pages), None) or chromium.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    faults, said = [], []

    def on_fault(fault):
        faults.append(fault)

    def on_console(words):
        said.append(words.text)
        if words.type in {"error", "warning"}:
            print("console:", words.text)  # shown if the test fails

    def on_unanswered(asked):
        print("unanswered:", asked.failure, asked.url)  # shown if the test fails

    listeners = {"pageerror": on_fault, "console": on_console, "requestfailed": on_unanswered}
    for event, listener in listeners.items():
        page.on(event, listener)
    yield page
    missing = [words for words in said if "exist in shared scope" in words]
    ours = [fault for fault in faults if not fault.message.removeprefix("Error: ").startswith(forgiven)]
    if page in kept_pages and not missing and not ours:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
    else:
        kept_pages.pop(page, None)
        page.close()
    assert not missing
    assert not [f"{fault.message}\n{fault.stack}" for fault in ours]


@pytest.fixture
def open_notebook(
    running_lab: lab.Lab, page: Page, kept_pages: dict[Page, str], may_keep, request: pytest.FixtureRequest
):
    """A function that opens a notebook of these cells in Lab."""
    book, failed = notebook.OpenNotebook(page), request.session.testsfailed
    before = kept_pages.pop(page, "")

    def opened(*cells: str) -> notebook.OpenNotebook:
        nonlocal before
        name = f"{request.node.name}/notebook.ipynb"
        (running_lab.root / name).parent.mkdir(exist_ok=True)  # when it is tried again
        notebook.write(running_lab.root / name, *cells)
        running_lab.start_kernel(name)
        if before:
            book.open(name)
        else:
            book.load(f"{running_lab.url}/lab/tree/{name}?token={running_lab.token}&reset")
            before = book.surroundings()
        page.evaluate(notebook.TRUST)  # as a notebook that its user has written
        return book

    yield opened
    if may_keep and request.session.testsfailed == failed and book.leave() == before:
        kept_pages[page] = before
    else:
        page.close()  # before its kernels end, which it would tell
    running_lab.end_kernels()


@pytest.fixture(scope="session")
def accessible():
    """A function that fails on what hinders users in a page or a part of it, and names it."""

    def check(where: Page | Locator, *rules: str) -> None:
        found = axe.findings(where, *rules)
        assert not found, "\n\n".join(found)

    return check
