"""Names and times that runs on VMs share: the id of a run, the links to its objects, the time of a VM."""

from __future__ import annotations

import re

#: Start of the id of a run on a VM; the id of its VM follows.
PREFIX = "vm-"

#: Text in links to the objects of a run on its VM, which the VM replaces by the address of the objects.
LINK_HOST = "http://objects.invalid/"

#: Seconds that a VM of a run may need to start and to end, billed besides the time limit of the run; and the longest
#: time limit.
SETUP_SECONDS, LONGEST_SECONDS = 300, 7 * 86_400

#: The signed text that comes with the list of a checkpoint, as in ``remote/vm/files.py``.
CHECKPOINT_LIST = b"checkpoint list"

_ID = re.compile(rf"{PREFIX}([0-9a-f]{{32}})")


def parse_vm_id(execution_id: str) -> str | None:
    """Return the id of the VM in the id of a run; None for a run of the cloud."""
    match = _ID.fullmatch(execution_id)
    return match[1] if match else None
