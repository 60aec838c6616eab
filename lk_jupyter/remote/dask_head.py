"""Serve a Dask cluster on the VM of a run: its scheduler, and workers that the client starts and ends.

The scheduler and all workers listen on the loopback interface only. The code ends without its client, after its idle
time, and when the client closes the scheduler.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOST = "127.0.0.1"

#: Start of the line that shows the ports and the versions.
READY = "lk-dask-ready "

#: Seconds between two looks at the client.
_LOOK = 0.2


class Head:
    """The workers of a scheduler, and the last contact of its client.

    ``gpus`` is the number of GPUs of the VM, ``linger`` the seconds without a contact after which the cluster ends.
    """

    def __init__(self, scheduler: Any, gpus: int, linger: float) -> None:
        self._scheduler = scheduler
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
            dashboard_address=HOST + ":0",
            **options,
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
                return "The client of the cluster ended without closing it."
            await asyncio.sleep(_LOOK)
        return "The cluster was closed."

    async def close(self) -> None:
        """End all workers and the scheduler."""
        await asyncio.gather(*map(self.end_worker, list(self._nannies)), return_exceptions=True)
        await self._scheduler.close()


def serve(gpus: int, linger: float, idle: float) -> None:
    """Serve a cluster until its end; ``idle`` is the time without tasks, in seconds, after which the cluster ends."""
    asyncio.run(_serve(gpus, linger, idle))


async def _serve(gpus: int, linger: float, idle: float) -> None:
    import dask
    import distributed
    from distributed import Scheduler

    scheduler = Scheduler(
        host=HOST, port=0, dashboard_address=HOST + ":0", dashboard=True, idle_timeout="{} s".format(idle)
    )
    head = Head(scheduler, gpus, linger)
    async with scheduler:
        facts = {
            "port": scheduler.port,
            "dashboard": scheduler.http_server.port,
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
