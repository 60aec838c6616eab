import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from ui import browser

LOAD = "%load_ext lk_jupyter"


@pytest.mark.skipif(browser.SOCKET is None, reason="a browser is started as it is here")
def test_the_browser_hears_of_no_change_of_the_network(tmp_path):
    ask = "import socket\nsocket.socket().close()\nprint('tcp')\nsocket.socket(socket.AF_NETLINK)"
    program = browser.without_network_changes(sys.executable, tmp_path)
    ended = subprocess.run([program, "-c", ask], check=False, capture_output=True, text=True)
    assert ended.stdout == "tcp\n"
    assert "not supported" in ended.stderr


def test_lines_bars_figures_tables_and_formulas_appear_while_the_run_goes_on(open_notebook, tmp_path):
    go_on = tmp_path / "go-on"
    book = open_notebook(
        LOAD,
        f"""%%lk_run --gpu A100
import pathlib, time
print("first line")
while not pathlib.Path({str(go_on)!r}).exists():
    time.sleep(0.05)
print("second line")""",
        """%%lk_run --gpu A100
import time
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Latex
from tqdm import tqdm

print("before the figure")
plt.figure(figsize=(3, 1.5))
plt.plot([1, 3, 2])
plt.show()
print("after the figure")
for epoch in tqdm(range(2), desc="epochs"):
    for step in tqdm(range(5), desc=f"epoch {epoch}"):
        time.sleep(0.02)
for _ in tqdm(range(40), desc="steps"):
    time.sleep(0.02)
display(Latex("$\\\\frac{1}{2}$"))
pd.DataFrame({"loss": [0.5, 0.25]})""",
        """%%lk_run
def ratio(hits, all):
    return hits / all

ratio(1, 0)""",
    )
    book.run_all()
    expect(book.output(1)).to_contain_text("first line")
    expect(book.output(1)).to_contain_text("Running")
    expect(book.output(1)).not_to_contain_text("second line")
    book.picture("running")
    go_on.touch()
    expect(book.output(1)).to_contain_text("second line")
    expect(book.output(1)).to_contain_text("Completed")
    output = book.output(2)
    expect(output.locator(".jp-RenderedImage img")).to_be_visible()
    expect(output.locator("mjx-container")).to_be_visible()
    expect(output.locator("table.dataframe")).to_contain_text("0.25")
    expect(output.get_by_role("progressbar")).to_have_count(4)
    expect(output.get_by_role("progressbar", name="steps")).to_have_attribute("value", "40")
    assert len(re.findall("40/40", output.inner_text())) == 1
    assert "after the figure" in output.inner_text().partition("before the figure")[2]
    expect(book.output(3)).to_contain_text("----> 5 ratio(1, 0)")
    book.pictures("rich")


def test_the_interrupt_button_aborts_the_run(open_notebook, cloud):
    book = open_notebook(
        LOAD,
        """%%lk_run --gpu A100 --name to-be-interrupted
import time
print("working", flush=True)
time.sleep(50)""",
        "print('run all went on')",
    )
    book.run_all()
    expect(book.output(1)).to_contain_text("working")
    (run,) = (run for run in cloud.client.workloads.list() if run.run_name == "to-be-interrupted")
    book.interrupt()
    expect(book.output(1)).to_contain_text("KeyboardInterrupt: You stopped this run.")
    record = cloud.client.execution.get(run.execution_id)
    interrupted = "failed", 130  # the run returned its variables and ended itself
    assert record.status == "aborted" or (record.status, record.return_code) == interrupted
    expect(book.output(2)).not_to_contain_text("run all went on")
    book.picture("interrupted")


@pytest.mark.nightly  # as in a kernel: tests/magics/_output/test_interrupt.py
def test_two_presses_of_the_interrupt_button_abort_the_run_and_its_line_shows_the_end(open_notebook, cloud, page):
    book = open_notebook(
        LOAD,
        """%%lk_run --gpu A100 --name interrupted-twice
import time
print("working", flush=True)
time.sleep(50)""",
    )
    book.run_all()
    expect(book.output(1)).to_contain_text("working")
    (run,) = (run for run in cloud.client.workloads.list() if run.run_name == "interrupted-twice")
    book.interrupt()
    page.wait_for_timeout(150)
    book.interrupt()
    expect(book.output(1)).to_contain_text("KeyboardInterrupt")
    expect(book.header(1)).to_contain_text("Aborted")
    expect(book.output(1)).not_to_contain_text("Notify me")
    assert cloud.client.execution.get(run.execution_id).status == "aborted"
    book.picture("interrupted-twice")


@pytest.mark.nightly  # for who looks at the pictures; what it shows is tested above
def test_a_run_is_pictured_in_light_and_dark(open_notebook):
    book = open_notebook(
        LOAD,
        """%%lk_run --gpu A100
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from tqdm import tqdm

images, digits = load_digits(return_X_y=True)
model = MLPClassifier(random_state=0)
for epoch in tqdm(range(20), desc="training"):
    model.partial_fit(images / 16, digits, classes=range(10))
print(f"\\x1b[32maccuracy {model.score(images / 16, digits):.3f}\\x1b[0m")""",
        """%%lk_run --gpu "H100|A100"
def mean(values):
    return sum(values) / len(values)

print(mean([]))""",
    )
    book.command("application:toggle-left-area")
    book.run_all()
    expect(book.output(2)).to_contain_text("RunFailed")
    book.pictures("run")
