"""``%lk_kernel``: machines of the cloud in launcher and kernel picker."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.kernels import specs
from lk_jupyter.magics._kernel_options import AddOptions, RemoveOptions
from lk_jupyter.magics._line import Line, Note
from lk_jupyter.magics._parser import Verbs
from lk_jupyter.magics._views import Table
from lk_jupyter.options import NoOptions, ServerOptions
from lk_jupyter.runs.notebooks import prepare_server
from lk_jupyter.runs.session import current

lk_kernel = Verbs(
    "lk_kernel",
    "Kernels on machines of the cloud, in the launcher and the kernel picker.\n\n"
    "A machine starts with its kernel, and is stopped with it: shut the kernel down, and the bill ends. Restart keeps "
    "the machine. It is given back by itself when nothing ran for a while, and at its maximum cost.",
)


@lk_kernel.verb("list", NoOptions)
def _list(_: NoOptions, _shell: InteractiveShell) -> None:
    """List the kernels that were added."""
    rows = [
        (
            kernel.title,
            kernel.config.get("machine", ""),
            f"{kernel.config.get('idle', 0):g} minutes idle",
            kernel.config.get("max_cost", ""),
            kernel.config.get("image", ""),
        )
        for kernel in specs.installed()
    ]
    note = "" if rows else "No kernel was added yet: %lk_kernel add A100"
    display(Table(("Kernel", "Machine", "Given back after", "At most", "Image"), rows, note=note))


@lk_kernel.verb("add", AddOptions)
def _add(options: AddOptions, _shell: InteractiveShell) -> None:
    """Add a machine to launcher and kernel picker, in place of what it was added with before.

    Examples::

        %lk_kernel add A100
        %lk_kernel add H100 --idle 10 --max-cost 5
    """
    session = current()
    machine = session.machines().resolve(options.machine)
    server = options.model_dump(include={"timeout", "image", "max_cost"})
    package = prepare_server(session, ServerOptions(machine=machine.hardware_profile, **server))
    made = specs.add(machine, _config(options), options.title)
    remark = (
        f"Choose it in the launcher or the kernel picker. Without work for {options.idle:g} minutes it is given back."
    )
    display(Line("added", [made.title, package.at_most], remark))


@lk_kernel.verb("remove", RemoveOptions)
def _remove(options: RemoveOptions, _shell: InteractiveShell) -> None:
    """Take a machine out of launcher and kernel picker; what runs on it goes on.

    Example: ``%lk_kernel remove A100``
    """
    display(Note(f"{specs.remove(options.machine).title} is no longer offered."))


def _config(options: AddOptions) -> dict[str, Any]:
    """Return what the provisioner is told."""
    return {
        "image": options.image,
        "idle": options.idle,
        **({"timeout": options.timeout} if options.timeout else {}),
        **({"max_cost": f"{options.max_cost.normalize():f}"} if options.max_cost else {}),
    }
