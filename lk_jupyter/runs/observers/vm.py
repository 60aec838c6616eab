"""Show the checkpoints of a run on a VM, and the VMs that replaced a failed VM."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.runs.connection import vm_run_in
from lk_jupyter.runs.observers.base import RunObserver
from lk_jupyter.runs.run import Run
from lk_jupyter.text.terminal import one_line
from lk_jupyter.text.units import credits_label, size_label, whole_seconds_label

if TYPE_CHECKING:
    from lk_jupyter.vms.hosted import VmRun


class VmProgress(RunObserver):
    """Show the age of the last checkpoint, and why another VM continues."""

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002 (as all observers)
        """Return the age and the size of the last checkpoint."""
        vm_run = vm_run_in(run.session)
        if vm_run is None:
            return []
        self.notices = [Notice(_format_reason(reason), WARNING) for reason in vm_run.facts.reasons[-1:]]
        self.notices += _list_watch_notices(vm_run)
        checkpoint = vm_run.checkpoint
        if problem := checkpoint.get("problem"):
            self.notices.append(Notice(f"The last checkpoint wasn't stored: {one_line(str(problem))[:300]}.", WARNING))
            return []
        moment, size = checkpoint.get("time"), checkpoint.get("bytes")
        if not isinstance(moment, (int, float)) or not isinstance(size, int):
            return []
        age = whole_seconds_label(int(max(0.0, time.time() - moment)))
        return [f"checkpoint {age} ago, {size_label(size)}"]

    def ended(self, run: Run, record: ExecutionRecord) -> list[Notice]:
        """Return the number of VMs with the cost of all, and the option that continues a run that has failed."""
        vm_run = vm_run_in(run.session)
        if vm_run is None:
            return []
        facts, notices = vm_run.facts, _list_watch_notices(vm_run)
        if facts.reasons:
            cost = f", {credits_label(facts.billed)} together" if facts.billed is not None else ""
            notices.append(Notice(f"{_format_reason(facts.reasons[-1])} {len(facts.reasons) + 1} VMs{cost}."))
        if record.status.lower() not in SUCCEEDED_STATES and vm_run.checkpoint.get("time"):
            notices.append(Notice(f"Continue from the last checkpoint: --on vm --resume {run.short_id}"))
        return notices


def _list_watch_notices(vm_run: VmRun) -> list[Notice]:
    """Return the warning about an odd state of the VM, or about a deletion without effect."""
    return [Notice(one_line(vm_run.watch.notice), WARNING)] if vm_run.watch.notice else []


def _format_reason(reason: str) -> str:
    return f"{one_line(reason).rstrip('.')}. Another VM continued from the last checkpoint."
