"""Compare two to eight runs: their scores and curves, results, machines and requests."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement

from lk_jupyter.api.execution import ExecutionRecord, is_final
from lk_jupyter.code.git_commit import COMMIT_SIZE
from lk_jupyter.errors import ApiError, LkError
from lk_jupyter.journal.journal import JournalEntry
from lk_jupyter.options.runs import RunOptions, option_flag
from lk_jupyter.protocol.parts import EARLIER_SCRIPT, SCRIPT, is_internal
from lk_jupyter.runs.clock import calculate_bill
from lk_jupyter.runs.history.history import find_run
from lk_jupyter.runs.outcome import SHORT_ID, build_error
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.scalars import read_scalars
from lk_jupyter.text.scalars import Curve, ScalarParser
from lk_jupyter.text.secrets import mask_secrets
from lk_jupyter.text.units import credits_label, duration_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

_NONE = ""


#: The maximum number of compared runs.
MOST_SIDES = 8


@dataclass(frozen=True)
class Fact:
    """Store a property of all compared runs; a value is empty if a run lacks the property."""

    name: str
    values: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all values are equal."""
        return len(set(self.values)) == 1


@dataclass(frozen=True)
class Side:
    """Store the code of a run, its facts by name in the order of display, and its curves; facts may be empty."""

    execution_id: str
    code: str
    facts: dict[str, str]
    curves: tuple[Curve, ...] = ()

    @property
    def title(self) -> str:
        """The first characters of the id."""
        return self.execution_id[:SHORT_ID]


@dataclass(frozen=True)
class Diff:
    """Store runs and their facts; ``code`` has the lines of unified diffs to the first run, none for equal code."""

    sides: tuple[Side, ...]
    facts: list[Fact]
    code: list[str]

    @property
    def differences(self) -> list[Fact]:
        """The facts whose values differ."""
        return [fact for fact in self.facts if not fact.same]


def compare(*sides: Side) -> Diff:
    """Put runs side by side: scores first, then the facts in the order of the first run."""
    names = dict.fromkeys(name for side in sides for name in side.facts)
    facts = [Fact(name, tuple(side.facts.get(name, _NONE) for side in sides)) for name in names]
    code = [line for side in sides[1:] for line in _compare_code(sides[0], side)]
    return Diff(sides, [fact for fact in facts if any(fact.values)], code)


def _compare_code(before: Side, after: Side) -> Iterator[str]:
    old, new = before.code.rstrip().splitlines(), after.code.rstrip().splitlines()
    return difflib.unified_diff(old, new, before.title, after.title, lineterm="")


def read_side(session: Connection, name: str) -> Side:
    """Return the facts that the journal and the cloud know about a run. Raises UsageError if the run is unknown."""
    execution_id, entry = find_run(session, name)
    record = None
    try:
        record = session.client.execution.get(execution_id)
    except ApiError:
        if entry is None:
            raise
    scalars = _read_scalars(session, execution_id)
    scores = {name: _format_figure(value) for name, value in scalars.measures.items()}
    facts = {**scores, **{name: fact for name, fact in _iterate_run_facts(entry, record) if name not in scores}}
    return Side(execution_id, _find_code(entry, record), facts, tuple(scalars.curves))


def _read_scalars(session: Connection, execution_id: str) -> ScalarParser:
    """Return the numbers that a run has printed; none if neither this machine nor the cloud has its log."""
    with suppress(LkError, OSError):
        return read_scalars(Run(session, execution_id))
    return ScalarParser()


def _find_code(entry: JournalEntry | None, record: ExecutionRecord | None) -> str:
    if entry and entry.code:
        return entry.code
    code = record.python_code or "" if record else ""
    return mask_secrets(
        "(code of lk_jupyter; the cell is uploaded as a file)" if code in (SCRIPT, EARLIER_SCRIPT) else code
    )


def _iterate_run_facts(entry: JournalEntry | None, record: ExecutionRecord | None) -> Iterator[tuple[str, str]]:
    request: dict[str, Any] = entry.request if entry else {}
    if record:
        yield from _iterate_outcome_facts(record, entry.price_per_hour if entry else None)
    elif entry:
        yield from (("State", entry.state), ("Cost", credits_label(entry.cost) if entry.cost is not None else ""))
    if entry:
        yield from ((_format_figure_name(key), _format_figure(value)) for key, value in entry.summary.items())
    yield "Machine", str(request.get("execution_type") or (record and record.hardware_profile) or "")
    yield "Time limit", f"{request['timeout']} s" if "timeout" in request else ""
    yield from _iterate_packages(request.get("requirements_content") or (record and record.python_requirements) or "")
    for file, text in _parse_uploaded_files(request.get("import_files")).items():
        if not is_internal(file):
            yield f"File {file}", f"{len(text.encode()):,} bytes, {sha256(text.encode()).hexdigest()[:SHORT_ID]}"
    if entry:
        yield from _iterate_option_facts(entry)


def _parse_uploaded_files(text: str | None) -> dict[str, str]:
    """Return the files of a request; none if the journal removed them, such as files with a secret."""
    try:
        content = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in content.items()} if isinstance(content, dict) else {}


def _iterate_outcome_facts(record: ExecutionRecord, price_per_hour: Decimal | None) -> Iterator[tuple[str, str]]:
    bill = calculate_bill(record, price_per_hour)
    yield "State", record.status
    yield "Exit code", "" if record.return_code is None else str(record.return_code)
    yield "Duration", duration_label(bill.seconds) if bill.seconds is not None else ""
    yield "Cost", bill.label
    failed = is_final(record.status) and record.return_code
    yield "Error", str(build_error(record)).partition("\n")[0].partition("(")[2].rpartition(")")[0] if failed else ""


def _iterate_packages(requirements: str) -> Iterator[tuple[str, str]]:
    for line in filter(None, map(str.strip, requirements.splitlines())):
        with suppress(InvalidRequirement):
            package = Requirement(line)
            yield f"Package {package.name.lower()}", str(package.specifier) or "any version"
            continue
        yield f"Requirement {mask_secrets(line)}", "yes"


#: Options that appear as another fact, or don't describe the run.
_SUMMARIZED = {"gpu", "machine", "timeout", "requirements", "files", "save", "detach", "quiet", "dry_run", "label"}


def _iterate_option_facts(entry: JournalEntry) -> Iterator[tuple[str, str]]:
    yield "Labels", ", ".join(entry.labels)
    yield "Note", entry.note
    yield "Git commit", entry.git_commit[:COMMIT_SIZE]
    for name, value in entry.options.items():
        if name not in _SUMMARIZED and value not in (None, False, [], {}):
            yield option_flag(RunOptions, name), _format_option(value)
    yield "Notebook", entry.notebook or ""


def _format_option(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items() if not str(key).startswith("lk_"))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _format_figure_name(name: str) -> str:
    """Return the name of a measured figure in words; a score keeps the name that its author chose."""
    return name.replace("_", " ").capitalize().replace("gpu", "GPU") if "_gpu_" in name else name


def _format_figure(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
