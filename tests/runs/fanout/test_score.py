"""Figures found in a log."""

import math

import pytest

from lk_jupyter.errors import UsageError
from lk_jupyter.runs.fanout.score import Score


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("accuracy: 0.93", 0.93),
        ("accuracy=0.93", 0.93),
        ("Accuracy 93", 93),
        ("epoch 3 accuracy = -1.5e-3 more", -1.5e-3),
        ('{"loss": 1, "accuracy": 0.5}', 0.5),
        ("{'accuracy': .5}", 0.5),
        ("accuracy is 1", 1),
        ("accuracy: 0.1 accuracy: 0.2", 0.2),
        ("accuracy: 93%", 93),
        ("\x1b[32maccuracy\x1b[0m: \x1b[1m0.93\x1b[0m", 0.93),
        ("\r10%\raccuracy: 0.93", 0.93),
        ("accuracy: inf", math.inf),
        ("val_accuracy: 0.93", None),
        ("accuracy_top5: 0.93", None),
        ("test/accuracy: 0.93", None),
        ("accuracy", None),
        ("accuracy: high", None),
        ("", None),
    ],
)
def test_a_name_finds_the_number_beside_it(line, value):
    assert Score.parse("accuracy").last(["accuracy", line, "the end"]) == value


def test_the_last_one_counts():
    assert Score.parse("loss").last(["loss: 3", "loss: 2", "x"]) == 2


def test_a_pattern_with_a_group_finds_anything():
    assert Score.parse(r"took (\S+) s").last(["took 3.5 s"]) == 3.5
    assert Score.parse(r"winner: (\w+)").last(["winner: adam"]) == "adam"
    assert Score.parse("eval/accuracy").last(["eval/accuracy: 0.5"]) == 0.5


@pytest.mark.parametrize(
    ("asked", "name", "highest"),
    [
        ("accuracy", "accuracy", True),
        ("loss", "loss", False),
        ("val_loss", "val_loss", False),
        ("Test RMSE", "Test RMSE", False),
        ("blossom", "blossom", True),
        ("loss:max", "loss", True),
        ("accuracy:min", "accuracy", False),
        (r"took (\S+)", r"took (\S+)", True),
    ],
)
def test_the_lowest_loss_and_the_highest_of_others_is_the_best(asked, name, highest):
    score = Score.parse(asked)
    assert (score.name, score.highest) == (name, highest)


@pytest.mark.parametrize("pattern", ["acc=[0-9]+", "(a)(b)", "acc=(["])
def test_a_pattern_that_cannot_be_used_is_told(pattern):
    with pytest.raises(UsageError, match="--metric"):
        Score.parse(pattern)
