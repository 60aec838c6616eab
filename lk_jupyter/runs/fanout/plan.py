"""Several runs of one piece of code: which there are, and what they may cost. Nothing is sent here."""

from __future__ import annotations

import ast
import keyword
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from lk_jupyter.code.ipython import as_python
from lk_jupyter.code.source import Source
from lk_jupyter.code.syntax import parse
from lk_jupyter.code.variables import named
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import RunOptions, extras
from lk_jupyter.protocol.metadata import GROUP_KEY, LANE_KEY
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.prepare import prepare

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


#: More lanes than this are taken for a slip.
MOST_LANES = 200

#: The options of several runs, as a single run has them.
_SINGLE = {
    name: field.get_default(call_default_factory=True)
    for name, field in RunOptions.model_fields.items()
    if "several" in extras(field)["needs"]
}

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class RunPlan:
    """One run of several: its number from 1, its values of the sweep, and what it sends."""

    number: int
    values: Mapping[str, Any]
    package: Bundle

    @property
    def machine(self) -> str:
        """Profile of its machine."""
        return self.package.machine.hardware_profile

    @property
    def group(self) -> str:
        """What it shares with the others."""
        return (self.package.request.metadata or {})[GROUP_KEY]

    @property
    def title(self) -> str:
        """Its name among the runs, such as ``gpu.a100 · lr=0.1``."""
        return " · ".join([self.machine, *_pairs(self.values)])


def prepare_lanes(session: Connection, source: Source, options: RunOptions) -> list[RunPlan]:
    """Put together what each run would send: every machine with every combination of the values.

    Raises UsageError or SyntaxError for what would not run, or would waste money.
    """
    combined = [dict(values) for values in product(*map(_sweep, options.sweep))]
    _check_names(source.code, [name for name, _ in map(_parts, options.sweep)], named("in", options.inputs))
    plans = [(wish, values) for wish in _wishes(options) for values in combined]
    if len(plans) > MOST_LANES:
        raise UsageError(f"This would start {len(plans)} runs; the limit is {MOST_LANES}. Nothing was sent.")
    group = uuid.uuid4().hex
    lanes = [
        RunPlan(
            number,
            values,
            prepare(session, replace(source, values=values), _alone(options, wish, values, group, number)),
        )
        for number, (wish, values) in enumerate(plans, 1)
    ]
    _check_machines(lanes)
    return lanes


def _alone(options: RunOptions, wish: dict[str, str], values: dict[str, Any], group: str, number: int) -> RunOptions:
    """Return the options of one run: its machine, and its values among its labels and metadata."""
    pairs = _pairs(values)
    told = {name: str(value) for name, value in values.items()}
    return options.model_copy(
        update={
            **wish,
            **_SINGLE,
            "name": " ".join([options.name, *pairs]) if options.name else " ".join(pairs) or None,
            "label": [*options.label, *pairs],
            "metadata": {**told, **options.metadata, GROUP_KEY: group, LANE_KEY: str(number)},
        }
    )


def _pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def _wishes(options: RunOptions) -> Iterator[dict[str, str]]:
    """Yield the machine of each run, as the options name it; nothing where the settings decide."""
    option = "gpu" if options.gpu else "machine"
    wishes = (options.gpu or options.machine or "").split(",")
    if len(wishes) == 1:
        yield {}
        return
    if options.gpu and options.machine:
        raise UsageError("--gpu and --machine both name machines. Nothing was sent. Give one of them.")
    for wish in wishes:
        if not wish.strip():
            raise UsageError(
                f"--{option}: a machine is missing next to a comma in '{','.join(wishes)}'. Nothing was sent."
            )
        yield {option: wish.strip()}


def _check_machines(lanes: list[RunPlan]) -> None:
    """Refuse the same run twice: A100 and gpu.a100 are one machine, and the second would only cost."""
    twice = [title for title, count in Counter(lane.title for lane in lanes).items() if count > 1]
    if twice:
        raise UsageError(
            f"{twice[0]} is named twice. Nothing was sent. To repeat a run, sweep over a seed: --sweep seed=1,2,3"
        )


def _sweep(text: str) -> list[tuple[str, Any]]:
    """Return a name with each of its values, from ``lr=0.1,0.01``."""
    name, values = _parts(text)
    return [(name, _value(value)) for value in values]


def _parts(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(
            f"--sweep takes a variable and its values, got '{text}'. Nothing was sent. Example: --sweep lr=0.1,0.01"
        )
    found = list(map(str.strip, _split(values)))
    if not all(found):
        raise UsageError(f"--sweep: a value is missing in '{text}'. Nothing was sent.")
    return name, found


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets and quotes."""
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        else:
            depth += (sign in _OPENING) - (sign in _CLOSING)
        if sign == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _value(text: str) -> Any:
    """Return the Python value that a text writes down, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _check_names(code: str, names: list[str], inputs: list[str]) -> None:
    """Refuse a sweep over what the code does not use, or sets itself: all its runs would be the same."""
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(f"--sweep {name} is given twice. Nothing was sent. Write its values as one list.")
        if name in inputs:
            raise UsageError(f"--sweep {name} and --in both set '{name}'. Nothing was sent. Give one of them.")
        if not re.search(rf"\b{name}\b", code):
            raise UsageError(
                f"--sweep {name}: the cell doesn't use '{name}', so all runs would be identical. Nothing was sent."
            )
        if _sets(code, name):
            raise UsageError(
                f"--sweep {name}: the cell sets '{name}' itself, so all runs would be identical. Nothing was "
                "sent. Delete that line."
            )


def _sets(code: str, name: str) -> bool:
    """Whether the code gives the variable a value before it uses the one it has."""
    try:
        statements = parse(as_python(code)).body
    except SyntaxError:
        return False  # what does not parse is told elsewhere
    for statement in statements:
        uses = {type(node.ctx) for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == name}
        if uses:
            return uses == {ast.Store} and isinstance(statement, (ast.Assign, ast.AnnAssign))
    return False
