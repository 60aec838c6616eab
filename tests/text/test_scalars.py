"""Numbers that programs print become curves, and those of other logs don't."""

import json
import math
import random
import re
import time
from pathlib import Path

import pytest
from text.other_logs import other_logs

from lk_jupyter.text.scalars import ScalarParser, choose_score, is_highest_best

LOGS = Path(__file__).parent / "logs"
#: Logs that real trainings have written to a pipe, with the values that each tool has recorded: Keras 3.15, the Trainer
#: of Transformers 5.24, Lightning with tqdm, scikit-learn, XGBoost 3.2, LightGBM 4.7, and loops with tqdm.
CAPTURED = "captured.txt"


def training_logs(file="training.txt"):
    """Yield name, text and curves of each log."""
    for block in re.split("^=== ", (LOGS / file).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name, text, *curves = block.rstrip("\n").split("\n")
        yield name, json.loads(text), {line.split("\t")[0]: json.loads(line.split("\t")[1]) for line in curves}


def parsed(text, size=None, **options):
    parser = ScalarParser(**options)
    for start in range(0, len(text), size or len(text) or 1):
        parser.feed(text[start : start + (size or len(text))])
    parser.end()
    return parser


def values(text, size=None):
    return {curve.name: curve.values for curve in parsed(text, size).curves}


def test_at_least_95_percent_of_the_values_in_60_logs_of_trainings_are_read():
    logs = list(training_logs())
    expected = right = 0
    for _, text, curves in logs:
        curves_by_name = values(text)
        for name, numbers in curves.items():
            expected += len(numbers)
            same_length = len(curves_by_name.get(name, [])) == len(numbers)
            right += same_length and sum(map(math.isclose, curves_by_name[name], numbers))
    assert len(logs) >= 60
    assert right >= 0.95 * expected, (right, expected)


def count_in_order(numbers, expected):
    """Return how many of the expected numbers are among the numbers, in the same order; tools print rounded numbers."""
    at = count = 0
    for number in expected:
        places = range(at, len(numbers))
        if (place := next((n for n in places if is_rounded(numbers[n], number)), None)) is not None:
            at, count = place + 1, count + 1
    return count


def is_rounded(printed, recorded):
    both_nan = math.isnan(printed) and math.isnan(recorded)
    return both_nan or math.isclose(printed, recorded, rel_tol=6e-3, abs_tol=6e-5)


def test_at_least_95_percent_of_the_values_that_tools_recorded_are_read_in_60_real_logs():
    logs = list(training_logs(CAPTURED))
    missed = {}
    expected = 0
    for log, text, curves in logs:
        curves_by_name = values(text)
        for name, numbers in curves.items():
            expected += len(numbers)
            missed[log, name] = len(numbers) - count_in_order(curves_by_name.get(name, []), numbers)
    tools = {log.partition("-")[0] for log, _, _ in logs}
    assert tools >= {"keras", "trainer", "lightning", "sklearn", "xgboost", "tqdm"}
    assert len(logs) >= 60
    assert sum(missed.values()) <= 0.05 * expected, {place: count for place, count in missed.items() if count}


def test_at_most_1_percent_of_200_other_logs_get_a_curve():
    logs = other_logs()
    curves = [(log, curves_by_name) for log in logs if (curves_by_name := values(log))]
    assert len(logs) >= 200
    assert len(curves) <= 0.01 * len(logs), curves


def test_the_places_where_a_log_is_cut_change_nothing():
    for name, text, _ in training_logs():
        assert values(text, 7) == values(text), name


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Epoch 1/3\n10/10 - loss: 3.0\nEpoch 2/3\n10/10 - loss: 2.0\nEpoch 3/3\n10/10 - loss: 1.0\n", [10, 20, 30]),
        ("epoch 1 loss 0.3\nepoch 2 loss 0.2\nepoch 3 loss 0.1\n", [1, 2, 3]),
        ("step 10 loss 0.3\nstep 20 loss 0.2\nstep 30 loss 0.1\n", [10, 20, 30]),
        ("loss 0.3\nloss 0.2\nloss 0.1\n", [1, 2, 3]),
        ("epochs: 33%|█ | 1/3 loss=0.3\nepochs: 67%|█ | 2/3 loss=0.2\nepochs: 100%|█| 3/3 loss=0.1\n", [1, 2, 3]),
        ("step 1 loss 0.3\nstep 2 loss 0.2\nstep 1 loss 0.9\nstep 2 loss 0.8\n", [1, 2, 3, 4]),
    ],
)
def test_the_step_of_a_value_is_that_of_its_line_or_of_the_line_before(text, steps):
    (curve,) = parsed(text).curves
    assert curve.steps == steps


def test_a_redrawn_bar_has_one_value_for_each_step():
    text = "".join(f"\r 1/3 loss={loss}" for loss in (0.9, 0.8)) + "\r 2/3 loss=0.7\r 3/3 loss=0.6\n"
    assert values(text) == {"loss": [0.8, 0.7, 0.6]}


def test_a_line_printed_behind_a_bar_has_the_step_of_its_own_epoch():
    parser = ScalarParser()
    parser.feed("".join(f"\r {at}2%|█ | {at}/8 [00:01<00:02]epoch {at - 1} loss 0.{9 - at}\n" for at in range(1, 9)))
    (curve,) = parser.curves
    assert list(curve.steps) == list(range(8))


def test_two_values_are_no_curve_and_more_than_20_names_show_20():
    assert values("loss: 0.3\nloss: 0.2\n") == {}
    line = " ".join(f"loss_{number}=0.5" for number in range(30)) + "\n"
    assert len(values(line * 3)) == 20


def test_exact_values_replace_printed_values_of_the_same_name():
    parser = parsed("loss: 0.3\nloss: 0.2\nloss: 0.1\n")
    parser.add_points({"points": [["loss", step, 0.123456789 + step, 5.0] for step in range(3)]})
    parser.feed("loss: 0.9\n")
    (curve,) = parser.curves
    assert (curve.values[0], curve.times, len(curve.values)) == (0.123456789, [5.0] * 3, 3)


@pytest.mark.parametrize(
    "payload", [{}, {"points": 3}, {"points": [1, ["x"], ["x", None, "y", None], [[], {}, [], 1]]}]
)
def test_points_of_another_form_are_ignored(payload):
    parser = ScalarParser()
    parser.add_points(payload)
    assert parser.curves == []


def test_a_long_curve_keeps_its_first_and_its_newest_value():
    parser = parsed("".join(f"step {step} loss: {step}.5\n" for step in range(10_000)), most_points=100)
    (curve,) = parser.curves
    assert 50 <= len(curve.steps) <= 101
    assert (curve.values[0], curve.values[-1], curve.steps[-1]) == (0.5, 9999.5, 9999)
    assert curve.steps == sorted(set(curve.steps))
    content = curve.content(10)
    assert len(content["values"]) <= 11
    assert content["values"][-1] == 9999.5


def test_values_that_are_not_finite_are_missing_in_a_plot():
    (curve,) = parsed("loss: 1.5\nloss: nan\nloss: 2.5\n").curves
    assert curve.content() == {"name": "loss", "steps": [1, 2, 3], "values": [1.5, None, 2.5]}


@pytest.mark.parametrize(
    ("names", "score", "highest"),
    [
        (["loss", "accuracy", "val_loss", "val_accuracy"], "val_accuracy", True),
        (["loss", "val_loss"], "val_loss", False),
        (["accuracy", "loss"], "loss", False),
        (["eval_loss", "learning_rate", "grad_norm"], "eval_loss", False),
        (["lr", "accuracy"], "accuracy", True),
        (["validation_0-auc"], "validation_0-auc", True),
        (["Norm", "T"], None, None),
    ],
)
def test_the_score_is_a_validation_measure_else_the_loss(names, score, highest):
    assert choose_score(names) == score
    assert score is None or is_highest_best(score) == highest


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        " ",
        "loss ",
        "loss: ",
        "1/2 ",
        "1",
        "epoch ",
        "[",
        "\x1b[",
        "train ",
        "_'s ",
        "x=",
        "1,000 ",
        "e-",
        "|",
        ". ",
    ],
)
def test_the_time_grows_with_the_length_of_the_text(piece):
    times = []
    for count in (20_000, 80_000):
        start = time.process_time()
        parsed(piece * (count // len(piece)))
        times.append(time.process_time() - start)
    assert times[1] < max(0.05, 12 * times[0]), times


def test_no_text_raises():
    chance = random.Random(3)
    pieces = [
        "epoch ",
        "loss",
        ":",
        "=",
        " ",
        "1",
        "/",
        "e",
        "nan",
        "-",
        ".",
        "\r",
        "\n",
        "\x1b[1m",
        "[",
        "|",
        "'",
        "%",
    ]
    for _ in range(2_000):
        parsed("".join(chance.choices(pieces, k=40)), 5)
