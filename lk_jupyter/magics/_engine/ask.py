"""Prompt the user, where the front end supports input."""

from __future__ import annotations

import textwrap
from typing import Any

from IPython.core.error import StdinNotImplementedError
from IPython.core.getipython import get_ipython

from lk_jupyter.account.prompt import prompt_secret
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.magics._engine.tables import show_text
from lk_jupyter.text.terminal import plain

#: The most columns of a line of a question, which fit next to the side bar of JupyterLab.
_COLUMNS = 66


def ask(question: str) -> bool:
    """Prompt for yes or no, and return whether the answer is yes.

    Returns False without a prompt that a user can answer, as in an unattended notebook, and after an interrupt.
    """
    return prompt_user(question).lower() in {"y", "yes"}


def is_sure(options: Any, question: str, otherwise: str) -> bool:
    """Return whether to go ahead: by the option --yes, or by the answer; ``otherwise`` is shown if not.

    Raises ReadOnlyMode, before the question: each question of this kind precedes a change.
    """
    refuse_if_read_only("writes")
    if options.yes or ask(f"{question} [y/N] "):
        return True
    show_text(f"{otherwise} To skip the question: --yes")
    return False


def prompt_user(question: str) -> str:
    """Prompt the user, and return the typed text.

    Returns "" without a page or terminal that shows the question to a person, and after an interrupt.
    """
    if not shows_questions():
        return ""
    try:
        return input(wrap_question(plain(question))).strip()
    except (EOFError, KeyboardInterrupt, OSError, StdinNotImplementedError):
        return ""


def shows_questions() -> bool:
    """Return whether the front end of this cell shows a question to a person.

    Programs in a kernel, such as agents, declare input too, but may never answer: then the kernel would wait without
    end. So a question appears only on a page that is known to draw it, or outside of a kernel, on a terminal.
    """
    kernel: Any = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return True
    request = kernel.get_parent("shell") or {}
    return bool(request.get("content", {}).get("allow_stdin")) and current_cell().is_on_page


def wrap_question(question: str) -> str:
    """Break long lines of a question between words: JupyterLab breaks them within words."""
    lines = (
        textwrap.fill(line, _COLUMNS, break_long_words=False, break_on_hyphens=False) if len(line) > _COLUMNS else line
        for line in question.split("\n")
    )
    return "\n".join(lines).rstrip(" ") + (" " if question.endswith(" ") else "")


def ask_hidden(question: str, otherwise: str) -> str:
    """Prompt for a secret, and return the typed text, which is never shown.

    Raises UsageError after an empty answer and without input support; ``otherwise`` is the advice for the second case.
    """
    answer = prompt_secret(question)
    if answer is None:
        raise UsageError(f"This front end can't hide a typed answer, so nothing was read. Instead, {otherwise}.")
    if not answer:
        raise UsageError("Nothing was entered. Nothing was changed.")
    return answer
