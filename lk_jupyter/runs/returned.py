"""Read the variables that a run returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.metadata import CARRY_KEY, PICKLE_KEY, REQUEST_KEY
from lk_jupyter.runs.messages import MessageSource, RunMessages
from lk_jupyter.runs.variables.download import RETURNED, Outputs, download_outputs
from lk_jupyter.runs.variables.payload import Origin, requested_outputs, settings_in
from lk_jupyter.runs.variables.state import ChangedState, blob_reader, download_changes, origin_loader


class ReturningRun(MessageSource, Protocol):
    """A run that may return variables."""

    messages: RunMessages

    @property
    def short_id(self) -> str:
        """The first 8 characters of the id."""

    def wait(self) -> ExecutionRecord:
        """Wait for the end of the run, and return the record."""

    @property
    def import_files(self) -> str | None:
        """The files that this machine sent with the run, as JSON; None for a run that was started elsewhere."""


def read_outputs(run: ReturningRun, names: Sequence[str] = ()) -> Outputs:
    """Return the outputs of a run that has ended: all, or these names. Raises StorageError.

    Pickles are read only for runs that were started from here with ``pickle=True``.
    """
    metadata = run.record.metadata or {}
    request_metadata = run.request_metadata
    if request_metadata is not None and CARRY_KEY in request_metadata:
        return read_changes(run).outputs(names)
    names = names or requested_outputs(metadata if request_metadata is None else request_metadata)
    token = run.bundle.token if run.bundle else metadata.get(REQUEST_KEY)
    frames = run.messages.read(RETURNED)[-1:] if names else []
    return download_outputs(
        run.session.storage,
        str(token),
        names,
        frames[0].payload if frames else None,
        pickle=request_metadata is not None and PICKLE_KEY in request_metadata,
        is_trusted=request_metadata is not None,
    )


def read_changes(run: ReturningRun, origin: Origin | None = None) -> ChangedState:
    """Wait for the end, and return the changes of a run with --sync.

    ``origin`` are the objects that the changes apply to. Default: copies, so that no local object changes.
    Raises UsageError for a run that wasn't started from here, StorageError.
    """
    run.wait()
    metadata = run.request_metadata
    if metadata is None or CARRY_KEY not in metadata:
        raise UsageError(
            f"Run {run.short_id} wasn't started from this machine with --sync, so its variables can't be read."
        )
    settings = settings_in(run.import_files) or {}
    frames = run.messages.read(RETURNED)[-1:]
    return download_changes(
        run.session.storage,
        str(metadata.get(REQUEST_KEY)),
        frames[0].payload if frames else None,
        origin,
        origin_loader(settings, blob_reader(run.session.storage, settings)),
        run.messages.key,
    )
