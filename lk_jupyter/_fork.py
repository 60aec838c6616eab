"""Renew objects in forked processes: locks of other threads, and connections that two processes would share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet


class Renewed(Protocol):
    """An object that a forked process can't use unchanged."""

    def after_fork(self) -> None:
        """Renew the parts that a fork leaves broken; called in the child."""


def call_in_child(act: Callable[[], None]) -> None:
    """Call ``act`` in each process that is forked from this process, on systems with fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=act)


def renew_in_child(thing: Renewed) -> None:
    """Call ``thing.after_fork`` in each process that is forked from this process, while the object exists."""
    _things.add(thing)


def _call_after_fork() -> None:
    for thing in list(_things):
        thing.after_fork()


_things: WeakSet[Renewed] = WeakSet()
call_in_child(_call_after_fork)
