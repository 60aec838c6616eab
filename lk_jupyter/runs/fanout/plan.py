"""Plan the runs of a fan-out: machines, swept values and costs. Nothing is sent here."""

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

from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.code.source import Source
from lk_jupyter.code.syntax import parse
from lk_jupyter.code.variables import named
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import machine_name
from lk_jupyter.options.runs import MachineOptions, RunOptions, extras, is_several
from lk_jupyter.protocol.metadata import GROUP_KEY, MEMBER_KEY
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.prepare import CostEstimate, estimate_cost, prepare

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection


#: The maximum number of runs; more are probably a typing error.
MAX_RUNS = 200

#: The options of several runs with their defaults, for each single run.
_SINGLE = {
    name: field.get_default(call_default_factory=True)
    for name, field in RunOptions.model_fields.items()
    if "several" in extras(field)["needs"]
}

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run in a fan-out: number from 1, swept values, and bundle."""

    number: int
    values: Mapping[str, Any]
    bundle: Bundle

    @property
    def machine(self) -> str:
        """Return the machine type."""
        return self.bundle.machine.hardware_profile

    @property
    def group(self) -> str:
        """Return the group, which all runs of the fan-out share."""
        return (self.bundle.request.metadata or {})[GROUP_KEY]

    @property
    def title(self) -> str:
        """Return a title that distinguishes the run, such as ``A100 · lr=0.1``."""
        return " · ".join([machine_name(self.machine), *_format_pairs(self.values)])


def prepare_plans(session: Connection, source: Source, options: RunOptions) -> list[RunPlan]:
    """Return the plan of each run: every machine with every combination of the values.

    Raises UsageError or SyntaxError for code that can't run, or for runs that would waste money.
    """
    choices = _run_choices(options)
    _check_names(source.code, [name for name, _ in map(_parse_sweep, options.sweep)], named("in", options.inputs))
    group = uuid.uuid4().hex
    plans = [
        RunPlan(
            number,
            values,
            prepare(
                session,
                replace(source, values=values),
                _build_run_options(options, choice, values, group, number),
                count=len(choices),
            ),
        )
        for number, (choice, values) in enumerate(choices, 1)
    ]
    _check_machines(plans)
    return plans


def estimate_costs(session: Connection, source: Source, options: MachineOptions) -> list[CostEstimate]:
    """Return what each run of a cell may cost, without the variables and files of the cell. Raises UsageError."""
    if not isinstance(options, RunOptions) or not is_several(options):
        return [estimate_cost(session, source, options)]
    choices = _run_choices(options)
    return [
        estimate_cost(session, source, _build_run_options(options, choice, values, "", number), len(choices))
        for number, (choice, values) in enumerate(choices, 1)
    ]


def _run_choices(options: RunOptions) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Return the machine and the swept values of each run. Raises UsageError for too many runs."""
    combined = [dict(values) for values in product(*map(_list_sweep_values, options.sweep))]
    choices = [(choice, values) for choice in _iterate_machine_choices(options) for values in combined]
    if len(choices) > MAX_RUNS:
        raise UsageError(f"This would start {len(choices)} runs; the limit is {MAX_RUNS}. Nothing was sent.")
    return choices


def _build_run_options(
    options: RunOptions, choice: dict[str, str], values: dict[str, Any], group: str, number: int
) -> RunOptions:
    """Return the options of a single run, with machine, and swept values in labels and metadata."""
    pairs = _format_pairs(values)
    swept = {name: str(value) for name, value in values.items()}
    return options.model_copy(
        update={
            **choice,
            **_SINGLE,
            "name": " ".join([options.name, *pairs]) if options.name else " ".join(pairs) or None,
            "label": [*options.label, *pairs],
            "metadata": {**swept, **options.metadata, GROUP_KEY: group, MEMBER_KEY: str(number)},
        }
    )


def _format_pairs(values: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]


def _iterate_machine_choices(options: RunOptions) -> Iterator[dict[str, str]]:
    """Yield the option that selects the machine of each run; empty if the settings select the machine."""
    option = "gpu" if options.gpu else "machine"
    names = (options.gpu or options.machine or "").split(",")
    if len(names) == 1:
        yield {}
        return
    if options.gpu and options.machine:
        raise UsageError("--gpu and --machine both name machines. Nothing was sent. Give one of them.")
    for name in names:
        if not name.strip():
            raise UsageError(
                f"--{option}: a machine is missing next to a comma in '{','.join(names)}'. Nothing was sent."
            )
        yield {option: name.strip()}


def _check_machines(plans: list[RunPlan]) -> None:
    """Refuse identical runs, which only cost more: A100 and gpu.a100 are the same machine. Raises UsageError."""
    twice = [title for title, count in Counter(plan.title for plan in plans).items() if count > 1]
    if twice:
        raise UsageError(
            f"{twice[0]} is named twice. Nothing was sent. To repeat a run, sweep over a seed: --sweep seed=1,2,3"
        )


def _list_sweep_values(text: str) -> list[tuple[str, Any]]:
    """Return a name with each of its values, from ``lr=0.1,0.01``."""
    name, values = _parse_sweep(text)
    return [(name, _parse_value(value)) for value in values]


def _parse_sweep(text: str) -> tuple[str, list[str]]:
    name, equals, values = text.partition("=")
    if not equals or not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(
            f"--sweep takes a variable and its values, got '{text}'. Nothing was sent. Example: --sweep lr=0.1,0.01"
        )
    texts = list(map(str.strip, _split_at_commas(values)))
    if not all(texts):
        raise UsageError(f"--sweep: a value is missing in '{text}'. Nothing was sent.")
    return name, texts


def _split_at_commas(text: str) -> list[str]:
    """Split a text at commas outside of brackets and quotes."""
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


def _parse_value(text: str) -> Any:
    """Return the value of a Python literal; other text unchanged."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _check_names(code: str, names: list[str], inputs: list[str]) -> None:
    """Refuse a sweep over a variable that the code sets or doesn't use: all runs would be identical."""
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(f"--sweep {name} is given twice. Nothing was sent. Write its values as one list.")
        if name in inputs:
            raise UsageError(f"--sweep {name} and --in both set '{name}'. Nothing was sent. Give one of them.")
        if not re.search(rf"\b{name}\b", code):
            raise UsageError(
                f"--sweep {name}: the cell doesn't use '{name}', so all runs would be identical. Nothing was sent."
            )
        if _is_assigned_before_use(code, name):
            raise UsageError(
                f"--sweep {name}: the cell sets '{name}' itself, so all runs would be identical. Nothing was "
                "sent. Delete that line."
            )


def _is_assigned_before_use(code: str, name: str) -> bool:
    """Return whether the code assigns the variable before the first use."""
    try:
        statements = parse(replace_ipython_syntax(code)).body
    except SyntaxError:
        return False  # another step reports syntax errors
    for statement in statements:
        uses = {type(node.ctx) for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == name}
        if uses:
            return uses == {ast.Store} and isinstance(statement, (ast.Assign, ast.AnnAssign))
    return False
