"""A kernel on a machine of the cloud, in Lab: from the launcher to the end of its bill."""

from __future__ import annotations

import re

import nbformat
import pytest
from conftest import RunningCloud
from localcloud.conftest import until
from playwright.sync_api import expect

import lk_jupyter
from lk_jupyter.kernels import specs
from ui import lab, notebook


@pytest.fixture(scope="module")
def hosting(tmp_path_factory):
    """A local cloud whose notebook runs are Jupyter servers of this environment."""
    running = RunningCloud(tmp_path_factory.mktemp("hosting"), "--engine", "none", "--clock-speed", "20")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def lab_with_kernel(hosting, tmp_path_factory):
    """A Lab of a user who has added a kernel on an A100."""
    settings, root = tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("notebooks")
    with pytest.MonkeyPatch.context() as patch, lk_jupyter.connect(hosting.base_url, hosting.api_key) as session:
        patch.setenv("JUPYTER_DATA_DIR", str(settings))
        specs.add(session.machines().resolve("A100"), {"idle": 20})
    signed_in = {"LK_BASE_URL": hosting.base_url, "LK_API_KEY": hosting.api_key}
    with lab.running(settings, root, {**signed_in, "LK_JOURNAL": str(settings / "journal.sqlite")}) as running:
        yield running


@pytest.fixture
def forgiven():
    """How a fault begins that is not ours: ipywidgets reads the kernel of a notebook that has none."""
    return ("Canceled future for", "Cannot read properties of null (reading 'kernel')")


def dialog(page):
    """The question whether a machine may start."""
    return page.get_by_role("dialog").filter(has_text="Start A100")


def answer(page, button):
    """Answer the question, and read the reason that Lab shows for a kernel that did not start."""
    dialog(page).get_by_role("button", name=button).click()
    expect(dialog(page)).to_have_count(0)
    if button == "Cancel":
        reason = page.get_by_role("dialog").filter(has_text="A100 wasn't started: Cancel was clicked.")
        expect(reason).to_be_visible()
        reason.get_by_role("button").last.click()


def send(lab_with_kernel, *names):
    """Write notebooks of another person, which name the kernel."""
    for name in names:
        path = lab_with_kernel.root / name
        notebook.write(path, "print(6 * 7)")
        book = nbformat.read(path, 4)
        book.metadata.kernelspec = {"name": "lk-gpu.a100", "display_name": "Python 3 (free)"}
        nbformat.write(book, path)


@pytest.mark.nightly  # tests/serverext/test_kernels.py
@pytest.mark.timeout(900)
def test_a_notebook_that_somebody_sent_starts_no_machine_before_start_is_clicked(hosting, lab_with_kernel, page):
    def active():
        return [run.hardware_profile for run in hosting.client.workloads.list()]

    send(lab_with_kernel, "sent.ipynb")
    page.goto(f"{lab_with_kernel.url}/lab/tree/sent.ipynb?token={lab_with_kernel.token}&reset")
    expect(dialog(page)).to_contain_text("Start A100 for “sent.ipynb”?")
    expect(dialog(page)).to_contain_text(
        "The machine costs 1.59 credits per hour, and at most 0.2654 credits in total."
    )
    expect(dialog(page).get_by_role("button", name="Cancel")).to_be_focused()
    book = notebook.OpenNotebook(page)
    for theme in book.themes():
        notebook.picture(page, f"kernel-question-{theme}")
    assert active() == []
    page.keyboard.press("Enter")  # meant for a cell
    expect(dialog(page)).to_have_count(0)
    page.get_by_role("dialog").filter(has_text="Cancel was clicked").get_by_role("button").last.click()
    assert active() == []

    page.reload()  # Lab opens the notebook again
    answer(page, "Cancel")
    assert active() == []

    page.reload()
    answer(page, "Start")
    page.wait_for_function(notebook.KERNEL_IS_READY, polling=notebook.LOOK)
    assert active() == ["gpu.a100"]
    expect(book.run(0)).to_contain_text("42")
    book.ended()
    page.evaluate(notebook.SHUT_DOWN)
    until(lambda: not active())


@pytest.mark.nightly  # one that is opened is the case by day
@pytest.mark.timeout(900)
def test_more_notebooks_than_a_browser_has_connections_can_be_answered(hosting, lab_with_kernel, page):
    names = [f"sent-{number}.ipynb" for number in range(8)]
    send(lab_with_kernel, *names)
    page.goto(f"{lab_with_kernel.url}/lab?token={lab_with_kernel.token}&reset")
    page.locator(".jp-LauncherCard").first.wait_for()
    starts = []
    page.on("response", lambda response: starts.append(response) if response.status == 500 else None)
    book = notebook.OpenNotebook(page)
    for name in names:
        book.command("docmanager:open", path=name)
    while len(starts) < len(names):
        page.locator(".jp-Dialog button").first.click()  # Cancel, or Dismiss for the reason of an earlier one
    assert all("Cancel was clicked" in start.json()["message"] for start in starts)
    assert list(hosting.client.workloads.list()) == []


@pytest.mark.nightly  # as from any Jupyter: tests/kernels/test_provisioner.py
@pytest.mark.timeout(900)
def test_it_is_started_used_interrupted_restarted_and_shut_down_and_bills_no_more(hosting, lab_with_kernel, page):
    def going_on():
        return list(hosting.client.workloads.list())

    page.goto(f"{lab_with_kernel.url}/lab?token={lab_with_kernel.token}&reset")
    page.locator("#jupyterlab-splash").wait_for(state="detached")
    card = page.locator(".jp-LauncherCard[data-category='Notebook']", has_text="Python on A100, 1.59 credits/h")
    expect(card).to_be_visible()
    page.screenshot(path=notebook.SCREENS / "kernel-launcher.png")
    assert going_on() == []

    card.click()
    answer(page, "Start")
    page.wait_for_function(notebook.KERNEL_IS_READY, polling=notebook.LOOK)
    (run,) = going_on()
    assert run.hardware_profile == "gpu.a100"
    book = notebook.OpenNotebook(page)
    typed(page, 0, "x = 6 * 7; print(x)")
    output = book.run(0)
    expect(output).to_contain_text("42")
    book.ended()

    typed(page, 1, "import time; print('at work'); time.sleep(600)")
    output = book.run(1)
    expect(output).to_contain_text("at work")
    book.interrupt()
    expect(output).to_contain_text("KeyboardInterrupt")
    book.ended()
    book.picture("kernel-used")

    book.restart_kernel()
    book.ended()
    typed(page, 2, "x")
    expect(book.run(2)).to_contain_text("name 'x' is not defined")
    book.ended()
    assert [still.execution_id for still in going_on()] == [run.execution_id]

    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    record = until(lambda: (now := hosting.client.execution.get(run.execution_id)).status == "cancelled" and now)
    assert going_on() == []
    assert hosting.client.execution.get(run.execution_id).billed == record.billed > 0


def typed(page, cell, code):
    """Put code into a cell, which is made where it is missing."""
    page.evaluate(
        """([cell, code]) => {
            const cells = window.jupyterapp.shell.currentWidget.content.model.sharedModel;
            if (cells.cells.length <= cell) cells.insertCell(cell, {cell_type: 'code'});
            cells.getCell(cell).setSource(code);
        }""",
        [cell, code],
    )


@pytest.mark.nightly  # as text and as data: tests/magics/test_notebook.py
@pytest.mark.timeout(900)
def test_a_server_and_a_kernel_have_the_header_of_a_run_before_and_after_a_reload(hosting, lab_with_kernel, page):
    send(lab_with_kernel, "kernel.ipynb")
    cells = ["%load_ext lk_jupyter", "%lk_notebook start --gpu A100 --no-browser", "", "%lk_notebook", "%lk_kernel"]
    notebook.write(lab_with_kernel.root / "headers.ipynb", *cells)
    page.on("dialog", lambda question: question.accept())
    page.goto(f"{lab_with_kernel.url}/lab/tree/kernel.ipynb?token={lab_with_kernel.token}&reset")
    answer(page, "Start")
    page.wait_for_function(notebook.KERNEL_IS_READY, polling=notebook.LOOK)
    (kernel,) = hosting.client.workloads.list()
    book = notebook.OpenNotebook(page)
    book.open("headers.ipynb")
    page.evaluate(notebook.TRUST)
    book.command("application:toggle-left-area")
    book.run(0)
    book.run(1)
    expect(book.output(1)).to_contain_text("Address: http")
    (server,) = [run for run in hosting.client.workloads.list() if run.execution_id != kernel.execution_id]
    typed(page, 2, f"%lk_notebook open {server.execution_id[:8]} --save password")
    for cell in (2, 3, 4):
        book.run(cell)
    book.ended()

    def check():
        for cell, count, short in ((1, 1, server), (2, 1, server), (3, 2, server), (4, 1, kernel)):
            expect(book.header(cell)).to_have_count(count)
            header = book.output(cell).get_by_role("region", name=short.execution_id[:8])
            expect(header).to_contain_text(
                re.compile(r"Running.*A100 · 1.59 credits/h.*\d:\d\d / 10:00.*≈ 0\.\d+ cred")
            )
            expect(header.get_by_role("status")).to_have_count(1)
            expect(header.get_by_role("button", name="Abort the run")).to_be_visible()
            expect(book.output(cell)).not_to_contain_text("%lk_attach")
            if cell < 3:
                expect(header).to_contain_text("Address: http")

    check()
    book.pictures("headers-servers")
    book.save()
    book.reload()
    check()
    book.pictures("headers-servers-reloaded")
    book.output(2).get_by_role("button", name="Abort the run").click()
    page.get_by_role("dialog").get_by_role("button", name="Abort").click()
    for cell in (1, 2):
        expect(book.header(cell)).to_contain_text(re.compile(r"Aborted.*credits"))
        expect(book.output(cell)).not_to_contain_text("%lk_attach")
    for run in hosting.client.workloads.list():
        hosting.client.workloads.abort(run.execution_id)
