"""Decide from the answers of the cloud whether an object has ended, or will become usable.

An object is anything that costs credits: a run, a VM, a volume, a deployment, a batch. A single odd answer decides
nothing. An object has ended after a final state, or after several answers without the object over some time.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from lk_jupyter.api.states import LifecyclePhase
from lk_jupyter.errors import ConnectionFailed, InvalidResponse, LkError, NotFound, OperationNotAvailable

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client

#: Answers without an object that prove its end, and the least seconds between the first and the last of them.
ABSENCES, ABSENCE_SECONDS = 3, 10.0

#: Seconds for which an object may be in a state that is neither starting, usable nor final.
ODD_SECONDS = 60.0

#: Seconds after which a deletion without effect is reported, and the least and most seconds between two looks.
CONFIRM_SECONDS, SHORTEST_LOOK, LONGEST_LOOK = 20.0, 0.2, 2.0

#: Seconds between two requests for the same deletion.
RESEND_SECONDS = 2.0

#: Seconds between two attempts in the background to delete an object.
REPEAT_SECONDS = 10.0


class Sighting(Enum):
    """The content of an answer about an object: its final state, no object, or an object that hasn't ended."""

    ENDED = "ended"
    ABSENT = "absent"
    ACTIVE = "active"


class EndProof:
    """Collect answers about an object until they prove its end. An answer with the object starts the count again.

    ``seconds`` are the least seconds between the first and the last answer without the object. Default: 10.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.is_complete = False
        self._least_seconds = seconds
        self._absences = 0
        self._first_absence = 0.0

    def add(self, sighting: Sighting) -> bool:
        """Add an answer, and return whether the end of the object is proven."""
        if sighting is Sighting.ABSENT:
            self._first_absence = self._first_absence if self._absences else time.monotonic()
            self._absences += 1
            seconds = time.monotonic() - self._first_absence
            least = ABSENCE_SECONDS if self._least_seconds is None else self._least_seconds
            self.is_complete = self.is_complete or (self._absences >= ABSENCES and seconds >= least)
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


class Deletion(ABC):
    """Delete an object that costs credits: ``run`` sends the deletion, repeatedly, until the end is proven.

    ``kind`` is the kind of the object in words, ``object_id`` the id as the cloud wrote it.
    """

    kind: ClassVar[str]

    def __init__(self, client: Client, object_id: str) -> None:
        self.object_id = object_id
        self._client = client

    def run(self, seconds: float | None = None, proof: EndProof | None = None) -> None:
        """Delete the object. Raises ConnectionFailed after ``seconds`` (default: 20) without a proof of its end."""
        try:
            delete_until_ended(self._send_deletion, self._look, seconds=seconds, proof=proof)
        except ConnectionFailed as problem:
            raise ConnectionFailed(self.describe_remainder(str(problem))) from None

    @abstractmethod
    def describe_remainder(self, refusal: str) -> str:
        """Return the text about an object that may still cost credits, with the command that deletes it.

        ``refusal`` is the last refusal of the cloud; empty if the cloud accepted the deletion.
        """

    @abstractmethod
    def _send_deletion(self) -> None:
        """Send the deletion once."""

    @abstractmethod
    def _look(self) -> Sighting:
        """Read what the cloud shows of the object."""


#: Deletions that are repeated in the background: client and kind, id of the object → thread.
_repeats: WeakKeyDictionary[Client, dict[tuple[str, str], threading.Thread]] = WeakKeyDictionary()


def is_repeated(client: Client, kind: str, object_id: str) -> bool:
    """Return whether the deletion of an object is repeated in the background."""
    return (kind, object_id) in iterate_repeats(client)


def iterate_repeats(client: Client) -> Iterator[tuple[str, str]]:
    """Yield kind and id of each object whose deletion is repeated in the background."""
    return (key for key, thread in list(_repeats.get(client, {}).items()) if thread.is_alive())


def repeat_deletion(client: Client, deletion: Deletion, on_end: Callable[[], object] = lambda: None) -> None:
    """Repeat a deletion in a thread until the end of the object is proven, then call ``on_end``, which may raise.

    The thread ends with the connection: a closed client can't delete anything.
    """

    def work() -> None:
        while not client.wait_until_closed(REPEAT_SECONDS):
            with suppress(LkError):
                deletion.run()
                on_end()
                return

    if not is_repeated(client, deletion.kind, deletion.object_id):
        thread = threading.Thread(target=work, name=f"lk-delete-{deletion.object_id[:8]}", daemon=True)
        _repeats.setdefault(client, {})[deletion.kind, deletion.object_id] = thread
        thread.start()


def delete_or_repeat(client: Client, deletion: Deletion, on_end: Callable[[], object] = lambda: None) -> None:
    """Delete an object, then call ``on_end``; without a proof of the end, repeat the deletion in the background.

    Raises ConnectionFailed if the object may still cost credits.
    """
    try:
        deletion.run()
    except ConnectionFailed as problem:
        repeat_deletion(client, deletion, on_end)
        raise ConnectionFailed(f"{problem}\nThe deletion is repeated while this process is active.") from None
    on_end()
