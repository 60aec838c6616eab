"""How a run ends."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

STOPPED_WITH_SERVER = "the local cloud stopped while the run was active"


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended."""

    status: str
    return_code: int | None = None
    reason: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the outcome as facts of the record."""
        system = [self.reason] if self.status == "system_failure" else []
        errors = [self.reason] if self.reason else None
        return {
            "status": self.status,
            "return_code": self.return_code,
            "status_details": self.reason,
            "errors": errors,
            "system_errors": system,
        }


COMPLETED = RunOutcome("completed", 0)
ABORTED = RunOutcome("aborted", reason="aborted on request")
CANCELLED = RunOutcome("cancelled", reason="stopped on request")
SERVER_STOPPED = RunOutcome("system_failure", reason=STOPPED_WITH_SERVER)


class Ended(Exception):
    """An exception that ends a run."""

    def __init__(self, outcome: RunOutcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def build_exit_outcome(code: int) -> RunOutcome:
    """Return the outcome of code by its exit code, which is negative for a signal."""
    if code == 0:
        return COMPLETED
    if code < 0:
        return RunOutcome("failed", 128 - code, f"the code was ended by signal {-code} ({signal.strsignal(-code)})")
    return RunOutcome("failed", code, f"the code ended with exit code {code}")


def missing_program_error(what: str) -> Ended:
    """Return the exception that ends a run because a program is missing on this machine."""
    return Ended(RunOutcome("system_failure", reason=what))
