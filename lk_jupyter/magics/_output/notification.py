"""Show a desktop notification, where the browser that shows the notebook allows notifications.

The notification is a script in an output. Front ends run such scripts in trusted notebooks only, and a page may request
the permission only after a click on a button. The receipt has the same text. A front end draws an output again when a
notebook is opened, so an old notification stays silent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.magics._output.live import show_updated
from lk_jupyter.text.terminal import one_line

#: Seconds after the end of a run in which a notification is still news.
FRESH = 60

_ASK = """<div class="lk-notify"></div><script>
(() => {
  const place = document.currentScript.previousElementSibling;
  if (!place || !("Notification" in window) || Notification.permission !== "default") return;
  const button = document.createElement("button");
  button.textContent = "Notify me on this desktop when it ends";
  button.style.cssText = "font: var(--jp-ui-font-size1, 13px) var(--jp-ui-font-family, sans-serif);"
    + "color: var(--jp-ui-font-color1, inherit); background: var(--jp-layout-color1, transparent);"
    + "border: 1px solid var(--jp-border-color1, #bdbdbd); border-radius: var(--jp-border-radius, 2px);"
    + "margin-left: 8px; padding: 3px 10px; cursor: pointer";
  button.onclick = async () => { await Notification.requestPermission(); button.remove(); };
  place.append(button);
})();
</script>"""
_TELL = """<script>
if ("Notification" in window && Notification.permission === "granted" && Date.now() / 1000 - {ended:.0f} < {fresh})
  new Notification({words}, {{tag: {words}}});
</script>"""


class DesktopNotification:
    """A desktop notification that work has ended; before the end, the button that allows notifications."""

    def __init__(self, words: str, *, ended: float | None = None) -> None:
        self.words = one_line(words)
        self.ended = ended

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        words = json.dumps(self.words).replace("<", "\\u003c")
        html = _ASK if self.ended is None else _TELL.format(words=words, ended=self.ended, fresh=FRESH)
        return {"text/plain": self.words, "text/html": html}


def create_notification(shell: InteractiveShell) -> Callable[[DesktopNotification], None]:
    """Create an output for the notifications of this cell, and return the function that fills the output."""
    return show_updated(
        shell,
        DesktopNotification(
            "When the run finishes, the browser also shows a desktop notification if you allow notifications."
        ),
    )
