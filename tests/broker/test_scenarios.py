"""The scenarios of the tests pass through a broker as without it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from broker.scenarios import NOT_THROUGH_BROKER, SCENARIOS

TESTS = Path(__file__).parents[1]


def run_tests(*names, **env):
    """Run tests in another process; return its output, and the names of the tests that don't pass."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "LK_NIGHTLY"))}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "not nightly", "-p", "no:cacheprovider", *names]
    done = subprocess.run(command, cwd=TESTS.parent, env={**clean, **env}, capture_output=True, text=True, check=False)
    return done.stdout, re.findall(r"^(?:FAILED|ERROR) (\S+::.*?)(?: - .*)?$", done.stdout, re.MULTILINE)


def test_each_scenario_that_does_not_apply_exists():
    text = "".join((TESTS / path).read_text("utf-8") for path in SCENARIOS)
    assert not [name for name in NOT_THROUGH_BROKER if f"def {name}(" not in text]


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_each_scenario_that_passes_without_a_broker_passes_through_it():
    output, failed = run_tests(*(f"tests/{path}" for path in SCENARIOS), LK_THROUGH_BROKER="1")
    print(output.splitlines()[-1])
    assert re.search(r"\d{3} passed", output), output[-2000:]
    failed_again = run_tests(*failed, LK_THROUGH_BROKER="1")[1] if failed else []
    failed_directly = run_tests(*failed_again)[1] if failed_again else []
    print(f"{len(failed)} failed, {len(failed_again)} of these again, {len(failed_directly)} of these without a broker")
    assert not set(failed_again) - set(failed_directly), output[-5000:]
