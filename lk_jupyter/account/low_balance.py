"""Warnings that the credits don't suffice: for a start, and at the current rate of use."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from copy import copy
from decimal import Decimal
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from lk_jupyter._threads import start
from lk_jupyter.account.active import list_active
from lk_jupyter.account.balance import AccountBalance
from lk_jupyter.connection.budget import list_exceeded_budgets
from lk_jupyter.connection.credits import read_credits
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.text.units import credits_label, duration_label, moment_label

if TYPE_CHECKING:
    from lk_jupyter.api.billing import GrantedBudget
    from lk_jupyter.connection.connection import Connection

#: Seconds of run time below which the balance is low.
LOW_SECONDS = 3600.0

#: Seconds for which a balance counts as current; all runs of a session share the balance.
_RECENT_SECONDS = 60.0

#: Seconds that a start, or the end of a run, waits for a balance.
_PATIENCE = 2.0

#: A balance of this many times a maximum cost suffices without another request: for a current balance, and for an older
#: balance.
_AMPLE, _AMPLE_LATER = 2, 20

#: Seconds for which a balance counts as new.
_NOW_SECONDS = 3.0

TOP_UP = "Buy credits: %lk_billing checkout 50"


def top_up_advice(budget: GrantedBudget | None) -> str:
    """Return how to get more credits: a key of a broker can't buy any."""
    if budget is None:
        return TOP_UP
    if budget.renews_at:
        return f"The budget renews on {moment_label(budget.renews_at)}."
    return "Request credits from the operator of the broker."


def low_balance(balance: AccountBalance | None) -> list[Notice]:
    """Return a warning when the credits last for less than an hour at the present rate."""
    if balance is None or not balance.per_hour:
        return []
    seconds = max(0.0, float(balance.credits / balance.per_hour) * 3600)
    if seconds >= LOW_SECONDS:
        return []
    last = f"{'about' if balance.rate.complete else 'at most'} {duration_label(seconds)}"
    last += f" at {balance.per_hour.normalize():f} credits/h"
    return [Notice(f"{credits_label(balance.credits)} left, {last}. {top_up_advice(balance.budget)}", WARNING)]


def lasting_label(amount: Decimal, per_hour: Decimal) -> str:
    """Return how long credits last at a price per hour, in words."""
    return duration_label(max(0.0, float(amount / per_hour) * 3600))


def read_balance_soon(session: Connection) -> None:
    """Read an unknown balance in a thread: a resource is about to start."""
    balance_watch(session).look()


def low_balance_notices(
    session: Connection, most: Decimal | None, what: str = "this run", *, limits: bool = True
) -> list[Notice]:
    """Return a warning if the maximum cost of a start exceeds the remaining credits.

    ``limits`` is whether the command has the option ``--max-cost``. A start waits for the balance only if the balance
    is unknown or not ample. If the balance can't be read, the start continues.
    """
    available = balance_watch(session).read_unless_enough(most) if most else None
    if available is None or most is None or available >= most:
        return []
    cap = max(available, Decimal(0)).quantize(Decimal("0.0001"))
    option = f"--max-cost {cap.normalize():f}" if limits and cap * _AMPLE_LATER > most else ""
    lower = f"Limit it: {option}. " if option else ""
    return [
        Notice(
            f"{credits_label(available)} left, but {what} can cost {credits_label(most)}. The cloud may stop it "
            f"early. {lower}{balance_watch(session).advice}",
            WARNING,
            option,
        )
    ]


class BalanceWatch:
    """The balance of a session, read in a thread on demand if the last balance is too old."""

    def __init__(self, session: Connection) -> None:
        self.left: Decimal | None = None
        self.budget: GrantedBudget | None = None
        self.warnings: list[Notice] = []  # of the balance that was read last
        self.reads_rate = True  # for these warnings: a command that shows none saves the requests
        self._session = ref(session)
        self._looked = self._read_at = self._failed_at = -_RECENT_SECONDS
        self._lock = threading.Lock()
        self._done = threading.Event()

    @property
    def advice(self) -> str:
        """How to get more credits."""
        return top_up_advice(self.budget)

    def look(self, *, again: bool = False) -> None:
        """Read the balance in a thread, unless that was done lately; ``again`` does so nevertheless."""
        with self._lock:
            if not again and time.monotonic() - self._looked < _RECENT_SECONDS:
                return
            self._looked = time.monotonic()
            self._done.clear()
        session = self._session()
        if session is not None and session.client:
            as_it_is = copy(session)  # a copy: a session that closes meanwhile must not open again
            start(threading.Thread(target=self._read, args=(as_it_is,), name="lk-balance", daemon=True))

    def read(self) -> Decimal | None:
        """Return the credits that are left now; None where they cannot be read, or that took too long lately."""
        if time.monotonic() - self._failed_at < _RECENT_SECONDS:
            return None
        start = time.monotonic()
        if self._done.is_set() and start - self._looked > _NOW_SECONDS:
            self.look(again=True)
        if self._done.wait(_PATIENCE) and start - self._read_at < _NOW_SECONDS:
            return self.left
        self._failed_at = time.monotonic()
        return None

    def read_after_end(self) -> Decimal | None:
        """Return the credits that are left after something that was billed; None where they cannot be read."""
        self._looked = self._read_at = -_RECENT_SECONDS
        return self.read()

    def read_unless_enough(self, amount: Decimal) -> Decimal | None:
        """Return the credits that are left; None where they are enough by far, or cannot be read."""
        self.look()
        is_recent = time.monotonic() - self._read_at < _RECENT_SECONDS
        if self.left is not None and self.left >= amount * (_AMPLE if is_recent else _AMPLE_LATER):
            return None
        return self.read()

    def _read(self, session: Connection) -> None:
        try:
            with suppress(Exception):  # a balance that cannot be read warns of nothing
                self.left, suspended, self.budget = read_credits(session.client)
                self._read_at = time.monotonic()
        finally:
            self._done.set()
        if not self.reads_rate:
            return
        with suppress(Exception):
            credit = self.left or Decimal(0)
            active = list_active(session)
            low = low_balance(AccountBalance(credit, active.billed, suspended, self.budget, active.problems))
            self.warnings = [*low, *(Notice(words, WARNING) for words in list_exceeded_budgets(session))]


_watches: WeakKeyDictionary[Connection, BalanceWatch] = WeakKeyDictionary()

_lock = threading.Lock()


def balance_watch(session: Connection) -> BalanceWatch:
    """Return the watch that all runs of a session share."""
    with _lock:
        if session not in _watches:
            _watches[session] = BalanceWatch(session)
        return _watches[session]
