"""What is plotted of a widget for a page that shows no HTML."""

import math
import sys
import time
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from io import BytesIO

import pytest
from PIL import Image

from lk_jupyter import session
from lk_jupyter.runs.metrics.metrics import Metrics
from lk_jupyter.views.png import draw_bars, draw_plots, draw_words
from lk_jupyter.widgets import Balance, RunMetrics, RunView

START = datetime(2026, 6, 2, tzinfo=timezone.utc)
SAMPLES = {"cpu_percent": [(START.timestamp(), 10.0), (START.timestamp() + 5, math.nan)]}
METRICS = Metrics(SAMPLES, START, 1.0, "one $x_1$ 雪")
PARTS = [("By kind", [["Runs $y$ 雪", "1.50", 1.0], ["VMs", "0.30", 0.2]])]
HEAD = "State  ✓ completed\nepoch 1: 雪 $z$ \x1b"


@pytest.mark.parametrize("draw", [lambda: draw_plots([METRICS], HEAD), lambda: draw_bars(PARTS, HEAD)])
def test_a_plot_is_the_same_in_any_thread_and_style_and_leaves_none_of_either(draw):
    import matplotlib.pyplot as plt  # noqa: PLC0415 (half a second, in each process that collects the tests)

    plain, opened = draw(), plt.get_fignums()
    with plt.style.context("dark_background"), ThreadPoolExecutor(1) as thread:
        before = dict(plt.rcParams)
        assert Image.open(BytesIO(thread.submit(draw).result())).convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert dict(plt.rcParams) == before
    assert plt.get_fignums() == opened
    assert Image.open(BytesIO(plain)).width == 770
    assert len(plain) < 30_000


def test_words_are_a_picture_as_wide_as_the_longest_line_and_as_high_as_all_of_them():
    small, wide, high = (Image.open(BytesIO(draw_words(text))) for text in ("a", "a" * 100, "a\n" * 50))
    assert wide.width > 50 * small.width // 3
    assert wide.height == small.height
    assert high.height > 30 * small.height // 3
    assert Image.open(BytesIO(draw_words("a\n" * 100_000))).height < 5000
    assert draw_words(HEAD), "letters that the font lacks"
    assert draw_words("")


@pytest.mark.parametrize("draw", [lambda: draw_plots([METRICS], HEAD), lambda: draw_words(HEAD)])
def test_where_nothing_can_draw_there_is_no_png(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw() == b""
    monkeypatch.undo()
    assert draw(), "what is installed later is used"


@pytest.mark.usefixtures("signed_in")
def test_a_run_that_has_ended_leaves_a_plot_with_its_facts_and_one_that_goes_on_its_words(tmp_path):
    go = tmp_path / "go"
    wait = f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(.05)"
    run = session.current().run(f"import pathlib, time\nprint('on', flush=True)\n{wait}", gpu="A100", timeout=60)
    views = [RunMetrics(run), RunView(run)]
    next(iter(run.follow()))
    for view in views:
        view.load()
        left = view.picture().bundle()
        assert left["image/png"] == b64encode(draw_words(left["text/plain"])).decode()
    while views[0].empty:
        views[0].load()
        time.sleep(0.05)
    go.touch()
    run.wait()
    high = []
    for view in views:
        view.load()
        view._ended = False
        assert (
            view._picture_bundle()["image/png"] == b64encode(draw_words(view._picture_bundle()["text/plain"])).decode()
        ), "at once"
        view._ended = True
        drawn = b64decode(view._picture_bundle()["image/png"])
        high.append(Image.open(BytesIO(drawn)).height)
    assert high[1] > high[0], "facts and log stand above the same plots"


def test_what_was_spent_is_plotted_once_for_each_state(signed_in):
    session.current().run("print(1)", gpu="A100", timeout=60).wait()
    money = Balance()
    money.load()
    first = money._picture_bundle()
    assert "image/png" in first
    money.load()
    assert money._picture_bundle() is first
    money.close()
