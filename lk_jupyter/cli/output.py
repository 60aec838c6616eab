"""Print the records of a command: as lines for people, or as one JSON object per line."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, TextIO

from lk_jupyter.text.secrets import redact, redact_values
from lk_jupyter.text.terminal import escape_signs, log_text, plain

#: Exit code → meaning. The help and the reference list this table.
EXIT_CODES = {
    0: "Done. After lk run or lk wait, this code means that the run completed.",
    1: "The run failed, or was aborted.",
    2: "An argument is wrong, or a limit was exceeded. Nothing was sent.",
    3: "The run, the transfer or what lk stop lists is still active. Call lk wait, or repeat the command.",
    4: "Not signed in, or the key isn't valid.",
    5: "The server refused the request.",
    6: "The server can't be reached, or gave no usable answer.",
    7: "The outcome is unknown, and a run may be active. To check, use lk runs. After lk stop: a list can't be read.",
    130: "Interrupted.",
    141: "The reader of the output, such as head, has ended.",
}
DONE, FAILED, USAGE, ACTIVE, SIGNED_OUT, REFUSED, UNREACHABLE, UNKNOWN, INTERRUPTED, CLOSED = EXIT_CODES

#: Magic → command, for the advice in messages of the package.
_COMMANDS = {
    "lk_abort": "lk stop",
    "lk_attach": "lk logs",
    "lk_balance": "lk balance",
    "lk_get": "lk get",
    "lk_logs": "lk logs",
    "lk_ls": "lk ls",
    "lk_machines": "lk machines",
    "lk_put": "lk put",
    "lk_runs": "lk runs",
    "lk_status": "lk wait",
    "lk_undeploy": "lk stop",
    "lk_vm delete": "lk stop",
    "lk_wait": "lk wait",
}


class TimeLimit:
    """End the process after a number of seconds, with the exit code that ``report`` returns."""

    def __init__(self, seconds: float, report: Callable[[], int]) -> None:
        self._seconds = seconds
        self._report = report
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Start to count the seconds."""
        self._timer = threading.Timer(self._seconds, lambda: os._exit(self._report()))
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Keep the process until ``start`` is called again."""
        if self._timer:
            self._timer.cancel()


class CommandOutput:
    """Print the records of a command to ``stream``, without secrets, and without signs that a terminal obeys.

    ``run`` is the id of the run that the command has started or waits for, ``active_ids`` are the ids of what the
    command stops and may still be active, ``limit`` is the time limit of the command.
    """

    def __init__(self, stream: TextIO, *, is_json: bool) -> None:
        self.is_json = is_json
        self.run = ""
        self.active_ids: list[str] = []
        self.limit: TimeLimit | None = None
        self._stream = stream

    @contextmanager
    def pause_limit(self) -> Iterator[None]:
        """Suspend the time limit while a person reads a question; the limit starts again afterwards."""
        if self.limit:
            self.limit.stop()
        yield
        if self.limit:
            self.limit.start()

    def emit(self, event: str, text: str = "", /, **fields: Any) -> None:
        """Print a record: ``fields`` as JSON, ``text`` for people."""
        text = _format_record({"event": event, **fields}) if self.is_json else plain(redact(text))
        if text:
            self._stream.write(text + "\n")
            self._stream.flush()

    def note(self, event: str, text: str, /, **fields: Any) -> None:
        """Print a record that isn't the result: to stderr for people, so that stdout has the result only."""
        if self.is_json:
            self.emit(event, "", **fields)
        else:
            print(plain(redact(text)), file=sys.stderr, flush=True)  # noqa: T201 (the output of the command)

    def log(self, text: str, **fields: Any) -> None:
        """Print a part of a run's log. The caller has removed secrets, which may be split between two parts."""
        text = log_text(text)
        self._stream.write(_format_record({"event": "log", **fields}, text=text) + "\n" if self.is_json else text)
        self._stream.flush()

    def fail(self, error: BaseException, code: int) -> int:
        """Print an error and return the exit code."""
        message = replace_magics(str(error) or type(error).__name__)
        self.note("error", message, error=type(error).__name__, message=message, exit_code=code)
        return code

    def report_closed(self) -> int:
        """Report that the reader of the output has ended, such as ``head``, and return the exit code."""
        self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 (until the process ends)
        sys.stdout = self._stream
        if self.run:
            command = f"lk wait {self.run}"
            self.note("closed", f"The output was closed. Run {self.run} may still be active. Wait: {command}")
        return CLOSED

    def report_active(self, execution_id: str) -> int:
        """Report that a run is still active, with the end of its VM, and return the exit code."""
        from lk_jupyter.connection.rental import end_label  # noqa: PLC0415 (the import of this module stays fast)
        from lk_jupyter.runs.vm_runs import find_vm_end  # noqa: PLC0415 (as above)

        command, end = f"lk wait {execution_id}", find_vm_end(execution_id)
        words = f"Run {execution_id} is still active. "
        if end:
            words += f"Its VM ends at {end_label(end.timestamp())}. "
        fields = {"id": execution_id, "next": command, **({"ends": end.isoformat()} if end else {})}
        self.note("running", f"{words}Wait: {command}", **fields)
        return ACTIVE


def replace_magics(message: str) -> str:
    """Return a message with commands of ``lk`` in place of the magics that it suggests."""
    return re.sub(r"%{1,2}(lk_vm delete|lk_\w+)", lambda match: _COMMANDS.get(match[1], match[0]), message)


def _format_record(record: dict[str, Any], **exact: Any) -> str:
    """Return a record as JSON with clean texts. Fields in ``exact``, and the value of a variable, are escaped only."""
    exact |= {"value": redact_values(record["value"])} if "value" in record else {}
    facts = {name: value for name, value in record.items() if value is not None and name not in exact}
    clean = redact_values(facts, lambda text: plain(redact(text)))
    return escape_signs(json.dumps({**clean, **exact}, default=_convert_to_plain_value, ensure_ascii=False))


def _convert_to_plain_value(value: Any) -> Any:
    return float(round(value, 6)) if isinstance(value, Decimal) else str(value)
