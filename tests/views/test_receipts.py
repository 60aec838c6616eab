"""lk_jupyter.receipts: what a notebook's runs cost, each run once."""

import json
from decimal import Decimal

import pytest

import lk_jupyter
from lk_jupyter.errors import UsageError


def receipt(run_id, cost, **more):
    return {"execution_id": run_id, "state": "completed", "cost": cost, **more}


def notebook_of(*facts):
    outputs = [{"output_type": "display_data", "data": {}, "metadata": {"lk_jupyter": each}} for each in facts]
    return {"cells": [{"cell_type": "code", "outputs": [output]} for output in outputs]}


def test_a_run_whose_receipt_was_saved_nine_times_counts_once():
    notebook = notebook_of(*[receipt("a", "0.10")] * 9, {"runs": [receipt("b", "0.20"), receipt("a", "0.10")]})
    assert [each["execution_id"] for each in lk_jupyter.receipts(notebook)] == ["a", "b"]
    assert sum(Decimal(each["cost"]) for each in lk_jupyter.receipts(notebook)) == Decimal("0.30")


def test_the_last_receipt_counts_and_a_billed_cost_more_than_an_estimate():
    early, late = receipt("a", "0.10", cost_is="estimated"), receipt("a", "0.12", cost_is="estimated")
    billed = receipt("a", "0.11", cost_is="billed")
    assert lk_jupyter.receipts(notebook_of(early, late)) == [late]
    assert lk_jupyter.receipts(notebook_of(billed, late)) == [billed]


@pytest.mark.parametrize(
    "facts",
    [
        None,
        "text",
        {"model": "a model", "cost": "1"},
        {"runs": "text"},
        {"runs": [1, {"execution_id": "../x", "state": "completed"}]},
        {"execution_id": "a", "state": "running"},
        {"execution_id": ["a"], "state": "completed"},
    ],
)
def test_an_output_that_has_no_receipt_of_an_ended_run_counts_for_none(facts):
    assert lk_jupyter.receipts(notebook_of(facts)) == []


@pytest.mark.parametrize(
    "content", [{}, {"cells": 1}, {"cells": [1, {"outputs": 2}, {"outputs": [3, {"metadata": 4}]}]}]
)
def test_content_of_any_form_raises_nothing(content):
    assert lk_jupyter.receipts(content) == []


def test_a_file_is_read_and_hostile_text_in_it_is_made_plain(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps(notebook_of(receipt("a", "0.10", reason="\x1b[31mred\x07", seconds=1.5))))
    (facts,) = lk_jupyter.receipts(path)
    assert (facts["cost"], facts["seconds"]) == ("0.10", 1.5)
    assert "\x1b" not in facts["reason"]
    assert "\x07" not in facts["reason"]


@pytest.mark.parametrize("content", ["", "[]", '{"cells": 1}', "[" * 100_000])
def test_a_file_that_is_no_notebook_is_named(tmp_path, content):
    path = tmp_path / "b.ipynb"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"b\.ipynb"):
        lk_jupyter.receipts(path)
    with pytest.raises(UsageError, match=r"missing\.ipynb"):
        lk_jupyter.receipts(str(tmp_path / "missing.ipynb"))
