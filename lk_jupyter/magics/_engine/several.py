"""Apply an action to several items: a failure skips none of the remaining items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lk_jupyter.api._polling import add_advice
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.magics._output.interrupt import build_interrupt
from lk_jupyter.runs.interrupts import true_interrupts

T = TypeVar("T")


def find_each(names: Sequence[str], find: Callable[[str], T], remainder: str) -> list[T]:
    """Find the items with these names, for a command that ends them.

    ``remainder`` is added to an error of the server, with the names in place of ``{}``. Raises the error, or UsageError
    for an unknown name.
    """
    try:
        return [find(name) for name in names]
    except UsageError:
        raise
    except LkError as error:
        raise add_advice(error, f"Nothing was deleted or stopped. {remainder.format(' '.join(names))}") from None


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
