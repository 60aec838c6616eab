"""Damaged bytes crash no parser and take little memory and time. For an hour: ``make fuzz SECONDS=3600``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux measures the memory of each input")
def test_no_damaged_input_crashes_a_parser_or_takes_300_mb_or_5_s(tmp_path):
    """In a process of its own: the child processes of the harness are forks, and this one has threads."""
    most = "6" if "LK_NIGHTLY" in os.environ else "2"
    command = [sys.executable, "-m", "fuzz", "--most", most, "--seconds", "60", "--jobs", "1", "--out", str(tmp_path)]
    ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = [line.rsplit(maxsplit=6) for line in ended.stdout.splitlines()[1:]]
    assert len(rows) > 30


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux measures the memory of each input")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("SIGSEGV", "import ctypes; ctypes.string_at(0)"),
        ("MB", "bytearray(b'x') * 400_000_000"),
        ("CPU time", "while True: pass"),
        ("KeyError", "{}[1]"),
    ],
)
def test_the_harness_reports_each_kind_of_fault_with_its_input(tmp_path, fault, code):
    script = f"""
from pathlib import Path
from fuzz import runner
from fuzz.mutations import damaged
runner.SECONDS = 0.2
def parse(content):
    if content != b"valid" * 20:
        {code}
parser = runner.Parser("bad", lambda: [b"valid" * 20], parse, damaged)
totals = runner.fuzz([parser], 30, 1, Path({str(tmp_path)!r}), 3)
print(runner.table_of({{name: runner.Totals(**total) for name, total in totals.items()}}))
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=HERE, capture_output=True, text=True, check=False)
    assert fault in ended.stdout, ended.stdout + ended.stderr
    assert 1 <= len(list(tmp_path.iterdir())) <= 2  # a change may change nothing
