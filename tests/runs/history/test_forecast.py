"""The forecast of a run from earlier runs of the same code."""

import random
import time

import pytest

from lk_jupyter.code.source import Source
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.history.forecast import MIN_RUNS, _compute_student_quantile, forecast_run, predict_interval
from lk_jupyter.runs.observers.limits import ForecastLabel
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.submit.submission import build_entry
from lk_jupyter.views.plan import plan_view

#: Quantiles of Student's distribution for 95 %, one-sided, from a table.
TABLE = {2: 2.920, 3: 2.353, 5: 2.015, 9: 1.833, 19: 1.729, 29: 1.699}


@pytest.mark.parametrize(("degrees", "quantile"), TABLE.items())
def test_the_quantile_is_that_of_the_table(degrees, quantile):
    assert _compute_student_quantile(degrees) == pytest.approx(quantile, rel=0.005)


@pytest.mark.parametrize("count", [3, 5, 10, 30])
@pytest.mark.parametrize("spread", [0.02, 0.1, 0.4])
def test_at_least_eight_of_ten_repeats_are_in_the_interval(count, spread):
    draw = random.Random(count)
    hits = 0
    for _ in range(500):
        durations = [60 * draw.lognormvariate(0, spread) for _ in range(count + 1)]
        low, high = predict_interval(durations[:-1])
        hits += low <= durations[-1] <= high
    assert hits >= 400


CODE = "print('train')"


def remember(session, seconds, code=CODE, state="completed", **options):
    """Put an ended run into the journal, as a run of this code puts it there."""
    entry = build_entry(session, prepare(session, Source(code), RunOptions(**options)))
    entry.execution_id, entry.state, entry.seconds = f"run-{time.monotonic_ns()}", state, seconds
    journal().add(entry)


def test_three_completed_runs_of_the_code_on_the_machine_give_a_forecast(session):
    options = RunOptions(gpu="A100")
    for seconds in (241, 260, 290):
        assert forecast_run(prepare(session, Source(CODE), options), session.base_url) is None
        remember(session, seconds, gpu="A100")
    bundle = prepare(session, Source(CODE), options)
    forecast = forecast_run(bundle, session.base_url)
    assert forecast.count == MIN_RUNS
    assert forecast.low < 241
    assert 290 < forecast.high <= bundle.timeout
    assert forecast.cost <= bundle.worst_case
    assert "about 0.1148 credits (3 runs)" in str(plan_view(bundle, forecast=forecast))
    assert forecast_run(prepare(session, Source(CODE), RunOptions(gpu="H100")), session.base_url) is None
    assert forecast_run(bundle, "https://elsewhere.test") is None


def test_failed_runs_other_arguments_and_other_sizes_give_no_forecast(session, home, monkeypatch):
    monkeypatch.chdir(home)
    data = home / "data.csv"
    for _ in range(MIN_RUNS):
        remember(session, 10, state="failed")
        remember(session, 10, arg=["--epochs", "9"])
    bundle = prepare(session, Source(CODE), RunOptions())
    assert forecast_run(bundle, session.base_url) is None
    for size in (200_000, 230_000, 220_000, 900_000):
        data.write_bytes(b"x" * size)
        remember(session, 10, files=[data.name])
    assert forecast_run(prepare(session, Source(CODE), RunOptions(files=[data.name])), session.base_url) is None
    data.write_bytes(b"x" * 210_000)
    bundle = prepare(session, Source(CODE), RunOptions(files=[data.name]))
    assert forecast_run(bundle, session.base_url).count == 3


def test_the_status_line_shows_the_forecast_after_a_second_of_code(session):
    for _ in range(MIN_RUNS):
        remember(session, 60)
    label = ForecastLabel(prepare(session, Source(CODE), RunOptions()), session.base_url)
    assert [label.tick(None, seconds, "") for seconds in (None, 0.9)] == [[], []]
    label.tick(None, 1.0, "")
    label._thread.join()
    (text,) = label.tick(None, 1.5, "")
    assert text.startswith("usually ")
    remember(session, 600)
    assert label.tick(None, 2.0, "") == [text]  # read once


@pytest.mark.nightly
def test_forty_of_fifty_repeats_of_real_runs_are_in_the_interval(session):
    draw, hits = random.Random(41), 0
    code = "import time; time.sleep({!r})"
    for _ in range(50):
        durations = []
        for _ in range(MIN_RUNS + 1):
            run = session.run(code.format(round(0.2 * draw.lognormvariate(0, 0.2), 3)))
            durations.append(run.result().duration)
        low, high = predict_interval(durations[:-1])
        hits += low <= durations[-1] <= high
    print(f"{hits} of 50 repeats in the interval")
    assert hits >= 40
