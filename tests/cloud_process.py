"""What the tests fork: local clouds, Jupyter servers and kernels. Lab forks its kernels by it too."""

import asyncio
import atexit
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import process
from multiprocessing.connection import Connection
from pathlib import Path

import changes
from patience import PATIENCE

#: Where there is fork, clouds are forked from a process that has imported all of them: they start five times as fast.
FORKS = "forkserver" in multiprocessing.get_all_start_methods()
PROCESSES = multiprocessing.get_context("forkserver" if FORKS else "spawn")

#: Where a cloud records the requests that may change something, in its data folder.
CHANGES = "changes.log"

#: What multiprocessing takes a kernel for: a main process, as it is imported in that which forks.
MAIN = process.current_process()

KERNELS_IMPORT = [
    *("cloud_process", "httpcore", "ipykernel.kernelapp", "lk_jupyter.magics.run", "lk_jupyter.widgets", "pandas"),
    "PIL.ImageDraw",
]

#: Lab and extensions of others take most of a Jupyter server's start.
OTHERS = ("jupyter_lsp", "jupyter_server_terminals", "jupyterlab", "notebook", "notebook_shim")


def alone(**extensions: bool) -> str:
    """Return the option of a Jupyter server that has these extensions only."""
    return f"--ServerApp.jpserver_extensions={extensions | dict.fromkeys(OTHERS, False)}"


def forked(work, *values, **options):
    """Start a process that does this, and ends with the tests; where there is fork, with all imported that it needs."""
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # the process that forks it finds what to import there
    try:
        child = PROCESSES.Process(target=begin, args=(_forking(), work, *values), kwargs=options, daemon=True)
        child.start()
    finally:
        os.environ.pop("PYTHONPATH") if path is None else os.environ.update(PYTHONPATH=path)
    return child


def _forking():
    """Return what a process needs to fork others as this one does."""
    if not FORKS:
        return {}
    from multiprocessing import forkserver  # noqa: PLC0415 (Windows has none)

    server = forkserver._forkserver
    server.ensure_running()
    return {key: value for key, value in vars(server).items() if key in {"_forkserver_address", "_forkserver_authkey"}}


def begin(forking, work, *values, **options) -> None:
    """Do work in a forked process. What it forks comes from the process from which it was forked itself."""
    if FORKS:
        from multiprocessing import forkserver  # noqa: PLC0415 (Windows has none)

        vars(forkserver._forkserver).update(forking, ensure_running=lambda: None)
    work(*values, **options)


@contextmanager
def forked_kernels() -> Iterator[None]:
    """Let kernels that are started or restarted here be forked, where there is fork."""
    from jupyter_client.provisioning import local_provisioner  # noqa: PLC0415 (most tests need none)

    launch = local_provisioner.launch_kernel
    local_provisioner.launch_kernel = ForkedKernel if FORKS else launch
    try:
        yield
    finally:
        local_provisioner.launch_kernel = launch


def fork_kernels() -> None:
    """Let this Jupyter server fork its kernels from a process that has imported what their cells use."""
    from jupyter_client.provisioning import local_provisioner  # noqa: PLC0415 (what the tests fork needs none)

    PROCESSES.set_forkserver_preload(KERNELS_IMPORT)
    local_provisioner.launch_kernel = ForkedKernel


def serve(arguments: list[str], env: dict[str, str], stdout: Connection, *, has_lab: bool) -> None:
    """Do as ``python -m lk_jupyter.localcloud`` does in a new process with this environment.

    Notebook runs are Jupyter servers without Lab where their page isn't looked at.
    """
    from lk_jupyter.localcloud import server  # noqa: PLC0415 (kernels need none)
    from lk_jupyter.localcloud.__main__ import main  # noqa: PLC0415
    from lk_jupyter.localcloud.runs import notebook_run  # noqa: PLC0415

    create_app = server.create_app
    server.create_app = lambda cloud, *rest: changes.record_asgi(create_app(cloud, *rest), cloud.data / CHANGES)
    if not has_lab:
        notebook_run._SERVER = "jupyter_server"
        notebook_run._QUICK = [alone(lk_jupyter=False)]
        if FORKS:
            process._current_process = MAIN
            notebook_run.NotebookRun._start_process = fork_server
    os.environ.clear()
    os.environ.update(env)
    os.dup2(stdout.fileno(), sys.stdout.fileno())
    stdout.close()
    sys.argv = ["lk_jupyter.localcloud", *arguments]
    sys.exit(main())


async def fork_server(run, command: list[str], stdout: int, stderr: int):
    """Start the Jupyter server of a notebook run as its ``_spawn`` does, and let it fork its kernels."""
    from lk_jupyter.localcloud.runs import processes  # noqa: PLC0415 (kernels need none)

    env = processes.build_environment(run.id, run._build_variables())
    with Connection(stdout, readable=False) as out, Connection(stderr, readable=False) as err:
        return ForkedServer(command, env=env, cwd=run._folder, pipes={1: out, 2: err})


def be(command: list[str], env: dict[str, str], folder: str, pipes: dict[int, Connection], started: Connection) -> None:
    """Do as ``python -m`` and this command do in a new session of this folder; ``pipes`` is file descriptor → pipe."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    tests = Path(__file__).parent
    sys.path[:] = [path for path in sys.path if path and tests not in (Path(path), *Path(path).parents)]
    sys.path[:0] = filter(None, env.get("PYTHONPATH", "").split(os.pathsep))
    for descriptor, pipe in pipes.items():
        os.dup2(pipe.fileno(), descriptor)
        pipe.close()
    if 0 in pipes:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 (open as long as the process)
    starter = process.parent_process()
    os.getppid = lambda: starter.pid  # not that from which it was forked
    threading.Thread(target=end_with, args=[starter], daemon=True).start()
    process._current_process, process._parent_process = MAIN, None
    sys.argv = command
    if command[0] == "ipykernel_launcher":
        from lk_jupyter.remote import ambient  # noqa: PLC0415 (other processes need none)

        ambient._read_initial_environment = lambda: dict(
            env
        )  # Linux shows that of the process from which it was forked
        sys.argv.append(f"--IPKernelApp.parent_handle={starter.pid}")  # read from the environment before the fork
    gc.freeze()
    started.close()
    try:
        if command[0] == "jupyter_server":
            fork_kernels()
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()


def start_kernel(name: str, env: dict[str, str], started: Connection) -> None:
    """Start a kernel as a Jupyter does, and wait to be killed."""
    from jupyter_client.manager import KernelManager  # noqa: PLC0415 (clouds need none)

    os.environ.clear()
    os.environ.update(env)
    manager = KernelManager(kernel_name=name)
    manager.start_kernel()
    started.send("up")
    threading.Event().wait()


def end_with(tests: process.BaseProcess) -> None:
    """End this kernel with the process of the tests, however that ends."""
    tests.join()
    os._exit(1)


class ForkedKernel:
    """The process of a kernel, forked from one that has imported all it needs: a third of the work of a new one.

    Has of subprocess.Popen what the manager of a kernel asks for.
    """

    stdin = stdout = stderr = None

    def __init__(self, command, *, env, cwd=".", pipes=(), **_):
        reader, writer = PROCESSES.Pipe(duplex=False)
        module = 3 if command[1] == "-c" else command.index("-m") + 1  # our own start with -c
        self.process = forked(be, command[module:], env, cwd, dict(pipes), writer)
        self.pid = self.process.pid
        writer.close()
        reader.poll(PATIENCE)  # by then it leads a group of processes, which is what gets signals
        reader.close()

    def poll(self):
        return self.process.exitcode

    def wait(self, timeout=None):
        self.process.join(timeout)
        return self.process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, and the process that forked it reports that later
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


def run_forked(*command: str, env: dict[str, str], cwd: Path | str = ".") -> subprocess.CompletedProcess[str]:
    """Do as ``subprocess.run`` does with ``python -m`` and this command; a fork has imported much of what it needs."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        with (
            Connection(os.dup(stdout.fileno()), readable=False) as out,
            Connection(os.dup(stderr.fileno()), readable=False) as err,
        ):
            started = ForkedKernel(["-m", *command], env=dict(env), cwd=str(cwd), pipes={1: out, 2: err})
        code = started.wait(PATIENCE)
        texts = [file.seek(0) or file.read() for file in (stdout, stderr)]
    return subprocess.CompletedProcess(command, code, *texts)


class ForkedServer(ForkedKernel):
    """The process of a Jupyter server. Has of asyncio's processes what a run asks for."""

    async def wait(self):
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.process.sentinel, ended.set)
        await ended.wait()
        loop.remove_reader(self.process.sentinel)
        return self.poll()
