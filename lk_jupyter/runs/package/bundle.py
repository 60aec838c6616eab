"""The bundle of a run: code, files, packages, variables and machine in one request. Nothing is sent here."""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
import uuid
from base64 import b64decode
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement

from lk_jupyter.api.execution import StartRequest, StreamingExecutionRequest
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.imports import imported_names, local_files
from lk_jupyter.code.ipython import check_magics, replace_ipython_syntax, shows_last
from lk_jupyter.code.packages import installed_requirements, normalize_name, refuse_similar
from lk_jupyter.code.project_lock import ProjectLock, find_project_lock
from lk_jupyter.code.script_block import ScriptBlock
from lk_jupyter.code.source import Source
from lk_jupyter.code.syntax import check_code, future_features, parse
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import cost_at_limit, machine_cost, seconds_for
from lk_jupyter.options.runs import MachineOptions, RunOptions
from lk_jupyter.protocol.frames import FRAMES_KEY, read_nonce
from lk_jupyter.protocol.metadata import LOCK_KEY, REQUEST_KEY
from lk_jupyter.protocol.parts import SCRIPT, Cell, RemoteModule, build_run_files
from lk_jupyter.protocol.vm_run import SETUP_SECONDS
from lk_jupyter.runs.package.image import image_request
from lk_jupyter.runs.package.named_files import RunFiles, collect_files
from lk_jupyter.runs.package.packages_plan import build_plan
from lk_jupyter.runs.package.rich import rich_part
from lk_jupyter.runs.package.secrets import PART as SECRETS
from lk_jupyter.runs.variables.files import digest_files
from lk_jupyter.runs.variables.payload import VariablePayload
from lk_jupyter.text.secrets import SecretFinding
from lk_jupyter.text.units import credits_label

if TYPE_CHECKING:
    from lk_jupyter.vms.offers import VmOffer
    from lk_jupyter.vms.volumes import RunVolume

#: The modules that write uploaded files in the run, and that restore or install packages.
_FILES, PACKAGES = "script.files", "script.packages"

#: The module that runs the code in several processes.
RANKS = "script.ranks"

#: The maximum number of packages in the status line during an installation.
_MAX_NAMES = 2


@dataclass(frozen=True)
class Limits:
    """Time limits of an account, in seconds, and the maximum cost of a run, in credits (None: no limit).

    ``setup`` are seconds that are billed besides the time limit, for a VM that starts and ends.
    """

    timeout: int
    max_timeout: int
    max_cost: Decimal | None = None
    setup: int = 0


@dataclass(frozen=True)
class Bundle:
    """A run that is complete and not sent, built from ``source`` and ``options``.

    - ``files``: the author's text files next to the code; the request may contain more files of lk_jupyter.
    - ``rest``: files that aren't text, in base64, and folders.
    - ``line_shift``: add this to a line number of the uploaded script to get the author's line number.
    - ``cost_binds``: whether the time limit results from ``max_cost``, so that the run costs that much at its limit.
    - ``secrets``: places that seem to contain a secret; the run is only sent if the user allows them.
    - ``payload``: the uploaded variables, and the names of the returned variables.
    - ``ports``: ports whose addresses the cell shows.
    - ``hidden``: words of the request that must not be stored.
    - ``phases``: phase → seconds so far.
    - ``skipped_files``: files of listed folders that are too large or seem to contain a secret.
    - ``vm_offer``: the VM that is rented for the run; ``vm_allowed``: whether the user has agreed to its price;
      ``vm_volume``: the volume that the VM gets. ``vm_allowed`` is also the consent to the price of a relay.
    - ``frames_token``: the token of the relay that reads the frames of the run; empty for the token of the run.
    - ``named_files``: uploaded files that only the text of the code names, not an option or an import.
    - ``block``: the script block with packages and limits; ``block_request`` describes what the user must allow of it.
    - ``machine_reason``: why the machine was chosen; empty for a machine that the user named.
    """

    source: Source
    options: MachineOptions
    request: StartRequest
    machine: MachineType
    files: dict[str, str]
    line_shift: int
    max_cost: Decimal | None = None
    cost_binds: bool = False
    secrets: tuple[SecretFinding, ...] = ()
    secrets_allowed: bool = False
    payload: VariablePayload = field(default_factory=VariablePayload)
    ports: tuple[int, ...] = ()
    rest: dict[str, Any] = field(default_factory=dict, repr=False)
    hidden: tuple[str, ...] = field(default=(), repr=False)
    phases: dict[str, float] = field(default_factory=dict, repr=False, compare=False)
    skipped_files: tuple[str, ...] = ()
    named_files: tuple[str, ...] = ()
    block: ScriptBlock | None = None
    block_request: str = ""
    machine_reason: str = ""
    vm_offer: VmOffer | None = None
    vm_allowed: bool = False
    vm_volume: RunVolume | None = None
    frames_token: str = ""

    def remove_values(self) -> Bundle:
        """Return the bundle without the values of variables, so that an active run keeps no values in memory."""
        source, payload = replace(self.source, namespace={}), replace(self.payload, blobs=(), origin=None)
        return replace(self, source=source, payload=payload)

    @cached_property
    def timeout(self) -> int:
        """Return the time limit of the run, in seconds."""
        return self.request.timeout

    @cached_property
    def worst_case(self) -> Decimal | None:
        """Return the highest bill of the run, in credits; None without a published price."""
        if self.vm_offer:  # deletes itself at this time
            return machine_cost(self.machine, self.timeout + SETUP_SECONDS)
        return cost_at_limit(self.machine.price_per_hour, self.timeout)

    @property
    def quote(self) -> Decimal | None:
        """Return the highest cost that the user was shown, in credits; None without a published price."""
        return self.max_cost if self.cost_binds else self.worst_case

    @property
    def at_most(self) -> str:
        """Describe the highest possible cost of the run, and the limit that determines this cost."""
        if self.worst_case is None:
            return f"price unknown, {self.timeout} s at most"
        limit = f"{'--max-cost, ' if self.cost_binds else ''}time limit {self.timeout} s"
        return f"at most {credits_label(self.quote)} ({limit})"

    @property
    def max_cost_example(self) -> str:
        """Return a value of ``--max-cost`` that pays for the time limit; CREDITS without a published price."""
        return "CREDITS" if self.worst_case is None else f"{self.worst_case:.2f}"

    @property
    def installs(self) -> str:
        """Describe the packages that are installed before the run starts; empty without packages."""
        lines = (self.request.requirements_content or "").splitlines()
        names = [match[0] for line in lines if (match := re.match(r"[A-Za-z0-9][\w.-]*", line.strip()))]
        more = f" +{len(names) - _MAX_NAMES}" if len(names) > _MAX_NAMES else ""
        return f"installing {', '.join(names[:_MAX_NAMES])}{more}" if names else ""

    @cached_property
    def nonce(self) -> str | None:
        """Return the nonce of the frames in the output of the run; None if the run writes no frames."""
        return read_nonce(self.request.metadata)

    @cached_property
    def uploads(self) -> dict[str, bytes]:
        """Return the uploaded files: name → content."""
        texts = {name: text.encode() for name, text in self.files.items()}
        return {**texts, **{name: b64decode(content) for name, content in self.rest.get("files", {}).items()}}

    @property
    def input_bytes(self) -> int:
        """Return the bytes of the uploaded variables and files."""
        return sum(each.size for each in self.payload.inputs) + sum(map(len, self.uploads.values()))

    @property
    def allows_secrets(self) -> bool:
        """Return whether the user allows secrets in the code, which the record of the run contains."""
        return self.secrets_allowed or bool(getattr(self.options, "allow_secrets", False))

    @cached_property
    def token(self) -> str:
        """Return the mark in the metadata by which the request is found again."""
        return (self.request.metadata or {})[REQUEST_KEY]


@dataclass(frozen=True)
class BundleBuilder:
    """Build the bundle of a run of code, in steps.

    - ``parts``: modules of ``remote`` that support the code in the run.
    - ``payload``: the variables of the run.
    - ``bucket_folders``: folders that the run tests for the bucket.
    - ``block``: the script block of the code or the notebook.
    - ``keeps_packages``: whether the run restores its packages from the bucket, and keeps new packages there.
    - ``image_mount``: the folder at which an image sees the bucket, for a run in the image of the options.
    """

    source: Source
    options: RunOptions
    machine: MachineType
    limits: Limits
    parts: Sequence[RemoteModule] = ()
    payload: VariablePayload = field(default_factory=VariablePayload)
    bucket_folders: Sequence[str] = ()
    block: ScriptBlock | None = None
    keeps_packages: bool = False
    image_mount: str = ""

    def build(self) -> Bundle:
        """Return the bundle. Raises UsageError or SyntaxError for code that can't run."""
        tree = self._parse_code()
        modules = imported_names(tree) | self.payload.modules
        files = collect_files(self.source, tree, modules, self.options.files, self.payload)
        payload = self._add_file_digests(files)
        rest = {"files": files.binary, "folders": files.folders}
        metadata = {**self.options.metadata, **payload.metadata, REQUEST_KEY: uuid.uuid4().hex}
        if self._lock:
            metadata[LOCK_KEY] = self._lock.label
        code, line_shift, remote_files = self._build_script(tree, self._select_parts(rest), metadata)
        seconds, cost_binds = time_limit(self.options, self.machine, self.limits)
        requirements = self._list_requirements(modules, files)
        if self.image_mount and requirements:  # the run itself installs them
            remote_files, requirements = {**remote_files, **build_plan(requirements, seconds)}, None
        request = StreamingExecutionRequest(
            code=code,
            execution_type=self.machine.hardware_profile,
            file_name=self.source.file_name,
            import_files=json.dumps({**files.texts, **remote_files}) if files.texts or remote_files else None,
            requirements_content=requirements,
            run_name=self.options.name,
            labels=self.options.label or None,
            metadata=metadata,
        )
        start_request: StartRequest = request
        if self.image_mount:
            start_request = image_request(request, self.options.image or "", self.image_mount, metadata[REQUEST_KEY])
        return Bundle(
            source=self.source,
            options=self.options.model_copy(update={"max_cost": self.limits.max_cost}),
            # Accounts differ in their longest run, so the limit is a setting, which the model doesn't validate.
            request=start_request.model_copy(update={"timeout": seconds}),
            machine=self.machine,
            files=files.texts,
            line_shift=line_shift,
            max_cost=self.limits.max_cost,
            cost_binds=cost_binds,
            payload=payload,
            rest=rest,
            skipped_files=files.skipped,
            named_files=files.named,
            block=self.block,
        )

    @property
    def _is_rich(self) -> bool:
        return self.source.is_cell if self.options.rich is None else self.options.rich

    @cached_property
    def _python(self) -> str:
        return replace_ipython_syntax(self.source.code) if self._is_rich else self.source.code

    def _parse_code(self) -> ast.Module:
        """Return the syntax tree of the code, whose magics the run must know."""
        source, options = self.source, self.options
        tree = check_code(self._python, file_name=source.file_name, first_line=source.first_line, awaits=self._is_rich)
        if self._is_rich:
            has_ipython = (
                bool(options.session)
                or self.payload.carries  # the run reports a missing IPython
                or "ipython" in " ".join(options.requirements).lower()
                or "IPython" in imported_names(tree)
            )
            check_magics(tree, source.first_line, has_ipython=has_ipython)
        return tree

    def _add_file_digests(self, files: RunFiles) -> VariablePayload:
        """Return the payload with the digests of the uploaded files, which the run may change."""
        if not (self.payload.carries and self.payload.origin):
            return self.payload
        origin = replace(self.payload.origin, files=digest_files(files.paths, files.folders))
        return replace(self.payload, origin=origin)

    def _select_parts(self, rest: dict[str, Any]) -> list[RemoteModule]:
        """Return the modules of ``remote`` for the run, in the order in which the run starts them."""
        parts = [*([rich_part()] if self._is_rich else []), *self.parts, *self.payload.parts]
        if self._is_rich and self.options.time:
            parts.insert(0, RemoteModule("script.time"))
        if rest["files"] or rest["folders"] or self.payload.carries:
            parts.insert(0, RemoteModule(_FILES, rest))  # before the variables, which may open these files
        if (self.keeps_packages or self.image_mount) and (
            self.options.requirements or (self.block and self.block.dependencies)
        ):
            parts.insert(0, RemoteModule(PACKAGES, {}, ("script.links", "script.late", "values")))
        if (self.options.nproc or 1) > 1:
            parts.append(RemoteModule(RANKS, {"count": self.options.nproc}))  # last: all ranks have variables and files
        return sorted(parts, key=lambda part: part.name != SECRETS)  # before the packages, whose build runs code

    def _build_script(
        self, tree: ast.Module, parts: list[RemoteModule], metadata: dict[str, str]
    ) -> tuple[str, int, dict[str, str]]:
        """Return the script, its line shift and its files. Set the nonce in ``metadata`` if the run writes frames."""
        source = self.source
        if not parts:
            return *_prepend_values(source, self.options.arg, tree), {}
        nonce = metadata[FRAMES_KEY] = uuid.uuid4().hex
        above = "\n" * (source.first_line - 1)
        is_cell = self._is_rich and source.is_cell
        cell = Cell(
            name=source.file_name,
            text=above + self._python,
            source=above + source.code,
            first=_format_value_line(source, self.options.arg),
            show_last=self._is_rich and shows_last(source.code) and (_read_interactivity() if source.is_cell else True),
            is_cell=is_cell,
            flags=_read_future_flags(source.namespace) if is_cell else 0,
        )
        return SCRIPT, 0, build_run_files(cell, parts, nonce, self.bucket_folders)

    def _list_requirements(self, modules: AbstractSet[str], files: RunFiles) -> str | None:
        """Return the requirements of the run, one on each line; None without requirements."""
        folder, lock = self.source.folder, self._lock
        dependencies = self.block.dependencies if self.block else ()
        lines = list(map(_parse_requirement, dependencies))
        for requirement in self.options.requirements:
            if requirement == "auto":
                foreign = _list_foreign_modules(modules, files, folder)
                listed = [*self.options.requirements, *dependencies, *(lock.versions if lock else ())]
                lines += installed_requirements(foreign, listed)
            elif requirement == PROJECT:
                continue
            elif (folder / requirement).is_file():
                lines.append(_read_requirements(folder / requirement).rstrip())
            else:
                lines.append(_parse_requirement(requirement))
        if lock:
            lines = [lock.requirements.rstrip(), *_list_unlocked_requirements(lock, lines)]
        return "\n".join(lines) + "\n" if lines else None

    @cached_property
    def _lock(self) -> ProjectLock | None:
        return find_project_lock(self.source.folder) if PROJECT in self.options.requirements else None


#: The requirement that selects the lock of the project.
PROJECT = "project"


def _list_unlocked_requirements(lock: ProjectLock, lines: list[str]) -> list[str]:
    """Return the requirements that a lock doesn't have. Raises UsageError for such a package next to hashes."""
    missing = [line for line in lines if not _is_locked(lock, line)]
    if missing and lock.has_hashes:
        raise UsageError(
            f"-r: '{missing[0]}' isn't in '{lock.path}', which must contain a hash of each package. Nothing was "
            f"sent. Add it to the project: uv add {shlex.quote(missing[0])}"
        )
    return missing


def _is_locked(lock: ProjectLock, line: str) -> bool:
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return False
    version = lock.versions.get(normalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def time_limit(options: MachineOptions, machine: MachineType, limits: Limits) -> tuple[int, bool]:
    """Return the time limit of a run in seconds, and whether the limit results from the maximum cost.

    Raises UsageError for a limit above the limit of the account, and for a cost that is too low.
    """
    timeout = limits.timeout if options.timeout is None else options.timeout
    require_allowed_timeout(timeout, limits.max_timeout)
    if limits.max_cost is None:
        return timeout, False
    seconds = min(timeout, seconds_for(machine, limits.max_cost) - limits.setup)
    if seconds < 1:
        raise UsageError(
            f"--max-cost {limits.max_cost:f} doesn't pay for the start of a VM. Nothing was sent. Raise --max-cost."
        )
    return seconds, seconds < timeout


def require_allowed_timeout(timeout: int, most: int) -> None:
    """Refuse a time limit, in seconds, above the limit of the account. Raises UsageError."""
    if not 1 <= timeout <= most:
        raise UsageError(
            f"--timeout must be 1 to {most} s here, got {timeout} s. Nothing was sent. If your "
            "account allows more: %lk_config max_timeout SECONDS. To run for longer, rent a VM: --on vm"
        )


def _prepend_values(source: Source, arguments: list[str], tree: ast.Module) -> tuple[str, int]:
    """Return code that sets arguments and values first, and its line shift.

    Empty lines keep the author's line numbers where possible.
    """
    before = source.first_line - 1
    first = _format_value_line(source, arguments)
    if not first:
        return "\n" * before + source.code, 0
    future = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    if future:  # these imports must stay first: the arguments follow on the last import's line
        lines = source.code.splitlines()
        last = (future[-1].end_lineno or 1) - 1
        lines[last] = f"{lines[last].partition('#')[0].rstrip()}; {first}"
        return "\n" * before + "\n".join(lines) + "\n", 0
    return f"{first}\n" + "\n" * (before - 1) + source.code, 0 if before else -1


def _format_value_line(source: Source, arguments: list[str]) -> str:
    """Return the line that sets arguments and values before the code runs."""
    argv = [f"import sys; sys.argv[1:] = {arguments!r}"] if arguments else []
    return "; ".join([*argv, *(f"{name} = {value!r}" for name, value in source.values.items())])


def _read_interactivity() -> bool | str:
    """Return whether the notebook shows the last expression of a cell, or ``all``."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    mode: str = getattr(shell, "ast_node_interactivity", "")
    return mode if mode == "all" else mode != "none"


def _read_future_flags(namespace: Mapping[str, Any]) -> int:
    """Return the compiler flags of ``__future__`` features that earlier cells imported: later cells have them too."""
    return reduce(or_, [feature.compiler_flag for feature in future_features(list(namespace.values()))], 0)


def _list_foreign_modules(modules: AbstractSet[str], files: RunFiles, folder: Path) -> set[str]:
    """Return the imports of the code and of its local modules that aren't local modules."""
    inner = {name for path in files.local_modules.values() for name in imported_names(parse(path.read_bytes()))}
    return {name for name in modules | inner if not local_files({name}, folder, files.import_folders)}


def _read_requirements(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            f"-r: '{path}' isn't UTF-8 text, so it lists no packages. Nothing was sent. Name the packages: -r NAME"
        ) from None


def _parse_requirement(requirement: str) -> str:
    try:
        parsed = Requirement(requirement)
    except InvalidRequirement:
        raise UsageError(
            f"-r: '{requirement}' is neither a file here nor a package. Nothing was sent. Example: -r "
            f"{shlex.quote('torch>=2.4')}"
        ) from None
    if not (parsed.specifier or parsed.url):
        refuse_similar(parsed.name)
    return str(parsed)
