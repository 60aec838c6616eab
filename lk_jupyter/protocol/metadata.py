"""Keys in the metadata of a run, and how their values are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: Key in a run's metadata with the ports of the start request.
PORTS_KEY = "lk_ports"

_PORT, _LARGEST_PORT = re.compile(r"[0-9]{1,5}"), 65_535


def read_ports(metadata: dict[str, Any] | None) -> tuple[int, ...]:
    """Return the ports of a run's start request; metadata of other members can contain anything."""
    texts = str((metadata or {}).get(PORTS_KEY) or "").split(",")
    return tuple(int(text) for text in texts if _PORT.fullmatch(text) and int(text) <= _LARGEST_PORT)


#: Keys in a run's metadata: the id of a group that was started together, and the run's number in the group.
GROUP_KEY, MEMBER_KEY = "lk_group", "lk_lane"

#: Key in a run's metadata by which a start whose answer was lost is found again.
REQUEST_KEY = "lk_request"

#: Key in a run's metadata: digest of the code and the machine of a run with a start key.
SOURCE_KEY = "lk_source"

#: Words by which a client recognizes a broker's refusal (HTTP 409) of a second run with the same start key.
SAME_KEY = "the same start key"

#: Keys in a run's metadata: names of the outputs, whether the run may pickle them, and whether variables are carried.
OUTPUTS_KEY, PICKLE_KEY, CARRY_KEY = "lk_outputs", "lk_pickle", "lk_carry"


def returns_variables(metadata: Mapping[str, Any] | None) -> bool:
    """Return whether a run sends variables back, by the metadata of its request."""
    return bool({CARRY_KEY, OUTPUTS_KEY} & (metadata or {}).keys())


#: Key in a run's metadata: the name of the session in this run.
SESSION_KEY = "lk_session"

#: Key in a run's metadata: the machines of the executor that the run belongs to, and their maximum price.
POOL_KEY = "lk_pool"

#: Key in a run's metadata: the file name of the lock whose packages were installed, and a digest of these packages.
LOCK_KEY = "lk_lock"

#: Key of the journal only: the bytes of the uploaded variables and files of a run.
INPUTS_KEY = "lk_input_bytes"

#: Key in a run's metadata: the title of the kernel in this run.
KERNEL_KEY = "lk_kernel"
