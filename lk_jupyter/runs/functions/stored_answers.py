"""Answers that runs store in the bucket, so that a map continues with the calls of a process that ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import LkError, NoSuchObject, OperationNotAvailable
from lk_jupyter.protocol.bucket import answer_key
from lk_jupyter.remote import sign
from lk_jupyter.remote.values import pickle as pickles
from lk_jupyter.runs.interrupts import call_in_background

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage

#: Seconds between two looks whether an active call has an answer.
_PACE = 0.2

#: Seconds without an answer of an active run after which its call counts as lost.
_PATIENCE = 30.0


@dataclass(frozen=True)
class StoredAnswers:
    """The answers that runs store in the bucket, until their results are stored on this machine.

    ``storage`` returns the bucket. ``is_busy`` returns whether the run with an id may make a call, None if
    the run doesn't answer.
    """

    storage: Callable[[], Storage]
    is_busy: Callable[[str], bool | None]

    def read(self, token: str, run: str = "") -> list[Any]:
        """Return the entries in the answer of a call, for its first items; empty without an answer.

        Wait for the complete answer while ``run`` is busy. Raises StorageError.
        """
        answered_at = time.monotonic()
        while True:
            is_busy = self.is_busy(run) if run else False  # first: the run stores its answer before it is idle
            answered_at = answered_at if is_busy is None else time.monotonic()
            entries = self._read_once(token)
            is_complete = isinstance(entries, list)
            if is_complete or is_busy is False or time.monotonic() - answered_at > _PATIENCE:
                return list(entries or ())
            time.sleep(_PACE)

    def remove(self, token: str) -> None:
        """Remove the answer of a call in the background; objects that stay are deleted after 14 days."""
        call_in_background(partial(self._remove_answer, token), "lk-remove")

    def _remove_answer(self, token: str) -> None:
        with suppress(LkError):
            self.storage().remove(answer_key(token))

    def _read_once(self, token: str) -> Sequence[Any] | None:
        """Return the entries in an answer, as a tuple if more entries may follow.

        None without an answer that a run of this user signed.
        """
        key = answer_key(token)
        try:
            content = bytes(self.storage().get_bytes(key))
        except (NoSuchObject, OperationNotAvailable):  # without a bucket, nothing was stored
            return None
        signature, answer = content[: sign.SIZE], content[sign.SIZE :]
        if not sign.is_signed(signing_key(key), signature, answer):
            return None
        with suppress(Exception):  # a class or a package has changed: the items are called again
            entries = pickles.loads(answer)
            return entries if isinstance(entries, (list, tuple)) else []
        return []
