"""Show the plan of ``--dry-run``: the complete request, and its maximum cost."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lk_jupyter.machines.catalogue import price_label
from lk_jupyter.protocol.frames import FRAMES_KEY
from lk_jupyter.protocol.metadata import LOCK_KEY, PORTS_KEY, REQUEST_KEY
from lk_jupyter.runs.history.forecast import Forecast
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.units import size_label
from lk_jupyter.views.table import Table


def plan_view(bundle: Bundle, budgets: Sequence[str] = (), forecast: Forecast | None = None, starts: str = "") -> Table:
    """Return the plan of a run as a table, with budgets, a forecast and measured starts; nothing was sent."""
    return Table(("Plan (nothing was sent)", ""), list(_build_plan_rows(bundle, budgets, forecast, starts).items()))


#: Rows of the plan that describe the machine of a session; the others describe the cell.
_MACHINE_ROWS = ("Image", "Machine", "Chosen because", "Time limit", "Cost", "Budgets")


def session_plan_view(machine: Bundle, cell: Bundle, release: str, budgets: Sequence[str] = ()) -> Table:
    """Return the plan of a cell on the machine of a session, which is billed until ``release``; nothing was sent."""
    rows = _build_plan_rows(machine, budgets, None, "")
    machine_rows = {name: rows[name] for name in _MACHINE_ROWS if name in rows}
    machine_rows["Cost"] = f"{rows['Cost']}, for all cells on this machine together"
    cell_rows = {
        name: value for name, value in _build_plan_rows(cell, (), None, "").items() if name not in _MACHINE_ROWS
    }
    note = "If the machine is already active, the cell uses it and starts no other."
    rows = {**machine_rows, "Billed until": release, **cell_rows}
    return Table(("Plan (nothing was sent)", ""), list(rows.items()), note)


def _build_plan_rows(bundle: Bundle, budgets: Sequence[str], forecast: Forecast | None, starts: str) -> dict[str, str]:
    request = bundle.request
    memory = f", {bundle.machine.memory_gib} GiB" if bundle.machine.memory_gib else ""
    reserved = {REQUEST_KEY, FRAMES_KEY, PORTS_KEY, LOCK_KEY, *bundle.payload.metadata}
    metadata = {key: value for key, value in (request.metadata or {}).items() if key not in reserved}
    rows = {
        "Image": getattr(request, "docker_image_ref", ""),
        "Machine": f"{bundle.machine.hardware_profile}{memory}, {price_label(bundle.machine)}",
        "Chosen because": bundle.machine_reason,
        "Time limit": f"{bundle.timeout} s",
        "Cost": bundle.at_most,
        "Forecast": forecast.label if forecast else "",
        "Measured starts": starts,
        "Volume": f"{bundle.vm_volume.label}, {bundle.vm_volume.price_label} until deleted" if bundle.vm_volume else "",
        "Budgets": "; ".join(budgets),
        "Code": f"{request.file_name}, {size_label(len(bundle.source.code.encode()))}",
        "Uploaded files": ", ".join(f"{name} ({size_label(len(content))})" for name, content in bundle.uploads.items()),
        "Uploaded modules": _format_modules(bundle),
        "Inputs": ", ".join(map(str, bundle.payload.inputs)),
        "Outputs": ", ".join([*bundle.payload.outputs, *(["all changed variables"] if bundle.payload.carries else [])]),
        "Requirements": _format_requirements(request.requirements_content or ""),
        "Lock": (request.metadata or {}).get(LOCK_KEY, ""),
        "Script block": f"in {bundle.block.place}" if bundle.block else "",
        "Needs permission": bundle.block_request,
        "Python": f"{bundle.block.requires_python}, checked in the run"
        if bundle.block and bundle.block.requires_python
        else "",
        "Ports": ", ".join(map(str, bundle.ports)),
        "Name": request.run_name or "",
        "Labels": ", ".join(request.labels or []),
        "Metadata": ", ".join(f"{key}={value}" for key, value in metadata.items()),
        "Possible secret": ", ".join(map(str, bundle.secrets)),
    }
    return {name: redact(value) for name, value in rows.items() if value}


def _format_requirements(text: str) -> str:
    """Return the requirements in a line, without hashes."""
    lines = (line.rstrip("\\ ") for line in text.splitlines() if not line.lstrip().startswith("--hash="))
    return ", ".join(filter(None, lines))


def _format_modules(bundle: Bundle) -> str:
    """Return a label for our modules that are uploaded with the code."""
    if not (bundle.nonce and bundle.request.import_files):
        return ""
    files = json.loads(bundle.request.import_files)
    size = sum(len(text.encode()) for name, text in files.items() if name not in bundle.files)
    size -= sum(map(len, bundle.rest.get("files", {}).values()))  # the author's binary files are in one of our modules
    return f"modules of lk_jupyter for figures, variables and similar, {size_label(size)}"
