"""``%lk_kernel``: machines of the cloud in launcher and kernel picker."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.low_balance import low_balance_notices
from lk_jupyter.errors import LkError
from lk_jupyter.journal.journal import journal
from lk_jupyter.kernels import specs
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.live import Note, StatusLine
from lk_jupyter.magics._output.run_status import machine_with_price
from lk_jupyter.magics._output.servers import ServerList, server_header
from lk_jupyter.options.kernel import MAX_COST, AddOptions, RemoveOptions
from lk_jupyter.options.runs import NoOptions, ServerOptions
from lk_jupyter.protocol.metadata import KERNEL_KEY
from lk_jupyter.runs.notebooks.servers import list_marked, prepare_server, release_label
from lk_jupyter.session import current
from lk_jupyter.text.units import count_label

lk_kernel = Subcommands(
    "lk_kernel",
    "Use cloud machines as kernels, from the launcher and the kernel picker.\n\nA machine starts and stops with its "
    "kernel: when you shut down the kernel, the machine's bill ends. If you only restart the kernel, the machine "
    f"stays. The machine is released automatically after idle time or at its maximum cost, {MAX_COST} credits by "
    "default. JupyterLab shows price and maximum cost before each start, and starts the machine when you click Start.",
)


@lk_kernel.verb("list", NoOptions)
def _list(_: NoOptions, _shell: InteractiveShell) -> None:
    """List active cloud kernels, and the machines that you added to the launcher."""
    note = _show_active()
    rows = [
        (
            kernel.title,
            kernel.config.get("machine", ""),
            f"{kernel.config.get('idle', 0):g} min idle",
            f"{cost} credits" if (cost := kernel.config.get("max_cost")) else "default",
            kernel.config.get("image", ""),
        )
        for kernel in specs.installed()
    ]
    note = "\n".join(filter(None, [note, "" if rows else "No kernels. Add one: %lk_kernel add A100"]))
    display(Table(("Kernel", "Machine", "Released after", "At most", "Image"), rows, note=note))


def _show_active() -> str:
    """Show the kernels that are active and billed; return a note if the cloud doesn't answer.

    The journal of this machine decides whether a request is sent.
    """
    if not any(KERNEL_KEY in entry.metadata for entry in journal().entries(going_on=True)):
        return ""
    try:
        active = list(list_marked(current(), KERNEL_KEY))
        bills = [run.bill() for _, run in active]
    except LkError as error:
        return f"Active kernels are unknown: {error}"
    rows = [
        (title, run.status, machine_with_price(run.machine), bill.label, run.short_id)
        for (title, run), bill in zip(active, bills, strict=True)
    ]
    headers = [
        server_header(run, run.status, bill, name=title) for (title, run), bill in zip(active, bills, strict=True)
    ]
    if active:
        stop = f"Shut down the kernel to stop its bill, or abort its run: %lk_abort {active[0][1].short_id}"
        table = Table(("Kernel", "State", "Machine", "Cost so far", "Run"), rows, note=stop)
        display(ServerList(count_label(len(active), "active kernel"), headers, table))
    return ""


@lk_kernel.verb("add", AddOptions)
def _add(options: AddOptions, _shell: InteractiveShell) -> None:
    """Add a machine to the launcher and the kernel picker; an earlier entry for the machine is replaced.

    Examples::

        %lk_kernel add A100
        %lk_kernel add H100 --idle 5 --max-cost 2
    """
    session = current()
    machine = session.machines().resolve(options.machine)
    server = options.model_dump(include={"timeout", "image", "max_cost"})
    options.max_cost = server["max_cost"] = specs.resolve_max_cost(machine, str(options.max_cost or ""))
    package = prepare_server(session, ServerOptions(machine=machine.hardware_profile, **server))
    spec = specs.add(machine, _build_settings(options), options.title)
    release = release_label(options.idle, package.timeout)
    notice = f"Choose the kernel in the launcher or the kernel picker. Its machine is released {release}."
    short = map(str, low_balance_notices(session, package.worst_case, "this kernel"))
    display(StatusLine("added", [spec.title, package.at_most], "\n".join([notice, *short])))


@lk_kernel.verb("remove", RemoveOptions)
def _remove(options: RemoveOptions, _shell: InteractiveShell) -> None:
    """Remove a machine from the launcher and the kernel picker; active kernels keep running.

    Example: ``%lk_kernel remove A100``
    """
    display(Note(f"Removed {specs.remove(options.machine).title} from the launcher."))


def _build_settings(options: AddOptions) -> dict[str, Any]:
    """Return the settings of the provisioner."""
    return {
        "image": options.image,
        "idle": options.idle,
        **({"timeout": options.timeout} if options.timeout else {}),
        **({"max_cost": f"{options.max_cost.normalize():f}"} if options.max_cost else {}),
    }
