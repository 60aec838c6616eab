"""The one room that talks to the keyring of the operating system.

A keyring may be missing (a server without a desktop) or locked (it waits for its owner), so every
call is limited in time, and whatever goes wrong is one exception: the caller continues with a file.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate  # its own class before Python 3.11
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

SERVICE = "lk_jupyter"
PATIENCE = 20.0  # seconds: enough to type a password into the keyring's own dialog


class KeyringUnusable(Exception):
    """The keyring did not do what was asked; the message says why."""


def put(name: str, secret: str) -> None:
    """Store a secret. Raises KeyringUnusable."""
    _in_time(lambda keyring: keyring.set_password(SERVICE, name, secret))


def get(name: str) -> str | None:
    """Return the secret stored under that name, or None. Raises KeyringUnusable."""
    return _in_time(lambda keyring: keyring.get_password(SERVICE, name))


def delete(name: str) -> None:
    """Forget a secret. Raises KeyringUnusable, also when there is none."""
    _in_time(lambda keyring: keyring.delete_password(SERVICE, name))


def _in_time(action: Callable[[KeyringBackend], T]) -> T:
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(action(_backend()))
        except KeyringUnusable as error:
            outcome.set_exception(error)
        except Exception as error:  # noqa: BLE001 (backends raise what their platform raises)
            outcome.set_exception(KeyringUnusable(f"the keyring failed ({type(error).__name__})"))

    Thread(target=work, name="lk_jupyter keyring", daemon=True).start()
    try:
        return outcome.result(PATIENCE)
    except TooLate:
        raise KeyringUnusable(f"the keyring did not answer within {PATIENCE:.0f} s; is it locked?") from None


def _backend() -> KeyringBackend:
    import keyring  # noqa: PLC0415 (finding its backends takes longer than all else that we load)

    backend = keyring.get_keyring()
    if backend.priority <= 0:
        raise KeyringUnusable("this machine has no keyring")
    return backend
