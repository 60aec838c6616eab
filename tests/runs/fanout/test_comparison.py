"""Which of several runs stands out."""

import math
import sys
from decimal import Decimal

import pytest

from lk_jupyter.runs.fanout.comparison import MemberResult, best_labels, build_table
from lk_jupyter.runs.fanout.score import Score
from lk_jupyter.runs.metrics.summary import GpuUsage

ACCURACY, LOSS = Score.parse("accuracy"), Score.parse("loss")


def outcome(number, state="completed", seconds=1.0, cost="1", **scores):
    cost = None if cost is None else Decimal(cost)
    return MemberResult(number, "gpu.a100", {"lr": number}, state, seconds, cost, scores=scores)


def test_cheapest_fastest_and_best_are_marked_in_words():
    outcomes = [
        outcome(1, seconds=3, cost="1", accuracy=0.5, loss=2.0),
        outcome(2, seconds=2, cost="2", accuracy=0.9, loss=3.0),
        outcome(3, seconds=4, cost="3", accuracy=0.7, loss=1.0),
    ]
    assert best_labels(outcomes, [ACCURACY, LOSS]) == {
        1: ["cheapest that finished"],
        2: ["fastest", "best accuracy"],
        3: ["best loss"],
    }


def test_what_did_not_complete_is_never_marked():
    outcomes = [outcome(1, "failed", seconds=0.1, cost="0"), outcome(2), outcome(3, "aborted", 0.1, "0")]
    assert best_labels(outcomes, []) == {1: [], 2: ["cheapest that finished", "fastest"], 3: []}


def test_of_equal_runs_the_cheapest_is_marked_and_what_is_not_known_is_not():
    outcomes = [outcome(1, accuracy=1.0, cost=None), outcome(2, accuracy=1.0, seconds=None, cost=None), outcome(3)]
    assert best_labels(outcomes, [ACCURACY]) == {
        1: ["best accuracy"],
        2: [],
        3: ["cheapest that finished", "fastest"],
    }


@pytest.mark.parametrize("value", [math.nan, "high", None])
def test_a_score_that_is_no_number_is_not_the_best(value):
    assert best_labels([outcome(1, accuracy=value), outcome(2, accuracy=0.1)], [ACCURACY])[2][-1] == "best accuracy"


def test_nothing_is_marked_when_nothing_completed():
    assert best_labels([outcome(1, "failed")], [ACCURACY]) == {1: []}


def test_the_table_is_a_data_frame():
    table = build_table([outcome(1, accuracy=0.5), outcome(2, "failed", None, None, accuracy=None)], [ACCURACY])
    assert list(table.index) == [1, 2]
    assert table.loc[1, "mark"] == "cheapest that finished, fastest, best accuracy"
    assert table["lr"].tolist() == [1, 2]
    assert table.sort_values("accuracy").iloc[0]["cost"] == 1.0
    assert table["seconds"].isna().tolist() == [False, True]


def test_without_pandas_it_is_a_list_of_rows(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    shown = MemberResult(1, "gpu.a100", {}, "completed", gpu=GpuUsage(50.0, 10.0, 40.0))
    (row,) = build_table([shown], [])
    assert row["machine"] == "gpu.a100"
    assert row["peak_gpu_memory_gib"] == 40.0


def test_a_value_or_score_with_the_name_of_a_column_stands_beside_it():
    shown = MemberResult(1, "gpu.a100", {"cost": 7, "x": 1}, "completed", scores={"seconds": 3.0, "x": 2.0})
    row = shown.row()
    assert (row["swept_cost"], row["cost"], row["score_seconds"], row["seconds"]) == (7, None, 3.0, None)
    assert (row["x"], row["score_x"]) == (1, 2.0)
