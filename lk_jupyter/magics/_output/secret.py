"""Show secrets that must not be saved."""

from __future__ import annotations

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.account.one_time_secret import OneTimeSecret
from lk_jupyter.magics._engine.tables import show_text


def show_once(shell: InteractiveShell, secret: OneTimeSecret) -> None:
    """Show a secret behind a button, so that the notebook doesn't store the secret; in a terminal, print the secret."""
    if getattr(shell, "kernel", None) is None:
        show_text(secret.text())
        return
    from lk_jupyter.widgets.once import Once  # noqa: PLC0415 (widgets take long to import)

    display(Once(secret))
