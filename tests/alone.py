"""Run the few tests that failed in the last run again, one after the other, and name those that pass then.

A test that only passes alone has met another one on a busy machine: that is a defect of the tests, and stays in the log
of CI with its first failure. Many failures, or one that fails alone too, are a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FAILED = Path(__file__).parents[1] / ".pytest_cache" / "v" / "cache" / "lastfailed"
MOST = 4


def without_group(test: str) -> str:
    """Return the id of a test without the group of tests that xdist keeps in one process."""
    head, _, group = test.rpartition("@")
    return head if head and "]" not in group else test


def main() -> int:
    """Return the exit status."""
    tests = sorted(map(without_group, json.loads(FAILED.read_text()))) if FAILED.exists() else []
    if not 0 < len(tests) <= MOST:
        print(f"{len(tests)} tests failed; at most {MOST} are run again.")
        return 1
    status = subprocess.run([sys.executable, "-m", "pytest", "-n", "0", *tests], check=False).returncode
    if status == 0:
        print("Failed beside other tests, passed alone:", *tests, sep="\n  ")
    return status


if __name__ == "__main__":
    sys.exit(main())
