"""Describe how a run ended, and the next step."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionRecord
from lk_jupyter.api.logs import INCOMPLETE
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.api.states import label_of
from lk_jupyter.errors import LkError, NotSignedIn, RunAborted, RunError, RunFailed, Unauthorized
from lk_jupyter.machines.catalogue import machine_name
from lk_jupyter.protocol.frames import ERROR, STDERR, format_items, read_nonce, split
from lk_jupyter.protocol.parts import remove_token_from_name
from lk_jupyter.remote.sign import LEASE_OVER, NO_FILES, STOPPED, TIMED_OUT
from lk_jupyter.runs.clock import Bill, measure_duration
from lk_jupyter.text.secrets import redact, redact_values

SHORT_ID = 8

STOPPED_STATES = frozenset({"aborted", "cancelled"})

TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)


def incomplete_label(short_id: str) -> str:
    """Return the warning for a run whose log may lack lines, with the command that reads them later."""
    return f"{INCOMPLETE} Read it again: %lk_attach {short_id}"


def repaired_label(lines: int, short_id: str) -> str:
    """Return the warning for a run whose log was repaired after the cell had shown the lines."""
    label = "1 line was" if lines == 1 else f"{lines} lines were"
    problem = f"The connection broke: {label} missing or torn. The complete lines are at the end of the output."
    return f"{problem} Complete log: %lk_attach {short_id}"


class UnreadRecord(ExecutionRecord):
    """Describe the end of a run from its stream, if the record can't be read; ``notice`` is the reason."""

    notice: str

    @classmethod
    def from_error(cls, error: LkError, execution_id: str) -> UnreadRecord:
        """Return a record without a state; ``error`` is the answer to the last request for the record."""
        first_line = str(error).partition("\n")[0].rstrip(".")
        is_signed_out = isinstance(error, (NotSignedIn, Unauthorized))
        problem = "the sign-in has expired" if is_signed_out else f"the record can't be read ({first_line})"
        fix = "Sign in again: %lk_login, then" if is_signed_out else "Complete the receipt:"
        problem = f"Cost unknown: {problem}. The state is from the output stream. "
        return cls(
            execution_id=execution_id,
            status="unknown",
            notice=f"{problem}{fix} %lk_attach {execution_id[:SHORT_ID]}",
        )


def list_problems(record: ExecutionRecord, log_problem: str) -> list[str]:
    """Return the warnings below a receipt: gaps in the log, and a record that can't be read."""
    return [problem for problem in (log_problem, record.notice if isinstance(record, UnreadRecord) else "") if problem]


@dataclass(frozen=True)
class Result:
    r"""Contain the result of a completed run; ``Run.result`` returns it.

    ``execution_id``, ``stdout`` and ``stderr`` (None if the server stores none), ``return_code``, ``duration`` in
    seconds and ``cost`` in credits (None if unknown). ``repr`` masks secrets.

    Example:
        >>> result = session.run("print(6 * 7)").result()
        >>> result.stdout, result.return_code
        ('42\n', 0)
    """

    execution_id: str
    stdout: str | None
    stderr: str | None
    return_code: int | None
    duration: float | None
    cost: Decimal | None

    def __repr__(self) -> str:
        values = (f"{field.name}={redact_values(getattr(self, field.name))!r}" for field in fields(self))
        return f"Result({', '.join(values)})"


#: States of a run whose code ended with an exit code other than 0.
FAILED_STATES = frozenset({"failed", "failed_user"})

#: Exit code of code that returned its variables and ended before it was stopped → the state without this early end.
_STOP_STATES = {STOPPED: "aborted", TIMED_OUT: "timeout", LEASE_OVER: "aborted"}

#: The same exit codes → the reason in a receipt.
_STOP_REASONS = {
    STOPPED: "stopped early to return its variables",
    TIMED_OUT: "stopped shortly before its time limit",
    LEASE_OVER: "stopped shortly before the end of its key",
}


class EarlyEndRecord(ExecutionRecord):
    """Describe a run that returned its variables and ended before it was stopped; the cloud records failed code."""

    @property
    def stop_reason(self) -> str:
        """Why the run was stopped, for a receipt."""
        return _STOP_REASONS[self.return_code or 0]


def recognize_early_end(record: ExecutionRecord) -> ExecutionRecord:
    """Return the record of a run that returns variables; as an EarlyEndRecord if the run was stopped.

    Such a run ends on its own, so that the server knows an exit code only.
    """
    if record.status.lower() not in FAILED_STATES or record.return_code not in _STOP_STATES:
        return record
    reason = "the lease of the key ended" if record.return_code == LEASE_OVER else None
    platform = {"status_details": reason, "errors": None, "system_errors": None}  # they report the exit code
    early = EarlyEndRecord.model_construct(**{**record.__dict__, **(record.model_extra or {}), **platform})
    early._word = record._word
    return early


def classify_end(record: ExecutionRecord) -> str:
    """Return the state that describes why a run ended: for an early end, the state that the stop would have caused."""
    return _STOP_STATES[record.return_code or 0] if isinstance(record, EarlyEndRecord) else record.status.lower()


def is_other_machine(profile: str, requested: MachineType) -> bool:
    """Return whether a record has another machine than the request; the server may write the same name differently."""
    name, requested_name = (machine_name(text.lower()).lower() for text in (profile, requested.hardware_profile))
    return name != requested_name and (requested.card or requested_name) not in re.split(r"[^a-z0-9]+", name)


def list_differences(record: ExecutionRecord, bill: Bill, requested: MachineType | None) -> list[str]:
    """Return what a receipt must add to the state, the machine and the cost: where they aren't what the user expects.

    These are an early end, another machine than the ``requested`` machine, and a bill above the quote.
    """
    profile = record.hardware_profile
    return [
        *([record.stop_reason] if isinstance(record, EarlyEndRecord) else []),
        *(
            [f"the request was for {machine_name(requested.hardware_profile)}"]
            if requested and profile and is_other_machine(profile, requested)
            else []
        ),
        *([bill.excess_label] if bill.excess_label else []),
    ]


def journal_columns(record: ExecutionRecord) -> dict[str, Any]:
    """Return the columns of the journal that change at the end of a run; all moments are the server's."""
    succeeded = record.status.lower() in SUCCEEDED_STATES
    return {
        "state": record.status.lower(),
        "started_at": _convert_to_timestamp(record.start_time or record.job_start),
        "ended_at": _convert_to_timestamp(record.end_time or record.job_end or record.finish_time),
        "seconds": measure_duration(record),
        "cost": record.billed,
        "reason": "" if succeeded else str(build_error(record)),
    }


def _convert_to_timestamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def read_result(record: ExecutionRecord, *, line_shift: int = 0, stopped_because: str | None = None) -> Result:
    """Return the result of a successful run; raise RunFailed or RunAborted for any other run."""
    if record.status.lower() not in SUCCEEDED_STATES:
        raise build_error(record, line_shift=line_shift, stopped_because=stopped_because)
    stdout, stderr = split_printed_output(record)
    return Result(record.execution_id, stdout, stderr, record.return_code, measure_duration(record), record.billed)


def split_printed_output(record: ExecutionRecord) -> tuple[str | None, str | None]:
    """Return stdout and stderr of the code from the record, without frames."""
    nonce = read_nonce(record.metadata)
    stdout, frames = split(record.stdout or "", nonce)
    stderr = record.stderr and split(record.stderr, nonce)[0]
    moved = format_items(frame for frame in frames if frame.kind == STDERR)
    return None if record.stdout is None else stdout, moved + (stderr or "") if moved else stderr


def stderr_beside_frames(record: ExecutionRecord) -> str | None:
    """Return stderr of the record, without frames and without the text that frames replace, such as progress bars."""
    return record.stderr and split(record.stderr, read_nonce(record.metadata), keeps_hidden=False)[0]


def _format_traceback(record: ExecutionRecord) -> str:
    """Return the traceback that the run formatted for display, with colors; empty without such a traceback."""
    _, frames = split(record.stderr or "", read_nonce(record.metadata))
    errors = [frame.payload.get("traceback") for frame in frames if frame.kind == ERROR]
    return "\n".join(map(str, errors[-1])) if errors and isinstance(errors[-1], list) else ""


def build_error(record: ExecutionRecord, *, line_shift: int = 0, stopped_because: str | None = None) -> RunError:
    """Return the error that describes why a run didn't succeed, with the next step.

    ``stopped_because`` is the reason of an abort by this machine, which the server doesn't know.
    """
    end = classify_end(record)
    is_explained = stopped_because and end in STOPPED_STATES | {"timeout"}
    reason = f"was stopped: {stopped_because}." if is_explained else _explain_end(record)
    message = redact(f"run {record.execution_id[:SHORT_ID]} {reason}")
    if is_explained or end in STOPPED_STATES:
        return RunAborted(message, execution_id=record.execution_id)
    traceback = redact(remote_traceback(split_printed_output(record)[1] or "", record.file_name or "", line_shift))
    return RunFailed(
        message,
        execution_id=record.execution_id,
        return_code=record.return_code,
        traceback=traceback,
        shown=redact(_format_traceback(record)),
    )


#: Text of pip's log → advice.
_INSTALL_ADVICE = {
    "DO NOT MATCH THE HASHES": "A file differs from the locked file. Check the index, then lock again: uv lock",
    "all requirements must have their versions pinned": "A package has no exact version. Lock again: uv lock",
    "Hashes are required in --require-hashes mode": "A package isn't in the lock. Lock again: uv lock",
    "is not a supported wheel on this platform": "The wheel is for another platform. Lock the project for Linux too.",
    "Failed building wheel": "The package has no wheel for the run. Use a version with a wheel for Linux on x86-64.",
    "requires a different python": "The package needs another Python. Lock the project for the run's Python too.",
    "No matching distribution found": "The index has no such version for the run's Python. Correct -r, then run again.",
}


def _explain_end(record: ExecutionRecord) -> str:
    if record.install_return_code:
        log = (record.install_log or "").rstrip()
        lines = "\n".join(log.splitlines()[-8:])
        advice = next(
            (advice for mark, advice in _INSTALL_ADVICE.items() if mark in log), "Correct -r, then run again."
        )
        return f"couldn't install its requirements:\n{lines}\n{advice}"
    return _REASONS.get(classify_end(record), _explain_failure)(record)


#: Printed by a run that finds no files, before its code.
NO_FILES_TEXT = "lk_jupyter: the files of this run (import_files) are missing. The code didn't start."


def has_no_files(record: ExecutionRecord) -> bool:
    """Return whether a run ended before its code, because the server ignored the files of the request."""
    if record.status.lower() not in FAILED_STATES or record.return_code not in {NO_FILES, None}:
        return False
    output = f"{record.stdout or ''}{record.stderr or ''}"
    return NO_FILES_TEXT in output or (not output and record.return_code == NO_FILES)


def _explain_failure(record: ExecutionRecord) -> str:
    if has_no_files(record):
        return (
            "ended before its code started: the cloud ignored the files of the request (import_files).\nFrom now on, "
            "the code contains the files. Run the cell again."
        )
    cause = remote_traceback(split_printed_output(record)[1] or "", "", 0).rstrip().rpartition("\n")[2]
    code = f"exit code {record.return_code}" if record.return_code else f"state {label_of(record.word)}"
    why = f" ({cause})" if cause else _format_details(record)
    return f"ended with {code}{why}.\nRead the log: %lk_logs {record.execution_id[:SHORT_ID]}"


#: Advice in the error of a run that timed out; a hint with the number of seconds replaces it.
RAISE_LIMIT = "\nRaise the limit: --timeout SECONDS"


def _explain_timeout(record: ExecutionRecord) -> str:
    reason = platform_words(record).rstrip(".") or "its time limit was reached"
    return f"was stopped: {reason}.{RAISE_LIMIT}"


def _explain_stop(record: ExecutionRecord) -> str:
    return f"was stopped{_format_details(record)}."


def _explain_platform_failure(record: ExecutionRecord) -> str:
    return f"failed on the cloud's side{_format_details(record)}.\nYour code isn't the cause. Run the cell again."


def platform_words(record: ExecutionRecord) -> str:
    """Return the platform's description of how a run ended; empty without a description."""
    return record.status_details or "; ".join([*(record.system_errors or []), *(record.errors or [])])


def _format_details(record: ExecutionRecord) -> str:
    words = platform_words(record)
    return f": {words.rstrip('.')}" if words else ""


_REASONS: dict[str, Callable[[ExecutionRecord], str]] = {
    "timeout": _explain_timeout,
    "aborted": _explain_stop,
    "cancelled": _explain_stop,
    "system_failure": _explain_platform_failure,
    "failed_system": _explain_platform_failure,
    "error": _explain_platform_failure,
}


def remote_traceback(stderr: str, file_name: str, line_shift: int) -> str:
    """Return the last traceback of the text, with the author's line numbers of the script."""
    start = stderr.rfind(TRACEBACK)
    if start < 0:
        return ""
    while stderr[:start].rstrip().endswith(_CHAINED):
        start = stderr.rfind(TRACEBACK, 0, start)
    display_name = remove_token_from_name(file_name)
    names = f"(?:{re.escape(file_name)}|{re.escape(display_name)})"
    script = re.compile(rf'File "(?:[^"]*[/\\])?{names}", line (\d+)') if file_name else None
    text = stderr[start:].rstrip("\n")
    if script is None:
        return text
    return script.sub(lambda match: f'File "{display_name}", line {int(match[1]) + line_shift}', text)
