"""Read a recording of a check: the values of the assumptions, and the recorded answers of each operation.

A recording comes from another computer. Its values choose among the behaviors that this cloud has: no value is a path
on this machine, a pattern or code, and each size is limited.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, ValidationError

from lk_jupyter.api._endpoint import ENDPOINTS, EXTERNAL, PLACEHOLDER
from lk_jupyter.config.assumptions import ASSUMPTIONS, SEPARATOR, Assumption
from lk_jupyter.errors import LocalCloudError
from lk_jupyter.localcloud.options import SWITCHES
from lk_jupyter.protocol.id_forms import require_id_form
from lk_jupyter.protocol.json_limits import load_json

#: Maximum bytes of a recording, and maximum depth of an answer.
_MOST_BYTES, _DEEPEST = 2_000_000, 30

#: A pseudonym in a recording: ``<id 7>``, ``<name 2>``, ``<dict>``.
PSEUDONYM = re.compile(r"<([a-z][a-z ]{0,20}?)(?: (\d{1,6}))?>")

#: Replaces each answer of a recording that would be too large.
_OMITTED = "<left out>"

#: Statuses that concern the account or the operation. Other refusals concern the request of the check.
_LASTING = frozenset({401, 402, 403, 405, 410, 429}) | frozenset(range(500, 600))

_ABORT, _RECORD = "POST /workloads/abort/{execution_id}", "GET /execution/{execution_id}"


def _require_sendable(value: Any) -> Any:
    """Return an answer that can be sent. Raises ValueError for NaN, lone surrogates and deep values."""
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, (dict, list))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return value
    raise ValueError(f"more than {_DEEPEST} levels")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class RecordedStep(_Part):
    """A request and its answer. ``seconds`` is the delay of the answer."""

    request: str = Field(max_length=500, pattern=r"^[A-Z]{3,7} /")
    status: int = Field(ge=200, le=599)
    seconds: float = Field(0, ge=0, le=600)
    answer: Annotated[Any, AfterValidator(_require_sendable)] = None

    @property
    def is_success(self) -> bool:
        """Whether the request was accepted."""
        return self.status < 300

    @property
    def is_absent(self) -> bool:
        """Whether the answer is FastAPI's answer for a missing address or method."""
        return self.answer in ({"detail": "Not Found"}, {"detail": "Method Not Allowed"}) and self.status in {404, 405}


class RecordedFinding(_Part):
    """A finding of the check."""

    operation: str = Field(max_length=500)
    expected: str = Field(max_length=2000)
    value: str = Field(alias="found", max_length=20_000)
    name: str = Field(max_length=100)


class Recording(_Part):
    """A recording of a check: findings, forms of ids, and steps."""

    findings: list[RecordedFinding] = Field(max_length=2000)
    ids: dict[str, Annotated[StrictInt | str, AfterValidator(require_id_form)]] = {}
    steps: list[RecordedStep] = Field(alias="seen", max_length=5000)

    @cached_property
    def operations(self) -> Mapping[str, Operation]:
        """The recorded operations by method and declared path."""
        steps: dict[str, list[RecordedStep]] = {}
        for step in self.steps:
            steps.setdefault(step.request, []).append(step)
        return {request: Operation(request, each) for request, each in steps.items()}

    @cached_property
    def values(self) -> Mapping[str, str]:
        """The values of the assumptions for which this cloud differs from the recorded cloud."""
        values = {}
        for row in self.findings:
            assumption = _SWITCHED.get(row.name)
            value = _select_value(assumption, row.value) if assumption else None
            if assumption and value is not None and value != _read_local_value(assumption):
                values[row.name] = value
        for name, operation in _ANSWERED.items():
            answers = [step.answer for step in self._list_successes(operation) if isinstance(step.answer, dict)]
            if any(name == "abort_answer" or "execution_id" in answer for answer in answers):
                values.pop(name, None)  # the answer has its fields, and another status
        return values

    def _list_successes(self, operation: str) -> list[RecordedStep]:
        return self.operations[operation].successes if operation in self.operations else []

    @property
    def unusable_names(self) -> list[str]:
        """The assumptions with a value that this cloud can't have, or that the recording hides."""
        rows = [(_SWITCHED[row.name], row.value) for row in self.findings if row.name in _SWITCHED]
        return [assumption.name for assumption, text in rows if _select_value(assumption, text) is None]

    @property
    def ignores_abort(self) -> bool:
        """Whether an abort had no effect."""
        rows = self._list_values(_ABORT, "the end of the run")
        return any(not re.match(r"[\d.]+ seconds? after", words) for words in rows)

    @property
    def ignores_limit(self) -> bool:
        """Whether a run was active after its time limit."""
        return any(row.expected.startswith("the end of a run at its time limit of") for row in self.findings)

    @property
    def bill_seconds(self) -> float:
        """Seconds from the end of a run to its bill."""
        for words in self._list_values(_RECORD, "a bill"):
            match = re.match(r"(\d{1,3}\.\d) seconds", words)
            return float(match[1]) if match else _NEVER
        return 0.0

    def _list_values(self, operation: str, expected: str) -> list[str]:
        return [row.value for row in self.findings if (row.operation, row.expected) == (operation, expected)]


#: Assumption about an answer → the operation whose recorded answers show more.
_ANSWERED = {
    "start_answer": f"POST {EXTERNAL}/execution/streaming/start",
    "abort_answer": f"POST {EXTERNAL}/workloads/abort/{{execution_id}}",
}

#: Seconds after which a bill that the check didn't get appears.
_NEVER = 86_400.0

_SWITCHED = {row.name: row for row in ASSUMPTIONS if row.name in SWITCHES}


def _select_value(assumption: Assumption, text: str) -> str | None:
    """Return the value of a finding if this cloud can have the value."""
    try:
        value = assumption.normalize("" if text == "none" and not assumption.default else text)
    except ValueError:
        return None  # a pseudonym, or a form that this version doesn't have
    if assumption.name == "absent_operations":
        operations = {str(endpoint) for endpoint in ENDPOINTS}
        return SEPARATOR.join(each for each in value.split(SEPARATOR) if each in operations)
    is_choice = not value.isdigit() and assumption.default != ""
    return value if not is_choice or value in (assumption.default, *assumption.alternatives) else None


def _read_local_value(assumption: Assumption) -> str:
    """Return the value for a local cloud without switches."""
    return assumption.default if assumption.local is None else assumption.local


class Operation:
    """The recorded answers of an operation: ``request`` is the method and the declared path."""

    def __init__(self, request: str, steps: list[RecordedStep]) -> None:
        self.steps = steps
        # The check first reads each operation with an unknown id; requests that change something have real ids.
        is_read = request.startswith("GET ")
        self._has_unknown_id = is_read and PLACEHOLDER.search(request) is not None and "{slug}" not in request

    @property
    def successes(self) -> list[RecordedStep]:
        """The answers to accepted requests."""
        return [step for step in self.steps if step.is_success]

    @property
    def success_status(self) -> int | None:
        """The status of accepted requests; None if it varies or wasn't recorded."""
        statuses = {step.status for step in self.successes}
        return statuses.pop() if len(statuses) == 1 else None

    @property
    def seconds(self) -> float:
        """The usual delay of an answer."""
        return median(step.seconds for step in self.steps)

    @property
    def lasting_refusal(self) -> RecordedStep | None:
        """The refusal of every request with a complete body; None if requests may succeed."""
        if self.successes:
            return None
        if self._has_unknown_id and len(self.steps) > 1:
            return self.steps[-1]
        lasting = (
            step for step in self.steps if step.is_absent or (step.status in _LASTING and not self._has_unknown_id)
        )
        return next(lasting, None)

    def find_refusal(self, status: int) -> RecordedStep | None:
        """Return the recorded refusal with the meaning of a status: for an unknown id, whatever its status is."""
        refusals = [
            step for step in self.steps if step.status >= 400 and not step.is_absent and step.answer != _OMITTED
        ]
        is_unknown_id = status == 404 and self._has_unknown_id
        return next((step for step in refusals if is_unknown_id or step.status == status), None)


def read_recording(path: Path) -> Recording:
    """Return a recording. Raises LocalCloudError for a file that isn't a recording of a check."""
    try:
        if not path.is_file():
            raise LocalCloudError(f"--replay '{path}' isn't a file. Nothing was started.")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise LocalCloudError(f"Can't read --replay '{path}' ({error.strerror}). Nothing was started.") from None
    if len(content) > _MOST_BYTES:
        raise LocalCloudError(
            f"--replay '{path}' is larger than {_MOST_BYTES // 1_000_000} MB, so it isn't a recording of a check. "
            "Nothing was started."
        )
    try:
        return Recording.model_validate(load_json(content))
    except ValidationError as error:
        problem = "; ".join(_describe_errors(error))
    except (ValueError, RecursionError):
        problem = "not JSON"
    raise LocalCloudError(
        f"--replay '{path}' isn't a recording of a check ({problem}). Nothing was started. Record one: "
        "%lk_check --spend --record FILE"
    )


def _describe_errors(error: ValidationError) -> Iterator[str]:
    """Yield place and message of the first errors, without the values."""
    for each in error.errors(include_input=False, include_url=False)[:3]:
        place = ".".join(str(part)[:40] for part in each["loc"])
        yield f"{place}: {each['msg'][:100]}" if place else each["msg"][:100]
