"""The states of all runs that are followed, learned by one thread.

A stream tells what a run prints, but not that it waits for a machine, nor, when it lies, that it
has ended.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from lk_jupyter.errors import LkError

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.runs.run import Run

PACE = 0.5

#: From so many runs on, one list of all is asked for in place of the state of each.
_MANY = 3


class StatusListener(Protocol):
    """Whoever wants to know the state of a run: not any more when it is ``over``, now when it is ``due``."""

    run: Run

    @property
    def over(self) -> bool: ...  # noqa: D102

    @property
    def due(self) -> bool: ...  # noqa: D102

    def heard(self, state: str) -> None:
        """Take the state."""


class StatusPoller:
    """Keeps watchers informed; its thread ends with the last of them."""

    def __init__(self) -> None:
        self._watchers: list[StatusListener] = []
        self._lock = threading.Lock()
        self._works = False

    def add(self, watcher: StatusListener) -> None:
        """Keep this one informed until it is over."""
        with self._lock:
            self._watchers.append(watcher)
            if not self._works:
                threading.Thread(target=self._work, name="lk-watch", daemon=True).start()
                self._works = True

    def _work(self) -> None:
        time.sleep(PACE)  # the answer to the start was the first look
        while watchers := self._left():
            for session, due in _by_session(watcher for watcher in watchers if watcher.due).items():
                with suppress(LkError):
                    _inform(session, due)
            time.sleep(PACE)

    def _left(self) -> list[StatusListener]:
        with self._lock:
            self._watchers = [watcher for watcher in self._watchers if not watcher.over]
            self._works = bool(self._watchers)
            return list(self._watchers)


def _by_session(watchers: Iterable[StatusListener]) -> dict[Connection, list[StatusListener]]:
    found: dict[Connection, list[StatusListener]] = defaultdict(list)
    for watcher in watchers:
        found[watcher.run.session].append(watcher)
    return found


def _inform(session: Connection, watchers: list[StatusListener]) -> None:
    many = len(watchers) >= _MANY
    listed = {run.execution_id: run.status for run in session.client.workloads.list()} if many else {}
    for watcher in watchers:
        with suppress(LkError):
            watcher.heard((listed.get(watcher.run.execution_id) or watcher.run.status).lower())


#: The one of this kernel.
WATCH = StatusPoller()
