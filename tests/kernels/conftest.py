"""A user with kernels of a local cloud whose notebook runs are Jupyter servers of this environment."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack

import pytest
from cloud_process import forked_kernels
from jupyter_client.manager import KernelManager
from localcloud.conftest import until
from patience import PATIENCE


@pytest.fixture
def user(hosting, home, monkeypatch):
    """A user signed in to it, whose own Jupyter folders are empty, and who allows kernels on two machines."""
    monkeypatch.setenv("LK_BASE_URL", hosting.base_url)
    monkeypatch.setenv("LK_API_KEY", hosting.api_key)
    monkeypatch.setenv("LK_APPROVED_KERNELS", "gpu.a100=5@1.59,cpu=unknown")
    for kind in ("CONFIG", "DATA", "RUNTIME"):
        monkeypatch.setenv(f"JUPYTER_{kind}_DIR", str(home / "jupyter" / kind.lower()))
    return hosting


class Used:
    """A kernel in use."""

    def __init__(self, name, **options):
        with ExitStack() as after_failure:
            # Another program may take a port before a kernel listens there.
            folder = after_failure.enter_context(tempfile.TemporaryDirectory())
            ipc = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
            self.manager = KernelManager(kernel_name=name, **({} if sys.platform == "win32" else ipc))
            self.manager.start_kernel(env=dict(os.environ), **options)
            after_failure.callback(self.manager.shutdown_kernel, now=True)
            self.client = self.manager.client()
            self.client.start_channels()
            after_failure.callback(self.client.stop_channels)
            self.client.wait_for_ready(timeout=PATIENCE)
            self._cleanup = after_failure.pop_all()

    def run(self, code):
        """Run code and return what it shows: text, and the error if there is one."""
        shown = []

        def show(message):
            content = message["content"]
            shown.append(content.get("text") or content.get("evalue") or content.get("data", {}).get("text/plain", ""))

        self.client.execute_interactive(code, timeout=PATIENCE, output_hook=show)
        return "".join(shown)

    def close(self):
        self._cleanup.close()


@pytest.fixture
def use():
    """Start kernels by their names; all are shut down at the end of the test. What passes messages on is forked."""
    made = []

    def started(name):
        made.append(Used(name))
        return made[-1]

    with forked_kernels():
        yield started
        for used in made:
            used.close()


@pytest.fixture
def going_on(hosting):
    """A function that returns the runs that go on."""
    return lambda: list(hosting.client.workloads.list())


@pytest.fixture(name="until")
def until_fixture():
    return until
