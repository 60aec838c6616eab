"""Metrics of runs as tables and plots."""

import math
import sys
import time
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from patience import PATIENCE

from lk_jupyter import session
from lk_jupyter.api.execution import ExecutionMetrics
from lk_jupyter.errors import UsageError
from lk_jupyter.runs.metrics import metrics
from lk_jupyter.runs.metrics.metrics import Metrics, Overlay, step_for
from lk_jupyter.runs.metrics.series import EMPTY, SERIES, with_gaps

START = datetime(2026, 6, 2, 9, 14, tzinfo=timezone.utc)


def answer(**series):
    """Return an answer of the API; a series is {seconds since the start: value}."""
    told = {
        name: [{"timestamp": START + timedelta(seconds=at), "value": value} for at, value in points.items()]
        for name, points in series.items()
    }
    return ExecutionMetrics(executionId="3f0c2a9e-5b1d", hostname="node-1", timeRange={"start": START}, **told)


FULL = Metrics.from_response(
    answer(
        gpuUtilizationPercent={0: 10.0, 15: None, 30: 90.0, 90: 95.0},
        gpuMemoryUtilizationPercent={0: 20.0, 15: 40.0, 30: 60.0, 90: 60.0},
        gpuPowerWatt={0: 100, 15: 300},
        gpuPowerLimitWatt={0: 400, 15: 400},
        gpuPcieThroughputRxBytesPerSec={0: 5_000_000},
        systemRamUsedBytes={0: 2**30, 15: 3 * 2**29},
    ),
    label="one",
)


def test_the_table_has_a_row_for_each_time_and_a_column_for_each_series_of_the_api():
    frame = FULL.df
    fields = {name for name in ExecutionMetrics.model_fields if name.startswith(("gpu", "system"))}
    assert {series.field for series in SERIES} == fields
    assert list(frame.columns) == [series.column for series in SERIES]
    assert isinstance(frame.index, pd.DatetimeIndex)
    assert str(frame.index.tz) == "UTC"
    assert frame.index[0] == START
    assert {str(kind) for kind in frame.dtypes} == {"float64"}
    assert frame.attrs["units"]["ram_used_gib"] == "GiB"
    assert set(frame.attrs) == {"run", "hostname", "units"}


def test_units_are_those_that_people_read():
    first = FULL.df.iloc[0]
    assert (first["gpu_pcie_rx_mb_per_s"], first["ram_used_gib"], first["gpu_power_watt"]) == (5.0, 1.0, 100.0)


def test_a_null_and_a_gap_stay_what_they_are():
    column = FULL.df["gpu_utilization_percent"]
    seconds = (column.index - START).total_seconds()
    told = dict(zip(seconds, column, strict=True))
    assert told[0.0] == 10.0
    assert math.isnan(told[15.0])
    assert math.isnan(told[45.0]), "samples were missing after 30 s"
    assert (told[30.0], told[90.0]) == (90.0, 95.0)


def test_a_line_breaks_once_in_each_gap():
    found = with_gaps([(0, 1.0), (1, 2.0), (10, 3.0), (11, 4.0)], 1)
    assert [moment for moment, value in found if math.isnan(value)] == [2]
    assert [value for _, value in found if not math.isnan(value)] == [1.0, 2.0, 3.0, 4.0]
    assert with_gaps([], 1) == []


def test_no_samples_are_an_empty_table_with_all_columns():
    empty = Metrics.from_response(answer())
    assert not empty
    assert empty.df.empty
    assert list(empty.df.columns) == list(FULL.df.columns)


@pytest.mark.parametrize(
    ("window", "step"), [(0, 1), (600, 1), (1001, 2), (3600, 5), (86_400, 120), (7 * 86_400, 900), (10**9, 1_036_800)]
)
def test_the_step_gives_at_most_a_thousand_points(window, step):
    assert step_for(window) == step
    assert window / step <= 1000


def test_a_plot_has_units_one_time_axis_and_lines_that_need_no_colour():
    figure = FULL.plot()
    axes = figure.axes
    assert [axis.get_ylabel() for axis in axes] == [
        "GPU\n(%)",
        "Power\n(W)",
        "PCIe to the GPU\n(MB/s)",
        "RAM used\n(GiB)",
    ]
    assert [axis.get_xlabel() for axis in axes] == ["", "", "", "Time since the start (s) · measured on node-1"]
    assert axes[0].get_shared_x_axes().joined(axes[0], axes[3])
    styles = {line.get_linestyle() for line in axes[0].lines}
    assert len(styles) == len(axes[0].lines) == 2
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["GPU utilization", "GPU memory"]
    assert axes[2].lines[0].get_marker() == "o", "one point alone is no line"


def test_a_plot_shows_gaps_as_gaps():
    line = FULL.plot("gpu_utilization_percent").axes[0].lines[0]
    assert [math.isnan(value) for value in line.get_ydata()] == [False, True, False, True, False]


def test_runs_are_laid_over_each_other_at_their_starts():
    later = START + timedelta(hours=5)
    other = Metrics({"cpu_percent": [(later.timestamp(), 50.0), (later.timestamp() + 15, 60.0)]}, later, 15, "two")
    first = Metrics.from_response(answer(systemCpuUsagePercent={0: 1.0, 15: 2.0}), label="one")
    both = Overlay([first, other])
    frame = both.df
    assert list(frame.index.total_seconds()) == [0.0, 15.0, 0.0, 15.0]
    assert frame.groupby("run")["cpu_percent"].mean().to_dict() == {"one": 1.5, "two": 55.0}
    lines = both.plot().axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[0.0, 15.0], [0.0, 15.0]]
    assert [line.get_label() for line in lines] == ["one", "two"]
    assert len({line.get_linestyle() for line in lines}) == 2


def test_a_plot_without_samples_says_when_they_come():
    figure = Metrics.from_response(answer()).plot()
    assert [text.get_text() for text in figure.axes[0].texts] == [EMPTY]


def test_an_open_figure_is_not_left_behind():
    FULL.plot()
    import matplotlib.pyplot as plt  # noqa: PLC0415 (half a second, in each process that collects the tests)

    assert plt.get_fignums() == []


def test_a_series_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(UsageError, match=r"Unknown metric 'gpu'\. Metrics: gpu_utilization_percent, "):
        FULL.plot("gpu")


@pytest.mark.parametrize(
    ("module", "use", "package"),
    [("pandas", lambda: Metrics.from_response(answer()).df, "pandas"), ("matplotlib.pyplot", FULL.plot, "matplotlib")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch, module, use, package):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf'pip install .*"{package}>='):
        use()


def wait_for_samples(run, count):
    end = time.monotonic() + PATIENCE
    while len((found := metrics.read(run)).samples["cpu_percent"]) < count:
        assert time.monotonic() < end, "no samples came"
        time.sleep(0.1)
    return found


def test_a_running_run_has_metrics_already_and_more_later(make_cloud):
    cloud = make_cloud("--simulate-gpu")
    with session.connect(cloud.base_url, cloud.api_key) as connected:
        run = connected.run("import time\nprint('on', flush=True)\nfor _ in range(400): time.sleep(.05)", gpu="A100")
        for _ in run.follow():
            break
        early = wait_for_samples(run, 2)
        later = metrics.read(run)
        window = metrics.read(run, start=early.start, end=early.start + timedelta(seconds=1), step="500ms")
        with pytest.raises(UsageError, match=r"'often' isn't a duration\. Give seconds, or for example 5s"):
            metrics.read(run, step="often")
        with pytest.raises(UsageError, match="before it starts"):
            metrics.read(run, start=early.start, end=early.start - timedelta(minutes=1))
        parts = metrics.read(
            run, start=early.start - timedelta(hours=6), end=early.start + timedelta(seconds=2), step=1
        )
        run.abort()
    assert early.step == 1
    assert early.label == run.short_id
    assert early.df["gpu_utilization_percent"].notna().any()
    assert len(later.samples["cpu_percent"]) >= len(early.samples["cpu_percent"])
    assert window.step == 0.5
    assert len(window.df) <= 3
    assert parts.samples["cpu_percent"], "a long window is read in parts"
    assert sorted(parts.samples["cpu_percent"]) == parts.samples["cpu_percent"]
