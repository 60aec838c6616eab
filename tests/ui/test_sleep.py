"""A laptop that sleeps or loses its network while its run goes on."""

import re
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


class Network:
    """The network between the page and its kernels; each connection that it cuts loses messages first."""

    def __init__(self, page):
        self._sockets = []
        self._is_deaf = False
        self._lost = []
        page.route_web_socket(re.compile("/channels"), self._connect)

    def _connect(self, socket):
        server = socket.connect_to_server()
        server.on_message(lambda message: self._lost.append(message) if self._is_deaf else socket.send(message))
        self._sockets.append((socket, server))

    def lose_messages(self):
        """Lose what the server sends from now on, while both sides think that they are connected."""
        self._is_deaf = True

    def has_lost(self, text):
        """Return whether a lost message holds a text."""
        return any(
            text.encode() in (message.encode() if isinstance(message, str) else message) for message in self._lost
        )

    def cut(self):
        """Close all connections; new ones work."""
        self._is_deaf = False
        while self._sockets:
            socket, server = self._sockets.pop()
            server.close(code=1001)
            socket.close(code=4000)


@pytest.mark.timeout(900)
def test_a_connection_to_the_kernel_that_loses_lines_leaves_no_gap_in_the_cell(
    page_of_its_own, page, open_notebook, tmp_path
):
    network = Network(page)
    files = [tmp_path / name for name in ("lost", "later")]
    book = open_notebook(
        "%load_ext lk_jupyter",
        f"""%%lk_run --gpu A100 --name traveller --fresh
import pathlib, time
for part, file in enumerate(["", *{list(map(str, files))!r}]):
    while file and not pathlib.Path(file).exists():
        time.sleep(0.05)
    for line in range({LINES}):
        print(f"line {{part}}-{{line}}.", flush=True)
    pathlib.Path({str(tmp_path)!r}, f"printed-{{part}}").touch()""",
    )
    book.run_all()
    expect(book.output(1)).to_contain_text(f"line 0-{LINES - 1}.")
    expect(book.header(1)).to_contain_text("Running")
    network.lose_messages()
    files[0].touch()
    _await_file(tmp_path / "printed-1")
    while not network.has_lost(f"line 1-{LINES - 1}."):  # ends at the latest with the test's own timeout
        page.wait_for_timeout(100)
    network.cut()
    files[1].touch()
    expect(book.output(1)).to_contain_text(f"line 2-{LINES - 1}.")
    expect(book.header(1)).to_contain_text("Completed")
    shown = book.output(1).inner_text()
    expected = [f"line {part}-{line}." for part in range(3) for line in range(LINES)]
    assert re.findall(r"line \d-\d+\.", shown) == expected


def _await_file(path):
    for attempt in Retrying(stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1), retry=retry_if_result(bool)):
        with attempt:
            is_missing = not path.exists()
        attempt.retry_state.set_result(is_missing)


def _running(cloud):
    return {run["execution_id"] for run in cloud.http.get("workloads/list").json()}


def _await_end(cloud, run_id):
    """Wait until the cloud has ended a run, which nobody on the laptop sees."""
    for attempt in Retrying(stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1), retry=retry_if_result(bool)):
        with attempt:
            goes_on = run_id in _running(cloud)
        attempt.retry_state.set_result(goes_on)
