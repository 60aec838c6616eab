"""Prompts of a sign-in: for a hidden answer, and for yes or no."""

from __future__ import annotations

import getpass
import warnings

from lk_jupyter.text.secrets import register_secrets
from lk_jupyter.text.terminal import plain


def prompt_secret(question: str) -> str | None:
    """Return the typed text, without echo; None if no such prompt is possible."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            answer = getpass.getpass(plain(question)).strip()
    except (EOFError, NotImplementedError, getpass.GetPassWarning):
        return None
    register_secrets(answer)
    return answer


def prompt_confirmation(question: str) -> bool:
    """Return whether the answer is yes; False if no prompt is possible."""
    try:
        return input(plain(question)).strip().lower() in {"y", "yes"}
    except (EOFError, OSError, NotImplementedError):
        return False
