"""CPython's own tests of executors and futures, on ours: ``python tests/suites/cpython_executor.py``.

They come with the Python that runs this. Each call is a run of
a local cloud, so the tests that look into a pool's threads or processes have no counterpart here. Of the tests that
CPython runs for each kind of executor, none is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest
import uuid
from pathlib import Path
from unittest.mock import patch

from lk_jupyter import Executor
from lk_jupyter.executor import RunFuture

try:
    # CPython's tests of futures create them by this name, which their representation shows.
    with patch("concurrent.futures._base.Future", type("Future", (RunFuture,), {})):
        from test.test_concurrent_futures import executor, test_as_completed, test_future, test_shutdown, test_wait
        from test.test_concurrent_futures.util import ExecutorMixin
except ImportError:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    sys.exit(f"Python {python} has no tests here. On Debian: apt-get install libpython{python}-testsuite")

HERE = Path(__file__)
assert_python_ok = test_shutdown.assert_python_ok


class CloudExecutor(Executor):
    """Runs calls on the local cloud, and prints the output of each, as threads and processes do."""

    def __init__(self, max_workers=None):
        super().__init__(max_workers, machine="cpu")

    def submit(self, function, /, *args, **kwargs):
        future = super().submit(function, *args, **kwargs)
        future.add_done_callback(print_output)
        return future


def print_output(future):
    print(future.output, end="", flush=True)


def run_script(option, source):
    """Run a script of CPython's tests, which imports the executor by the name of its class."""
    ours = source.replace("from concurrent.futures import CloudExecutor", f"from {HERE.stem} import CloudExecutor")
    return assert_python_ok(option, ours, PYTHONPATH=str(HERE.parent))


class SharedEvent:
    """An event that another process can wait for: a file."""

    def __init__(self):
        self._path = Path(tempfile.gettempdir(), f"lk-event-{uuid.uuid4().hex}")

    def set(self):
        self._path.touch()

    def is_set(self):
        return self._path.exists()

    def wait(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (end is None or time.monotonic() < end):
            time.sleep(0.01)
        return self.is_set()


class CloudMixin(ExecutorMixin):
    """What CPython's tests of an executor need."""

    worker_count = 3
    executor_type = CloudExecutor

    def create_event(self):
        return SharedEvent()


def suite() -> unittest.TestSuite:
    """Return the tests, each with an executor of its own."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    kinds = (
        executor.ExecutorTest,
        test_wait.WaitTests,
        test_as_completed.AsCompletedTests,
        test_shutdown.ExecutorShutdownTest,
    )
    cases = [type(kind.__name__, (CloudMixin, kind, unittest.TestCase), {}) for kind in kinds]
    return unittest.TestSuite(map(load, [*cases, test_future.FutureTests]))


def main() -> None:
    """Run the tests on a cloud of their own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        command = [sys.executable, "-m", "lk_jupyter.localcloud", "--port", "0", "--data", f"{folder}/cloud"]
        cloud = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = json.loads(cloud.stdout.readline())
            os.environ |= {"LK_BASE_URL": address["base_url"], "LK_API_KEY": address["api_key"]}
            test_shutdown.assert_python_ok = run_script
            result = unittest.TextTestRunner(verbosity=2).run(suite())
        finally:
            cloud.terminate()
            cloud.wait()
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"CPython {python}, executors and futures:")
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    sys.exit(bool(failed or skipped))


if __name__ == "__main__":
    main()
