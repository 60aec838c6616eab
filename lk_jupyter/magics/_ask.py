"""A question to the user, where the front end can put one."""

from __future__ import annotations

from IPython.core.error import StdinNotImplementedError


def ask(question: str) -> bool:
    """Return whether the answer is yes.

    It is no where nobody can answer, as in a notebook that runs by itself, and when the user interrupts.
    """
    try:
        answer = input(question)
    except (EOFError, KeyboardInterrupt, OSError, StdinNotImplementedError):
        return False
    return answer.strip().lower() in {"y", "yes"}
