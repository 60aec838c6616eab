"""Find why a run failed or is slow, from its log and its metrics: a line for each problem, with a fix.

The rules only read their input. In doubt, a rule stays silent, because a wrong hint costs money. A hint suggests a
larger machine type only for a run that failed for lack of memory, and only if the account may use the machine type.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from lk_jupyter.api.execution import SUCCEEDED_STATES, ExecutionMetrics, ExecutionRecord, MetricPoint
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.packages import normalize_name, package_providing, similar_package
from lk_jupyter.code.variables import assigned_names
from lk_jupyter.config.assumptions import find_assumption
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import Catalogue, cost_at_limit, price_label
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.metadata import GROUP_KEY
from lk_jupyter.protocol.notice import HINT, WARNING, Notice
from lk_jupyter.protocol.parts import read_part_settings
from lk_jupyter.runs.clock import measure_duration, measure_launch
from lk_jupyter.runs.outcome import TRACEBACK, classify_end, remote_traceback, split_printed_output
from lk_jupyter.runs.package import rich
from lk_jupyter.runs.package.bundle import PACKAGES, Bundle
from lk_jupyter.text.secrets import COLOUR
from lk_jupyter.text.units import credits_label, duration_label

#: A GPU that is less busy than this, in percent, for this long, in seconds, is idle.
IDLE_PERCENT, IDLE_SECONDS = 10.0, 120.0

#: Exit codes of a process that was killed from outside.
KILLED = {137, -9}

#: Exit codes of native code that failed, with the names of their signals.
CRASHED = {139: "segmentation fault", -11: "segmentation fault", 134: "abort", -6: "abort"}

#: GPU memory that is fuller than this, in percent, and rose by this much, in points, may run out.
FULL_PERCENT, RISE_POINTS = 90.0, 2.0

#: Seconds between two samples that count as a gap.
_GAP = 60.0


@dataclass(frozen=True)
class Imports:
    """How long the imports of a run took, in seconds, and which took longest."""

    seconds: float
    slowest: str = ""
    slowest_seconds: float = 0.0


def parse_imports(payload: dict[str, Any]) -> Imports | None:
    """Read the import times that the run measured; None for malformed data."""
    try:
        return Imports(float(payload["seconds"]), str(payload["slowest"])[:40], float(payload["slowest_seconds"]))
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Evidence:
    """Collect all facts about a run; unknown facts are None.

    ``log`` is the end of its output. ``record`` is set for a run that has ended, ``has_checkpoint`` for a run that can
    be resumed. ``namespace`` has the variables of the notebook.
    """

    log: str = ""
    record: ExecutionRecord | None = None
    metrics: ExecutionMetrics | None = None
    machine: MachineType | None = None
    machines: Catalogue | None = None
    bundle: Bundle | None = None
    imports: Imports | None = None
    max_timeout: int | None = None
    has_checkpoint: bool = False
    installed: dict[str, list[str]] | None = field(default=None, repr=False)
    namespace: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def errors(self) -> list[str]:
        """The errors that ended the run, each with its complete message, in order."""
        text = ((self.record and split_printed_output(self.record)[1]) or self.log)[-_END:]
        text = _AT_EXIT.split(COLOUR.sub("", text))[0]
        parts = remote_traceback(text, "", 0).split(TRACEBACK)[1:]
        return [match[0].strip() for part in parts if (match := _ERROR.search(part))]


#: Characters of the end of stderr that are searched for errors.
_END = 65_536

#: Printed by Python after the traceback, about objects whose cleanup failed.
_AT_EXIT = re.compile(r"^Exception ignored ", re.MULTILINE)

#: From the first unindented line of a traceback to the announcement of the next traceback.
_ERROR = re.compile(r"^[^\s][\s\S]*?(?=^[^\S\n]*(?:During handling|The above exception)|\Z)", re.MULTILINE)


class Hint(NamedTuple):
    """Describe a problem and its fix; ``option`` is an option for the line of the cell that fixes the problem."""

    text: str
    option: str = ""


class Rule(NamedTuple):
    """Find a hint for a run that is active (``run``), has ended (``end``), or whose code ``failed``."""

    when: str
    find: Callable[[Evidence], str | Hint | None]


def hints(case: Evidence) -> list[Notice]:
    """Return the hints for a run, the most important first."""
    kind, states = (HINT, {"end"}) if case.record else (WARNING, {"run"})
    if case.record and case.record.status.lower() in {"failed", "failed_user"}:  # not the platform, time or user
        states.add("failed")
    findings = (rule.find(case) for rule in RULES if states & set(rule.when.split()))
    full = (Hint(hint) if isinstance(hint, str) else hint for hint in findings if hint)
    return [Notice(hint.text, kind, hint.option) for hint in full]


# The GPU's memory is too small

_GPU_MEMORY = re.compile(
    r"CUDA out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_ALLOC_FAILED"
    r"|HIP out of memory|cupy\S{0,100}OutOfMemoryError"
    r"|OOM when allocating tensor.{0,500}(?:device:GPU|GPU_\d+_bfc)|device:GPU:\d+\}\} failed to allocate memory"
    r"|RESOURCE_EXHAUSTED: Out of memory (?:while trying to allocate|allocating)"
)
_SIZE = r"([\d.]{1,12}) ([KMG]iB)"
_REQUESTED = re.compile(f"Tried to allocate {_SIZE}")
_CAPACITY = re.compile(f"total capaci?ty of {_SIZE}|{_SIZE} total capacity")  # a release misspelled the word
_FREE = re.compile(f"{_SIZE} (?:is )?free")
_BYTES = re.compile(r"(?:to allocate|allocating|allocated so far:) ([\d,]{1,30}) bytes")
_GIB = {"KiB": 2**-20, "MiB": 2**-10, "GiB": 1.0}


def gpu_memory_exceeded(case: Evidence) -> str | Hint | None:
    """Suggest the next larger machine if the GPU's memory was too small."""
    error = next((error for error in case.errors if _GPU_MEMORY.search(error)), None)
    if error is None:
        return None
    size = _parse_gib(_CAPACITY, error) or (case.machine and case.machine.memory_gib)
    problem = f"The GPU's memory{f' ({size:.0f} GiB)' if size else ''} was too small. A smaller batch needs less memory"
    larger = case.machines.larger(size, _parse_needed_gib(error)) if case.machines and size else None
    if larger is None:
        return f"{problem}; no machine that you may use has enough memory."
    option = _format_machine_option(larger, case.machines)
    return Hint(f"{problem}; {option} has more: {larger.memory_gib} GiB, {price_label(larger)}.", option)


def _format_machine_option(machine: MachineType, machines: Catalogue | None) -> str:
    """Return the option that gives this very machine, and not another with the same card."""
    wish = (machine.card or "").upper()
    with suppress(UsageError):  # the account may lack permission for the card's first machine
        if machines and machines.resolve(wish) == machine:
            return f"--gpu {wish}"
    return f"--machine {machine.hardware_profile}"


def _parse_needed_gib(error: str) -> float:
    """Return the GiB that would have been enough, as far as the message shows."""
    size, requested, free = _parse_gib(_CAPACITY, error), _parse_gib(_REQUESTED, error), _parse_gib(_FREE, error)
    if size and requested:
        return size - (free or 0.0) + requested
    return sum(int(count.replace(",", "")) for count in _BYTES.findall(error)) / 2**30


def _parse_gib(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    if not match:
        return None
    amount, unit = filter(None, match.groups())
    return float(amount) * _GIB[unit]


# Something is missing

_MISSING = re.compile(r"^ModuleNotFoundError: No module named '(?!_lk[_.'])([\w.]+)'")


def missing_module(case: Evidence) -> Hint | None:
    """Suggest the option that adds the missing module."""
    match = _MISSING.match(case.errors[-1]) if case.errors else None
    if match is None:
        return None
    module = match[1]
    if case.bundle and _is_local_module(module, case.bundle):
        name = module.partition(".")[0]
        path = f"{name}.py" if (case.bundle.source.folder / f"{name}.py").is_file() else f'"{name}/**/*.py"'
        return Hint(f"{path} wasn't uploaded. Add --files {path}.", f"--files {path}")
    guess = package_providing(module, case.installed)
    if guess is None and "." not in module and (similar := similar_package(module)):
        return Hint(f"{module} isn't installed in the run, and its name is similar to '{similar}'. Correct the import.")
    if guess is None or _is_required(guess[0], case.bundle):
        return None
    package, sure = guess
    doubt = "" if sure else ", if its package has that name"
    return Hint(f"{module} isn't installed in the run. Add -r {package}{doubt}.", f"-r {package}")


def _is_local_module(module: str, bundle: Bundle) -> bool:
    name = module.partition(".")[0]
    return (bundle.source.folder / f"{name}.py").is_file() or (bundle.source.folder / name / "__init__.py").is_file()


def _is_required(name: str, bundle: Bundle | None) -> bool:
    required = (bundle.request.requirements_content or "") if bundle else ""
    names = {normalize_name(match[0]) for match in re.finditer(r"^[\w.-]+", required, re.MULTILINE)}
    return normalize_name(name) in names


def missing_shell(case: Evidence) -> str | None:
    """Report that an image can't run a cell, if its container could not start the shell."""
    options = case.bundle.options if case.bundle else None
    if not (isinstance(options, RunOptions) and options.image and case.record):
        return None
    record = case.record
    facts = [record.errors, record.errors_docker, record.status_details, *(record.system_errors or ())]
    if not re.search(r'"sh": executable file not found|exec: sh: not found', " ".join(map(str, filter(None, facts)))):
        return None
    return (
        f"The image '{options.image}' has no shell, so it can't run a cell. Choose an image with a shell and Python "
        "3.8 or later, or run its own command: %%lk_docker"
    )


def missing_library(case: Evidence) -> str | None:
    """Suggest the package that works without a display, for a package that needs a display."""
    if case.errors and re.match(r"ImportError: libGL\.so\.1: ", case.errors[-1]):
        return "opencv-python needs a display. Use opencv-python-headless: -r opencv-python-headless"
    return None


_NO_FILE = re.compile(r"^FileNotFoundError: [^'\n]*'([^'\n]+)'")
_LACKS_FILE = re.compile(
    r"^(?:FileNotFoundError|OSError): "
    r"(?:.{0,300}?[`'\"]{1,3}([^'\"\n]{1,1000})['\"]|(?:.{0,300}: )?(\S{1,1000})(?: not found|$))"
)

#: Maximum bytes of a file for --files.
_UPLOADED = 8_000_000


def missing_file(case: Evidence) -> Hint | None:
    """Suggest how to upload a local file that the run lacks."""
    match = _LACKS_FILE.match(case.errors[-1]) if case.errors else None
    if not (match and case.bundle):
        return None
    name, folder = match[1] or match[2], case.bundle.source.folder.resolve()
    path = (folder / Path(name).expanduser()).resolve()
    if not path.is_file():
        return None
    if path.is_relative_to(folder) and path.stat().st_size <= _UPLOADED:
        short = path.relative_to(folder).as_posix()
        return Hint(f"'{name}' exists here, but not in the run. Add --files {short}.", f"--files {short}")
    return Hint(f"'{name}' exists here, but not in the run. Upload it to the bucket: %lk_put {name}")


def missing_object(case: Evidence) -> str | None:
    """Report that the bucket may have another folder in a run, if the assumed folder lacks the file."""
    match = _NO_FILE.match(case.errors[-1]) if case.errors else None
    assumed = find_assumption("bucket_folder_python")
    for folder in (assumed.default, *assumed.alternatives):
        if match and match[1].startswith(f"{folder}/"):
            key = match[1].removeprefix(f"{folder}/")
            return (
                f"The run has no '{match[1]}'. If %lk_ls {key} lists this file, the bucket is in another folder of the "
                "run. Find the folder: %lk_check --spend"
            )
    return None


_UNDEFINED = re.compile(r"^NameError: name '(\w+)' is not defined")


def missing_variable(case: Evidence) -> Hint | None:
    """Suggest how to add a variable of the notebook that the run lacks."""
    error = case.errors[-1] if case.errors else ""
    match = _UNDEFINED.match(error)
    if match is None:
        return None
    name, doubt = match[1], ""
    if name not in case.namespace:
        near = [] if "Did you mean" in error else get_close_matches(name, case.namespace, n=1, cutoff=0.75)
        if not near:
            return None
        name, doubt = near[0], f"Did you mean '{near[0]}'? "
    text, option = _advise_name(name, case.namespace[name])
    return Hint(f"{doubt}{text}", "" if doubt else option)


def _advise_name(name: str, value: Any) -> Hint:
    """Return how to define a name of the notebook in a run, which is a fresh Python process."""
    kind = (
        "import"
        if isinstance(value, ModuleType) or _is_imported(value)
        else "class"
        if isinstance(value, type)
        else "function"
        if inspect.isroutine(value)
        else "variable"
    )
    return Hint(f"A fresh process doesn't have the notebook's {kind} '{name}'. Send it: --sync.", "--sync")


#: Names in the hint about unreturned names.
_MAX_NAMES = 6


def unreturned_names(case: Evidence) -> Hint | None:
    """Offer variables for a successful run in a fresh process that set names: the process has ended with them."""
    bundle = case.bundle
    if not (case.record and bundle and case.record.status.lower() in SUCCEEDED_STATES):
        return None
    options = bundle.options
    if not isinstance(options, RunOptions) or not bundle.source.is_cell or bundle.payload.carries:
        return None
    if options.session or options.outputs or options.relay or GROUP_KEY in options.metadata:
        return None
    names = [name for name in assigned_names(bundle.source.code) if name != "lk_checkpoint"]
    if not names:
        return None
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    if mount := getattr(bundle.request, "s3_mount_path", ""):
        listed = ", ".join(f"'{name}'" for name in names[:_MAX_NAMES])
        return Hint(
            f"The run set {listed}{more}, but a run in an image returns no variables. Write results to the "
            f"bucket, which is mounted in the image at {mount}, and load them: %lk_load lk://KEY"
        )
    listed = ", ".join(f"'{name}'" for name in names[:_MAX_NAMES])
    return Hint(
        f"The run set {listed}{more}, but a fresh process returns no variables. To get them, add --sync and run the "
        f"cell again: {bundle.at_most}.",
        "--sync",
    )


def _is_imported(value: Any) -> bool:
    """Whether a function or class is imported, not made in the notebook."""
    return (inspect.isroutine(value) or isinstance(value, type)) and getattr(value, "__module__", "") != "__main__"


_NO_GRAPH = re.compile(
    r"RuntimeError: element \d+ of tensors does not require grad and does not have a grad_fn"
    r"|AttributeError: 'NoneType' object has no attribute 'zero_'"
)


def missing_graph(case: Evidence) -> str | None:
    """Report that the graph of a tensor stays in the run that computed the graph, if the cell carries variables."""
    if not (case.errors and _NO_GRAPH.match(case.errors[-1]) and case.bundle and case.bundle.payload.carries):
        return None
    advice = (
        "" if getattr(case.bundle.options, "session", None) else ", or keep the cells in one session: --session NAME"
    )
    return (
        "The graph of a tensor stays in the process that computed it. Call backward() in the cell that computes the "
        f"tensor{advice}."
    )


_NO_ANSWER = re.compile(r"^EOFError: (EOF when reading a line|a run has no input)")


def no_keyboard(case: Evidence) -> str | None:
    """Suggest a replacement for a prompt, which a run can't answer."""
    if not (case.errors and _NO_ANSWER.match(case.errors[-1])):
        return None
    return (
        "A run has no keyboard. Read the input in a separate cell, name = input(), then add --in name. For passwords: "
        "%lk_secrets set NAME"
    )


def no_loop(case: Evidence) -> str | None:
    """Suggest a replacement for a task in the background, which doesn't delay the end of a run."""
    if not (case.errors and case.errors[-1].startswith("RuntimeError: no running event loop")):
        return None
    return "A run has an event loop only while its code awaits. Await the task in the same cell: await task"


# Killed, or out of time


def killed(case: Evidence) -> str | None:
    """Report the machine's memory when the code was killed from outside."""
    if case.record is None or case.record.return_code not in KILLED:
        return None
    peak = _find_peak_ram(case.metrics)
    if peak is None:
        return (
            "The system killed the code (signal 9). The usual cause is that the machine's memory, not the GPU's "
            "memory, was full."
        )
    if peak < 70:
        return f"Killed by the system (signal 9); {peak:.0f} % of the machine's memory was in use at the last sample."
    return (
        f"Killed by the system (signal 9): {peak:.0f} % of the machine's memory was in use. Load less data at a time."
    )


def crashed(case: Evidence) -> str | None:
    """Show how to find the line where native code failed."""
    code = case.record.return_code if case.record else None
    if code not in CRASHED:
        return None
    return (
        f"Native code crashed ({CRASHED[code]}), which Python can't catch. To see the line, start the cell "
        "with: import faulthandler; faulthandler.enable()"
    )


def _find_peak_ram(metrics: ExecutionMetrics | None) -> float | None:
    used = _list_values(metrics.systemRamUsedBytes if metrics else [])
    total = max(_list_values(metrics.systemRamTotalBytes if metrics else []), default=0.0)
    return 100 * max(used) / total if used and total else None


def time_limit_exceeded(case: Evidence) -> str | Hint | None:
    """Suggest a longer time limit, with its maximum cost; a run with a checkpoint is resumed instead."""
    record, bundle = case.record, case.bundle
    if case.has_checkpoint:
        return None
    if record is None or classify_end(record) != "timeout" or bundle is None or bundle.cost_binds:
        return None
    longest = case.max_timeout or bundle.timeout
    seconds = min(2 * bundle.timeout, longest)
    if seconds <= bundle.timeout:
        return (
            f"{bundle.timeout} s is the maximum of the setting max_timeout. If your account allows more: "
            "%lk_config max_timeout SECONDS"
        )
    cost = cost_at_limit(bundle.machine.price_per_hour, seconds)
    at_most = f", at most {credits_label(cost)}" if cost is not None else ""
    return Hint(f"Try --timeout {seconds}{at_most}.", f"--timeout {seconds}")


# The GPU waits, or fills up


def idle_gpu(case: Evidence) -> str | None:
    """Report that the GPU has had little to do for minutes."""
    points = _select_measured_points(case.metrics.gpuUtilizationPercent) if case.metrics else []
    seconds = _find_longest_period(points, lambda value: value < IDLE_PERCENT)
    if seconds < IDLE_SECONDS:
        return None
    price = (
        f" The machine costs {price_label(case.machine)} while it waits."
        if case.machine and case.machine.price_per_hour
        else ""
    )
    is_unused = all(point.value == 0 for point in points)
    cause = (
        "Is the model on the GPU (.to('cuda'))?"
        if is_unused
        else "Does the GPU wait for data (workers, prefetching), or does this part run on the CPU?"
    )
    return f"The GPU was below {IDLE_PERCENT:.0f} % for {duration_label(seconds)}. {cause}{price}"


def full_gpu(case: Evidence) -> str | None:
    """Warn of GPU memory that is nearly full and still rising."""
    points = _select_measured_points(case.metrics.gpuMemoryUtilizationPercent)[-9:] if case.metrics else []
    values = [point.value or 0.0 for point in points]
    if len(values) < 4 or any(_compute_seconds_between(a, b) > _GAP for a, b in pairwise(points)):
        return None
    rising = all(b >= a for a, b in pairwise(values)) and values[-1] - values[-2] > 0
    if values[-1] <= FULL_PERCENT or values[-1] - values[0] < RISE_POINTS or not rising:
        return None
    since = (points[-1].timestamp - points[0].timestamp).total_seconds()
    return (
        f"The GPU's memory is {values[-1]:.0f} % full and rising ({values[0]:.0f} % were used {duration_label(since)} "
        "earlier). The run may need more memory than the GPU has."
    )


def slow_imports(case: Evidence) -> str | None:
    """Report that imports took most of the time."""
    duration = measure_duration(case.record) if case.record else None
    if case.imports is None or not duration:
        return None
    if case.imports.seconds < max(rich.IMPORT_SECONDS, rich.IMPORT_PART * duration):
        return None
    slowest = (
        f", {case.imports.slowest} {duration_label(case.imports.slowest_seconds)} of them"
        if case.imports.slowest
        else ""
    )
    return (
        f"Imports took {duration_label(case.imports.seconds)} of {duration_label(duration)}{slowest}. Each run "
        "repeats its imports, so do more work in one run."
    )


def _select_measured_points(points: Sequence[MetricPoint]) -> list[MetricPoint]:
    return sorted((point for point in points if point.value is not None), key=lambda point: point.timestamp)


def _list_values(points: Sequence[MetricPoint]) -> list[float]:
    return [point.value for point in points if point.value is not None]


def _compute_seconds_between(a: MetricPoint, b: MetricPoint) -> float:
    return (b.timestamp - a.timestamp).total_seconds()


def _find_longest_period(points: Sequence[MetricPoint], holds: Callable[[float], bool]) -> float:
    """Return the seconds of the longest period in which the condition was true without a break or a gap."""
    longest, since = 0.0, None
    before: MetricPoint | None = None
    for point in points:
        if point.value is None or not holds(point.value):
            since = None
        elif since is None or (before and _compute_seconds_between(before, point) > _GAP):
            since = point
        else:
            longest = max(longest, _compute_seconds_between(since, point))
        before = point
    return longest


#: Seconds before the code from which a run with packages gets the hint to keep these packages.
_SLOW_LAUNCH = 30.0


def slow_installation(case: Evidence) -> str | Hint | None:
    """Suggest to keep packages if the code of a run with packages started late."""
    launch = measure_launch(case.record) if case.record else None
    if case.bundle is None or not launch or launch < _SLOW_LAUNCH:
        return None
    request = case.bundle.request
    if not request.requirements_content or read_part_settings(request.import_files, PACKAGES) is not None:
        return None
    return (
        f"The start of the machine and the installation of the packages took {duration_label(launch)} before the code "
        "started. Keep the packages in your bucket for later runs: %lk_config keep_packages on"
    )


RULES: tuple[Rule, ...] = (
    Rule("failed", gpu_memory_exceeded),
    Rule("failed", missing_module),
    Rule("failed", missing_library),
    Rule("failed", missing_shell),
    Rule("failed", missing_object),
    Rule("failed", missing_file),
    Rule("failed", missing_variable),
    Rule("failed", missing_graph),
    Rule("failed", no_keyboard),
    Rule("failed", no_loop),
    Rule("failed", killed),
    Rule("failed", crashed),
    Rule("end", time_limit_exceeded),
    Rule("end", unreturned_names),
    Rule("run", full_gpu),
    Rule("run end", idle_gpu),
    Rule("end", slow_imports),
    Rule("end", slow_installation),
)
