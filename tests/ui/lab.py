"""A JupyterLab of the tests, with settings of its own."""

import gzip
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
from cloud_process import CHANGES, FORKS
from patience import PATIENCE
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

FOLDERS = (
    *("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"),
    *("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "LK_LOG_DIR"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
)

#: A folder whose modules stand in for those that take long to import.
WITHOUT = str(Path(__file__).parents[1] / "without")

#: Ports for servers of the tests, below the range of the system.
PORTS = range(20_000, 30_000)


def loaded(urls: Iterable[str]) -> list[int]:
    """Return the sizes of the files of our extension among these, as a server sends them."""
    static = Path(sys.prefix, "share", "jupyter", "labextensions", "lk-jupyter")
    ours = [urlsplit(url).path.partition("/extensions/lk-jupyter/")[2] for url in urls]
    return [len(gzip.compress((static / path).read_bytes())) for path in ours if path]


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab, or the ``program`` that is one."""

    url: str
    token: str
    root: Path
    program: tuple[str, ...] = ("jupyterlab", "--LabApp.expose_app_in_browser=True")
    #: The interpreter of its environment.
    python: str = sys.executable
    #: Where its server records the requests that may change something.
    changes: Path = Path(CHANGES)

    @cached_property
    def http(self) -> httpx.Client:
        """A client of the server, signed in."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"token {self.token}"}, timeout=PATIENCE)

    def start_kernel(self, path: str) -> None:
        """Start the kernel of a notebook, so that it does while the page loads."""
        asked = {"path": path, "name": Path(path).name, "type": "notebook", "kernel": {"name": "python3"}}
        self.http.post("/api/sessions", json=asked).raise_for_status()

    def end_kernels(self) -> None:
        """End all kernels; what they run in the cloud goes on."""
        for session in self.http.get("/api/sessions").json():
            self.http.delete(f"/api/sessions/{session['id']}").raise_for_status()


@contextmanager
def running(
    settings: Path, root: Path, signed_in: dict[str, str], *options: str, at: str = "", program: tuple[str, ...] = ()
) -> Iterator[Lab]:
    """Start JupyterLab on this folder, its kernels signed in to a cloud; end it."""
    be_quiet(settings)
    lab = Lab(
        f"http://127.0.0.1:{free_port()}{at}",
        secrets.token_hex(16),
        root,
        program or Lab.program,
        changes=settings / CHANGES,
    )
    with serving(lab, settings, signed_in, *options):
        yield lab


@contextmanager
def serving(lab: Lab, settings: Path, signed_in: dict[str, str], *options: str) -> Iterator[Lab]:
    """Start the server of a Lab, for the first time or again; end it."""
    env = {**os.environ, **dict.fromkeys(FOLDERS, str(settings)), "PYTHONPATH": WITHOUT, **signed_in}
    with (
        TemporaryDirectory(ignore_cleanup_errors=True) as runtime,
        (settings / "lab.log").open("a") as log,
        subprocess.Popen(
            [*_command(lab), *_sockets(runtime), *options],
            env={**env, "JUPYTER_RUNTIME_DIR": runtime},
            stdout=log,
            stderr=log,
        ) as it,
    ):
        try:
            _await_answer(lab)
            yield lab
        finally:
            lab.http.close()
            it.terminate()
            with suppress(subprocess.TimeoutExpired):
                it.wait(60)
            it.kill()  # one that was asked something as it stopped may wait for a thread of AnyIO without end


def _command(lab: Lab) -> list[str]:
    return [
        *(lab.python, "-m", *lab.program, "--no-browser", "--allow-root"),
        "--LanguageServerManager.autodetect=False",  # it starts npm, as the question whether to build anew does
        '--ServerApp.tornado_settings={"page_config_data": {"buildCheck": False, "buildAvailable": False}}',
        *(f"--IdentityProvider.token={lab.token}", f"--ServerApp.root_dir={lab.root}"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={httpx.URL(lab.url).port}", "--ServerApp.port_retries=0"),
    ]


def _sockets(runtime: str) -> list[str]:
    """Return the option for kernels without ports: one that another took before the kernel starts leaves it mute.

    The path of such a socket has at most 107 characters, 50 of them below the folder.
    """
    return ["--KernelManager.transport=ipc"] if sys.platform == "linux" and len(runtime) < 50 else []


def be_quiet(settings: Path, *, has_test_modules: bool = True) -> None:
    """Keep the question about Jupyter news from covering the page, and Lab from checking its own schemas each time.

    ``has_test_modules`` is whether the server's environment has the packages that modules of the tests import.
    """
    folder = settings / "@jupyterlab" / "apputils-extension"
    folder.mkdir(parents=True)
    chosen = {"fetchNews": "false", "checkForUpdates": False}
    (folder / "notification.jupyterlab-settings").write_text(json.dumps(chosen))
    unchecked = (
        "from jupyterlab_server import settings_utils\nsettings_utils.Validator.check_schema = lambda *_: None\n"
    )
    tests = str(Path(__file__).parents[1])
    ours = f"import sys\nsys.path.append({tests!r})\nimport changes, cloud_process\nsys.path.remove({tests!r})\n"
    ours += f"import pathlib\nchanges.record_tornado(pathlib.Path({str(settings / CHANGES)!r}))\n"
    ours += "cloud_process.fork_kernels()\n" if FORKS else ""
    (settings / "jupyter_server_config.py").write_text(unchecked + (ours if has_test_modules else ""))
    (settings / "profile_default").mkdir(exist_ok=True)
    history = "c.HistoryManager.hist_file = ':memory:'\n"  # of one kernel: another's cells may hold a key
    (settings / "profile_default" / "ipython_kernel_config.py").write_text(history)


def free_port() -> int:
    """Return a free port below those that the system gives to programs: no other program takes it meanwhile."""
    for port in SystemRandom().sample(PORTS, len(PORTS)):  # workers with one seed would try the same ports
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no port of {PORTS} is free")


def _await_answer(lab: Lab) -> None:
    for attempt in Retrying(
        stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1), retry=retry_if_exception_type(httpx.TransportError)
    ):
        with attempt:
            lab.http.get("api").raise_for_status()
