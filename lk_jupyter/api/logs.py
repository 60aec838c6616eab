"""Stored output lines (``/logs``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from lk_jupyter.api._endpoint import GET, Group
from lk_jupyter.api._models import Items, Listing, Model, Text, Timestamp

if TYPE_CHECKING:
    from lk_jupyter.api.execution import ExecutionRecord


class LogEntry(Model):
    """A stored line of output; the line may end in a newline."""

    message: Text = ""
    timestamp: Timestamp | None = None
    level: str | None = None
    execution_id: str | None = None
    user_id: str | None = None
    hostname: str | None = None
    labels: dict[str, Any] | None = Field(None, description="Labels of the stream, such as stream: stderr.")

    @property
    def stream(self) -> str | None:
        """The stream of the line; None if the server doesn't report the stream."""
        return (self.labels or {}).get("stream")

    @property
    def text(self) -> str:
        """The line with the line break."""
        return self.message.rstrip("\r\n") + "\n"


def sort_by_time(entries: Sequence[LogEntry]) -> list[LogEntry]:
    """Sort stored lines, oldest first. Lines of the same time keep their order, which may be newest first.

    A line without a time stays behind the line before.
    """
    entries = list(entries)
    times = [entry.timestamp for entry in entries if entry.timestamp]
    if times and times[0] > times[-1]:
        entries.reverse()
    moment, rows = datetime.min.replace(tzinfo=timezone.utc), []
    for entry in entries:
        moment = entry.timestamp or moment
        rows.append((moment, entry))
    return [entry for _, entry in sorted(rows, key=lambda row: row[0])]


#: Warning for a run whose log may lack lines.
INCOMPLETE = (
    "Log may be incomplete: the output stream broke or is missing, and no stored output shows that all lines arrived."
)

#: Seconds after the end of a run from which on no further lines are expected.
_SETTLED = 60.0


def ended_long_ago(record: ExecutionRecord) -> bool:
    """Return whether no more lines of an ended run are expected."""
    end = record.end_time or record.job_end or record.finish_time
    return end is not None and (datetime.now(timezone.utc) - end).total_seconds() > _SETTLED


def confirms_output(record: ExecutionRecord, *, has_lines: bool, had_stream: bool = False) -> bool:
    """Return whether the record or the stored lines show that the output of an ended run is complete.

    A server without a stream of a run can leave the output out of the record too, and store the lines late. So neither
    an empty record nor lines that are read soon after the end show that no more lines follow.

    Args:
        record: The final record.
        has_lines: Whether the record or the stored log has output.
        had_stream: Whether the server had a stream of this run.
    """
    texts = [text for text in (record.combined_output, record.stdout) if text is not None]
    has_output = any(texts) or bool(record.stderr) or had_stream
    return bool(texts and has_output) or (has_lines and ended_long_ago(record))


class LogEntries(Listing[LogEntry]):
    """Stored lines within a time span, in the server's order."""

    _key = "logs"
    logs: Items[LogEntry]
    total: int | None = None


class Logs(Group):
    """Stored output lines, of one run or of all.

    Example:
        >>> from lk_jupyter.api.execution import StreamingExecutionRequest
        >>> run = client.execution.start_streaming(StreamingExecutionRequest(code="print(6 * 7)"))
        >>> _ = list(client.stream.output(run.execution_id))
        >>> [line.message for line in client.logs.execution(run.execution_id, limit=10, hours=1)]
        ['42...']
        >>> run.execution_id in {line.execution_id for line in client.logs.user(limit=5000)}
        True
    """

    @GET("/logs/execution/{execution_id}", magic="%lk_check, %lk_logs")
    def execution(
        self,
        execution_id: str,
        limit: Annotated[int, Field(ge=1, le=10000)] = 1000,
        hours: Annotated[int, Field(ge=1, le=168)] = 24,
    ) -> LogEntries:
        """Read stored lines of a run: at most ``limit`` lines from the last ``hours`` hours."""
        ...

    @GET("/logs/user", magic="%lk_logs")
    def user(
        self, limit: Annotated[int, Field(ge=1, le=5000)] = 100, hours: Annotated[int, Field(ge=1, le=24)] = 1
    ) -> LogEntries:
        """Read the stored lines of all runs of the caller in one list."""
        ...
