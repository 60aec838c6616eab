"""The kernel provisioner: Jupyter starts a kernel on a machine of the cloud through this class.

The machine starts with the kernel if the user allows the start, remains across restarts, and stops with the kernel.
"""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from tornado.web import HTTPError
from traitlets import Float, Integer, Unicode

from lk_jupyter._python import child_environment
from lk_jupyter.errors import LkError
from lk_jupyter.kernels.specs import bridge_command, resolve_max_cost
from lk_jupyter.machines.start_approval import StartPlan, require_approval
from lk_jupyter.options.runs import ServerOptions, check
from lk_jupyter.runs.notebooks.hosted_kernel import HostedKernel
from lk_jupyter.runs.notebooks.servers import prepare_server
from lk_jupyter.session import Session, current

#: Minutes without work after which a machine is given back.
IDLE_MINUTES = 20.0


class CloudProvisioner(LocalProvisioner):
    """Start a kernel on a machine of the cloud, and the local process that forwards messages."""

    machine = Unicode(help="Machine type, such as gpu.a100.").tag(config=True)
    image = Unicode(help="Image with a Jupyter server; empty for the default image.").tag(config=True)
    timeout = Integer(0, help="Seconds until the machine is stopped; 0 for the maximum.").tag(config=True)
    max_cost = Unicode(help="Stop the machine when it has cost this many credits; empty for the default.").tag(
        config=True
    )
    idle = Float(IDLE_MINUTES, help="Release the machine after this number of minutes without work.").tag(config=True)

    _kernel: HostedKernel | None = None
    _max_cost: Decimal | None = None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Make ready a machine with a kernel, then the command of the process here."""
        unwanted = threading.Event()
        notebook = (kwargs.get("env") or {}).get("JPY_SESSION_NAME", "")
        try:
            self._kernel = await self._restart_or_start_kernel(notebook, unwanted)
            launch = await super().pre_launch(**kwargs)
        except asyncio.CancelledError:
            unwanted.set()
            raise
        except LkError as error:
            raise HTTPError(503, str(error)) from None  # Lab shows the words of such
        limit = "its time limit was reached"
        limit += f", which keeps the cost below --max-cost {self._max_cost}" if self._max_cost else ""
        ids = ["--run", self._kernel.run.execution_id, "--kernel", self._kernel.kernel_id]
        launch["env"] = child_environment(launch["env"])
        launch["cmd"] = [*bridge_command(launch["cmd"]), *ids, "--idle", str(self.idle), "--limit", limit]
        return launch

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the process here; when that fails, the machine is stopped."""
        try:
            return await super().launch_kernel(cmd, **kwargs)
        except BaseException:
            await self._stop_kernel()
            raise

    async def cleanup(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002 (it is called so)
        """Stop the machine and its bill, unless the kernel restarts."""
        if not restart:
            await self._stop_kernel()
        await super().cleanup(restart=restart)

    async def _stop_kernel(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel:
            await asyncio.to_thread(kernel.stop)

    async def _restart_or_start_kernel(self, notebook: str, unwanted: threading.Event) -> HostedKernel:
        """Return a fresh kernel: on the machine that is active already, or on a new one, which needs permission."""
        if kernel := self._kernel:
            is_active = await asyncio.to_thread(kernel.is_active)
            if is_active:
                await asyncio.to_thread(kernel.restart)
                return kernel
        await self._stop_kernel()
        session, options, plan = await asyncio.to_thread(self._plan_start, notebook)
        await require_approval(plan)
        self._max_cost = options.max_cost
        return await asyncio.to_thread(HostedKernel.start, session, options, unwanted)

    def _plan_start(self, notebook: str) -> tuple[Session, ServerOptions, StartPlan]:
        """Return the start and the question to the user. Start nothing, not even the local cloud."""
        session = current(start=False)
        machine = session.machines().resolve(self.machine)
        limits = {"image": self.image, "timeout": self.timeout, "max_cost": resolve_max_cost(machine, self.max_cost)}
        chosen = {name: value for name, value in limits.items() if value}
        options = check(ServerOptions, {"machine": self.machine, "name": self.kernel_spec.display_name, **chosen})
        package = prepare_server(session, options)
        plan = StartPlan(
            name=machine.card_name if machine.card else machine.hardware_profile,
            machine=machine.hardware_profile,
            price_per_hour=machine.price_per_hour,
            max_cost=options.max_cost,
            highest_cost=package.max_cost if package.cost_binds else package.worst_case,
            cost_label=package.at_most,
            idle_minutes=min(self.idle, package.timeout / 60),
            notebook=notebook,
        )
        return session, options, plan
