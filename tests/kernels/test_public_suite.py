"""Jupyter's own test suite of kernels, on a kernel that runs on a machine of the cloud."""

from __future__ import annotations

import unittest

import jupyter_kernel_test
import pytest

import lk_jupyter
from lk_jupyter.kernels import specs

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("hosted"), pytest.mark.filterwarnings("ignore")]


class OnTheCloud(jupyter_kernel_test.KernelTests):
    """What the suite asks of a kernel of Python, as ipykernel's own tests answer it."""

    __test__ = False  # it needs a cloud: the test below runs it

    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = [{"text": "zi", "matches": {"zip"}}]
    complete_code_samples = ["1", "print('hello, world')", "def f(x):\n  return x*2\n\n\n"]
    incomplete_code_samples = ["print('''hello", "def f(x):\n  x*2"]
    invalid_code_samples = ["import = 7q"]
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result = [
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    ]
    code_display_data = [
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('\\\\frac{1}{2}'))", "mime": "text/latex"},
    ]
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


def result_on(kernel_name):
    """Run the suite on a kernel; return how many tests there are, and the names of those that do not pass."""
    OnTheCloud.kernel_name, OnTheCloud.__test__ = kernel_name, True
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(OnTheCloud).run(result)
    OnTheCloud.__test__ = False
    assert result.skipped == []
    return result.testsRun, {
        test.id() + str(getattr(test, "params", "")) for test, _ in [*result.failures, *result.errors]
    }


def test_the_suite_passes_as_it_does_on_a_kernel_here(user, monkeypatch, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    with lk_jupyter.connect() as session:
        remote = result_on(specs.add(session.machines().resolve("cpu"), {}).name)
    assert remote == result_on("python3")
    assert remote[0] == 12
    assert len(remote[1]) <= 1  # ipykernel returns 0 for a session of its history
