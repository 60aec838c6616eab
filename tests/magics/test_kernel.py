"""Kernels on cloud machines, as a notebook adds them to the launcher."""

import re

import pytest

from lk_jupyter.kernels import specs


@pytest.mark.usefixtures("signed_in")
def test_a_kernel_keeps_the_limits_that_it_was_added_with(run_cell, monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    shown = run_cell("%lk_kernel add A100 --idle 10 --max-cost 2.50 --timeout 300 --image python:3.12")
    assert shown.startswith("✓ added · Python on A100, 1.59 credits/h · at most 0.1329 credits (time limit 300 s)\n")
    assert "Its machine is released at its time limit of 5 min." in shown
    (kernel,) = specs.installed()
    limits = {"idle": 10, "timeout": 300, "max_cost": "2.5"}
    assert kernel.config == {"machine": "gpu.a100", "image": "python:3.12", **limits}
    row = run_cell("%lk_kernel").splitlines()[2]
    cells = ["Python on A100, 1.59 credits/h", "gpu.a100", "10 min idle", "2.5 credits", "python:3.12"]
    assert re.split(" {2,}", row.strip()) == cells
    assert run_cell("%lk_kernel remove A100") == "Removed Python on A100, 1.59 credits/h from the launcher.\n"
    assert "No kernels. Add one: %lk_kernel add A100" in run_cell("%lk_kernel")
