"""Kernel specs, which list machines of the cloud in the launcher and the kernel picker."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from lk_jupyter._extras import library
from lk_jupyter._python import module_command
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.config.settings import parse_credits, setting
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import price_label
from lk_jupyter.options.kernel import MAX_COST

PROVISIONER = "lk-cloud"

#: The module of the process here.
BRIDGE = "lk_jupyter.kernels.bridge"

_PREFIX = "lk-"
_LOGO = Path(__file__).with_name("logo-svg.svg")


class InstalledKernel(NamedTuple):
    """A kernel of ours: the name of the spec, the displayed name, and the settings of the provisioner."""

    name: str
    title: str
    config: dict[str, Any]


def add(machine: MachineType, config: dict[str, Any], title: str | None = None) -> InstalledKernel:
    """Install the kernel of a machine for this user, in place of its earlier kernel."""
    price = f", {price_label(machine)}" if machine.price_per_hour is not None else ""
    title = title or f"Python on {machine.card_name if machine.card else machine.hardware_profile}{price}"
    name = _PREFIX + re.sub(r"[^a-z0-9.-]", "-", machine.hardware_profile.lower())
    kernel = InstalledKernel(name, title, {"machine": machine.hardware_profile, **config})
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "kernel.json").write_text(json.dumps(_build_spec(kernel), indent=1), encoding="utf-8")
        shutil.copy(_LOGO, folder)
        _create_manager().install_kernel_spec(folder, name, user=True)
    return kernel


def resolve_max_cost(machine: MachineType, text: str) -> Decimal | None:
    """Return the maximum cost of a kernel in credits: the kernel's value, the setting, or the default.

    None for a machine without a published price: the time limit remains. Raises UsageError.
    """
    try:
        chosen: Decimal | None = parse_credits(text) if text else setting("max_cost")
    except ValueError as form:
        raise UsageError(f"max_cost of this kernel takes {form}, not '{text}'. Nothing was started.") from None
    return chosen if chosen is not None or machine.price_per_hour is None else MAX_COST


def installed() -> Iterator[InstalledKernel]:
    """Yield the kernels of ours."""
    for name, spec in _create_manager().get_all_specs().items():
        provisioner = spec["spec"].get("metadata", {}).get("kernel_provisioner", {})
        if provisioner.get("provisioner_name") == PROVISIONER:
            yield InstalledKernel(name, spec["spec"]["display_name"], provisioner.get("config", {}))


def remove(wish: str) -> InstalledKernel:
    """Remove a kernel of ours by spec name, machine or GPU. Raises UsageError."""
    kernels = list(installed())
    names = {wish.lower(), f"{_PREFIX}{wish.lower()}", f"{_PREFIX}gpu.{wish.lower()}"}
    match = next((kernel for kernel in kernels if kernel.name in names), None)
    if match is None:
        titles = ", ".join(kernel.config.get("machine", kernel.name) for kernel in kernels) or "none"
        raise UsageError(f"Unknown kernel '{wish}'. Kernels: {titles}.")
    _create_manager().remove_kernel_spec(match.name)
    return match


def bridge_command(command: list[str]) -> list[str]:
    """Return the command of a spec; specs of earlier versions imported modules of the notebook's folder."""
    python, *words = command
    return [*module_command(BRIDGE, python), *words[2:]] if words[:2] == ["-m", BRIDGE] else command


def _create_manager() -> Any:
    return library("jupyter_client.kernelspec", "lab", "A kernel").KernelSpecManager()


def _build_spec(kernel: InstalledKernel) -> dict[str, Any]:
    return {
        "argv": [*module_command(BRIDGE), "-f", "{connection_file}"],
        "display_name": kernel.title,
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"kernel_provisioner": {"provisioner_name": PROVISIONER, "config": kernel.config}},
    }
