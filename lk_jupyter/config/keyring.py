"""The only module that uses the keyring of the operating system.

A keyring may be missing (a server without a desktop) or locked (waiting for the owner). So every call has a time limit,
and every failure raises the same exception: the caller continues with a file.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate  # a separate class before Python 3.11
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

SERVICE = "lk_jupyter"
PATIENCE = 20.0  # seconds: enough to type a password into the keyring's own dialog


class KeyringUnusable(Exception):
    """The keyring didn't do the requested action; the message has the reason."""


def store_secret(name: str, secret: str) -> None:
    """Store a secret. Raises KeyringUnusable."""
    _call_in_time(lambda keyring: keyring.set_password(SERVICE, name, secret))


def read_secret(name: str) -> str | None:
    """Return the secret stored under that name, or None. Raises KeyringUnusable."""
    return _call_in_time(lambda keyring: keyring.get_password(SERVICE, name))


def delete_secret(name: str) -> None:
    """Delete a secret. Raises KeyringUnusable, also for a missing secret."""
    _call_in_time(lambda keyring: keyring.delete_password(SERVICE, name))


def _call_in_time(action: Callable[[KeyringBackend], T]) -> T:
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(action(_keyring_backend()))
        except KeyringUnusable as error:
            outcome.set_exception(error)
        except Exception as error:  # noqa: BLE001 (backends raise what their platform raises)
            outcome.set_exception(KeyringUnusable(f"the keyring failed ({type(error).__name__})"))

    Thread(target=work, name="lk_jupyter keyring", daemon=True).start()
    try:
        return outcome.result(PATIENCE)
    except TooLate:
        raise KeyringUnusable(f"the keyring did not answer within {PATIENCE:.0f} s; is it locked?") from None


def _keyring_backend() -> KeyringBackend:
    import keyring  # noqa: PLC0415 (finding its backends takes longer than all else that we load)

    backend = keyring.get_keyring()
    if backend.priority <= 0:
        raise KeyringUnusable("this machine has no keyring")
    return backend
