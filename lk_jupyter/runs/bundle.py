"""What is shipped for one run: the code, what it needs, and the machine. Nothing is sent here."""

from __future__ import annotations

import ast
import json
import shlex
import uuid
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from glob import glob
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from lk_jupyter.api.execution import StartRequest, StreamingExecutionRequest
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.errors import UsageError
from lk_jupyter.options import MachineOptions, RunOptions
from lk_jupyter.runs.cost import cost_of, credits_label, seconds_for
from lk_jupyter.runs.frames import FRAMES_KEY, nonce_in
from lk_jupyter.runs.guard import Finding
from lk_jupyter.runs.imports import imported_names, installed_requirements, local_files
from lk_jupyter.runs.ipython import as_python, check_magics, shows_last
from lk_jupyter.runs.parts import PREFIX, SCRIPT, Cell, Part, shipped_files
from lk_jupyter.runs.rich import rich_part
from lk_jupyter.runs.syntax import check_code, parse
from lk_jupyter.runs.variables.parcel import Parcel

#: Key in a run's metadata by which a start whose answer was lost is found again.
REQUEST_KEY = "lk_request"


@dataclass(frozen=True)
class Source:
    """Code as its author sees it.

    ``first_line`` is the number of the code's first line there: 2 under a cell magic. ``folder``
    is where its local modules and files are looked for. ``values`` are variables that it finds set,
    ``namespace`` holds those that can be sent along.
    """

    code: str
    file_name: str = "script.py"
    first_line: int = 1
    folder: Path = field(default_factory=Path.cwd)
    is_cell: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    namespace: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Limits:
    """Time limits of an account, in seconds, and what one run may cost, in credits (None: no limit)."""

    timeout: int
    max_timeout: int
    max_cost: Decimal | None = None


@dataclass(frozen=True)
class Bundle:
    """A run, complete but not sent.

    ``source`` and ``options`` are what it was made from. ``files`` are the author's, which go beside
    the code; the request may hold more of ours. ``line_shift`` is what to add to a line number of
    the shipped script to get the author's.
    ``cost_binds`` is whether the time limit is that at which the run would cost ``max_cost``.
    ``secrets`` tells where it holds what looks like one; it is only sent if they are allowed.
    ``parcel`` are the variables that it brings, and the names of those that it sends back.
    ``ports`` are those whose addresses are shown, ``hidden`` the words of the request that are kept nowhere.
    """

    source: Source
    options: MachineOptions
    request: StartRequest
    machine: MachineType
    files: dict[str, str]
    line_shift: int
    max_cost: Decimal | None = None
    cost_binds: bool = False
    secrets: tuple[Finding, ...] = ()
    secrets_allowed: bool = False
    parcel: Parcel = field(default_factory=Parcel)
    ports: tuple[int, ...] = ()
    hidden: tuple[str, ...] = field(default=(), repr=False)

    @property
    def timeout(self) -> int:
        """Seconds that the run may take."""
        return self.request.timeout

    @property
    def worst_case(self) -> Decimal | None:
        """What the run costs if it takes all its time, in credits."""
        return cost_of(self.machine, self.timeout)

    @property
    def at_most(self) -> str:
        """What the run costs at most, in words, and which limit that is."""
        if self.worst_case is None:
            return f"price not known, {self.timeout} s at most"
        limit = f"the maximum cost, reached in {self.timeout} s" if self.cost_binds else f"time limit {self.timeout} s"
        return f"at most {credits_label(self.max_cost if self.cost_binds else self.worst_case)} ({limit})"

    @property
    def nonce(self) -> str | None:
        """What the frames in the output of the run carry; None when it makes none."""
        return nonce_in(self.request.metadata)

    @property
    def token(self) -> str:
        """The name under which this very request can be found again."""
        return (self.request.metadata or {})[REQUEST_KEY]


def bundle(  # noqa: PLR0913 (what a run is made of)
    source: Source,
    options: RunOptions,
    machine: MachineType,
    limits: Limits,
    parts: Sequence[Part] = (),
    *,
    parcel: Parcel | None = None,
) -> Bundle:
    """Put together what is sent, with the parts that work for the code over there, and its variables.

    Raises UsageError or SyntaxError for what would not run.
    """
    rich = source.is_cell if options.rich is None else options.rich
    code = as_python(source.code) if rich else source.code
    tree = check_code(code, file_name=source.file_name, first_line=source.first_line, awaits=rich)
    if rich:
        has_ipython = "ipython" in " ".join(options.requirements).lower() or "IPython" in imported_names(tree)
        check_magics(tree, source.first_line, has_ipython=has_ipython)
        parts = [rich_part(code), *parts]
    parcel = parcel or Parcel()
    parts = [*parts, *parcel.parts]
    names = imported_names(tree) | parcel.modules
    local = local_files(names, source.folder)
    files = {key: _text(path) for key, path in {**local, **_asked_files(options.files, source.folder)}.items()}
    _check_places(files, source)
    metadata = {**options.metadata, **parcel.metadata, REQUEST_KEY: uuid.uuid4().hex}
    shipped: dict[str, str] = {}
    if parts:
        nonce = metadata[FRAMES_KEY] = uuid.uuid4().hex
        above = "\n" * (source.first_line - 1)
        first = _first(source, options.arg)
        show_last = rich and shows_last(source.code)
        cell = Cell(source.file_name, above + code, above + source.code, first, show_last)
        shipped = shipped_files(cell, parts, nonce)
        code, line_shift = SCRIPT, 0
    else:
        code, line_shift = _with_first_lines(source, options.arg, tree)
    request = StreamingExecutionRequest(
        code=code,
        execution_type=machine.hardware_profile,
        file_name=source.file_name,
        import_files=json.dumps({**files, **shipped}) if files or shipped else None,
        requirements_content=_requirements(options.requirements, _foreign(names, local, source.folder), source.folder),
        run_name=options.name,
        labels=options.label or None,
        metadata=metadata,
    )
    # Accounts differ in their longest run, so the limit is a setting and not the model's.
    options = options.model_copy(update={"max_cost": limits.max_cost})
    seconds, cost_binds = time_limit(options, machine, limits)
    request = request.model_copy(update={"timeout": seconds})
    return Bundle(source, options, request, machine, files, line_shift, limits.max_cost, cost_binds, parcel=parcel)


def time_limit(options: MachineOptions, machine: MachineType, limits: Limits) -> tuple[int, bool]:
    """Return the seconds that a run may take, and whether it is its maximum cost that limits them.

    Raises UsageError for more than the account allows, and for a cost that cannot be kept.
    """
    asked = _timeout(options.timeout, limits)
    seconds = asked if limits.max_cost is None else min(asked, seconds_for(machine, limits.max_cost))
    return seconds, seconds < asked


def _timeout(asked: int | None, limits: Limits) -> int:
    seconds = limits.timeout if asked is None else asked
    if not 1 <= seconds <= limits.max_timeout:
        raise UsageError(
            f"--timeout: a run may take 1 to {limits.max_timeout} s here, not {seconds}. "
            "If your account allows more: %lk_config max_timeout SECONDS."
        )
    return seconds


def _with_first_lines(source: Source, arguments: list[str], tree: ast.Module) -> tuple[str, int]:
    """Put arguments and values in front, and fill up with lines so that numbers are the author's if they can be."""
    before = source.first_line - 1
    first = _first(source, arguments)
    if not first:
        return "\n" * before + source.code, 0
    future = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    if future:  # they must stay first: the arguments follow on the last one's line
        lines = source.code.splitlines()
        last = (future[-1].end_lineno or 1) - 1
        lines[last] = f"{lines[last].partition('#')[0].rstrip()}; {first}"
        return "\n" * before + "\n".join(lines) + "\n", 0
    return f"{first}\n" + "\n" * (before - 1) + source.code, 0 if before else -1


def _first(source: Source, arguments: list[str]) -> str:
    """Return the line that runs before the code: it sets the arguments and the values."""
    argv = [f"import sys; sys.argv[1:] = {arguments!r}"] if arguments else []
    return "; ".join([*argv, *(f"{name} = {value!r}" for name, value in source.values.items())])


def _asked_files(patterns: list[str], folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for pattern in patterns:
        matches = [Path(match) for match in sorted(glob(pattern, root_dir=folder, recursive=True))]  # noqa: PTH207
        files = [match for match in matches if (folder / match).is_file()]
        if not files:
            raise UsageError(f"--files: nothing matches {pattern!r} in {folder}.")
        found.update({_key(match, folder): folder / match for match in files})
    return found


def _key(path: Path, folder: Path) -> str:
    """Return the path that a file is shipped under, which must lie below the code's folder."""
    try:
        return (folder / path).resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise UsageError(f"--files: {path} is outside {folder}; copy it there first.") from None


def _check_places(files: Mapping[str, str], source: Source) -> None:
    """Refuse files that would be in the place of the code, or of what goes along with it."""
    for key, text in files.items():
        if key.startswith(PREFIX):
            raise UsageError(f"{key}: names that begin with {PREFIX} are those of lk_jupyter there; rename the file.")
        if key == source.file_name and text.strip() != source.code.strip():
            raise UsageError(f"{key} is what the code itself is called there; rename the file, or leave it out.")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            f"{path} is not UTF-8 text, and only text can go with the code; put data in storage."
        ) from None


def _foreign(names: AbstractSet[str], local: dict[str, Path], folder: Path) -> set[str]:
    """Return the imports of the code and of its local modules that are not local themselves."""
    inner = {name for path in local.values() for name in imported_names(parse(path.read_bytes()))}
    return {name for name in names | inner if not local_files({name}, folder)}


def _requirements(asked: list[str], foreign: set[str], folder: Path) -> str | None:
    lines: list[str] = []
    for what in asked:
        if what == "auto":
            lines += installed_requirements(foreign)
        elif (folder / what).is_file():
            lines.append(_text(folder / what).rstrip())
        else:
            lines.append(_requirement(what))
    return "\n".join(lines) + "\n" if lines else None


def _requirement(what: str) -> str:
    try:
        return str(Requirement(what))
    except InvalidRequirement:
        raise UsageError(
            f"-r: {what!r} is neither a file here nor a package such as torch or {shlex.quote('torch>=2.4')}."
        ) from None
