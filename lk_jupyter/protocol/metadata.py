"""Keys in the metadata of a run, and how their values are read."""

from __future__ import annotations

import re
from typing import Any

#: Key in a run's metadata that tells the ports that it was started with.
PORTS_KEY = "lk_ports"

_PORT, _LARGEST_PORT = re.compile(r"[0-9]{1,5}"), 65_535


def ports_in(metadata: dict[str, Any] | None) -> tuple[int, ...]:
    """Return the ports that a run was started with; metadata of other members can contain anything."""
    texts = str((metadata or {}).get(PORTS_KEY) or "").split(",")
    return tuple(int(text) for text in texts if _PORT.fullmatch(text) and int(text) <= _LARGEST_PORT)


#: Keys in a run's metadata: the runs that were started together, and its number among them.
GROUP_KEY, LANE_KEY = "lk_group", "lk_lane"

#: Key in a run's metadata by which a start whose answer was lost is found again.
REQUEST_KEY = "lk_request"

#: Keys in a run's metadata: the names that it sends back, whether it may pickle them, and whether its state travels.
OUTPUTS_KEY, PICKLE_KEY, CARRY_KEY = "lk_outputs", "lk_pickle", "lk_carry"

#: Key in a run's metadata: the name of the session whose Python it holds.
SESSION_KEY = "lk_session"
