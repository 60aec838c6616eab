import threading
import time
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pandas as pd
import pytest

import lk_jupyter
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.options.history import HistoryOptions
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.history.history import find_run, history, parse_moment
from lk_jupyter.runs.metrics.summary import GpuUsage, figures, keep_figures
from lk_jupyter.runs.observers.default import default_observers

NOW = datetime(2026, 6, 2, 12, tzinfo=timezone.utc)


@pytest.fixture
def session(signed_in):
    with lk_jupyter.connect() as session:
        yield session


@pytest.fixture
def mark(request):
    """A label of the test's own: the cloud is shared."""
    return f"{request.node.name}-{time.time_ns()}"


def test_a_run_is_there_with_what_it_was_and_how_it_went(session, mark):
    run = session.run("print(1)", gpu="A100", label=[mark, "b"], name="first")
    run.result()
    table = session.history(label=[mark])
    assert list(table.index) == [run.short_id]
    row = table.loc[run.short_id]
    assert (row.state, row.machine, row["name"], row.labels) == ("completed", "gpu.a100", "first", f"{mark}, b")
    assert row.cost == pytest.approx(float(run.record.billed))
    assert row.seconds >= 0
    assert row.execution_id == run.execution_id
    assert row.started.tzinfo is not None
    assert len(row.code) == 8


def test_the_same_code_has_the_same_hash(session, mark):
    for code in ("print(1)", "print(1)\n", "print(2)"):
        session.run(code, label=[mark]).wait()
    newest, second, first = session.history(label=[mark]).code
    assert first == second != newest


def test_a_run_that_was_started_elsewhere_is_there_too(session, cloud, mark):
    request = {"code": "print(1)", "run_name": mark, "labels": [mark]}
    execution_id = session.client.execution.start_streaming(request).execution_id
    session.get(execution_id).wait()
    assert journal().get(execution_id) is None
    (past,) = history(session, HistoryOptions(text=[mark])).runs
    assert (past.execution_id, past.state, past.code_hash) == (execution_id, "completed", "")
    assert past.cost is not None


def test_a_run_whose_end_nobody_saw_here_has_the_state_and_cost_of_the_cloud(session, mark):
    run = session.run("print(1)", label=[mark])
    session.get(run.execution_id).wait()
    journal().update(run.execution_id, state="running", cost=None)
    (past,) = history(session, HistoryOptions(label=[mark])).runs
    assert past.state == "completed"
    assert past.cost is not None
    kept = journal().get(run.execution_id)
    assert (kept.state, kept.cost) == ("completed", past.cost)


@pytest.fixture
def kept(session, mark):
    """A journal with three runs of a server that is the session's, which the cloud has no bill for."""
    started = time.time() - 3 * 86_400
    common = {"base_url": session.base_url, "state": "completed", "cost": Decimal("0.5")}
    for number, (machine, code, notebook) in enumerate(
        [
            ("gpu.a100", "train(lr=0.1)", "/home/me/one.ipynb"),
            ("gpu.h100", "evaluate()", "/home/me/two.ipynb"),
            ("gpu.a100", "train(lr=0.2)", "/home/me/two.ipynb"),
        ]
    ):
        entry = JournalEntry(f"token{number}", execution_id=f"{number}-{mark}", machine=machine, code=code, **common)
        entry.created_at, entry.notebook, entry.labels = started + number, notebook, [mark, f"n{number}"]
        entry.metadata, entry.summary = {"team": "vision"}, {"peak_gpu_memory_percent": 40.0 + number}
        journal().add(entry)

    def found(*text, **options):
        runs = history(session, HistoryOptions(text=[mark, *text], **options)).runs
        return [int(past.execution_id[0]) for past in runs]

    return found


def test_runs_are_searched_by_words_machine_label_notebook_and_time(kept, mark):
    assert kept() == [2, 1, 0]
    assert kept("TRAIN") == [2, 0]
    assert kept("train", "0.2") == [2]
    assert kept("vision", machine="a100") == [2, 0]
    assert kept(machine="gpu.h100") == [1]
    assert kept(label=[mark, "n1"]) == [1]
    assert kept(notebook="two") == [2, 1]
    assert kept(limit=1) == [2]
    assert kept(since="7d") == [2, 1, 0]
    assert kept(since="2d") == []
    assert kept(state="failed") == []
    assert kept("nowhere to be found") == []


def test_figures_of_the_metrics_are_columns(kept, session, mark):
    table = session.history(mark)
    assert list(table.peak_gpu_memory_percent) == [42.0, 41.0, 40.0]
    assert list(table.notebook) == ["two.ipynb", "two.ipynb", "one.ipynb"]


def test_no_run_is_a_table_without_rows(session):
    table = session.history("nowhere to be found")
    assert isinstance(table, pd.DataFrame)
    assert len(table) == 0
    assert {"state", "machine", "cost"} <= set(table.columns)


def test_without_the_cloud_the_journal_tells_what_it_knows(make_cloud, home, monkeypatch):
    cloud = make_cloud()
    with lk_jupyter.connect(cloud.base_url, cloud.api_key) as session:
        run = session.run("print(1)")
        run.wait()
        cloud.kill()
        found = history(session, HistoryOptions())
    assert [past.execution_id for past in found.runs] == [run.execution_id]
    assert "the journal of this machine" in found.note


def test_the_package_has_it_too(session, mark):
    session.run("print(1)", label=[mark]).wait()
    assert len(lk_jupyter.history(label=[mark])) == 1


def test_an_option_that_does_not_exist_is_refused(session):
    with pytest.raises(TypeError, match="'limti'"):
        session.history(limti=3)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("12 h", NOW - timedelta(hours=12)),
        ("30M", NOW - timedelta(minutes=30)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-06-01T10:00:00+00:00", NOW - timedelta(hours=26)),
        ("2026-06-01T10:00:00Z", NOW - timedelta(hours=26)),
    ],
)
def test_a_time_is_a_span_or_a_date(text, moment):
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "7", "d", "-3d", "2026-13-01", "9999999d", ""])
def test_a_time_that_cannot_be_read_says_what_can(text):
    with pytest.raises(UsageError, match="--since 7d"):
        parse_moment(text, NOW)


def test_an_id_may_be_shortened_and_must_be_one(session):
    run = session.run("print(1)")
    run.wait()
    found, entry = find_run(session, run.execution_id[:8])
    assert found == run.execution_id
    assert entry.code == "print(1)"
    with pytest.raises(UsageError, match="No run of yours starts with"):
        find_run(session, "ffffffff")
    with pytest.raises(UsageError, match="too short"):
        find_run(session, "3")


def test_that_there_are_no_metrics_is_kept_when_none_can_come_any_more(session, mark):
    run = session.run("print(1)", gpu="A100", label=[mark])
    run.wait()
    session.history(label=[mark])
    assert journal().get(run.execution_id).summary == {}
    journal().update(run.execution_id, created_at=time.time() - 3600)
    session.history(label=[mark])
    assert journal().get(run.execution_id).summary.keys() >= {"peak_gpu_memory_percent"}


def test_figures_of_the_metrics_are_kept_beside_the_scores(home):
    journal().add(JournalEntry("t", "http://127.0.0.1:1", "3f0c2a9e", summary={"accuracy": 0.9}))
    keep_figures("3f0c2a9e", figures(GpuUsage(peak_memory=41.234, mean_use=80.0)))
    assert journal().get("3f0c2a9e").summary == {
        "accuracy": 0.9,
        "peak_gpu_memory_percent": 41.23,
        "peak_gpu_memory_gib": None,
        "mean_gpu_utilization_percent": 80.0,
    }


def test_the_score_of_a_run_is_stored_and_its_metrics_are_read_later_all_the_same(session, mark):
    code = "for n in range(1, 4): print(f'epoch {n}/3 loss: {1 / n:.3f} val_acc: {n / 4:.2f}')"
    run = session.run(code, gpu="A100", label=[mark])
    observers = default_observers(session, RunOptions(), run.bundle)
    record = run.wait()
    observers.tick(run, None, run.result().stdout)
    observers.ended(run, record)
    join_threads(f"lk-summary-{run.short_id}")
    assert journal().get(run.execution_id).summary == {"val_acc": 0.75}
    journal().update(run.execution_id, created_at=time.time() - 3600)
    session.history(label=[mark])
    assert journal().get(run.execution_id).summary == {"val_acc": 0.75, **figures(GpuUsage())}


def test_a_score_that_is_not_finite_is_stored_as_missing(home):
    journal().add(JournalEntry("t", "http://127.0.0.1:1", "3f0c2a9e"))
    keep_figures("3f0c2a9e", {"loss": float("nan"), "steps": 3})
    assert journal().get("3f0c2a9e").summary == {"loss": None, "steps": 3}


def join_threads(name):
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join()


def test_a_run_that_is_far_back_is_found_too(session, mark):
    for number in range(250):
        entry = JournalEntry(f"{mark}{number}", session.base_url, f"far{number:04}-{mark}", state="completed")
        entry.created_at, entry.summary = time.time() - 10_000 + number, figures(GpuUsage())
        entry.code = "needle" if number == 3 else "hay"
        journal().add(entry)
    found = history(session, HistoryOptions(text=["needle", mark])).runs
    assert [past.execution_id[:7] for past in found] == ["far0003"]
    newest = history(session, HistoryOptions(text=[mark], limit=3)).runs
    assert [past.execution_id[:7] for past in newest] == ["far0249", "far0248", "far0247"]
