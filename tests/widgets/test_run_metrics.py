"""Metrics of runs as a widget: what the browser gets, and what stays when nobody draws it."""

import math
from array import array
from datetime import datetime, timezone

import pytest

from lk_jupyter import session
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.metrics.metrics import Metrics
from lk_jupyter.widgets import RunMetrics
from lk_jupyter.widgets.run_metrics import metrics_frame

START = datetime(2026, 6, 2, 9, 14, tzinfo=timezone.utc)
BEGIN = START.timestamp()
CODE = "import time\nend = time.time() + 3\nwhile time.time() < end: time.sleep(0.1)"


def columns(frame):
    points = array("d", frame["points"])
    rows = len(points) // (len(frame["series"]) + 1)
    return [points[at : at + rows].tolist() for at in range(0, len(points), rows)]


def test_samples_travel_as_columns_of_doubles_with_gaps_where_some_are_missing():
    samples = {
        "cpu_percent": [(BEGIN, 1.0), (BEGIN + 1, math.nan), (BEGIN + 5, 3.0)],
        "gpu_power_watt": [(BEGIN + 1, 70.0)],
    }
    frame = metrics_frame(Metrics(samples, START, 1.0, "one", "node-1 (simulated GPU)"))
    seconds, power, cpu = columns(frame)
    assert seconds == [0, 1, 2, 5], "one row of gaps where all samples are missing"
    assert [math.isnan(value) for value in cpu] == [False, True, True, False]
    assert power[1] == 70
    assert frame["host"] == "node-1 (simulated GPU)"
    assert [(each["label"], each["unit"]) for each in frame["series"]] == [("GPU power", "W"), ("CPU", "%")]


def test_no_samples_travel_too():
    assert columns(metrics_frame(Metrics({}, START, 15.0)) | {"points": b"\0" * 8}) == [[0.0]]
    assert metrics_frame(Metrics({}, START, 15.0))["points"] == b""


def test_a_run_is_named():
    with pytest.raises(UsageError, match="RunMetrics\\(run\\)"):
        RunMetrics()


@pytest.mark.usefixtures("signed_in")
def test_runs_are_watched_to_their_end_and_leave_figures_and_curves():
    runs = [session.current().run(CODE, gpu="A100", timeout=60) for _ in range(2)]
    plots = RunMetrics(*runs)
    assert "first arrives 15 s after the start" in plots.picture().text
    for run in runs:
        run.wait()
    plots.refresh()
    assert plots.empty == ""
    assert set(plots.df["run"]) == {run.short_id for run in runs}
    assert [frame["run"] for frame in plots.frames] == [run.short_id for run in runs]
    plots.look(0.0, 1.0)
    assert plots.window == [0.0, 1.0]
    assert round(plots.df.index.max().total_seconds(), 3) <= 1.0
    picture = plots.picture()
    assert "CPU" in picture.text
    assert "<svg" in picture.html
