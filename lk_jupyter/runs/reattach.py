"""Find runs that were started earlier and matter again: by the same cell, or because they are still active."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lk_jupyter.api.states import is_run_id
from lk_jupyter.code.source import code_hash
from lk_jupyter.errors import NotFound, OutcomeUnknown, UsageError
from lk_jupyter.journal.entry import CellContext, current_cell
from lk_jupyter.journal.journal import REFUSED, SUBMITTING, JournalEntry, journal
from lk_jupyter.protocol.parts import is_internal
from lk_jupyter.runs.outcome import SHORT_ID
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.start import find_marked
from lk_jupyter.runs.variables.payload import settings_in
from lk_jupyter.text.secrets import MARK, mask_secrets

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Seconds after which a start that nobody has answered, and that no list has, counts as never made.
_LONG_LOST = 600.0

_SHORTEST_TOKEN = 4

#: The number of a notebook's latest starts among which the last accepted start is searched.
_MOST_STARTS = 50


def find_previous_run(session: Connection, bundle: Bundle) -> Run | None:
    """Return the run that this cell has started with this code on this machine, unless a user has seen its end.

    Raises OutcomeUnknown if the cloud doesn't show whose run it is.
    """
    place = current_cell()
    for entry in journal().entries(code_hash=code_hash(bundle.source.code), limit=50):
        if entry.group or not is_same(entry, session, bundle, place):
            continue
        if entry.shown:
            return None
        with suppress(NotFound):
            if run := open_run(session, entry):
                _ = run.status
                return run
    return None


def is_same(entry: JournalEntry, session: Connection, bundle: Bundle, place: CellContext) -> bool:
    """Return whether an entry is of this cell, as far as both places are known."""
    return (
        entry.state != REFUSED
        and session.speaks_to(entry.base_url)
        and entry.machine == bundle.machine.hardware_profile
        and entry.options.get("image") == getattr(bundle.options, "image", None)
        and entry.options.get("arg", []) == getattr(bundle.options, "arg", [])
        and (entry.request.get("requirements_content") or "") == _mask_text(bundle.request.requirements_content)
        and _has_same_files(entry.request.get("import_files"), bundle.request.import_files)
        and all(
            None in (then, now) or then == now
            for then, now in ((entry.notebook, place.notebook), (entry.cell_id, place.cell_id))
        )
    )


def _has_same_files(stored: str | None, files: str | None) -> bool:
    """Return whether the author's variables and files equal the variables and files in the journal."""
    return stored == MARK or _select_author_inputs(stored) == _select_author_inputs(_mask_text(files))


def _mask_text(text: str | None) -> str:
    """Return a text in the form that the journal stores."""
    return mask_secrets(text or "")


def _select_author_inputs(import_files: str | None) -> Any:
    files: dict[str, str] = json.loads(import_files or "{}")
    settings = settings_in(import_files)
    if settings and settings.get("carry"):  # its message has more state of the process, such as random numbers
        settings = {"same": settings.get("same"), "outputs": settings.get("outputs")}
    return settings, {name: text for name, text in files.items() if not is_internal(name)}


def open_run(session: Connection, entry: JournalEntry) -> Run | None:
    """Return the run of an entry, or None; a start without an answer is searched for on the cloud.

    Raises OutcomeUnknown if the cloud doesn't show whose run it is.
    """
    if entry.execution_id:
        return Run(session, entry.execution_id)
    runs = find_marked(session.client, entry.token, entry.request)
    if runs.user_run and is_run_id(runs.user_run.execution_id):
        journal().update(entry.token, execution_id=runs.user_run.execution_id)
        return Run(session, runs.user_run.execution_id)
    if runs.advice:
        raise OutcomeUnknown(
            f"The response to an earlier request that starts a run was lost. Nothing was sent.{runs.advice}\n"
            "Start another run: add --attach never"
        )
    if entry.state == SUBMITTING and time.time() - entry.created_at > _LONG_LOST:
        journal().update(entry.token, state=REFUSED, reason="The cloud doesn't know this run.")
    return None


def lost_start(prefix: str) -> JournalEntry | None:
    """Return the start without an answer whose token starts with this text; None if there isn't exactly one."""
    if len(prefix) < _SHORTEST_TOKEN:
        return None
    entries = [entry for entry in journal().entries(going_on=True) if entry.execution_id is None]
    matches = [entry for entry in entries if entry.token.startswith(prefix)]
    return matches[0] if len(matches) == 1 else None


def find_last_start(session: Connection, place: CellContext) -> JournalEntry | None:
    """Return the last start of this notebook on this server, active or ended; of this kernel outside of a notebook."""
    if not (place.notebook or place.session):
        return None
    entries = journal().entries(base_url=session.base_url, notebook=place.notebook, limit=_MOST_STARTS)
    return next(
        (
            entry
            for entry in entries
            if (entry.execution_id or entry.going_on) and (place.notebook or entry.session == place.session)
        ),
        None,
    )


def find_start(session: Connection, entry: JournalEntry) -> Run:
    """Return the run of a start without an answer. Raises UsageError if the cloud doesn't show the run."""
    short = entry.token[:SHORT_ID]
    discard = f"Remove it from the list: %lk_attach {short} --discard"
    if not session.speaks_to(entry.base_url):
        raise UsageError(
            f"The request {short}, which starts a run, was sent to {entry.base_url}, but you are signed in to "
            f"{session.base_url}. {discard}"
        )
    try:
        run = open_run(session, entry)
    except OutcomeUnknown as error:
        raise UsageError(f"{str(error).rpartition(chr(10))[0]}\n{discard}") from None
    if run is not None:
        return run
    if (current_entry := journal().get(entry.token)) and current_entry.going_on:
        minutes = max(1, round((entry.created_at + _LONG_LOST - time.time()) / 60))
        raise UsageError(
            f"The cloud doesn't list a run for the request {short} yet. Check again: %lk_attach {short}. After "
            f"{minutes} min, the request counts as failed."
        )
    raise UsageError(
        f"The cloud has no run for the request {short}, so nothing was started. The request isn't listed any more."
    )


def discard_start(entry: JournalEntry) -> None:
    """Remove a start without an answer from the lists; budgets count its maximum cost."""
    journal().update(
        entry.token,
        state="failed",
        reason="The request that starts the run had no response, and was removed from the list.",
    )


def refresh(session: Connection, entries: list[JournalEntry]) -> Iterator[JournalEntry]:
    """Read the current states of runs, and yield the updated journal entries of runs that the cloud knows."""
    going_on = {run.execution_id: run.status for run in session.client.workloads.list()}
    for entry in entries:
        with suppress(NotFound, OutcomeUnknown):
            run = open_run(session, entry) if session.speaks_to(entry.base_url) else None
            if run is None:
                continue
            if run.execution_id in going_on:
                run.learn(going_on[run.execution_id])
            else:
                _ = run.record
            if updated_entry := journal().get(run.execution_id):
                yield updated_entry
