"""What Jupyter asks to start a kernel on a machine of the cloud: a kernel provisioner.

The machine is started with the kernel, kept over its restarts, and stopped with it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from tornado.web import HTTPError
from traitlets import Float, Integer, Unicode

from lk_jupyter._python import module_environment
from lk_jupyter.errors import LkError
from lk_jupyter.kernels.specs import bridge_command
from lk_jupyter.options.runs import ServerOptions, check
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.session import current

#: Minutes without work after which a machine is given back.
IDLE_MINUTES = 20.0


class CloudProvisioner(LocalProvisioner):
    """Starts a kernel on a machine of the cloud, and the process here that passes its messages on."""

    machine = Unicode(help="Machine type, such as gpu.a100.").tag(config=True)
    image = Unicode(help="Image with a Jupyter server; empty for the usual one.").tag(config=True)
    timeout = Integer(0, help="Seconds until the machine is stopped; 0 for the most that may be.").tag(config=True)
    max_cost = Unicode(help="Credits at which the machine is stopped; empty for the setting.").tag(config=True)
    idle = Float(IDLE_MINUTES, help="Minutes without work that end the lease.").tag(config=True)

    _kernel: HostedKernel | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Make ready a machine with a kernel, then the command of the process here."""
        unwanted = threading.Event()
        try:
            self._kernel = await asyncio.to_thread(self._ready_kernel, unwanted)
            launch = await super().pre_launch(**kwargs)
        except asyncio.CancelledError:
            unwanted.set()
            raise
        except LkError as error:
            raise HTTPError(503, str(error).replace("%", "%%")) from None  # Lab shows the words of such
        limit = "its time limit was reached"
        limit += f", which keeps it below --max-cost {self.max_cost}" if self.max_cost else ""
        ids = ["--run", self._kernel.run.execution_id, "--kernel", self._kernel.kernel_id]
        launch["env"] = module_environment(launch["env"])
        launch["cmd"] = [*bridge_command(launch["cmd"]), *ids, "--idle", str(self.idle), "--limit", limit]
        return launch

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the process here; when that fails, the machine is stopped."""
        try:
            return await super().launch_kernel(cmd, **kwargs)
        except BaseException:
            await self._stop()
            raise

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 (it is called so)
        """Stop the machine and its bill, unless the kernel restarts."""
        if not restart:
            await self._stop()
        await super().cleanup(restart=restart)

    async def _stop(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel:
            await asyncio.to_thread(kernel.stop)

    def _ready_kernel(self, unwanted: threading.Event) -> HostedKernel:
        """Return a fresh kernel: on the machine that there is already, or on a new one."""
        if self._kernel:
            if self._kernel.is_there():
                self._kernel.restart()
                return self._kernel
            self._kernel.stop()
            self._kernel = None
        return HostedKernel.start(current(), self._options(), unwanted)

    def _options(self) -> ServerOptions:
        given = {"image": self.image, "timeout": self.timeout, "max_cost": self.max_cost}
        options = {"machine": self.machine, "name": self.kernel_spec.display_name}
        checked: ServerOptions = check(ServerOptions, options | {name: value for name, value in given.items() if value})
        return checked
