"""A question to the user, where the front end can put one."""

from __future__ import annotations

import getpass
import warnings

from IPython.core.error import StdinNotImplementedError

from lk_jupyter.errors import UsageError


def ask(question: str) -> bool:
    """Return whether the answer is yes.

    It is no where nobody can answer, as in a notebook that runs by itself, and when the user interrupts.
    """
    try:
        answer = input(question)
    except (EOFError, KeyboardInterrupt, OSError, StdinNotImplementedError):
        return False
    return answer.strip().lower() in {"y", "yes"}


def ask_hidden(question: str, otherwise: str) -> str:
    """Return what is typed without being shown.

    Raises UsageError where nothing is, or nobody can be asked; ``otherwise`` says what to do then.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            answer = getpass.getpass(question).strip()
    except (EOFError, NotImplementedError, getpass.GetPassWarning):
        raise UsageError(f"Nobody can be asked here without showing the answer: {otherwise}.") from None
    if not answer:
        raise UsageError("Nothing was entered; nothing has changed.")
    return answer
