"""CPython's own tests of executors, on ours: ``python tests/suites/cpython_executor.py``.

They come with the Python that runs this (Debian: ``apt-get install libpython3.13-testsuite``). Each call is a run of
a local cloud, so the tests that look into a pool's threads or processes have no counterpart here.
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

try:
    from test.test_concurrent_futures import executor, test_as_completed, test_shutdown, test_wait, util
except ImportError:
    sys.exit("This Python comes without its tests. On Debian: apt-get install libpython3.13-testsuite")

from lk_jupyter import Executor, connect

#: Tests that have no counterpart, and why.
LEFT_OUT = {
    "test_interpreter_shutdown": "its script names the executor by a class of the standard library",
    "test_submit_after_interpreter_shutdown": "the same",
    "test_hang_gh83386": "the same",
    "test_hang_gh94440": "it starts a pool of processes",
}


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


def suite(session) -> unittest.TestSuite:
    """Return the tests, each with an executor of this session."""

    class OurMixin(util.ExecutorMixin):
        worker_count = 3

        @staticmethod
        def executor_type(*arguments, **options):
            return Executor(*arguments, machine="cpu", session=session, **options)

        def create_event(self):
            return SharedEvent()

    tests = unittest.TestSuite()
    for theirs in (
        executor.ExecutorTest,
        test_wait.WaitTests,
        test_as_completed.AsCompletedTests,
        test_shutdown.ExecutorShutdownTest,
    ):
        case = type(theirs.__name__, (OurMixin, theirs, unittest.TestCase), {})
        names = unittest.defaultTestLoader.getTestCaseNames(case)
        tests.addTests(case(name) for name in names if name not in LEFT_OUT)
    return tests


def main() -> None:
    """Run the tests on a cloud of their own."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        command = [sys.executable, "-m", "lk_jupyter.localcloud", "--port", "0", "--data", f"{folder}/cloud"]
        cloud = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = json.loads(cloud.stdout.readline())
            with connect(address["base_url"], address["api_key"]) as session:
                result = unittest.TextTestRunner(verbosity=2).run(suite(session))
        finally:
            cloud.terminate()
            cloud.wait()
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
