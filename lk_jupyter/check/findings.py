"""The findings of a check, row by row, and the table of them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone

from lk_jupyter.api._answers import RawAnswer
from lk_jupyter.api._client import Client
from lk_jupyter.config.assumptions import SEPARATOR, find_assumption
from lk_jupyter.views.table import Table

#: The actual value for an empty list.
NO_EXAMPLE = "not seen"

COLUMNS = ("Operation", "Expected", "Found", "Meaning", "What lk_jupyter does")


@dataclass(frozen=True)
class Finding:
    """A finding: an operation, the expected and the actual behavior, and the consequences.

    ``name`` is the assumption, if any; ``deviates`` is whether the server differs.
    """

    operation: str
    expected: str
    found: str
    meaning: str
    does: str = ""
    name: str = ""
    deviates: bool = True


@dataclass
class Report:
    """The findings of a check so far; ``values`` maps assumptions to values."""

    client: Client
    findings: list[Finding] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counted: int = 0

    def probe(self, method: str, path: str, body: object = None, *, is_signed: bool = True) -> RawAnswer:
        """Send a request and record the answer."""
        request_time, started_at = datetime.now(timezone.utc), time.monotonic()
        answer = self.client.probe(method, path, body, is_signed=is_signed)
        seconds = time.monotonic() - started_at
        self.exchanges.append(Exchange(method, path, answer.status, answer.json, request_time, seconds))
        self.counted += 1
        return answer

    def set_assumption(self, name: str, actual: str, operation: str = "") -> None:
        """Set the value of an assumption. A later level may replace the value."""
        assumption = find_assumption(name)
        default = self.client.assumptions.default(name)
        self.values[name] = actual
        self.findings = [each for each in self.findings if each.name != name]
        self.findings.append(
            Finding(
                operation or assumption.operations[0],
                default or "none",
                actual or "none",
                assumption.meaning,
                assumption.otherwise if actual != default else "As expected.",
                name,
                deviates=actual != default,
            )
        )

    def add_to_assumption(self, name: str, parts: Iterable[str], operation: str = "") -> None:
        """Add parts to an assumption with several parts."""
        actual = dict.fromkeys([*self.values.get(name, "").split(SEPARATOR), *parts])
        self.set_assumption(name, SEPARATOR.join(filter(None, actual)), operation)

    def add_difference(self, operation: str, expected: str, actual: str, meaning: str, does: str) -> None:
        """Record a difference that concerns no assumption."""
        self.findings.append(Finding(operation, expected, actual, meaning, does))

    def add_measurement(self, operation: str, expected: str, actual: str, meaning: str) -> None:
        """Record a measurement or an answer without information: neither is a difference."""
        self.findings.append(Finding(operation, expected, actual, meaning, "As expected.", deviates=False))

    def add_missing(self, operation: str, expected: str, meaning: str) -> None:
        """Record that an answer has no example of the documented form. A later answer may have an example."""
        self.remove_missing(operation)
        self.findings.append(
            Finding(operation, expected, NO_EXAMPLE, meaning, "Reads it as documented.", deviates=False)
        )

    def remove_missing(self, operation: str) -> None:
        """Remove the row about a missing example."""
        self.findings = [each for each in self.findings if (each.operation, each.found) != (operation, NO_EXAMPLE)]

    @property
    def deviations(self) -> list[Finding]:
        """Return the rows that differ from expectations."""
        return [each for each in self.findings if each.deviates]

    def table(self) -> Table:
        """Return the table: first the assumptions that differ, then the assumptions that are confirmed."""
        ordered = sorted(self.findings, key=lambda each: not each.deviates)
        rows = [
            (_format_finding_name(each), each.expected, re.sub(r",(?=\S)", ", ", each.found), each.meaning, each.does)
            for each in ordered
        ]
        matching = sum(1 for each in self.findings if each.name and not each.deviates)
        differ = len(self.deviations)
        summary = "Nothing differs" if not differ else "1 thing differs" if differ == 1 else f"{differ} things differ"
        note = (
            f"{summary} from the assumptions of lk_jupyter; {matching} assumptions are right. "
            f"Requests sent: {self.counted:,}."
        )
        return Table(COLUMNS, rows, note="\n".join([note, *self.notes]))


@dataclass(frozen=True)
class Exchange:
    """A request and its answer in a recording; ``body`` is JSON, or None for other content.

    ``request_time`` is the time of the request by the clock of this computer, ``seconds`` is the delay of the answer.
    """

    method: str
    path: str
    status: int
    body: object
    request_time: datetime | None = None
    seconds: float = 0.0


def _format_finding_name(finding: Finding) -> str:
    return f"{finding.operation} [{finding.name}]" if finding.name else finding.operation
