"""A question whose answer is not shown."""

from __future__ import annotations

import getpass
import warnings


def hidden(question: str) -> str | None:
    """Return what is typed, without echo; None where nobody can be asked that way."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(question).strip()
    except (EOFError, NotImplementedError, getpass.GetPassWarning):
        return None
