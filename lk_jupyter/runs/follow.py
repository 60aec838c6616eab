"""Follow a run as a single sequence of events, across broken connections, and detect its end.

A broken stream isn't a failed run. The follower opens the stream again while the run is active, and joins the replay
or the stored log to the earlier lines, every line once.

If a state is unknown, further facts decide: an end time or an exit code of the record, the end of the stream, or the
absence of the run from the list of active runs.
"""

from __future__ import annotations

import codecs
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Timer
from typing import Any

from lk_jupyter.api._client import Client
from lk_jupyter.api._events import Finished, Output, StreamEvent
from lk_jupyter.api._http import EventStream
from lk_jupyter.api._polling import BROKEN, check_patience
from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord, is_final
from lk_jupyter.api.logs import confirms_output, ended_long_ago, sort_by_time
from lk_jupyter.api.states import guess_end_state, is_known
from lk_jupyter.errors import ApiError, InvalidResponse, LkError, NotFound, ServerError
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.runs.ids import drop_earlier_lines
from lk_jupyter.runs.log import RunLog
from lk_jupyter.runs.outcome import STOPPED_STATES, UnreadRecord
from lk_jupyter.runs.repair import line_key
from lk_jupyter.runs.splice import OutputSplicer, Stored

#: Seconds for which an unknown state has no consequences: a new run may not be listed yet.
NEW_SECONDS = 10.0

#: Seconds after the last event of the stream for which the follower waits for a record: if the record can't be read,
#: or the run is no longer listed; and if the run is still listed. Afterwards the event of the stream counts, as for the
#: cloud's client.
UNREADABLE, LAGGING = 8.0, 60.0

#: Maximum seconds between two reads of a record that lags behind the stream.
_PACE = 0.5

#: Logs up to this number of bytes are compared line by line with the stored output.
_COMPARED = 1 << 22

#: Seconds after the end of a run, and after an abort, for which the follower waits for output that is stored late.
LATE, LATE_AFTER_ABORT = 8.0, 2.0

#: The greatest age of stored lines that a server returns.
_MOST_HOURS = 168

#: Seconds in which the rest of a finished stream is read.
_GLANCE = 5.0


class Ending:
    """Collect what is known about the end of a run.

    ``finished`` is the last event of its stream, if received, ``final_record`` the record that was read then.
    ``lacks_output`` is whether lines may be missing: neither the stream nor the stored output shows that the log is
    complete. ``repaired_lines`` counts the lines that came after their place, or were torn.
    """

    def __init__(
        self,
        client: Client,
        execution_id: str,
        request_metadata: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        self.finished: Finished | None = None
        self.stream_is_over = False
        self.lacks_output = False
        self.repaired_lines = 0
        self._client = client
        self._execution_id = execution_id
        self._request_metadata = request_metadata  # of a run that was started from this machine
        self._puzzled = 0.0
        self._finished_at = 0.0
        self.final_record: ExecutionRecord | None = None

    def state(self) -> str:
        """Read the state. After an end, replace an unknown state with the API's word for that end."""
        try:
            status = self._client.execution.status(self._execution_id).status
        except (InvalidResponse, NotFound, ServerError):  # some servers have only the record
            return self.record().status
        return status if is_known(status) else self.record().status

    def last_record(self) -> ExecutionRecord:
        """Return the record that was read at the end of the stream, once; read the record afterwards."""
        final_record, self.final_record = self.final_record, None
        return final_record or self.record()

    def record(self) -> ExecutionRecord:
        """Read the record; add the reason of a failure that only the stream reported."""
        try:
            record = self._client.execution.get(self._execution_id)
            if not _has_token(record, self._request_metadata()):
                raise InvalidResponse("The record with this id belongs to another run.")
            record = self._resolve_state(record)
        except BROKEN as failure:
            if not self._is_finished_for(UNREADABLE):
                raise
            record = UnreadRecord.from_error(failure, self._execution_id)
        changes = {}
        if not is_final(record.status) and self._is_over(record.status):
            code = self.finished.return_code if self.finished else None
            failed = bool(self.finished and not self.finished.succeeded)
            changes = {"status": guess_end_state(record.status, code, failed=failed), "return_code": code}
        error = self.finished.error if self.finished else None
        if error and not (record.status_details or record.system_errors or record.errors):
            changes["status_details"] = error
        return record.model_copy(update=changes)

    def _is_over(self, state: str) -> bool:
        """Return whether a run has ended whose record reports an active or an unknown state."""
        if not is_known(state):
            return self._has_ended()
        return self._is_finished_for(LAGGING) or (self._is_finished_for(UNREADABLE) and not self._is_listed())

    def _is_finished_for(self, seconds: float) -> bool:
        """Return whether the last event of the stream was received more than this number of seconds ago."""
        if self.finished is None:
            return False
        self._finished_at = self._finished_at or time.monotonic()
        return time.monotonic() - self._finished_at > seconds

    def _resolve_state(self, record: ExecutionRecord) -> ExecutionRecord:
        """Return the record with the state from the status operation, if the record has no known state."""
        if is_known(record.word):
            return record
        with suppress(LkError):
            state = self._client.execution.status(self._execution_id).status
            if is_final(state) or (is_known(state) and not is_final(record.status)):
                return record.model_copy(update={"status": state})
        return record

    def _has_ended(self) -> bool:
        """Return whether a run of unknown state has ended; a proxy can cut the stream of an active run."""
        if self.finished:
            return True
        now = time.monotonic()
        self._puzzled = self._puzzled or now
        if now - self._puzzled < NEW_SECONDS and not self.stream_is_over:
            return False
        if not self._is_listed():
            return True
        self._puzzled, self.stream_is_over = now, False
        self._read_end_from_stream()
        return self.finished is not None

    def _is_listed(self) -> bool:
        try:
            return any(run.execution_id == self._execution_id for run in self._client.workloads.list())
        except LkError:
            return True

    def _read_end_from_stream(self) -> None:
        """Read the available part of the stream, and store the event that ends the run."""
        stream = self._client.follow(self._execution_id)
        glance = Timer(_GLANCE, stream.close)
        glance.start()
        try:
            for event in stream:
                if isinstance(event, Finished):
                    self.finished = event
        except LkError:
            return
        finally:
            glance.cancel()
            stream.close()


#: Seconds to wait before each new connection; the last value applies to all further connections.
PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)


@dataclass
class Follower:
    """Follow a run to its end.

    ``log`` may contain the output of an earlier connection, cut anywhere: this output comes first. ``late`` is whether
    the run was started before, or by another process. ``is_complete`` is whether the log is complete; ``on_complete``
    is called with the size of a log that has become complete. ``has_gap`` is whether an earlier follower left a log
    that lacks lines, ``on_gap`` is called when this follower does. ``squeeze`` joins consecutive newlines to a single
    newline, as the cloud's client does, because the cloud's workers send extra newlines. ``stop``, set from another
    thread, ends the waits between connections.
    """

    client: Client
    execution_id: str
    log: RunLog
    streaming_url: str | None = field(default=None, repr=False)
    squeeze: bool = False
    late: bool = False
    is_complete: bool = False
    on_complete: Callable[[int], None] = lambda _: None
    has_gap: bool = False
    on_gap: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)
    ending: Ending | None = None
    recalls: bool = False  # the current events are from the log
    _broke: bool = False
    _is_cut: bool = False  # output may have come that was not seen
    _had_stream: bool = False  # the server accepted a connection
    _has_stream_end: bool = False  # the last connection continued the log to the end of the stream
    _fruitless: int = 0  # connections in a row that brought nothing new
    _finished: Finished | None = None
    _stream: EventStream[StreamEvent] | None = None

    def __post_init__(self) -> None:
        self._ending = self.ending or Ending(self.client, self.execution_id)

    def close(self) -> None:
        """Stop following, from any thread. The run stays active."""
        self.stop.set()
        self.drop()

    def drop(self) -> None:
        """Close the connection, so that the follower reads the state of the run and connects again."""
        if self._stream:
            self._stream.close()

    @property
    def lacks_output(self) -> bool:
        """Whether the log may lack lines of a run that has ended."""
        return self._ending.lacks_output

    @property
    def lost(self) -> bool:
        """Whether the last connections had no new output: the server is out of reach, or silent about this run."""
        return self._fruitless > 1

    def events(self) -> Iterator[StreamEvent]:
        """Yield the output as it arrives, every line once, then the end of the run.

        Raises ConnectionFailed if the server was out of reach for 15 minutes.
        """
        yield from self._replay_log()
        if not self.is_complete:
            yield from self._follow_stream()
        elif record := self._read_record():
            yield finish_event(record)

    def _replay_log(self) -> Iterator[Output]:
        """Yield the output that an earlier follower stored; an incomplete line at the end is received again."""
        if not self.is_complete:
            self.log.forget_unfinished_line()
        self.recalls = self.log.size > 0
        self._broke = self.recalls or self.late
        decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        for piece in self.log.pieces():
            yield Output(decode(piece))
        self.recalls = False

    def _follow_stream(self) -> Iterator[StreamEvent]:
        join = OutputSplicer(self.log, self._read_stored_output, late=self.late)
        join.seams = [0] if self.has_gap else []
        answered_at = time.monotonic()
        while not self.stop.is_set():
            yield from self._iterate_new_output(join)
            try:
                if self._finished or is_final(self._ending.state()):
                    break
                answered_at = time.monotonic()
            except BROKEN as error:
                self._check_patience(error, answered_at)
            self.stop.wait(PAUSES[min(self._fruitless, len(PAUSES) - 1)])
            self._fruitless += 1
            self._broke = True
        yield from self._iterate_rest(join)

    def _iterate_new_output(self, join: OutputSplicer) -> Iterator[Output]:
        """Yield the new output of a connection, until the connection ends or breaks."""
        join.connect()
        self._has_stream_end = False
        squeeze = _Squeeze() if self.squeeze else None
        self._stream = self.client.follow(self.execution_id, self.streaming_url)
        try:
            for event in self._stream:
                if isinstance(event, Finished):
                    self._finished = self._ending.finished = event
                    break
                text = event.content if squeeze is None else squeeze(event.content)
                data = text.encode(errors="replace")
                new = join.feed(data)
                if new is not data or squeeze:
                    event = Output(new.decode(errors="replace"))  # noqa: PLW2901 (what is new of it)
                if new:
                    self._fruitless = 0
                    yield event
            self._is_cut = not join.is_joined or not (self._finished or self._ends_with_line())
            if not self._finished:
                self._ending.stream_is_over = self.lost and not self.stop.is_set()
            self._had_stream = True
            self._has_stream_end = bool(self.log.size or (self._finished and not self.late)) and not self._is_cut
        except BROKEN as error:  # a refused stream is no ended run either
            self._had_stream = self._had_stream or not isinstance(error, ApiError)
            self._is_cut = self._is_cut or self.log.size > 0 or not isinstance(error, ApiError)
        finally:
            self.drop()

    def _ends_with_line(self) -> bool:
        return not self.log.size or self.log.read(self.log.size - 1, 1) == b"\n"

    def _check_patience(self, error: LkError, answered_at: float) -> None:
        check_patience(
            error, answered_at, f"The run may still be active. Follow it again: %lk_attach {self.execution_id}"
        )

    def _read_record(self) -> ExecutionRecord | None:
        """Read the record, however long that takes; return None if following was stopped meanwhile."""
        answered_at, tries = time.monotonic(), 0
        while not self.stop.is_set():
            try:
                return self._ending.record()
            except BROKEN as error:
                self._check_patience(error, answered_at)
            self.stop.wait(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1
        return None

    def _iterate_rest(self, join: OutputSplicer) -> Iterator[StreamEvent]:
        """Yield the output that only the cloud has stored, and the end."""
        if self._finished and not self._broke and self._has_all_output():
            self.on_complete(self.log.size)
            yield self._finished
        elif record := self._ending.final_record or self._wait_for_record():
            if self._is_cut:
                join.seams.append(self.log.size)
            yield from self._iterate_stored_output(join, record)
            self._ending.repaired_lines = join.repaired_lines
            if self._ending.lacks_output:
                self.on_gap()
            else:
                self.on_complete(self.log.size)
            yield self._finished or finish_event(record)

    def _iterate_stored_output(self, join: OutputSplicer, record: ExecutionRecord) -> Iterator[Output]:
        """Yield the output that only the cloud has stored; wait a while for output that is stored late."""
        wait_end = time.monotonic() + _late_seconds(record)
        while True:
            parts = self._collect_stored_output(record)
            rest = [join.flush(), *(join.complete(text, ordered=ordered) for text, ordered in parts)]
            if any(rest):
                yield Output(b"".join(rest).decode(errors="replace"))
            is_confirmed = self._has_stream_end or confirms_output(
                record, has_lines=bool(parts), had_stream=self._had_stream
            )
            self._ending.lacks_output = bool(join.seams) or not is_confirmed
            if not self._ending.lacks_output or time.monotonic() >= wait_end or self.stop.wait(_PACE):
                return
            with suppress(*BROKEN):
                record = self._ending.record()

    def _wait_for_record(self) -> ExecutionRecord | None:
        """Return the record of the end, which may come a while after the state; None when following was ended."""
        record, until, pause = self._read_record(), time.monotonic() + UNREADABLE, 0.05
        while record and not is_final(record.status) and (self._finished or time.monotonic() < until):
            record = None if self.stop.wait(pause) else self._read_record()
            pause = min(2 * pause, _PACE)
        return record

    def _collect_stored_output(self, record: ExecutionRecord) -> list[tuple[bytes, bool]]:
        """Return the stored output, each part with whether the part has the order of the run.

        The stored lines come before the record's output if the record may have only the last part of the output.
        """
        parts = _list_record_outputs(record)
        text = parts[0][0] if parts else None
        first, first_in_log = (
            next(filter(None, map(line_key, lines)), b"") for lines in ((text or b"").split(b"\n"), self.log.lines())
        )
        is_start = first.startswith(first_in_log) if first_in_log else not first
        if text is None or not is_start or not (text or self._has_stream_end):
            with suppress(*BROKEN):
                parts = [(stored, False), *parts] if (stored := self._request_stored_lines().text) else parts
        return parts

    def _has_all_output(self) -> bool:
        """Return whether the log has all lines that the cloud has stored: a stream may lack lines.

        For a long output, only the first and the last line are compared. Unreadable output is no sign of missing lines.
        """
        try:
            record = self._wait_for_record()
        except LkError:
            record = None
        if record is None:
            return True
        self._ending.final_record = record if is_final(record.status) else None
        return all(self._equals_log(text) or self._has_lines(text) for text, _ in self._collect_stored_output(record))

    def _has_lines(self, text: bytes) -> bool:
        lines = [key for line in text.split(b"\n") if (key := line_key(line))]
        unmatched = Counter(lines if self.log.size <= _COMPARED else {*lines[:1], *lines[-1:]})
        for log_line in map(line_key, self.log.lines()):
            unmatched[log_line] -= unmatched[log_line] > 0
        return not any(unmatched.values())

    def _equals_log(self, text: bytes) -> bool:
        """Return whether this is the text of the log."""
        starts = range(0, self.log.size, _COMPARED)
        return len(text) == self.log.size and all(text.startswith(self.log.read(at, _COMPARED), at) for at in starts)

    def _read_stored_output(self) -> Stored:
        """Return the output that the cloud has stored so far; nothing if the cloud can't be read now."""
        with suppress(*BROKEN):
            return self._read_stored_lines()
        return Stored()

    def _read_stored_lines(self) -> Stored:
        """Return the stored lines, or the output of the record: some servers have only that."""
        stored = self._request_stored_lines()
        outputs = [] if stored.text else _list_record_outputs(self._ending.record())
        text, ordered = outputs[0] if outputs else (None, True)
        first = next(filter(bytes.strip, (text or b"").splitlines(keepends=True)), b"")
        return Stored(text, (first,) if (text or b"").count(first) == 1 else ()) if text and ordered else stored

    def _request_stored_lines(self) -> Stored:
        """Return the stored lines; nothing if their number exceeds the limit of an answer."""
        limit = 10_000
        stored = self.client.logs.execution(self.execution_id, limit=limit, hours=_MOST_HOURS)
        if len(stored) >= limit:
            return Stored()
        entries = sort_by_time(drop_earlier_lines(self.client, self.execution_id, stored.items))
        lines = [(entry.stream, entry.text.encode(errors="replace")) for entry in entries]
        counts = Counter(text for _, text in lines)
        firsts = {stream: text for stream, text in reversed(lines) if text.strip()}.values()
        return Stored(b"".join(text for _, text in lines), tuple(text for text in firsts if counts[text] == 1))


def _late_seconds(record: ExecutionRecord) -> float:
    """Return how many seconds to wait for output that is stored after the end of the run."""
    if ended_long_ago(record):
        return 0.0
    return LATE_AFTER_ABORT if record.status.lower() in STOPPED_STATES else LATE


def _has_token(record: ExecutionRecord, request_metadata: Mapping[str, Any] | None) -> bool:
    """Return whether a record is of the run that was sent with this metadata, as far as the record shows that."""
    request_token, record_token = (
        str((metadata or {}).get(REQUEST_KEY) or "") for metadata in (request_metadata, record.metadata)
    )
    return request_token.startswith(record_token) or record_token.startswith(request_token)


class _Squeeze:
    """Replace consecutive newlines with a single newline, across chunks too."""

    def __init__(self) -> None:
        self._at_line_start = False

    def __call__(self, text: str) -> str:
        squeezed = re.sub(r"\n{2,}", "\n", text)
        if self._at_line_start:
            squeezed = squeezed.removeprefix("\n")
        self._at_line_start = text.endswith("\n") or (self._at_line_start and not text)
        return squeezed


def _list_record_outputs(record: ExecutionRecord) -> list[tuple[bytes, bool]]:
    """Return the texts of the output in the record, longest first, each with whether it has the order of the run.

    A server may combine only a part of both streams, or clip each text.
    """
    streams = [text for text in (record.stdout, record.stderr) if text]
    texts = [] if record.combined_output is None else [(record.combined_output, True)]
    if len(streams) > 1:
        texts.append(("".join(text.rstrip("\n") + "\n" for text in streams), False))
    elif streams or record.stdout is not None:
        texts.append(("".join(streams), True))
    texts.sort(key=lambda text: _count_characters(text[0]), reverse=True)
    used = texts[: 1 if texts and texts[0][1] else 2]  # a shorter text adds only the order
    return [(text.encode(errors="replace"), ordered) for text, ordered in used]


def _count_characters(text: str) -> int:
    """Return the number of characters except spaces and line ends, because servers add line ends."""
    return sum(map(len, text.split()))


def finish_event(record: ExecutionRecord) -> Finished:
    """Return the event for the end of a run that its record describes."""
    if record.status.lower() in SUCCEEDED_STATES:
        return Finished(0)
    return Finished(record.return_code, None if record.return_code else record.status_details or record.status)
