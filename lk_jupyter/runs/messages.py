"""Read the messages of a run: frames in its output, with outputs for a notebook and facts about the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from lk_jupyter.api.execution import ExecutionRecord
from lk_jupyter.config.signing import signing_key
from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.frames import SHOWN, Frame, Splitter, read_nonce, remove_trusted_types
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.offloaded import STORED, fetch_content
from lk_jupyter.runs.log import frames_in_log, frames_on_cloud
from lk_jupyter.runs.package.bundle import Bundle

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


class MessageSource(Protocol):
    """A run with messages in its output."""

    execution_id: str
    bundle: Bundle | None

    @property
    def session(self) -> Connection:
        """The session that started or attached to the run."""

    @property
    def record(self) -> ExecutionRecord:
        """The current record."""

    @property
    def request_metadata(self) -> Mapping[str, Any] | None:
        """The metadata of the request from this machine; None for a run that was started elsewhere."""


class RunMessages:
    """Read the messages of a run.

    ``shows_rich`` is whether HTML of a run from another process appears, ``withheld`` counts the outputs that don't
    appear.
    """

    def __init__(self, run: MessageSource) -> None:
        self.shows_rich = False
        self.withheld = 0
        self._run = run

    @property
    def nonce(self) -> str | None:
        """The nonce in the messages of the run; None for a run without messages."""
        run = self._run
        if run.bundle:
            return run.bundle.nonce
        entry = journal().get(run.execution_id)
        return read_nonce(entry.request.get("metadata") if entry else run.record.metadata)

    @property
    def key(self) -> bytes | None:
        """The key that signs the messages; None for a run that was started elsewhere.

        Without a valid signature, a message has no effect: nothing that it describes is read, written or set.
        """
        metadata = self._run.request_metadata
        return None if metadata is None else signing_key(str(metadata.get(REQUEST_KEY)))

    def splitter(self) -> Splitter | None:
        """Return a new splitter of output into text and messages; None for a run without messages."""
        nonce = self.nonce
        return Splitter(nonce, key=self.key) if nonce else None

    def read_from_log(self, kind: str) -> list[Frame]:
        """Return the messages of a kind that the local log has so far."""
        return frames_in_log(self._run.execution_id, self.nonce, kind, self.key)

    def read(self, kind: str) -> list[Frame]:
        """Return the messages of a kind from the local log, or from the cloud if the log has none."""
        if frames := self.read_from_log(kind):
            return frames
        return frames_on_cloud(self._run.session.client, self._run.record, self.nonce, kind, self.key)

    def complete(self, frame: Frame) -> Frame:
        """Return the message with its content; content that was too large for the log is downloaded from the bucket.

        A notebook trusts the outputs of a cell. So a run that was started elsewhere shows text and pictures only, and
        its outputs never replace outputs of other cells.
        """
        run = self._run
        if frame.kind == STORED:
            frame = fetch_content(run.session.storage.get_bytes, self.nonce or "", frame)
        if frame.kind not in SHOWN or run.request_metadata is not None:
            return frame
        if "id" in frame.payload:  # distinct from the ids of local outputs
            frame = replace(frame, payload={**frame.payload, "id": f"{run.execution_id} {frame.payload['id']}"})
        if self.shows_rich:
            return frame
        safe_frame = remove_trusted_types(frame)
        self.withheld += safe_frame is not frame
        return safe_frame
