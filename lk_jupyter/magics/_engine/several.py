"""Do one thing to several: a failure of one leaves none of the others out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lk_jupyter.api._polling import advised
from lk_jupyter.errors import LkError
from lk_jupyter.magics._output.interrupt import interrupt
from lk_jupyter.runs.interrupts import true_interrupts

T = TypeVar("T")


def apply_to_each(items: Sequence[T], act: Callable[[T], object], name: Callable[[T], str], remainder: str) -> None:
    """Act on each of several, on the rest too where one fails.

    ``remainder`` is what an error or an interrupt adds, with ``{}`` for the names that remain. Raises the first error.
    """
    failed: dict[str, LkError] = {}
    names = [name(each) for each in items]
    for index, each in enumerate(items):
        try:
            with true_interrupts():
                act(each)
        except LkError as error:
            failed[names[index]] = error
        except KeyboardInterrupt:
            rest = " ".join([*failed, *names[index:]])
            raise interrupt(f"stopped. {remainder.format(rest)}") from None
    for first in failed.values():
        raise advised(first, remainder.format(" ".join(failed)))
