"""The machine that the user chose in the toolbar of a notebook: JupyterLab reports it before each ``%%lk_run`` cell."""

from __future__ import annotations

#: The id of the cell that runs next, and the machine of its notebook.
_report = ("", "")


def report_machine(cell_id: str, machine: str) -> None:
    """Store the machine of the notebook for its next cell; JupyterLab calls this function."""
    global _report  # noqa: PLW0603 (a kernel runs one cell at a time)
    _report = cell_id, machine


def reported_machine(cell_id: str | None) -> str:
    """Return the machine that was reported for a cell; empty without a report, such as for another cell."""
    reported_id, machine = _report
    return machine if cell_id == reported_id else ""
