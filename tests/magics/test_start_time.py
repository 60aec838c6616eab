"""``%%lk_run --time``: what a cell costs before its first line."""

import re

from lk_jupyter.runs.observers.start_time import times_label

PHASES = ("analysis", "upload", "start", "shim", "environment")
EACH = ", ".join(name + r" ([\d.]+) s" for name in PHASES)
SHOWN = r"Before the first line: ([\d.]+) s \(" + EACH + r"\)"


def test_the_phases_before_the_first_line_are_shown_and_add_up(kernel):
    cell = kernel.run("%%lk_run --time\nprint('up')")
    total, *phases = map(float, re.search(SHOWN, "\n".join(cell.shown)).groups())
    assert abs(total - sum(phases)) < 0.04  # each is rounded
    assert phases[2] > 0  # the start takes longer than nothing


def test_without_the_option_nothing_is_measured(kernel):
    assert "Before the first line" not in str(kernel.run("%%lk_run\nprint('up')").shown)


def test_a_phase_that_was_not_measured_is_left_out():
    label = times_label({"analysis": 0.011, "upload": 0.2, "sent": 12345.0})
    assert label == "Before the first line: 0.21 s (analysis 0.01 s, upload 0.20 s)"
