"""Serve a Dask cluster on the VM of a run: its scheduler, and workers that the client starts and ends.

The scheduler and all workers listen on the loopback interface only, and talk TLS with a certificate that both sides of
each connection need. The certificate and the socket of the dashboard are in a folder that only the user may enter. The
code ends without its client, after its idle time, and when the client closes the scheduler.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOST = "127.0.0.1"

#: Files of the cluster's folder: the certificate with its key, and the socket of the dashboard.
SECURITY, DASHBOARD = "security.json", "dashboard"

#: Start of the line that shows the port, the folder and the versions.
READY = "lk-dask-ready "

#: Variables of a worker that only a new process reads, as in Dask's configuration ``nanny.pre-spawn-environ``.
WORKER_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "6640",
}

#: Configuration of a worker: its HTTP server, which has no sign-in, shows nothing.
WORKER_CONFIGURATION = {"DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]"}

#: Seconds between two looks at the client.
_LOOK = 0.2


class Head:
    """The workers of a scheduler, and the last contact of its client.

    ``security`` is the certificate of the cluster, ``gpus`` the number of GPUs of the VM, ``linger`` the seconds
    without a contact after which the cluster ends.
    """

    def __init__(self, scheduler: Any, security: Any, gpus: int, linger: float) -> None:
        self._scheduler = scheduler
        self._security = security
        self._gpus = gpus
        self._linger = linger
        self._contact = time.monotonic()
        self._connections = 0
        self._nannies: dict[Any, Any] = {}
        self._gpu_indexes: dict[Any, int] = {}
        handlers = {"start": self.start_worker, "end": self.end_worker, "hold": self.hold}
        scheduler.handlers.update({"lk_" + name: handler for name, handler in handlers.items()})

    async def hold(self, comm: Any) -> None:
        """Keep the cluster until this connection of the client ends."""
        self._connections += 1
        try:
            while True:
                await comm.read()
        except OSError:  # the client closed the connection, or has ended
            pass
        finally:
            self._connections -= 1
            self._contact = time.monotonic()

    async def start_worker(self, name: Any, options: dict[str, Any]) -> None:
        """Start a worker in a process, with the GPU that has the fewest workers."""
        from distributed import Nanny

        options = dict(options)
        workers, cpus = options.pop("workers", 1), os.cpu_count() or 1
        options.setdefault("nthreads", max(1, cpus // max(1, workers)))
        env = {}
        if self._gpus:
            used = list(self._gpu_indexes.values())
            index = min(range(self._gpus), key=used.count)
            self._gpu_indexes[name] = index
            env = {"CUDA_VISIBLE_DEVICES": str(index)}
        nanny = Nanny(
            self._scheduler.address,
            name=name,
            host=HOST,
            env=env,
            **options,
            protocol="tls",
            security=self._security,
            dashboard=False,
            dashboard_address=HOST + ":0",
        )
        self._nannies[name] = nanny
        await nanny

    async def end_worker(self, name: Any) -> None:
        """End a worker."""
        nanny = self._nannies.pop(name, None)
        self._gpu_indexes.pop(name, None)
        if nanny is not None:
            await nanny.close(timeout=5)

    async def wait(self) -> str:
        """Wait until the scheduler has closed, or the client is lost; return the reason."""
        closed = asyncio.ensure_future(self._scheduler.finished())
        while not closed.done():
            if not self._connections and time.monotonic() - self._contact > self._linger:
                return "The client of the cluster ended without closing the cluster."
            await asyncio.sleep(_LOOK)
        return "The cluster was closed."

    async def close(self) -> None:
        """End all workers and the scheduler."""
        await asyncio.gather(*map(self.end_worker, list(self._nannies)), return_exceptions=True)
        await self._scheduler.close()


def add_dashboard(scheduler: Any) -> None:
    """Add the dashboard, which is imported at its first visit: the import takes as long as the start of a scheduler."""
    from distributed.http.routing import RoutingApplication
    from distributed.http.utils import RequestHandler

    application = scheduler.http_application

    class Loader(RequestHandler):  # type: ignore[misc]  # distributed has few types
        """Import the dashboard, and send the visitor to the same page."""

        async def get(self) -> None:
            load = functools.partial(import_module, "distributed.dashboard.scheduler")
            dashboard = await asyncio.get_running_loop().run_in_executor(None, load)
            if loader in application.applications:  # the first of several visits
                application.applications.remove(loader)
                dashboard.connect(application, scheduler.http_server, scheduler, prefix="/")
            page = self.request.path.rpartition("/")[2]
            self.redirect("./{}?{}".format(page, self.request.query).rstrip("?"))

    loader = RoutingApplication([(".*", Loader)])
    application.add_application(loader)


def start_forkserver() -> None:
    """Start the process whose forks are the workers: it imports Dask once, while this process imports Dask too.

    Its environment has the variables that Dask sets for the processes of workers.
    """
    from multiprocessing import forkserver

    for name, value in {**WORKER_ENVIRONMENT, **WORKER_CONFIGURATION}.items():
        os.environ.setdefault(name, value)
    os.environ["DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD"] = "forkserver"
    forkserver.set_forkserver_preload(["distributed"])
    forkserver.ensure_running()


def serve(gpus: int, linger: float, idle: float) -> None:
    """Serve a cluster until its end; ``idle`` is the time without tasks, in seconds, after which the cluster ends."""
    start_forkserver()
    folder = tempfile.mkdtemp(prefix="lk-dask-")  # with mode 0700
    try:
        asyncio.run(_serve_cluster(folder, gpus, linger, idle))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_security(folder: str) -> Any:
    """Create a certificate for the scheduler, the workers and the client, and store it for the client."""
    from distributed.security import Security

    security = Security.temporary()
    facts = {"certificate": security.tls_client_cert, "key": security.tls_client_key}
    with open(os.path.join(folder, SECURITY), "w", encoding="utf-8") as file:
        json.dump(facts, file)
    return security


def move_dashboard(scheduler: Any, path: str) -> None:
    """Let the HTTP server of a scheduler listen on a Unix socket only: it has no sign-in."""
    scheduler.http_server.stop()
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    listener.bind(path)
    listener.listen()
    scheduler.http_server.add_socket(listener)


async def _serve_cluster(folder: str, gpus: int, linger: float, idle: float) -> None:
    import dask
    import distributed
    from distributed import Scheduler, utils

    utils._forkserver_preload_set = True  # otherwise the scheduler imports pandas before the first worker
    is_lazy = find_spec("bokeh") is not None  # without bokeh, Dask's own page explains what is missing
    security = write_security(folder)
    scheduler = Scheduler(
        host=HOST,
        port=0,
        protocol="tls",
        security=security,
        dashboard_address=HOST + ":0",
        dashboard=not is_lazy,
        idle_timeout="{} s".format(idle),
    )
    move_dashboard(scheduler, os.path.join(folder, DASHBOARD))
    if is_lazy:
        add_dashboard(scheduler)
    head = Head(scheduler, security, gpus, linger)
    async with scheduler:
        facts = {
            "port": scheduler.port,
            "folder": folder,
            "versions": {
                "python": "{}.{}".format(*sys.version_info),
                "dask": dask.__version__,
                "distributed": distributed.__version__,
            },
        }
        print(READY + json.dumps(facts), flush=True)
        try:
            print(await head.wait(), flush=True)
        finally:
            await head.close()
