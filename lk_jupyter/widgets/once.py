"""What may be seen once, such as a new key: in the browser, and in no notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from traitlets import Bool, Unicode

from lk_jupyter.errors import UsageError
from lk_jupyter.widgets._picture import Picture
from lk_jupyter.widgets._view import View, action

if TYPE_CHECKING:
    from lk_jupyter.runs.once import Secret


class Once(View):
    """A button that shows a secret, once.

    The secret is in no trait, output or picture, so neither the notebook nor the state of its widgets has it: it
    goes from the kernel to the browser as the answer to the button, and is forgotten then.
    """

    component = "once"

    title = Unicode(help="what is shown").tag(sync=True)
    is_over = Bool(help="whether it was shown").tag(sync=True)

    def __init__(self, secret: Secret) -> None:
        super().__init__(title=secret.title)
        self._secret: Secret | None = secret

    @action
    def reveal(self) -> dict[str, object]:
        """Give it to the browser that asks first."""
        secret, self._secret, self.is_over = self._secret, None, True
        if secret is None:
            raise UsageError(f"{self.title}: this was shown once, and the kernel does not have it any more.")
        return {"rows": secret.rows, "image": secret.image, "advice": secret.advice}

    def picture(self) -> Picture:
        """Tell that there was something, and not what."""
        state = "was shown once" if self.is_over else "can be shown once, while this kernel lives"
        text = f"{self.title}: {state}; it is not saved in the notebook."
        return Picture(text, f"<p>{escape(text)}</p>")
