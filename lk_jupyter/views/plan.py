"""Show the plan of ``--dry-run``: the complete request, and its maximum cost."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lk_jupyter.machines.catalogue import price_label
from lk_jupyter.protocol.frames import FRAMES_KEY
from lk_jupyter.protocol.metadata import PORTS_KEY, REQUEST_KEY
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.text.secrets import redact
from lk_jupyter.text.units import size_label
from lk_jupyter.views.table import Table


def plan_view(package: Bundle, budgets: Sequence[str] = ()) -> Table:
    """Return the plan of a run as a table, with how the budgets stand; nothing was sent."""
    return Table(("Plan (nothing was sent)", ""), list(_rows(package, budgets).items()))


def _rows(package: Bundle, budgets: Sequence[str]) -> dict[str, str]:
    request = package.request
    memory = f", {package.machine.memory_gib} GiB" if package.machine.memory_gib else ""
    reserved = {REQUEST_KEY, FRAMES_KEY, PORTS_KEY, *package.payload.metadata}
    metadata = {key: value for key, value in (request.metadata or {}).items() if key not in reserved}
    rows = {
        "Image": getattr(request, "docker_image_ref", ""),
        "Machine": f"{package.machine.hardware_profile}{memory}, {price_label(package.machine)}",
        "Time limit": f"{package.timeout} s",
        "Cost": package.at_most,
        "Budgets": "; ".join(budgets),
        "Code": f"{request.file_name}, {size_label(len(package.source.code.encode()))}",
        "Uploaded files": ", ".join(
            f"{name} ({size_label(len(content))})" for name, content in package.uploads.items()
        ),
        "Uploaded modules": _modules_label(package),
        "Inputs": ", ".join(map(str, package.payload.inputs)),
        "Outputs": ", ".join(
            [*package.payload.outputs, *(["all changed variables"] if package.payload.carries else [])]
        ),
        "Requirements": ", ".join((request.requirements_content or "").split("\n")).strip(", "),
        "Ports": ", ".join(map(str, package.ports)),
        "Name": request.run_name or "",
        "Labels": ", ".join(request.labels or []),
        "Metadata": ", ".join(f"{key}={value}" for key, value in metadata.items()),
        "Possible secret": ", ".join(map(str, package.secrets)),
    }
    return {name: redact(value) for name, value in rows.items() if value}


def _modules_label(package: Bundle) -> str:
    """Return a label for our modules that are uploaded with the code."""
    files = json.loads(package.request.import_files or "{}")
    size = sum(len(text.encode()) for name, text in files.items() if name not in package.files)
    return f"our modules for figures, variables and similar, {size_label(size)}" if package.nonce else ""
