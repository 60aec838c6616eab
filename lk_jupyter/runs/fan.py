"""Several runs of one piece of code: which there are, and what they may cost. Nothing is sent here."""

from __future__ import annotations

import ast
import keyword
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Any

from lk_jupyter.errors import UsageError
from lk_jupyter.options import RunOptions
from lk_jupyter.runs.bundle import Bundle, Source
from lk_jupyter.runs.ipython import as_python
from lk_jupyter.runs.run import prepare
from lk_jupyter.runs.syntax import parse
from lk_jupyter.runs.variables.names import named

if TYPE_CHECKING:
    from lk_jupyter.runs.session import Session

#: Keys in a run's metadata: the runs that were started together, and its number among them.
GROUP_KEY, LANE_KEY = "lk_group", "lk_lane"

#: More lanes than this are taken for a slip.
MOST_LANES = 200

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Lane:
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
        """What tells it from the others, such as ``gpu.a100 · lr=0.1``."""
        return " · ".join([self.machine, *_pairs(self.values)])


def is_several(options: RunOptions) -> bool:
    """Whether the options ask for several runs, or for one that is shown as several are."""
    return bool(options.sweep) or any("," in (wish or "") for wish in (options.gpu, options.machine))


def prepare_lanes(session: Session, source: Source, options: RunOptions) -> list[Lane]:
    """Put together what each run would send: every machine with every combination of the values.

    Raises UsageError or SyntaxError for what would not run, or would waste money.
    """
    combined = [dict(values) for values in product(*map(_sweep, options.sweep))]
    _check_names(source.code, [name for name, _ in map(_parts, options.sweep)], named("in", options.inputs))
    plans = [(wish, values) for wish in _wishes(options) for values in combined]
    if len(plans) > MOST_LANES:
        raise UsageError(f"That would be {len(plans)} runs; at most {MOST_LANES} can be started at once.")
    group = uuid.uuid4().hex
    lanes = [
        Lane(
            number,
            values,
            prepare(session, replace(source, values=values), _alone(options, wish, values, group, number)),
        )
        for number, (wish, values) in enumerate(plans, 1)
    ]
    _check_machines(lanes)
    return lanes


def worst_case(lanes: Iterable[Lane]) -> Decimal | None:
    """Return what all cost if each takes all its time, in credits; None when a price is not known."""
    costs = [lane.package.worst_case for lane in lanes]
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _alone(options: RunOptions, wish: dict[str, str], values: dict[str, Any], group: str, number: int) -> RunOptions:
    """Return the options of one run: its machine, and its values among its labels and metadata."""
    pairs = _pairs(values)
    told = {name: str(value) for name, value in values.items()}
    return options.model_copy(
        update={
            **wish,
            "sweep": [],
            **dict.fromkeys(("score", "first", "strict", "parallel")),
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
        raise UsageError("--gpu and --machine both name machines; give one of them.")
    for wish in wishes:
        if not wish.strip():
            raise UsageError(f"--{option}: a machine is missing beside a comma in {','.join(wishes)!r}.")
        yield {option: wish.strip()}


def _check_machines(lanes: list[Lane]) -> None:
    """Refuse the same run twice: A100 and gpu.a100 are one machine, and the second would only cost."""
    twice = [title for title, count in Counter(lane.title for lane in lanes).items() if count > 1]
    if twice:
        raise UsageError(f"{twice[0]} is asked for twice. To repeat a run, sweep over a seed: --sweep seed=1,2,3.")


def _sweep(text: str) -> list[tuple[str, Any]]:
    """Return a name with each of its values, from ``lr=0.1,0.01``."""
    name, values = _parts(text)
    return [(name, _value(value)) for value in values]


def _parts(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"--sweep takes a variable and its values, such as lr=0.1,0.01, not {text!r}.")
    found = list(map(str.strip, _split(values)))
    if not all(found):
        raise UsageError(f"--sweep: a value is missing in {text!r}.")
    return name, found


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no bracket and no quotes."""
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
            raise UsageError(f"--sweep {name} is given twice; write its values as one list.")
        if name in inputs:
            raise UsageError(f"--sweep {name} and --in both set {name}; give one of them.")
        if not re.search(rf"\b{name}\b", code):
            raise UsageError(f"--sweep {name}: the cell does not use {name}, so all its runs would be the same.")
        if _sets(code, name):
            raise UsageError(
                f"--sweep {name}: the cell sets {name} itself, so all its runs would be the same. Leave that line out."
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
