"""One Lab and one browser for all tests of this folder; a page and a notebook for each."""

from pathlib import Path

import pytest
from patience import PATIENCE
from playwright.sync_api import BrowserContext, Locator, Page, expect, sync_playwright

from ui import axe, lab, notebook
from ui import browser as installed

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def pytest_itemcollected(item):
    """Run the tests of this folder in two processes, so that they share what takes long to start."""
    if Path(__file__).parent in item.path.parents:
        item.add_marker(pytest.mark.xdist_group("ui, first half" if item.path.name < "test_m" else "ui, second half"))


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
        profile, size = tmp_path_factory.mktemp("chromium"), {"width": 1280, "height": 900}
        opened = playwright.chromium.launch_persistent_context(
            profile, executable_path=program, args=FLAGS, viewport=size
        )
        with opened as context:
            yield context


@pytest.fixture
def forgiven() -> tuple[str, ...]:
    """How faults begin that are not ours: Lab says it of what it had asked a kernel that was restarted."""
    return ("Canceled future for",)


@pytest.fixture
def page(chromium: BrowserContext, forgiven: tuple[str, ...]):
    """An empty page; the test fails when a script of it did, or a module of an extension is missing."""
    expect.set_options(timeout=1000 * PATIENCE)
    page = chromium.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    faults = []
    missing = []
    page.on("pageerror", lambda fault: faults.append(fault))  # noqa: PLW0108 (Playwright marks its handlers)
    page.on("console", lambda said: missing.append(said.text) if "exist in shared scope" in said.text else None)
    yield page
    page.close()
    assert not missing
    ours = [fault for fault in faults if not fault.message.removeprefix("Error: ").startswith(forgiven)]
    assert not [f"{fault.message}\n{fault.stack}" for fault in ours]


@pytest.fixture
def open_notebook(running_lab: lab.Lab, page: Page, request: pytest.FixtureRequest):
    """A function that opens a notebook of these cells in Lab."""

    def opened(*cells: str) -> notebook.OpenNotebook:
        name = f"{request.node.name}/notebook.ipynb"
        (running_lab.root / name).parent.mkdir(exist_ok=True)  # when it is tried again
        notebook.write(running_lab.root / name, *cells)
        running_lab.start_kernel(name)
        found = notebook.OpenNotebook(page)
        found.load(f"{running_lab.url}/lab/tree/{name}?token={running_lab.token}&reset")
        return found

    yield opened
    page.close()  # before its kernels end, which it would tell
    running_lab.end_kernels()


@pytest.fixture(scope="session")
def accessible():
    """A function that fails on what hinders users in a page or a part of it, and names it."""

    def check(where: Page | Locator) -> None:
        found = axe.findings(where)
        assert not found, "\n\n".join(found)

    return check
