"""Words for the states of runs, VMs and deployments, and the format of run ids.

Imports little, so that the journal opens quickly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

#: Pattern of a run's id, which becomes part of file names, paths of the API and lines of cells.
RUN_ID = "[A-Za-z0-9_-]{1,100}"

#: Words of the API for an ended run.
_DOCUMENTED = frozenset(
    {"completed", "failed", "system_failure", "aborted", "cancelled"}
    | {"failed_user", "failed_system", "timeout", "success", "error"}  # older names
)

#: Words of other services for an end → the word of the API.
_SYNONYMS = {
    **dict.fromkeys(("complete", "done", "ended", "exited", "finished", "ok", "succeeded", "successful"), "completed"),
    **dict.fromkeys(("crashed", "errored", "failure", "oom_killed", "oomkilled"), "failed"),
    **dict.fromkeys(("canceled", "preempted", "evicted", "stopped", "terminated"), "cancelled"),
    **dict.fromkeys(("abort", "killed"), "aborted"),
    **dict.fromkeys(("deadline_exceeded", "expired", "time_out", "timed_out", "timedout"), "timeout"),
    **dict.fromkeys(("internal_error", "lost", "node_failure", "system_error"), "system_failure"),
}

#: Seconds for which a run may be billed after its time limit, until its process has ended.
STOP_SECONDS = 1

FINAL_STATES = _DOCUMENTED | set(_SYNONYMS)

SUCCEEDED_STATES = frozenset({"completed", "success"})

#: Words for an active run. For any other word, further facts decide whether the run has ended.
ACTIVE_STATES = frozenset(
    {"pending", "queued", "starting", "running", "waiting_for_docker_container", "cancelling", "paused"}
    | {"initializing", "extracting", "profiling", "processing"}  # a selection
)

#: Parts of words for an end without success.
_BAD = r"fail|err|abort|cancel|kill|crash|evict|preempt|reject|lost|expire|timed|oom|denied|dead"

UNKNOWN = "unknown"

#: Words of the API → words for people.
LABELS = dict.fromkeys(("system_failure", "failed_system"), "platform failure") | {"failed_user": "failed"}


class LifecyclePhase(Enum):
    """What a state means for a VM or a deployment.

    In the phases ENDING, HALTED and UNKNOWN, the object isn't usable and may cost credits.
    """

    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    HALTED = "halted"
    ENDED = "ended"
    UNKNOWN = "unknown"


def _list_words(text: str, phase: LifecyclePhase) -> dict[str, LifecyclePhase]:
    return dict.fromkeys(text.split(), phase)


_SHARED_PHASES = {
    **_list_words(
        "pending provisioning queued creating starting booting initializing requested", LifecyclePhase.STARTING
    ),
    **_list_words("allocating building deploying launching scheduled scheduling", LifecyclePhase.STARTING),
    **_list_words("running ready active up", LifecyclePhase.RUNNING),
    **_list_words(
        "terminating deleting destroying stopping shutting_down deallocating draining", LifecyclePhase.ENDING
    ),
    **_list_words("terminated failed error deleted destroyed errored", LifecyclePhase.ENDED),
}

#: State of a VM → phase. A stopped or reclaimed VM may still cost credits, until it is deleted.
VM_PHASES: Mapping[str, LifecyclePhase] = {
    **_SHARED_PHASES,
    **_list_words(
        "stopped preempted reclaimed evicted deallocated hibernated suspended paused halted", LifecyclePhase.HALTED
    ),
    **_list_words("interrupted inactive shutdown shut_down off powered_off shelved expired", LifecyclePhase.HALTED),
    **_list_words("unreachable lost", LifecyclePhase.HALTED),
}

#: State of a deployment → phase. A paused deployment starts at its next request.
DEPLOYMENT_PHASES: Mapping[str, LifecyclePhase] = {
    **_SHARED_PHASES,
    **_list_words("downloading loading warming updating scaling", LifecyclePhase.STARTING),
    **_list_words("created healthy serving paused", LifecyclePhase.RUNNING),
    **_list_words("preempted reclaimed evicted suspended halted unhealthy degraded", LifecyclePhase.HALTED),
    "stopped": LifecyclePhase.ENDED,
}


def read_phase(status: str, phases: Mapping[str, LifecyclePhase]) -> LifecyclePhase:
    """Return the phase of a state; ``phases`` is the table of VMs or of deployments."""
    return phases.get(_normalize_word(status), LifecyclePhase.UNKNOWN)


def list_states(phase: LifecyclePhase, phases: Mapping[str, LifecyclePhase]) -> frozenset[str]:
    """Return the states of a phase."""
    return frozenset(state for state, other in phases.items() if other is phase)


def _normalize_word(word: str) -> str:
    return re.sub(r"[\s-]+", "_", word.strip().lower()) or UNKNOWN


def is_documented(word: str) -> bool:
    """Return whether a word is a word of the API, or known from another source."""
    plain = _normalize_word(word)
    return plain in _DOCUMENTED or plain in ACTIVE_STATES or plain in _SYNONYMS


def canonical(word: str) -> str:
    """Return the API's word for a state, in lower case; an unknown word stays."""
    lower = word.strip().lower() or UNKNOWN
    plain = _normalize_word(word)
    if plain in _DOCUMENTED or plain in ACTIVE_STATES:
        return lower
    if plain in _SYNONYMS:
        return _SYNONYMS[plain]
    from lk_jupyter.config.assumptions import read_final_words  # noqa: PLC0415 (for a word that nobody documented)

    return read_final_words().get(lower, lower)


def is_run_id(value: object) -> bool:
    """Return whether a value can be the id of a run, whatever its source."""
    return isinstance(value, str) and re.fullmatch(RUN_ID, value) is not None


def label_of(status: str) -> str:
    """Return a state in words for people."""
    return LABELS.get(status.lower(), status).replace("_", " ")


def is_final(status: str) -> bool:
    """Return whether a run in this state has ended."""
    return canonical(status) in FINAL_STATES


def is_known(status: str) -> bool:
    """Return whether the word alone decides if the run has ended."""
    return is_final(status) or _normalize_word(status) in ACTIVE_STATES


def guess_end_state(status: str, return_code: int | None, *, failed: bool = False) -> str:
    """Return the API's word for an end in an unknown state.

    ``failed`` is whether an error of the run is known. A missing exit code is 0: some answers omit zeros.
    """
    return "failed" if failed or return_code or re.search(_BAD, status.lower()) else "completed"


#: State → its sign, unless the sign follows from success.
_MARKS = {
    "running": "●",
    "listening": "●",
    "added": "✓",
    "aborted": "■",
    "cancelled": "■",
    "released": "■",
    "submitting": "◌",
    "refused": "✗",
    "lost": "✗",
}


def mark_of(state: str) -> str:
    """Return the sign of a state, shown next to the word, which has the same meaning without colour."""
    word = state.lower()
    return "✓" if word in SUCCEEDED_STATES else _MARKS.get(word, "✗" if is_final(word) else "◌")


#: The name of the machine of a session or of a notebook that keeps its machine.
_SESSION_NAME = re.compile(r"session [A-Za-z0-9_-]{1,40}")


def describe_state(state: str, name: str | None = "") -> str:
    """Return the state of a run as people read it; the stopped machine of a session is ``released``.

    The cloud reports its planned end as cancelled.
    """
    is_session = _SESSION_NAME.fullmatch(name or "") is not None
    return "released" if is_session and state.lower() == "cancelled" else state


def state_label(state: str, name: str | None = "") -> str:
    """Return a state with a sign; ``name`` is the display name of the run."""
    return f"{mark_of(state)} {label_of(describe_state(state, name))}"
