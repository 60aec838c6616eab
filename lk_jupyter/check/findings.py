"""What a check has found, row by row, and the table of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from lk_jupyter.api._client import Client
from lk_jupyter.api._http import Seen
from lk_jupyter.config.assumptions import SEPARATOR, row
from lk_jupyter.views.table import Table

#: What is found where a list is empty.
NOT_SEEN = "not seen"

COLUMNS = ("Operation", "Expected", "Found", "Meaning", "What lk_jupyter does")


@dataclass(frozen=True)
class Finding:
    """One row: an operation, what was expected and found there, and what follows.

    ``name`` is the assumption that it is about, if it is about one; ``deviates`` whether it differs.
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
    """What a check has found so far; ``values`` are the values of the assumptions."""

    client: Client
    findings: list[Finding] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counted: int = 0

    def probe(self, method: str, path: str, body: object = None, *, is_signed: bool = True) -> Seen:
        """Send one request and keep its answer."""
        seen = self.client.probe(method, path, body, is_signed=is_signed)
        self.exchanges.append(Exchange(method, path, seen.status, seen.json))
        self.counted += 1
        return seen

    def assumed(self, name: str, found: str, operation: str = "") -> None:
        """Record the value of an assumption; a later level looks closer and replaces it."""
        wanted = row(name)
        default = self.client.assumptions.default(name)
        self.values[name] = found
        self.findings = [each for each in self.findings if each.name != name]
        self.findings.append(
            Finding(
                operation or wanted.operations[0],
                default or "none",
                found or "none",
                wanted.meaning,
                wanted.otherwise if found != default else "As expected.",
                name,
                deviates=found != default,
            )
        )

    def add_to(self, name: str, parts: Iterable[str], operation: str = "") -> None:
        """Add parts to an assumption that has several."""
        found = dict.fromkeys([*self.values.get(name, "").split(SEPARATOR), *parts])
        self.assumed(name, SEPARATOR.join(filter(None, found)), operation)

    def odd(self, operation: str, expected: str, found: str, meaning: str, does: str) -> None:
        """Record a difference that is no assumption."""
        self.findings.append(Finding(operation, expected, found, meaning, does))

    def observed(self, operation: str, expected: str, found: str, meaning: str) -> None:
        """Record a measurement, or an answer that shows nothing: neither is a difference."""
        self.findings.append(Finding(operation, expected, found, meaning, "As expected.", deviates=False))

    def not_seen(self, operation: str, expected: str, meaning: str) -> None:
        """Record that an answer has no example of the form that was to be compared; a later answer may have one."""
        self.forget_not_seen(operation)
        self.findings.append(Finding(operation, expected, NOT_SEEN, meaning, "Reads it as documented.", deviates=False))

    def forget_not_seen(self, operation: str) -> None:
        """Remove the row about a missing example."""
        self.findings = [each for each in self.findings if (each.operation, each.found) != (operation, NOT_SEEN)]

    @property
    def deviations(self) -> list[Finding]:
        """The rows that differ from what is expected."""
        return [each for each in self.findings if each.deviates]

    def table(self) -> Table:
        """Return the rows: first the assumptions that differ, then the assumptions that hold."""
        ordered = sorted(self.findings, key=lambda each: not each.deviates)
        rows = [
            (_named(each), each.expected, re.sub(r",(?=\S)", ", ", each.found), each.meaning, each.does)
            for each in ordered
        ]
        known = sum(1 for each in self.findings if each.name and not each.deviates)
        differ = len(self.deviations)
        says = "Nothing differs" if not differ else "1 thing differs" if differ == 1 else f"{differ} things differ"
        note = f"{says} from what lk_jupyter assumes, {known} assumptions hold; {self.counted} requests were sent."
        return Table(COLUMNS, rows, note="\n".join([note, *self.notes]))


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as a recording keeps it; ``body`` is JSON, None where the answer was none."""

    method: str
    path: str
    status: int
    body: object


def _named(finding: Finding) -> str:
    return f"{finding.operation} [{finding.name}]" if finding.name else finding.operation
