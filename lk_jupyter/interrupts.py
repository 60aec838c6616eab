"""Interrupts that stay interrupts, so that what is stopped by one is stopped by each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def is_interrupt(error: BaseException | None) -> bool:
    """Whether this is an interrupt, or what has become of one.

    Python's Condition, which is in every Event, Queue and Future, waits with its lock open. An
    interrupt in the moment at which it takes the lock back leaves it open, and the end of its ``with``
    block complains of that in place of the interrupt: "release unlocked lock".
    """
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, RuntimeError) and isinstance(error.__context__, KeyboardInterrupt)
    )


@contextmanager
def true_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt for every interrupt within, whatever has become of it."""
    try:
        yield
    except RuntimeError as error:
        if is_interrupt(error):
            raise KeyboardInterrupt from None
        raise
