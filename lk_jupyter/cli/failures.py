"""Convert errors into exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lk_jupyter.cli.output import (
    ACTIVE,
    FAILED,
    INTERRUPTED,
    REFUSED,
    SIGNED_OUT,
    UNKNOWN,
    UNREACHABLE,
    USAGE,
    CommandOutput,
)
from lk_jupyter.errors import (
    ApiError,
    NotSignedIn,
    OutcomeUnknown,
    RunError,
    ServerError,
    StorageError,
    Unauthorized,
    UsageError,
)

if TYPE_CHECKING:
    from lk_jupyter.cli.parser import Command

#: Error → exit code; the first class that fits counts.
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (KeyboardInterrupt, INTERRUPTED),
    (UsageError, USAGE),
    (SyntaxError, USAGE),
    (NotSignedIn, SIGNED_OUT),
    (Unauthorized, SIGNED_OUT),
    (OutcomeUnknown, UNKNOWN),
    (RunError, FAILED),
    (ServerError, UNREACHABLE),
    (ApiError, REFUSED),
    (StorageError, REFUSED),
)


def exit_code_for(error: BaseException) -> int:
    """Return the exit code of an error; errors of the connection, and unexpected errors, have the same code."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), UNREACHABLE)


def report_timeout(command: Command, output: CommandOutput) -> int:
    """Report that a command ended before its work, and return the exit code."""
    if output.run:
        return output.report_active(output.run)
    if command.effect == "starts":
        problem = "The cloud hasn't answered the request that starts the run yet. The run may be active. Check: lk runs"
        return output.fail(OutcomeUnknown(problem), UNKNOWN)
    if command.effect == "stops":
        ids = " ".join(output.active_ids) or "everything"
        again = f"lk stop {ids}" if output.active_ids else "lk stop --all"
        return output.fail(OutcomeUnknown(f"May still be active and billed: {ids}. Stop again: {again}"), UNKNOWN)
    if command.effect == "transfers":
        return output.fail(StorageError("The transfer isn't complete. Repeat the command to continue."), ACTIVE)
    return output.fail(TimeoutError("The server didn't answer in time. Run the command again."), UNREACHABLE)
