"""Apply an action to several items: a failure skips none of the remaining items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lk_jupyter.api._polling import add_advice
from lk_jupyter.errors import LkError
from lk_jupyter.magics._output.interrupt import build_interrupt
from lk_jupyter.runs.interrupts import true_interrupts

T = TypeVar("T")


def apply_to_each(items: Sequence[T], act: Callable[[T], object], name: Callable[[T], str], remainder: str) -> None:
    """Apply an action to each item, and continue after a failure.

    ``remainder`` is added to an error or interrupt, with the names of the remaining items in place of ``{}``. Raises
    the first error.
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
            raise build_interrupt(f"stopped. {remainder.format(rest)}") from None
    for first in failed.values():
        raise add_advice(first, remainder.format(" ".join(failed)))
