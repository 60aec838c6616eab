"""Names and times of relays: chains of runs, each of which continues from the checkpoint of the run before."""

from __future__ import annotations

import re

#: Start of the id of a relay; its token follows.
PREFIX = "r-"

#: Folder of relays in the folder of the journal.
FOLDER = "relays"

#: The module of a run in a relay, and the kind of its messages.
PART, RELAY = "script.relay", "relay"

_ID = re.compile(rf"{PREFIX}([0-9a-f]{{32}})")


def parse_relay_token(execution_id: str) -> str | None:
    """Return the token in the id of a relay; None for another run."""
    match = _ID.fullmatch(execution_id)
    return match[1] if match else None
