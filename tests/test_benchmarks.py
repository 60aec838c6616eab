"""Each section of ``make bench`` runs to its end; its figures are measured there, not here."""

import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

SMALL = {
    "LK_BENCH_S3_BYTES": "1000000",
    "LK_BENCH_FILES": "5",
    "LK_BENCH_FILE_BYTES": "1000",
    "LK_BENCH_ROWS": "1000",
    "LK_BENCH_KEYS": "20",
    "LK_BENCH_FOLDER_KEYS": "20",
    "LK_BENCH_FRAME_BYTES": "1000000",
    "LK_ANY_CELL": "history_names",
    "LK_BENCH_CELLS": "2",
    "LK_BENCH_ROUNDS": "1",
    "LK_BENCH_FIT_SECONDS": "0.01",
}


def sections():
    spec = spec_from_file_location("report", BENCHMARKS / "report.py")
    report = module_from_spec(spec)
    spec.loader.exec_module(report)
    return report.BENCHES


#: Sections that are run by day too: the files of a run change.
BY_DAY = {"shim"}


@pytest.mark.parametrize(
    "section", [pytest.param(name, marks=() if name in BY_DAY else pytest.mark.nightly) for name in sections()]
)
def test_a_section_runs_to_its_end(section):
    report = subprocess.run(
        [sys.executable, str(BENCHMARKS / "report.py"), section],
        env={**os.environ, **SMALL},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stderr
    assert " limit " in report.stdout
