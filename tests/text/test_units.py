import json
from decimal import Decimal
from pathlib import Path

import pytest

from lk_jupyter.text.units import count_label, credits_label, duration_label, limit_label, size_label

#: Read by the tests of the TypeScript half too.
FIGURES = json.loads(Path(__file__).parents[1].joinpath("figures.json").read_text("utf-8"))


@pytest.mark.parametrize(("amount", "label"), FIGURES["credits"])
def test_credits_are_written_as_the_browser_writes_them(amount, label):
    assert credits_label(Decimal(str(amount))) == label


@pytest.mark.parametrize(("seconds", "label"), FIGURES["duration"])
def test_a_duration_is_written_as_the_browser_writes_it(seconds, label):
    assert duration_label(seconds) == label


@pytest.mark.parametrize(("count", "label"), FIGURES["size"])
def test_a_size_is_written_as_the_browser_writes_it(count, label):
    assert size_label(count) == label


@pytest.mark.parametrize(("count", "label"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_a_count_has_the_form_of_the_noun_that_fits(count, label):
    assert count_label(count, "row") == label


def test_a_size_that_no_float_represents_is_written_as_the_largest_size():
    assert size_label(10**400) == "1000000000000000 PB"


@pytest.mark.parametrize(
    ("seconds", "label"), [(10_800, "3 h"), (600, "10 min"), (5400, "1 h 30 min"), (3601, "1 h 1 s"), (45, "45 s")]
)
def test_a_limit_has_no_parts_that_are_zero(seconds, label):
    assert limit_label(seconds) == label
