"""Words for the state of a run. Loads nothing, so that the journal can be read at once."""

from __future__ import annotations

#: Words for a run that has ended. Every other word, known or not, means that it goes on.
FINAL_STATES = frozenset(
    {"completed", "failed", "system_failure", "aborted", "cancelled"}
    | {"failed_user", "failed_system", "timeout", "success", "error"}  # older names
)

SUCCEEDED_STATES = frozenset({"completed", "success"})


def is_final(status: str) -> bool:
    """Whether a run in this state has ended."""
    return status.lower() in FINAL_STATES
