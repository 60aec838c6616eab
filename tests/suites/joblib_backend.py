"""joblib's own tests of ``Parallel`` on the backend ``lk``, from the installed joblib; a plugin and a file of tests.

joblib applies a test to each registered backend, or to its list of backends with processes. ``lk`` is in both here, and
tests without ``lk`` are left out. Time limits include the start of machines, which is longer than the start of local
processes. Scripts of the tests register the backend, as users do.
"""

import os
import sys
from pathlib import Path

import cloudpickle
import joblib.test

import lk_jupyter
from lk_jupyter.joblib_backend import NAME, LkBackend

#: Text of the tests and its replacement.
_REPLACED = {
    'PROCESS_BACKENDS = ["multiprocessing", "loky"]': f'PROCESS_BACKENDS = ["multiprocessing", "loky", "{NAME}"]',
    "timeout=10)": "timeout=280)",
    "timeout=10,": "timeout=280,",
    "timeout=30)": "timeout=280)",
    "assert dt < 20": "assert dt < 120",  # of 500 s without an abort
    "from joblib import Parallel, delayed\n": "from joblib import Parallel, delayed\nimport lk_jupyter\n"
    "lk_jupyter.register_joblib()\n",
}

os.environ |= {"LK_MACHINE": "cpu", "LK_PARALLEL": "3"}
lk_jupyter.register_joblib()
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a machine doesn't have this file
path = Path(joblib.test.__file__).with_name("test_parallel.py")
source = path.read_text("utf-8")
for text, replacement in _REPLACED.items():
    assert text in source
    source = source.replace(text, replacement)
__package__ = "joblib.test"  # of relative imports
exec(compile(source, path, "exec"))


def pytest_collection_modifyitems(items):
    """Keep the tests that name the backend or have one of its instances."""
    items[:] = [
        item
        for item in items
        if hasattr(item, "callspec")
        and any(value == NAME or isinstance(value, LkBackend) for value in item.callspec.params.values())
    ]
