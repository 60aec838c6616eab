"""What is plotted of a widget for a page that shows no HTML."""

import math
import sys
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from io import BytesIO

import matplotlib.pyplot as plt
import pytest
from PIL import Image

from lk_jupyter.runs import session
from lk_jupyter.runs.metrics import Metrics
from lk_jupyter.widgets import Balance, RunMetrics, RunView
from lk_jupyter.widgets._png import bars, plots

START = datetime(2026, 6, 2, tzinfo=timezone.utc)
SAMPLES = {"cpu_percent": [(START.timestamp(), 10.0), (START.timestamp() + 5, math.nan)]}
METRICS = Metrics(SAMPLES, START, 1.0, "one $x_1$ 雪")
PARTS = [("By kind", [["Runs $y$ 雪", "1.50", 1.0], ["VMs", "0.30", 0.2]])]
HEAD = "State  ✓ completed\nepoch 1: 雪 $z$ \x1b"


@pytest.mark.parametrize("draw", [lambda: plots([METRICS], HEAD), lambda: bars(PARTS, HEAD)])
def test_a_plot_is_the_same_in_any_thread_and_style_and_leaves_none_of_either(draw):
    plain, opened = draw(), plt.get_fignums()
    with plt.style.context("dark_background"), ThreadPoolExecutor(1) as thread:
        before = dict(plt.rcParams)
        assert Image.open(BytesIO(thread.submit(draw).result())).convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert dict(plt.rcParams) == before
    assert plt.get_fignums() == opened
    assert Image.open(BytesIO(plain)).width == 770
    assert len(plain) < 30_000


def test_where_nothing_can_plot_there_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert plots([METRICS], HEAD) == b""


@pytest.mark.usefixtures("signed_in")
def test_a_run_that_has_ended_leaves_a_plot_with_its_facts_and_one_that_goes_on_none():
    run = session.current().run("import time\nprint('on', flush=True)\ntime.sleep(3)", gpu="A100", timeout=60)
    views = [RunMetrics(run), RunView(run)]
    next(iter(run.follow()))
    for view in views:
        view.load()
        assert set(view.picture().bundle()) == {"text/plain", "text/html"}
    run.wait()
    high = []
    for view in views:
        view.load()
        view._ended = False
        assert "image/png" not in view._left(), "the end is left at once"
        view._ended = True
        drawn = b64decode(view._left()["image/png"])
        high.append(Image.open(BytesIO(drawn)).height)
    assert high[1] > high[0], "facts and log stand above the same plots"


def test_what_was_spent_is_plotted_once_for_each_state(signed_in):
    session.current().run("print(1)", gpu="A100", timeout=60).wait()
    money = Balance()
    money.load()
    first = money._left()
    assert "image/png" in first
    money.load()
    assert money._left() is first
    money.close()
