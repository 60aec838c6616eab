"""schemathesis against a running local cloud: a short run of what ``make contract`` does in full.

Only that one sends the examples of the description: they take four times as long as a request for each operation.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "contract" / "against_local_cloud.py"


@pytest.mark.nightly  # by day, test_contract.py holds each operation against the description
@pytest.mark.timeout(900)
def test_every_answer_to_made_up_requests_is_a_described_one():
    limits = ("--examples", "1", "--", "--phases", "fuzzing,stateful", "--no-color")
    command = [sys.executable, str(SCRIPT), *limits]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert int(re.search(r"(\d+) generated", done.stdout)[1]) > 150
