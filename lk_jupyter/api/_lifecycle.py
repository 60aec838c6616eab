"""Decide from the answers of the cloud whether an object has ended, or will become usable.

An object is anything that costs credits: a run, a VM, a volume, a deployment, a batch. A single odd answer decides
nothing. An object has ended after a final state, or after several answers without the object over some time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from lk_jupyter.api.states import LifecyclePhase
from lk_jupyter.errors import ConnectionFailed, InvalidResponse, LkError, NotFound, OperationNotAvailable

#: Answers without an object that prove its end, and the least seconds between the first and the last of them.
ABSENCES, ABSENCE_SECONDS = 3, 10.0

#: Seconds for which an object may be in a state that is neither starting, usable nor final.
ODD_SECONDS = 60.0

#: Seconds after which a deletion without effect is reported, and the least and most seconds between two looks.
CONFIRM_SECONDS, SHORTEST_LOOK, LONGEST_LOOK = 20.0, 0.2, 2.0

#: Seconds between two requests for the same deletion.
RESEND_SECONDS = 2.0


class Sighting(Enum):
    """The content of an answer about an object: its final state, no object, or an object that hasn't ended."""

    ENDED = "ended"
    ABSENT = "absent"
    ACTIVE = "active"


class EndProof:
    """Collect answers about an object until they prove its end. An answer with the object starts the count again."""

    def __init__(self) -> None:
        self.is_complete = False
        self._absences = 0
        self._first_absence = 0.0

    def add(self, sighting: Sighting) -> bool:
        """Add an answer, and return whether the end of the object is proven."""
        if sighting is Sighting.ABSENT:
            self._first_absence = self._first_absence if self._absences else time.monotonic()
            self._absences += 1
            seconds = time.monotonic() - self._first_absence
            self.is_complete = self.is_complete or (self._absences >= ABSENCES and seconds >= ABSENCE_SECONDS)
        else:
            self._absences = 0
            self.is_complete = sighting is Sighting.ENDED
        return self.is_complete


class StateDoubt:
    """Measure for how long an object is in a state that is neither starting, usable nor final."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last state was odd."""
        return self._since is not None

    @property
    def is_over(self) -> bool:
        """Whether the state was odd for so long that the object counts as failed."""
        return self._since is not None and time.monotonic() - self._since >= ODD_SECONDS

    def add(self, phase: LifecyclePhase) -> bool:
        """Add a state, and return whether the object counts as failed."""
        if phase in {LifecyclePhase.STARTING, LifecyclePhase.RUNNING, LifecyclePhase.ENDED}:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
        return self.is_over


def delete_until_ended(
    send_deletion: Callable[[], object],
    look: Callable[[], Sighting],
    *,
    seconds: float | None = None,
    proof: EndProof | None = None,
) -> None:
    """Request the deletion of an object, repeatedly, until the answers of the cloud prove the end of the object.

    Raises ConnectionFailed if the end isn't proven after ``seconds`` (default: 20), OperationNotAvailable. The message
    of the error is the last refusal of the deletion; empty if the cloud accepted the deletion.
    """
    collected_proof, problem, pause = proof or EndProof(), "", SHORTEST_LOOK
    end, resend_at = time.monotonic() + (CONFIRM_SECONDS if seconds is None else seconds), 0.0
    while True:
        if time.monotonic() >= resend_at:
            problem = _send_deletion(send_deletion)
            resend_at = time.monotonic() + RESEND_SECONDS
        with suppress(LkError):
            if collected_proof.add(look()):
                return
        if time.monotonic() > end:
            raise ConnectionFailed(problem)
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_LOOK)


def _send_deletion(send_deletion: Callable[[], object]) -> str:
    """Send a deletion, and return the first line of the refusal; empty if the cloud accepted the deletion."""
    try:
        send_deletion()
    except OperationNotAvailable:
        raise
    except NotFound:
        return ""
    except (LkError, InvalidResponse) as error:
        return str(error).partition("\n")[0].rstrip(".")
    return ""
