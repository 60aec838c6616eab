"""Names and times that runs on VMs share: the id of a run, the links to its objects, the time of a VM."""

from __future__ import annotations

import re
from hashlib import sha256

#: Start of the id of a run on a VM; its token follows, so that the id is known before anything is rented.
PREFIX = "vm-"

#: Folder of runs on VMs in the folder of the journal.
FOLDER = "vms"

#: Text in links to the objects of a run on its VM, which the VM replaces by the address of the objects.
LINK_HOST = "http://objects.invalid/"

#: Seconds that a VM of a run may need to start and to end, billed besides the time limit of the run; and the longest
#: time limit.
SETUP_SECONDS, LONGEST_SECONDS = 300, 7 * 86_400

#: The signed text that comes with the list of a checkpoint, as in ``remote/vm/files.py``.
CHECKPOINT_LIST = b"checkpoint list"

_KEY = "[0-9a-f]{32}"
_ID = re.compile(rf"{PREFIX}({_KEY})")


def normalize_id(vm_id: str) -> str:
    """Return an id for comparison: some servers write dashes into an id in some answers only."""
    return vm_id.replace("-", "").lower()


def make_vm_key(vm_id: str) -> str:
    """Return the key of a VM, which is part of file names.

    The key is the id without dashes if that is hexadecimal, otherwise a hash of the id, which may have any characters.
    """
    plain = normalize_id(vm_id)
    return plain if re.fullmatch(_KEY, plain) else sha256(vm_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def parse_run_key(execution_id: str) -> str | None:
    """Return the token in the id of a run on a VM; None for another run."""
    match = _ID.fullmatch(execution_id)
    return match[1] if match else None
