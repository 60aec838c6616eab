"""Send messages about runs to the services of the setting ``notify``: ntfy, Slack, mail and others, through apprise.

The kernel that follows a run and the Jupyter server both see an event. The process that creates the file of the event
first sends the message, so that each message is sent once. The addresses are secrets: no error shows them.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from lk_jupyter._extras import library
from lk_jupyter.api.states import SUCCEEDED_STATES
from lk_jupyter.config.settings import setting

#: Seconds of a run without a message about its end: its user still sees the notebook.
_SHORT_SECONDS = 60.0

#: Seconds until the file of an event is deleted.
_LIFETIME_SECONDS = 30 * 86_400

_UNSAFE = re.compile(r"[^\w-]", re.ASCII)

_logging_lock = threading.Lock()


def has_addresses() -> bool:
    """Return whether the user wants messages."""
    return setting("notify") is not None


def check_library() -> None:
    """Raise UsageError with the extra to install, if messages are wanted and can't be sent."""
    with suppress(ValueError):  # a module that tests hide
        if not has_addresses() or find_spec("apprise"):  # its import takes a second
            return
    library("apprise", "notify", "The setting notify")


def end_event(execution_id: str) -> str:
    """Return the event of the end of a run, which the kernel and the Jupyter server see."""
    return f"{execution_id}-end"


def needs_message(state: str, seconds: float | None) -> bool:
    """Return whether the end of a run needs a message: after a failure, or if the code ran for a minute."""
    return state.lower() not in SUCCEEDED_STATES or (seconds or 0.0) >= _SHORT_SECONDS


def send_once(event: str, title: str, text: str) -> str:
    """Send a message about an event, unless a process of this machine has sent it; return a problem in words.

    Takes up to some seconds. Without the setting ``notify``, nothing is sent.
    """
    if not has_addresses() or not _claim_event(event):
        return ""
    apprise = library("apprise", "notify", "The setting notify")
    addresses = enumerate(setting("notify").split(), 1)
    numbers = [str(number) for number, url in addresses if not _send_message(apprise, url, title, text)]
    if not numbers:
        return ""
    return f"The message to address number {', '.join(numbers)} in the setting notify wasn't sent. Check LK_NOTIFY."


def _send_message(apprise: object, url: str, title: str, text: str) -> bool:
    """Send a message to an address, and return whether its service accepted the message."""
    logger = logging.getLogger("apprise")
    with _logging_lock, suppress(Exception):  # of a service, or of an address that isn't one
        is_disabled, logger.disabled = logger.disabled, True  # its lines have parts of the address
        try:
            client = apprise.Apprise()  # type: ignore[attr-defined]
            return bool(client.add(url) and client.notify(title=title, body=text))
        finally:
            logger.disabled = is_disabled
    return False


def _claim_event(event: str) -> bool:
    """Create the file of an event, and return whether it didn't exist."""
    folder = Path(setting("journal")).parent / "messages"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LIFETIME_SECONDS:
                    path.unlink()
        (folder / _UNSAFE.sub("-", event)[:150]).touch(mode=0o600, exist_ok=False)
    except OSError:  # it exists, or the disk is full: then no process could remember the message
        return False
    return True
