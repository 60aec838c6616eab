"""A laptop that sleeps while its run goes on, and wakes when it has ended."""

from contextlib import contextmanager

import psutil
import pytest
from patience import PATIENCE
from playwright.sync_api import expect
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

LINES = 20


@contextmanager
def asleep(lab, page):
    """Stop all that runs on the laptop: the server of Lab with its kernels, and the page."""
    browser = page.context.new_cdp_session(page)
    servers = [it for it in psutil.process_iter() if any(lab.token in word for word in _words(it))]
    processes = [*servers, *(child for it in servers for child in it.children(recursive=True))]
    assert len(processes) > 1, "the server and a kernel"
    browser.send("Page.setWebLifecycleState", {"state": "frozen"})
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()
        browser.send("Page.setWebLifecycleState", {"state": "active"})


def _words(process):
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.timeout(900)
def test_what_a_run_did_while_the_laptop_slept_is_there_when_it_wakes(
    open_notebook, running_lab, page, cloud, tmp_path
):
    go_on = tmp_path / "go-on"
    book = open_notebook(
        "%load_ext lk_jupyter",
        f"""%%lk_run --gpu A100 --name sleeper
import pathlib, time
print("before")
while not pathlib.Path({str(go_on)!r}).exists():
    time.sleep(0.05)
for line in range({LINES}):
    print(f"line {{line}}.")""",
    )
    others = _running(cloud)
    page.get_by_role("tab", name="GPU cloud", exact=True).click()
    panel = page.locator("#lk-jupyter-panel")
    book.run_all()
    expect(book.output(1)).to_contain_text("before")
    run = panel.get_by_role("list", name="Runs").get_by_role("listitem").filter(has_text="sleeper").first
    expect(run).to_contain_text("running")
    [run_id] = _running(cloud) - others
    with asleep(running_lab, page):
        go_on.touch()
        _await_end(cloud, run_id)
    expect(book.output(1)).to_contain_text("Completed")
    expect(book.output(1)).to_contain_text("credits")
    shown = book.output(1).inner_text()
    assert [shown.count(f"line {line}.") for line in range(LINES)] == [1] * LINES
    expect(book.header(1)).to_contain_text("CompletedA100")
    expect(run).to_contain_text("completed")


def _running(cloud):
    return {run["execution_id"] for run in cloud.http.get("workloads/list").json()}


def _await_end(cloud, run_id):
    """Wait until the cloud has ended a run, which nobody on the laptop sees."""
    for attempt in Retrying(stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1), retry=retry_if_result(bool)):
        with attempt:
            goes_on = run_id in _running(cloud)
        attempt.retry_state.set_result(goes_on)
