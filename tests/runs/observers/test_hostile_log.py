"""A log of any kind keeps the search for hints busy for no second."""

from __future__ import annotations

import pytest
from patience import cpu_seconds

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.runs.observers.rules import Evidence, hints

TRACE = "Traceback (most recent call last):\n"


@pytest.mark.parametrize(
    "piece",
    [
        "\n", " \n", "7", "FileNotFoundError: '", "`'", "OOM when allocating tensor", "CUDA out of memory. 1",
        "\nDuring handling", TRACE, "Exception ignored ", "1 GiB total capacity ", "\x1b[m", "a: ",
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("start", ["", TRACE, TRACE + "FileNotFoundError: ", TRACE + "x: CUDA out of memory. "])
def test_hints_on_400_kb_of_stderr_take_no_second(start, piece):
    text = start + piece * (400_000 // len(piece))
    record = ExecutionRecord(execution_id="x", status="failed", stderr=text)

    def find_hints():
        hints(Evidence(record=record))
        hints(Evidence(log=text))

    assert cpu_seconds(find_hints, limit=1) < 1


def test_an_error_at_the_end_of_a_long_log_is_found():
    text = "noise\n" * 100_000 + TRACE + "  File \"cell.py\", line 1\nModuleNotFoundError: No module named 'yaml'\n"
    record = ExecutionRecord(execution_id="x", status="failed", stderr=text)
    assert hints(Evidence(record=record))[0].option == "-r pyyaml"
