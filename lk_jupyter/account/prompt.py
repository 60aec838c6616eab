"""Questions at a sign-in: one whose answer is not shown, and one for yes or no."""

from __future__ import annotations

import getpass
import warnings

from lk_jupyter.text.secrets import never_show
from lk_jupyter.text.terminal import plain


def prompt_secret(question: str) -> str | None:
    """Return what is typed, without echo; None where nobody can be asked that way."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            answer = getpass.getpass(plain(question)).strip()
    except (EOFError, NotImplementedError, getpass.GetPassWarning):
        return None
    never_show(answer)
    return answer


def confirmed(question: str) -> bool:
    """Return whether the answer is yes; it is no where nobody can be asked."""
    try:
        return input(plain(question)).strip().lower() in {"y", "yes"}
    except (EOFError, OSError, NotImplementedError):
        return False
