"""Dask on a rented VM: ``LyceumCluster`` starts a scheduler and workers next to the GPUs.

distributed is not a dependency of the package: the extra ``dask`` installs it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from types import ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from packaging.requirements import InvalidRequirement, Requirement

from lk_jupyter._extras import build_extra_command, build_install_command
from lk_jupyter._fork import call_in_child
from lk_jupyter._threads import run_before_exit
from lk_jupyter.account.prompt import prompt_confirmation
from lk_jupyter.code.imports import has_package, local_version, providers
from lk_jupyter.code.packages import installed_requirements, normalize_name
from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import ConnectionFailed, LkError, UsageError
from lk_jupyter.machines.catalogue import split_count
from lk_jupyter.options.calls import CALLS, check_call
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.parts import SHIPPED
from lk_jupyter.protocol.vm_run import LONGEST_SECONDS
from lk_jupyter.remote.dask_head import DASHBOARD, READY, SECURITY
from lk_jupyter.runs.package import secret_scan
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit import on_vm
from lk_jupyter.runs.submit.preconditions import require_preconditions
from lk_jupyter.runs.vm import ABORT_GRACE
from lk_jupyter.session import Session, current
from lk_jupyter.text.units import count_label
from lk_jupyter.vms import hosted, sending
from lk_jupyter.vms.forwards import SharedPort, find_server

try:
    from dask.utils import parse_timedelta
    from distributed.core import Status, rpc
    from distributed.deploy.cluster import Cluster
    from distributed.deploy.spec import ProcessInterface, SpecCluster
    from distributed.security import Security
except ImportError:
    raise UsageError(f"LyceumCluster needs distributed: {build_extra_command('dask')}") from None

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lk_jupyter.options._keywords import ClusterKeywords
    from lk_jupyter.vms.shell import PortForward

#: Packages whose versions must be the same here and on the VM, if they are installed here.
_SAME = ("dask", "distributed", "bokeh", "cloudpickle", "lz4", "msgpack", "toolz", "tornado")

#: The requirement for the packages of the notebook's imports.
AUTO = "auto"

#: The most GPUs of a VM.
_MOST_GPUS = 8

#: Time limit of a cluster without ``timeout``, and the time without tasks after which a cluster closes.
_TIMEOUT, _IDLE = "1h", "15 minutes"

#: Seconds for the end of the scheduler's process before its run is aborted, and until a lost connection is renewed.
_END_SECONDS, _LOOK = 15.0, 1.0


class VmScheduler(ProcessInterface):  # type: ignore[misc]  # distributed has few types
    """The scheduler on the VM of a run, with a port of this machine that leads to the scheduler's port.

    ``ended`` is set at the end of the run; ``facts`` are what the scheduler shows when it is ready. ``security`` gets
    the certificate of the cluster, which is read over SSH when the scheduler is ready: other users of this machine can
    connect to the port, and are refused.
    """

    status: Any

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.facts: dict[str, Any] = {}
        self.dashboard_link = ""
        self.security = Security(require_encryption=True)
        self.ended = threading.Event()
        self._changed = threading.Event()
        self._forwards: list[PortForward | SharedPort] = []
        threading.Thread(target=self._read_run_log, name=f"lk-dask-{run.short_id}", daemon=True).start()

    @property
    def vm_run(self) -> hosted.VmRun:
        """The run on its VM."""
        return hosted.open_run(self.run.session, self.run.execution_id)

    async def start(self) -> None:
        """Wait until the scheduler is ready, and forward its ports. Raises the error of the run."""
        await asyncio.to_thread(self._connect_to_scheduler)
        await super().start()

    async def close(self) -> None:
        """Delete the VM after the end of the scheduler. Raises LkError if the cloud doesn't confirm the deletion."""
        if self.status != Status.closed:
            seconds = _END_SECONDS if self.status == Status.running else 0.0
            self.status = Status.closing
            await asyncio.to_thread(self.release, seconds)
            await super().close()

    def release(self, seconds: float = 0.0) -> None:
        """Delete the VM; first wait this time for the end of a scheduler that a request ended. Raises LkError."""
        for forward in self._forwards:
            forward.close()
        if not self.ended.wait(seconds):
            self.vm_run.abort(ABORT_GRACE)
        self.vm_run.delete()

    def _read_run_log(self) -> None:
        """Read the log of the run to its end, at which the VM is deleted."""
        line = ""
        try:
            for event in self.run.follow():
                line += getattr(event, "content", "")
                while "\n" in line:
                    complete, _, line = line.partition("\n")
                    if complete.startswith(READY) and not self.facts:
                        self.facts = _read_facts(complete)
                        self._changed.set()
        except LkError:  # the cluster notices the end of the connections
            return
        finally:
            self.ended.set()
            self._changed.set()

    def _connect_to_scheduler(self) -> None:
        self._changed.wait()
        if not self.facts:
            self.run.result()
            raise ConnectionFailed("The scheduler ended before it was ready.")
        _require_same_versions(self.facts["versions"])
        self._read_certificate()
        scheduler = self.vm_run.forward(self.facts["port"], "tls")
        self._forwards = [scheduler]
        self.address = f"tls://127.0.0.1:{scheduler.port}"
        with suppress(OSError):  # a full disk: the cluster works without its dashboard
            self._share_dashboard()

    def _read_certificate(self) -> None:
        """Read the certificate of the cluster from the VM, into memory only."""
        facts = json.loads(self.vm_run.read_file(f"{self.facts['folder']}/{SECURITY}"))
        self.security.tls_ca_file = self.security.tls_client_cert = facts["certificate"]
        self.security.tls_client_key = facts["key"]

    def _share_dashboard(self) -> None:
        """Forward the dashboard to the Jupyter server of this kernel, or without a server to a port of this machine."""
        socket = f"{self.facts['folder']}/{DASHBOARD}"
        if server := find_server():
            shared = SharedPort(self.vm_run, socket, "dashboard")
            self.dashboard_link = f"{server['base_url']}{shared.path}status"
            self._forwards.append(shared)
        else:
            forward = self.vm_run.forward(socket, "page")
            self.dashboard_link = f"{forward.url}/status"
            self._forwards.append(forward)


class VmWorker(ProcessInterface):  # type: ignore[misc]  # distributed has few types
    """A worker on the VM of the scheduler."""

    status: Any

    def __init__(self, scheduler: str, name: Any, security: Security, **options: Any) -> None:
        super().__init__()
        self._scheduler, self._name, self._security, self._options = scheduler, name, security, options

    async def start(self) -> None:
        """Start the worker; return when the worker has joined the scheduler."""
        async with self._connect_to_scheduler() as scheduler:
            await scheduler.lk_start(name=self._name, options=self._options)
        await super().start()

    async def close(self) -> None:
        """End the worker. A scheduler that has ended has no workers."""
        if self.status not in {Status.closing, Status.closed}:
            self.status = Status.closing
            with suppress(OSError):
                async with self._connect_to_scheduler() as scheduler:
                    await scheduler.lk_end(name=self._name)
            await super().close()

    def _connect_to_scheduler(self) -> Any:
        return rpc(self._scheduler, connection_args=self._security.get_connection_args("client"))


class LyceumCluster(SpecCluster):  # type: ignore[misc]  # distributed has few types
    """A Dask cluster on a VM that is rented for it, with 1 to 8 GPUs: the scheduler and all workers.

    The VM is deleted when the cluster closes: by ``close``, at the end of the ``with`` block or of this Python, after
    ``idle_timeout`` without tasks, and at the time limit. If this Python is killed, the VM deletes itself about two
    minutes later. The scheduler and the workers listen on the loopback interface of the VM only, with TLS and a
    certificate of this cluster; this class connects over SSH. Workers share the GPUs of the VM, each worker uses one.

    Args:
        n_workers: Workers at the start; ``scale`` and ``adapt`` change their number. Default: one for each GPU.
        threads_per_worker: Tasks that a worker computes at the same time. Default: the cores divided by the workers.
        memory_limit: Memory of a worker, such as ``"8GiB"``. Default: a part of the memory of the VM.
        idle_timeout: Time without tasks after which the cluster closes, such as ``"5 minutes"``.
        session: Session to use. Default: the configured one.
        asynchronous: Whether the methods are awaited, as in Dask.
        options: The options of ``%%lk_run``: ``gpu`` such as ``"A100"`` or ``"4xA100"``, ``timeout`` (default: 1 hour),
            ``max_cost`` (credits; without it, a question shows the price first), ``requirements``, and others. The
            versions of Dask are installed as here. ``requirements=["auto"]`` adds the packages that the notebook
            imported, ``["project"]`` the lock of the project.

    Raises:
        UsageError: An option doesn't fit, or the answer to the question wasn't yes. Nothing was rented. Or the VM has
            another version of Python or Dask, and was deleted.
        RunFailed: The scheduler didn't start. The VM was deleted.

    Cost: the price of the VM per hour, from its start until it is deleted.

    Example:
        >>> from lk_jupyter.dask import LyceumCluster  # doctest: +SKIP
        >>> with LyceumCluster(n_workers=2, gpu="A100", max_cost=2) as cluster:  # doctest: +SKIP
        ...     client = cluster.get_client()
        ...     client.submit(sum, [1, 2]).result()
        3
    """

    def __init__(  # noqa: PLR0913 (as other clusters of Dask)
        self,
        n_workers: int | None = None,
        *,
        threads_per_worker: int | None = None,
        memory_limit: str | float | None = None,
        idle_timeout: str | float = _IDLE,
        session: Session | None = None,
        asynchronous: bool = False,
        **options: Unpack[ClusterKeywords],
    ) -> None:
        if n_workers is not None and n_workers < 0:
            raise UsageError(f"n_workers must be 0 or more, got {n_workers}. Nothing was rented.")
        session = session or current()
        bundle = prepare_cluster(session, {**options}, _read_seconds(idle_timeout))
        assert bundle.vm_offer  # noqa: S101 (each cluster is on a VM)
        gpus = bundle.vm_offer.count
        n_workers = gpus if n_workers is None else n_workers
        require_preconditions(session, [bundle])
        self.run = Run.submit(session, _require_consent(bundle))
        self._scheduler = scheduler = VmScheduler(self.run)
        self._contact: asyncio.Task[None] | None = None
        self.offer = bundle.vm_offer
        workers = {"nthreads": threads_per_worker, "memory_limit": memory_limit, "workers": max(n_workers, gpus)}
        chosen = {name: value for name, value in workers.items() if value is not None}
        spec = {"cls": VmWorker, "options": {**chosen, "security": scheduler.security}}
        _clusters.add(self)
        try:
            super().__init__(
                scheduler={"cls": lambda: scheduler},
                workers=dict.fromkeys(range(n_workers), spec),
                worker=spec,
                asynchronous=asynchronous,
                security=scheduler.security,
                name=f"lyceum-{self.run.short_id}",
            )
        except BaseException:  # an interrupt too
            scheduler.release()
            raise

    def __repr__(self) -> str:
        workers = count_label(len(self.worker_spec), "worker")
        return f"<{type(self).__name__} on {self.offer}: {workers}, {self.status.name}>"

    @property
    def cost(self) -> Decimal | None:
        """The cost of the VM so far, in credits."""
        return self.run.cost

    @property
    def dashboard_link(self) -> str:
        """The address of the dashboard, through the Jupyter server of this kernel if there is one."""
        return self._scheduler.dashboard_link

    async def _start(self) -> None:
        try:
            await super()._start()
        except RuntimeError as error:
            if isinstance(error.__cause__, LkError):
                raise error.__cause__ from None
            raise
        self._contact = asyncio.create_task(self._keep_contact())

    async def _keep_contact(self) -> None:
        """Keep a connection to the scheduler, which ends without it; close the cluster when the run has ended."""
        while not self.scheduler.ended.is_set():
            with suppress(OSError):
                comm = await self.scheduler_comm.live_comm()
                await comm.write({"op": "lk_hold", "reply": False})
                await comm.read()  # until the connection ends
            await asyncio.sleep(_LOOK)
        self._contact = None
        await self._close()

    async def _close(self) -> None:
        """Close the cluster and delete the VM, also if the scheduler doesn't answer."""
        if contact := self._contact:
            self._contact = None
            contact.cancel()
        if self.scheduler and self.scheduler.ended.is_set():
            self.scheduler.status = Status.failed  # so that Dask sends no requests
        try:
            await super()._close()
        except OSError:  # the connection was lost
            await Cluster._close(self)
        finally:
            await self._scheduler.close()  # a cluster that hasn't started has a VM too
            _clusters.discard(self)


#: Clusters that must be closed before Python exits.
_clusters: WeakSet[LyceumCluster] = WeakSet()
call_in_child(_clusters.clear)  # the cluster belongs to the process that forked


def _close_clusters() -> None:
    """Delete the VMs of all clusters, while Python still accepts new threads."""
    for cluster in list(_clusters):
        with suppress(Exception):  # the VM deletes itself without its client
            cluster._scheduler.release()


run_before_exit(_close_clusters)


def prepare_cluster(session: Session, options: dict[str, Any], idle: float) -> Bundle:
    """Return the bundle of the run that serves a cluster. Raises UsageError for options that don't fit."""
    for name in options:
        if name not in CALLS["LyceumCluster"].only:
            raise TypeError(f"'{name}' is an invalid keyword argument. Nothing was rented.")
    chosen: RunOptions = check_call("LyceumCluster", {"timeout": _TIMEOUT, "on": "vm", **options})
    gpus = split_count(chosen.gpu or chosen.machine or setting("machine") or "")[0]
    if gpus > _MOST_GPUS:
        raise UsageError(
            f"gpu: a cluster runs on one VM with at most {_MOST_GPUS} GPUs, but {gpus} were requested. Nothing was "
            "rented. For more GPUs, start one cluster for each part of the data."
        )
    versions = {name: local_version(name) for name in _SAME if has_package(name)}
    requirements = [part for text in _list_requirements(chosen) for part in _resolve_requirement(text)]
    pins = [f"{name}=={local}" for name, local in versions.items()]
    pins.append("cryptography")  # Dask creates the certificate of the cluster with it
    chosen = chosen.model_copy(update={"requirements": [*requirements, *pins], "fresh": True})
    code = (SHIPPED / "dask_head.py").read_text("utf-8")
    call = f"serve(gpus={gpus}, linger={sending.LINGER_SECONDS}, idle={idle})"
    code += f"\n\nif __name__ == '__main__':  # workers import this file too\n    {call}\n"
    bundle = prepare(session, Source(code, "dask_head.py"), chosen)
    _refuse_other_versions(bundle.request.requirements_content or "", versions)
    return bundle


def _list_requirements(chosen: RunOptions) -> list[str]:
    return chosen.requirements or list(filter(None, [setting("requirements")]))


def _resolve_requirement(text: str) -> list[str]:
    """Return a requirement, or the packages of all modules that the notebook has names of for ``auto``."""
    if text != AUTO:
        return [text]
    values = list(vars(sys.modules["__main__"]).values())
    modules = (
        value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "") for value in values
    )
    names = {str(module).partition(".")[0] for module in modules if module}
    return installed_requirements((names & providers().keys()) - {"lk_jupyter", "IPython"})


def _refuse_other_versions(lines: str, versions: dict[str, str]) -> None:
    """Refuse requirements of another version of Dask than here. Raises UsageError."""
    for line in lines.splitlines():
        with suppress(InvalidRequirement):
            requirement = Requirement(line.partition(" --hash")[0].rstrip("\\ "))
            local = versions.get(normalize_name(requirement.name))
            if local and not requirement.specifier.contains(local, prereleases=True):
                raise UsageError(
                    f"requirements: '{requirement}' excludes {local}, the version in this kernel. A cluster needs the "
                    "same version in the kernel and on the VM. Nothing was rented. Change the "
                    f"version in this kernel: {build_install_command(str(requirement))}"
                )


def _require_same_versions(remote: dict[str, str]) -> None:
    """Compare the versions on the VM with the versions here. Raises UsageError."""
    for name, local in _read_local_versions().items():
        if remote.get(name) != local:
            raise UsageError(
                f"The VM has {name} {remote.get(name)}, but this kernel has {local}. A cluster needs the same "
                f"version in the kernel and on the VM. The VM was deleted. Use a kernel with {name} "
                f"{remote.get(name)}."
            )


def _read_local_versions() -> dict[str, str]:
    """Return the versions that must be the same on the VM, as ``remote/dask_head.py`` shows them."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return {"python": python, **{name: local_version(name) for name in ("dask", "distributed")}}


def _require_consent(bundle: Bundle) -> Bundle:
    """Return the bundle with the user's consent to its price: by ``max_cost``, or an answer. Raises UsageError."""
    secret_scan.require_consent([bundle])
    if bundle.options.max_cost is None:
        bundle = replace(bundle, vm_allowed=prompt_confirmation(on_vm.question(bundle, "cluster")))
        if not bundle.vm_allowed:
            raise UsageError(
                "Nothing was rented. To rent the VM without a question: "
                f"LyceumCluster(max_cost={bundle.max_cost_example})"
            )
    return bundle


def _read_seconds(text: str | float) -> float:
    """Return a time of Dask in seconds. Raises UsageError."""
    try:
        seconds = float(parse_timedelta(text, "s"))
    except (KeyError, ValueError, TypeError):
        seconds = 0.0
    if not 0 < seconds < LONGEST_SECONDS:
        raise UsageError(f"idle_timeout must be a time such as '5 minutes', got {text!r}. Nothing was rented.")
    return seconds


def _read_facts(line: str) -> dict[str, Any]:
    """Return the port, the folder and the versions of the scheduler; only the VM of the cluster prints this line."""
    facts: dict[str, Any] = json.loads(line.removeprefix(READY))
    return facts
