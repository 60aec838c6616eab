"""A plugin of pytest that writes down which tests run which lines, and how long each takes.

Tests of kernels, and those that take long, are left out: what they run is run in other processes.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import coverage
import pytest

TARGET = Path(os.environ["LK_COVERAGE_MAP"])
ROOT = Path.cwd()

#: A line that a thousand tests run is tried on the fastest of them.
_MOST = 200

_coverage = coverage.Coverage(data_file=None, source=[str(ROOT / "lk_jupyter")], branch=False, config_file=False)
_seconds: dict[str, float] = {}
_failed: set[str] = set()


_ELSEWHERE = {"kernel", "hosting"}


def pytest_configure():
    _coverage.start()


def pytest_collection_modifyitems(config, items):
    slow = [item for item in items if item.get_closest_marker("timeout") or _ELSEWHERE & set(item.fixturenames)]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in set(slow)]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    _coverage.switch_context(item.nodeid)
    began = time.monotonic()
    yield
    _seconds[item.nodeid] = round(time.monotonic() - began, 3)
    _coverage.switch_context("")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.get_result().failed:
        _failed.add(item.nodeid)


def pytest_sessionfinish():
    _coverage.stop()
    data = _coverage.get_data()
    lines = {
        str(Path(file).relative_to(ROOT)): {
            line: sorted({context for context in contexts if context} - _failed, key=_seconds.__getitem__)[:_MOST]
            for line, contexts in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    TARGET.write_text(json.dumps({"seconds": _seconds, "failed": sorted(_failed), "lines": lines}))
