"""Warns when the credits end soon at the rate at which all runs use them now."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.runs.account import Balance
from lk_jupyter.runs.companion import WARNING, Companion, Remark
from lk_jupyter.runs.cost import credits_label, duration_label

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run
    from lk_jupyter.runs.session import Session

#: Seconds of run time below which the balance is low.
LOW_SECONDS = 3600.0

#: Seconds for which a balance is taken as known; all runs of a session share it.
_KNOWN_SECONDS = 60.0

#: Seconds that a run goes on before the balance is asked for: by then it counts itself.
_FIRST_LOOK = 1.0


class LowBalance(Companion):
    """Looks at the balance once a minute, in a thread, while its run goes on."""

    def __init__(self, session: Session) -> None:
        self._watch = _watch_of(session)

    def tick(self, run: Run, seconds: float | None, text: str) -> list[str]:  # noqa: ARG002
        """Have the balance looked at; it says nothing in the status line."""
        if seconds is not None and seconds > _FIRST_LOOK:
            self._watch.look()
        return []

    def remarks(self) -> list[Remark]:
        """Return the warning, when there is one."""
        return low_balance(self._watch.balance)

    def ended(self, run: Run, record: ExecutionRecord) -> list[Remark]:  # noqa: ARG002
        """Return the warning, when there was one."""
        return self.remarks()


def low_balance(balance: Balance | None) -> list[Remark]:
    """Return a warning when the credits last for less than an hour at the present rate."""
    if balance is None or not balance.per_hour:
        return []
    seconds = max(0.0, float(balance.credits / balance.per_hour) * 3600)
    if seconds >= LOW_SECONDS:
        return []
    rate = f"{balance.per_hour.normalize():f} an hour"
    return [
        Remark(
            f"{credits_label(balance.credits)} are left: at the present rate of {rate} they last for "
            f"{duration_label(seconds)}. Top up in the dashboard; %lk_balance shows what is left.",
            WARNING,
        )
    ]


class _Watch:
    """The balance of a session, read in a thread when it is asked for and not known lately."""

    def __init__(self, session: Session) -> None:
        self.balance: Balance | None = None
        self._session = ref(session)
        self._looked = -_KNOWN_SECONDS
        self._lock = threading.Lock()

    def look(self) -> None:
        with self._lock:
            if time.monotonic() - self._looked < _KNOWN_SECONDS:
                return
            self._looked = time.monotonic()
        threading.Thread(target=self._read, name="lk-balance", daemon=True).start()

    def _read(self) -> None:
        with suppress(Exception):  # a balance that cannot be read warns of nothing
            session = self._session()
            self.balance = session.balance() if session else None


_watches: WeakKeyDictionary[Session, _Watch] = WeakKeyDictionary()
_lock = threading.Lock()


def _watch_of(session: Session) -> _Watch:
    with _lock:
        return _watches.setdefault(session, _Watch(session))
