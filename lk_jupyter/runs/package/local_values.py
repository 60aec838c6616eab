"""Find values of this computer or process that differ in a run: a device, with which its GPU stays idle, and hashes."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lk_jupyter.code.ipython import replace_ipython_syntax
from lk_jupyter.code.syntax import parse
from lk_jupyter.code.variables import named
from lk_jupyter.protocol.notice import WARNING, Notice

if TYPE_CHECKING:
    from lk_jupyter.runs.package.bundle import Bundle
    from lk_jupyter.runs.variables.payload import Origin

#: Devices that a computer without an NVIDIA GPU chooses, by the type before the colon.
_WITHOUT_GPU = {"cpu", "mps"}

#: Calls and attributes that describe the hardware of the computer that evaluates them.
_HARDWARE_WORDS = ("is_available", "device_count", "default_backend", "list_physical_devices")

#: The notice about hashes of text.
_HASHES = "hash() of text differs between processes. For equal numbers everywhere, use hashlib or PYTHONHASHSEED"

#: Characters of a quoted line of the user.
_LONGEST_LINE = 120


def local_value_notices(bundle: Bundle) -> list[Notice]:
    """Return a notice for each variable that was chosen for the hardware of this computer and is sent to a GPU.

    A variable that the line names with ``--in`` is sent on purpose, so it gets no notice. A further notice is about
    code that calls ``hash``.
    """
    origin = bundle.payload.origin
    if origin is None or not bundle.payload.carries:
        return []
    hashes = [Notice(_HASHES, WARNING)] if _calls_hash(bundle.source.code) and "hash" not in origin.values else []
    return hashes if bundle.machine.card is None else [*hashes, *_list_device_notices(bundle, origin)]


def _calls_hash(code: str) -> bool:
    with suppress(SyntaxError, ValueError):
        calls = [node for node in ast.walk(parse(replace_ipython_syntax(code))) if isinstance(node, ast.Call)]
        return any(isinstance(call.func, ast.Name) and call.func.id == "hash" for call in calls)
    return False


def _list_device_notices(bundle: Bundle, origin: Origin) -> list[Notice]:
    chosen = named("in", getattr(bundle.options, "inputs", []))
    names = {variable.name for variable in bundle.payload.inputs}.difference(chosen)
    values = {name: value for name, value in origin.values.items() if name in names and _can_mean_no_gpu(value)}
    assignments = _find_assignments(values)
    return [
        Notice(_format_notice(name, value, assignments.get(name)), WARNING)
        for name, value in values.items()
        if _describes_this_computer(name, value, assignments.get(name))
    ]


def _can_mean_no_gpu(value: Any) -> bool:
    """Return whether a value can be a choice without a GPU: ``"cpu"``, ``False``, ``0``, ``torch.device("cpu")``."""
    if isinstance(value, str):
        return value.partition(":")[0] in _WITHOUT_GPU
    return value is False or (type(value) is int and value == 0) or _is_device(value)


def _is_device(value: Any) -> bool:
    kind = type(value)
    is_torch = (kind.__module__, kind.__name__) == ("torch", "device")
    return is_torch and getattr(value, "type", "") in _WITHOUT_GPU


def _describes_this_computer(name: str, value: Any, assignment: ast.Assign | ast.AnnAssign | None) -> bool:
    """Return whether the hardware of this computer decided about a value, and not its author."""
    if assignment is None or assignment.value is None:
        return _is_device(value)
    expression = ast.unparse(assignment.value)
    if any(word in expression for word in _HARDWARE_WORDS):
        return True
    is_written_out = all(isinstance(node, ast.Constant) for node in _list_arguments(assignment.value))
    return not is_written_out and (_is_device(value) or (isinstance(value, str) and "device" in name.lower()))


def _list_arguments(expression: ast.expr) -> list[ast.expr]:
    """Return the arguments of a call such as ``torch.device("cpu")``; the expression itself if it is no such call."""
    is_device_call = isinstance(expression, ast.Call) and ast.unparse(expression.func).endswith("device")
    return expression.args if isinstance(expression, ast.Call) and is_device_call and expression.args else [expression]


def _find_assignments(names: Mapping[str, Any]) -> dict[str, ast.Assign | ast.AnnAssign]:
    """Return name → the last statement of the notebook's inputs that assigned the name alone."""
    assignments: dict[str, ast.Assign | ast.AnnAssign] = {}
    inputs = vars(sys.modules["__main__"]).get("In")  # the cells that this kernel has executed
    for code in reversed(inputs if isinstance(inputs, list) else []):
        if names.keys() <= assignments.keys():
            break
        if isinstance(code, str) and any(name in code for name in names):
            for name, statement in _iterate_assignments(code):
                if name in names:
                    assignments.setdefault(name, statement)
    return assignments


def _iterate_assignments(code: str) -> Iterator[tuple[str, ast.Assign | ast.AnnAssign]]:
    """Yield the names that a cell assigns, the last one first, each with its statement."""
    with suppress(SyntaxError, ValueError):
        for statement in reversed(parse(replace_ipython_syntax(code)).body):
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                yield from ((target.id, statement) for target in targets if isinstance(target, ast.Name))


def _format_notice(name: str, value: Any, assignment: ast.Assign | ast.AnnAssign | None) -> str:
    line = ast.unparse(assignment) if assignment else ""
    is_usable = line and "\n" not in line and len(line) <= _LONGEST_LINE
    fix = f"add this line to the cell: {line}" if is_usable else f"set {name} in the cell"
    label = str(value) if isinstance(value, (bool, int)) else f"'{value}'"
    return (
        f"{name} is {label} from this computer, so the GPU may stay idle. To choose it in the run, {fix}. "
        f"To send {label} anyway: --in {name}"
    )
