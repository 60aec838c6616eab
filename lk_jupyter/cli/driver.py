"""Drive a run on a VM, or a relay, to its end: ``python -m lk_jupyter.cli.driver ID``.

A process that starts a run starts this process first, and writes the account to its stdin. The Jupyter server,
``%load_ext`` and each command of ``lk`` start it for a run without a driver. Then the account is the account that is
signed in.

Until no other process drives the run, only the standard library and the locks are loaded.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from lk_jupyter.journal.drivers import READY, wait_for_lock

if TYPE_CHECKING:
    from lk_jupyter.session import Session


def main(run_id: str) -> None:
    """Drive the run to its end, unless another process does."""
    request = json.loads(sys.stdin.readline() or "{}")
    print(READY, flush=True)  # noqa: T201 (for the process that waits for this line)
    while wait_for_lock(run_id, is_patient=bool(request)):
        if _drive_run(run_id, request):
            return


def _drive_run(run_id: str, request: dict[str, Any]) -> bool:
    """Drive the run; return False if another process has locked the run meanwhile."""
    from lk_jupyter.connection.connection import restore_target  # noqa: PLC0415 (while no other process drives the run)
    from lk_jupyter.protocol.relay import parse_relay_token  # noqa: PLC0415
    from lk_jupyter.session import Session, connect  # noqa: PLC0415

    with Session(restore_target(request)) if request else connect() as session:
        if token := parse_relay_token(run_id):
            return _drive_relay(session, token)
        return _drive_vm_run(session, run_id, str(request.get("job") or ""))


def _drive_relay(session: Session, token: str) -> bool:
    from lk_jupyter.runs.relay import open_relay  # noqa: PLC0415 (as above)

    relay = open_relay(session, token)
    return not session.speaks_to(relay.facts.base_url) or relay.join()


def _drive_vm_run(session: Session, run_id: str, job: str) -> bool:
    from lk_jupyter.runs.run import Run  # noqa: PLC0415 (as above)
    from lk_jupyter.runs.submit.vm_job import read_job, renew_job  # noqa: PLC0415
    from lk_jupyter.vms.driver import drive, read_clock  # noqa: PLC0415
    from lk_jupyter.vms.hosted import open_run  # noqa: PLC0415

    run = open_run(session, run_id)
    if not session.speaks_to(run.facts.base_url):
        return True
    if not run.take_lock():
        return False
    read_clock(run)
    text = job or read_job(run.facts.token)
    run.set_renewal((lambda: renew_job(session, run.facts, text)) if text else None)
    drive(run)
    _ = Run(session, run_id).record  # the journal gets the end and the cost
    return True


if __name__ == "__main__":
    main(sys.argv[1])
