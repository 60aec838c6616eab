"""Join the output of a run from several connections, so that every line comes once.

A server may replay the output from its start, or only its end, or nothing at all, and no event has a number. So the
output of a new connection is compared with the known output until the position is clear. All text is bytes:
positions are exact and comparisons are fast.

Stdout and stderr are mixed in a single text, and each source may mix them differently: if the order differs from
the known output, lines are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from lk_jupyter.runs.log import RunLog
from lk_jupyter.runs.repair import line_key, repair_log

#: Bytes at the end of the log in which the start of a partial replay is searched.
_TAIL = 1 << 18

#: Characters that distinguish a line: the start of a frame has the process and a number.
_TELLING = 48


@dataclass(frozen=True)
class Stored:
    """The output that the cloud has stored so far; ``beginnings`` has the first line of each stream, where unique."""

    text: bytes = b""
    beginnings: tuple[bytes, ...] = ()


class OutputSplicer:
    """Join the output of connections: return the new part, and write the new part to the log.

    ``read_stored`` returns the output that the cloud has stored so far: this output fills the gap if a connection
    continues without a replay. ``late`` is whether the run may have written output before the first connection.
    ``is_joined`` is whether the output of this connection continues the known output. ``seams`` are the positions in
    the log where lines may be missing, ``repaired_lines`` counts the lines that came late because of seams.
    """

    def __init__(self, log: RunLog, read_stored: Callable[[], Stored], *, late: bool = False) -> None:
        self.log = log
        self.is_joined = True
        self.seams: list[int] = []
        self.repaired_lines = 0
        self._read_stored = read_stored
        self._late = self._is_attached = late
        self._unplaced: bytes | None = None  # received output without a known position; None: all further output is new
        self._repeated = 0  # bytes from the start that this connection has repeated
        self._again: Counter[bytes] = Counter()  # known lines that may be repeated, in any order
        self._line = b""  # the received part of a line that may be a repeat

    def connect(self) -> None:
        """Start a connection."""
        self._unplaced = b"" if self.log.size or self._late else None
        self.is_joined = not self.log.size
        self._late = True  # from the second connection on, the run may have written something before
        self._repeated = 0
        self._again = Counter()
        self._line = b""

    def feed(self, data: bytes) -> bytes:
        """Accept a chunk, and return its new part."""
        if self._unplaced is None:
            return self._append_to_log(self._remove_repeated_lines(data) if self._again or self._line else data)
        if self._unplaced:
            return self._skip_overlap(self._unplaced + data)
        if self._late and not self.log.size:
            self._late = False
            return self._append_to_log(data) if self._is_beginning(data) else self._skip_overlap(data)
        replayed = self.log.read(self._repeated, len(data))
        if not data.startswith(replayed):
            return self._skip_overlap(self.log.read(0, self._repeated) + data)
        self._repeated += len(replayed)
        self.is_joined = True
        if self._repeated == self.log.size:
            self.seams = []
        return self._append_to_log(data[len(replayed) :]) if len(replayed) < len(data) else b""

    def _is_beginning(self, output: bytes) -> bool:
        """Return whether this is the start of the output, as far as the log and the stored log show."""
        output = output.lstrip(b"\r\n")
        log_lines = filter(None, map(line_key, self.log.lines()))
        first = next(log_lines, b"")
        firsts = [first] if first and first not in log_lines else []
        begins = (line.strip(b"\r\n")[:_TELLING] for line in (*firsts, *self._read_stored().beginnings))
        return any(output.startswith(line) or line.startswith(output) for line in begins)

    def _skip_overlap(self, output: bytes) -> bytes:
        """Find where this output continues the known output, if it isn't a replay from the start."""
        filled = b""
        self.is_joined = True
        if count_repeated_bytes(self._read_tail(), output) is None:
            at_line = not self.log.size or self._read_tail().endswith(b"\n")
            gap = self._find_missing_lines()
            self.is_joined = bool(gap) or not self.log.size
            filled = self._append_to_log(gap or b"")
            self._again = Counter(map(line_key, filter(None, filled.split(b"\n")))) if at_line else Counter()
        overlap = count_repeated_bytes(self._read_tail(), output)
        if b"\n" not in output[: overlap or 0] and (self.log.size or self._is_attached):
            self.seams.append(self.log.size)  # the same part of a line can be chance
        if (filled or overlap is None) and self.log.size and self._is_beginning(output):
            self._again = Counter(map(line_key, self.log.lines()))
        if self._again:
            self.is_joined = True
            return filled + self._append_to_log(
                self._remove_repeated_lines(self._skip_to_next_line(output) if overlap else output)
            )
        overlap = overlap or 0
        if overlap < len(output):
            return filled + self._append_to_log(output[overlap:])
        self._unplaced = output
        return filled

    def _find_missing_lines(self) -> bytes | None:
        """Return the stored lines that are missing in the log; None if unknown."""
        stored = self._read_stored().text
        gap = missing(self.log, stored)
        return unseen(self.log, stored) if gap is None else gap

    def _skip_to_next_line(self, output: bytes) -> bytes:
        """Remove the end of a known line at the start of a connection."""
        first, _, rest = output.partition(b"\n")
        key = line_key(first)
        is_end = key not in self._again and any(line.endswith(key) for line in self._again)
        return rest if is_end else output

    def _remove_repeated_lines(self, data: bytes) -> bytes:
        """Return the new lines; wait for the rest of an unfinished line."""
        *lines, self._line = (self._line + data).split(b"\n")
        return b"".join(line + b"\n" for line in lines if not self._use_up_repetition(line))

    def _use_up_repetition(self, line: bytes) -> bool:
        key = line_key(line)
        again = self._again[key] > 0
        self._again[key] -= again
        return again

    def _read_tail(self) -> bytes:
        return self.log.read(max(0, self.log.size - _TAIL), _TAIL)

    def flush(self) -> bytes:
        """Return an unfinished line that may be a repeat, at the end of the connections; nothing if it is one."""
        line, self._line = self._line, b""
        is_repeat = any(key.startswith(line_key(line)) for key in +self._again)
        return b"" if is_repeat else self._append_to_log(line)

    def complete(self, stored: bytes, *, ordered: bool = True) -> bytes:
        """Compare the stored output of the run with the log, and return the missing part.

        The cloud may have stored only the last part of a long output: then this part is joined to the known output.
        Lines that were lost in the middle come late. The log becomes the complete text, unless the stored text isn't
        ``ordered`` as the run wrote it. Seams that the stored output explains are removed.
        """
        unfinished = self.flush()
        rest = missing(self.log, stored)
        late = unseen(self.log, stored) if rest is None else rest
        if late is None:
            repaired = self._repair_log(stored, ordered=ordered)
            return unfinished + (self._join_last_part(stored) if repaired is None else repaired)
        if rest is None and self.seams:
            self.repaired_lines += late.count(b"\n")
        self.seams = []
        if not ordered:
            return unfinished + self._append_to_log(late)
        if rest is not None or late:
            self.log.replace(stored)
        return unfinished + late

    def _join_last_part(self, stored: bytes) -> bytes:
        """Return the part of ``stored`` after the known output; nothing if both parts do not overlap."""
        overlap = count_repeated_bytes(self._read_tail(), stored) or 0
        if overlap == len(stored) or b"\n" not in stored[:overlap]:  # part of a line can be chance
            return b""
        self._forget_seams(self.log.size - overlap)
        return self._append_to_log(stored[overlap:])

    def _repair_log(self, stored: bytes, *, ordered: bool) -> bytes | None:
        """Replace torn lines of the log by the stored output. Return the lacking lines; None without a repair."""
        log = self.log.read(0, self.log.size)
        repair = repair_log(log, stored, [*self.seams, self.log.size], ordered=ordered)
        if repair is None:
            return None
        self._forget_seams(repair.start)
        self.log.replace(log[: repair.start] + repair.text)
        lines = [*repair.lines]
        self.repaired_lines += len(lines) or repair.is_torn
        unfinished = log.rpartition(b"\n")[2]  # an unfinished line that the cell shows
        at = next((at for at, line in enumerate(lines) if unfinished and line.startswith(unfinished)), None)
        rest = lines.pop(at)[len(unfinished) :] + b"\n" if at is not None else b"\n" if unfinished and lines else b""
        return rest + b"".join(line + b"\n" for line in lines)

    def _forget_seams(self, start: int) -> None:
        """Forget the seams after this position, which stored output explains."""
        self.seams = [seam for seam in self.seams if start and seam <= start]

    def _append_to_log(self, data: bytes) -> bytes:
        self._unplaced = None
        self.log.append(data)
        return data


def count_repeated_bytes(tail: bytes, output: bytes) -> int | None:
    """Return how many bytes of ``output`` repeat the end of the known output; None if unknown.

    If the known output contains all of ``output``, all of ``output`` is a repeat: more may come. A replay starts with a
    line, or is longer than a line; any shorter match is chance.
    """
    start = 0
    while (start := tail.find(output[:1], start)) >= 0:
        again = tail[start : start + len(output)]
        begins_line = start == 0 or tail[start - 1 : start] == b"\n"
        if output.startswith(again) and (begins_line or b"\n" in again):
            return len(again)
        start += 1
    return None


def missing(log: RunLog, stored: bytes) -> bytes | None:
    """Return the part of ``stored`` after the text of the log; None if ``stored`` doesn't start with that text.

    Empty lines don't count: servers add some.
    """
    if stored.startswith(log.read(0, min(log.size, len(stored) + 1))):
        return stored[log.size :]
    lines = (line.rstrip(b"\r") for line in stored.split(b"\n") if line.strip())
    line_rest = b""  # rest of the last line, of which the log may have only the start
    for log_line in filter(bytes.strip, log.lines()):
        if line_rest:
            return None
        line = next(lines, b"")
        if not line.startswith(log_line):
            return None
        line_rest = line[len(log_line) :]
    rest = list(lines)
    is_unfinished = log.size and log.read(log.size - 1, 1) != b"\n"
    if line_rest or (rest and is_unfinished):
        rest.insert(0, line_rest)
    return b"".join(line + b"\n" for line in rest)


def unseen(log: RunLog, stored: bytes) -> bytes | None:
    """Return the lines that the log lacks, in any order; None if the log has lines that ``stored`` lacks.

    Empty lines are omitted.
    """
    lines = [line for line in stored.split(b"\n") if line.strip()]
    unmatched = Counter(map(line_key, lines))
    ends = log.read(log.size - 1, 1) == b"\n" if log.size else True
    log_lines = list(filter(None, map(line_key, log.lines())))
    unfinished = b"" if ends or not log_lines else log_lines.pop()
    for line in log_lines:
        if not unmatched[line]:
            return None
        unmatched[line] -= 1
    new = []
    for line in lines:
        if unmatched[line_key(line)] > 0:
            unmatched[line_key(line)] -= 1
            new.append(line)
    at = next((at for at, line in enumerate(new) if unfinished and line_key(line).startswith(unfinished)), None)
    if unfinished and at is None:
        return None
    rest = [] if at is None else [new.pop(at)[len(unfinished) :]]
    return b"".join(line + b"\n" for line in [*rest, *new])
