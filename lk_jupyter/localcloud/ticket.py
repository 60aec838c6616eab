"""The ticket that signs in a user without a password: a user who can read the owner's data folder is the owner.

A ticket works once. Programs never show the ticket: the address that a browser opens is part of the browser's command
line, which other users of the machine can read. Programs put a pass in the address, made from the ticket and valid for
a single callback and some minutes. The tokens are sent to that callback alone, so a copy of the pass is useless.

Imports only the standard library.
"""

from __future__ import annotations

import hmac
import time
from pathlib import Path

from lk_jupyter.config.files import write_private
from lk_jupyter.localcloud.secret import new_secret

TICKET_FILE = "ticket"


def renew(data: Path) -> None:
    """Write a new ticket; the older ticket, and passes made from it, are void."""
    write_private(data / TICKET_FILE, new_secret())


def use(data: Path, text: str) -> bool:
    """Return whether a text is the ticket; if so, use the ticket up."""
    return _use_ticket(data, text.strip(), _read_ticket(data))


def make_pass(data: Path, callback: str, seconds: float) -> str:
    """Return a pass for a callback."""
    return _sign_pass(_read_ticket(data), callback, str(int(time.time() + seconds)))


def use_pass(data: Path, text: str, callback: str) -> bool:
    """Return whether a text is a pass for a callback; if so, use its ticket up."""
    ends = text.partition(".")[0]
    fresh = ends.isascii() and ends.isdecimal() and len(ends) <= len("9999999999") and time.time() <= int(ends)
    return fresh and _use_ticket(data, text, _sign_pass(_read_ticket(data), callback, ends))


def _use_ticket(data: Path, text: str, expected: str) -> bool:
    fits = hmac.compare_digest(text.encode(), expected.encode())
    if fits:
        renew(data)
    return fits


def _sign_pass(ticket: str, callback: str, ends: str) -> str:
    return f"{ends}.{hmac.new(ticket.encode(), f'{ends} {callback}'.encode(), 'sha256').hexdigest()}"


def _read_ticket(data: Path) -> str:
    return (data / TICKET_FILE).read_text()
