"""Show a secret once, such as a new key: in the browser, and in no notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from traitlets import Bool, Unicode

from lk_jupyter.errors import UsageError
from lk_jupyter.views.picture import StaticView
from lk_jupyter.widgets._view import View, user_action

if TYPE_CHECKING:
    from lk_jupyter.account.one_time_secret import OneTimeSecret


class Once(View):
    """A button that shows a secret, once.

    The secret is in no trait, output or picture, so neither the notebook nor the state of its widgets contains the
    secret: the kernel sends it to the browser as the answer to the button, and then forgets it.
    """

    component = "once"

    title = Unicode(help="what is shown").tag(sync=True)
    is_over = Bool(help="whether it was shown").tag(sync=True)

    def __init__(self, secret: OneTimeSecret) -> None:
        super().__init__(title=secret.title)
        self._secret: OneTimeSecret | None = secret

    @user_action
    def reveal(self) -> dict[str, object]:
        """Return the secret to the first browser that requests it."""
        secret, self._secret, self.is_over = self._secret, None, True
        if secret is None:
            raise UsageError(f"{self.title}: it was already shown once, and the kernel no longer has it.")
        return {"rows": secret.rows, "image": secret.image, "advice": secret.advice}

    def picture(self) -> StaticView:
        """Show the title of the secret, never the secret."""
        state = "was shown once" if self.is_over else "can be shown once, until this kernel ends"
        text = f"{self.title}: {state}; it isn't saved in the notebook."
        return StaticView(text, f"<p>{escape(text)}</p>")
