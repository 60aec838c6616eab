"""Start a run at most once for each start key, also from several processes and after a lost answer."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lk_jupyter.api.states import is_run_id
from lk_jupyter.code.source import code_hash
from lk_jupyter.config.files import open_locked
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import Conflict, OutcomeUnknown, UsageError
from lk_jupyter.journal.journal import REFUSED, JournalEntry, journal
from lk_jupyter.protocol.metadata import REQUEST_KEY, SAME_KEY, SOURCE_KEY
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.reattach import open_run
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.start import find_marked

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Length of the mark of a request.
_TOKEN_LENGTH = 32

#: Seconds to wait for another process or computer that starts a run with the same key, and between two attempts.
_PATIENCE, _PAUSE, _BROKER_PAUSE = 40.0, 0.05, 1.0


def start_with_key(session: Connection, bundle: Bundle, key: str) -> Run:
    """Start a run, or return the run that this key has already started on this server.

    The mark of the request results from the key, so the run is recognized in the journal of this machine and in the
    lists of the cloud. A broker also refuses a second start at the same moment. Raises UsageError if the key belongs to
    a run with other code or another machine, and OutcomeUnknown if an earlier start with the key has no answer yet.
    """
    token = _compute_token(session, key)
    metadata = {**(bundle.request.metadata or {}), REQUEST_KEY: token, SOURCE_KEY: _digest_source(bundle)}
    bundle = replace(bundle, request=bundle.request.model_copy(update={"metadata": metadata}))
    end = time.monotonic() + _PATIENCE
    with _hold_start_lock(token, end):
        while (run := _find_run(session, bundle, key)) is None:
            try:
                return Run.submit(session, bundle)
            except Conflict as refusal:  # a broker knows a run with this key that no list shows yet
                if SAME_KEY not in refusal.detail:
                    raise
                journal().remove([token])
                if time.monotonic() > end:
                    raise OutcomeUnknown(
                        f"Another computer uses the start key '{key}': {refusal.detail} Check: %lk_runs"
                    ) from None
                time.sleep(_BROKER_PAUSE)
        return run


def find_started(session: Connection, key: str) -> Run | None:
    """Return the run that this machine started with a key, or None. Raises OutcomeUnknown as ``start_with_key``."""
    entry = journal().get(_compute_token(session, key))
    return None if entry is None or entry.state == REFUSED else open_run(session, entry)


def _compute_token(session: Connection, key: str) -> str:
    place = "\n".join([session.base_url, session.target.org or "", key])
    return hashlib.sha256(f"lk start key\n{place}".encode()).hexdigest()[:_TOKEN_LENGTH]


def _find_run(session: Connection, bundle: Bundle, key: str) -> Run | None:
    """Return the run that was started with the mark of the bundle. Raises UsageError, OutcomeUnknown."""
    entry = journal().get(bundle.token)
    if entry is None or entry.state == REFUSED:  # another computer may have started the run
        runs = find_marked(session.client, bundle.token, {"metadata": {REQUEST_KEY: bundle.token}})
        if runs.user_run and is_run_id(runs.user_run.execution_id):
            return _open_cloud_run(session, runs.user_run.execution_id, bundle, key)
        if runs.advice:
            raise OutcomeUnknown(f"Runs with the start key '{key}' exist. Nothing was sent.{runs.advice}")
        return None
    _require_same_request(entry, bundle, key)
    if run := open_run(session, entry):
        return run
    current_entry = journal().get(bundle.token)
    if current_entry is None or current_entry.state == REFUSED:
        return None
    raise OutcomeUnknown(
        f"The request with the start key '{key}' has no response yet. Its run may be active. Nothing was sent. "
        "Check: %lk_runs"
    )


def _open_cloud_run(session: Connection, run_id: str, bundle: Bundle, key: str) -> Run:
    """Return a run that another computer started with this key. Raises UsageError, OutcomeUnknown."""
    digest = (session.client.execution.get(run_id).metadata or {}).get(SOURCE_KEY)
    if digest is None:
        raise OutcomeUnknown(
            f"Run {run_id} has the start key '{key}', but the cloud doesn't show whether the run has this code. "
            f"Nothing was sent. Show its log: %lk_logs {run_id}"
        )
    if digest != _digest_source(bundle):
        raise _refuse_key(key, f"run {run_id}")
    return Run(session, run_id)


def _require_same_request(entry: JournalEntry, bundle: Bundle, key: str) -> None:
    """Refuse a key that started other code, or another machine. Raises UsageError."""
    is_same = entry.code_hash == code_hash(bundle.source.code) and entry.machine == bundle.machine.hardware_profile
    if not is_same:
        raise _refuse_key(key, "a run")


def _refuse_key(key: str, owner: str) -> UsageError:
    return UsageError(
        f"The start key '{key}' belongs to {owner} with other code or another machine. Nothing was sent. Use another "
        "key."
    )


def _digest_source(bundle: Bundle) -> str:
    """Return a digest of the code and the machine, by which a run of another computer is compared."""
    text = f"lk source\n{bundle.machine.hardware_profile}\n{code_hash(bundle.source.code)}"
    return hashlib.sha256(text.encode()).hexdigest()[:_TOKEN_LENGTH]


@contextmanager
def _hold_start_lock(token: str, end: float) -> Iterator[None]:
    """Wait until no other process starts a run with this mark. Raises OutcomeUnknown at ``end``."""
    folder = setting("journal").parent / "start-keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / token
    while (descriptor := open_locked(path, os.O_CREAT)) is None:
        if time.monotonic() > end:
            raise OutcomeUnknown("Another process is starting a run with this key. Nothing was sent. Check: %lk_runs")
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        if sys.platform == "win32":  # refuses to delete an open file, also of another process
            os.close(descriptor)
            _delete_file(path)
        else:
            _delete_file(path)  # while locked: later, it could be the locked file of another process
            os.close(descriptor)


def _delete_file(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
