"""``%lk_pin``: the packages of a notebook in a script block."""

from importlib import metadata

import pytest

from lk_jupyter.code.script_block import read_block


@pytest.fixture
def inputs(shell, monkeypatch):
    """The contents that cells get after ``%lk_pin``: text, and whether it replaces the cell."""
    contents = []
    monkeypatch.setattr(shell, "set_next_input", lambda text, replace=False: contents.append((text, replace)))
    return contents


def test_the_imports_of_executed_cells_are_pinned_in_the_versions_of_this_kernel(run_cell, shell, inputs):
    cells = [
        "# /// script\n# dependencies = []\n# [tool.lk]\n# timeout = 60\n# ///",
        "import packaging.version, json, lk_jupyter",
        "%%lk_run --gpu A100\nimport torch_of_mine",
        "not python",
    ]
    shell.history_manager.input_hist_raw[:] = [*cells, "%lk_pin"]
    assert "Wrote a script block with 1 package into this cell." in run_cell("%lk_pin")
    ((text, replace),) = inputs
    block = read_block(text)
    assert replace
    assert block.dependencies == (f"packaging=={metadata.version('packaging')}",)
    assert block.options == {"timeout": 60}
    assert "# import torch_of_mine: no package in this kernel provides this module" in text


@pytest.mark.nightly
def test_other_code_in_the_cell_stays(run_cell, shell, inputs):
    shell.history_manager.input_hist_raw[:] = ["import packaging", "x = 1\n%lk_pin"]
    assert "into the next cell" in run_cell("%lk_pin")
    assert [replace for _, replace in inputs] == [False]


@pytest.mark.nightly
def test_a_notebook_without_imports_changes_nothing(run_cell, shell, inputs):
    shell.history_manager.input_hist_raw[:] = ["import json", "%lk_pin"]
    assert "imports no packages. Nothing was changed." in run_cell("%lk_pin")
    assert not inputs
