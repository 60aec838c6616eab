import atexit
import os
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell
from magics.kernels import Kernel, running_kernel
from patience import PATIENCE
from traitlets.config import Config

import lk_jupyter


def pytest_itemcollected(item):
    """Run the tests of a file in one process where they share a kernel."""
    if "kernel" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.xdist_group(f"kernel of {item.path.stem}"))


@pytest.fixture
def shell(home, monkeypatch):
    """An IPython of its own with the extension loaded; nothing of it is left after the test."""
    monkeypatch.setenv("IPYTHONDIR", str(home / "ipython"))
    main = sys.modules["__main__"]
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    shell.colors = "nocolor"
    lk_jupyter.load_ipython_extension(shell)
    yield shell
    lk_jupyter.unload_ipython_extension(shell)
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()
    sys.modules["__main__"] = main


@pytest.fixture
def run_cell(shell, capsys):
    """Run a cell; give what it shows as text. Raises nothing: an error is shown, as in a notebook."""

    def run(code):
        shell.run_cell(code)
        return "".join(capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def kernel(cloud, tmp_path_factory):
    home = tmp_path_factory.mktemp("kernel")
    env = {
        **os.environ,
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "LK_BASE_URL": cloud.base_url,
        "LK_API_KEY": cloud.api_key,
        "LK_LOG_DIR": str(home / "logs"),
        "LK_JOURNAL": str(home / "journal.sqlite"),
        "LK_LOG_LINES": "50",
        "LK_CARRY": "always",  # this client has a keyboard, and nobody to answer a question
    }
    with running_kernel(env, home) as (manager, client):
        kernel = Kernel(manager, client, home)
        loaded = kernel.run("%load_ext lk_jupyter")
        assert loaded.error is None, loaded.error
        kernel.run(
            f"from lk_jupyter.runs import abort\nabort.LET_GO = {PATIENCE}"
        )  # a busy machine takes long to end a run
        yield kernel


@pytest.fixture
def faulty(kernel, cloud, make_cloud):
    """A cloud of its own that fails as asked, and the kernel signed in to it."""
    cloud_with_faults = make_cloud("--faults")
    kernel.run(f"%env LK_BASE_URL={cloud_with_faults.base_url}\n%env LK_API_KEY={cloud_with_faults.api_key}")
    yield cloud_with_faults
    kernel.run(f"%env LK_BASE_URL={cloud.base_url}\n%env LK_API_KEY={cloud.api_key}")
