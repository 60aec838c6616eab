"""What is shipped for one run: the code, what it needs, and the machine. Nothing is sent here."""

from __future__ import annotations
import __future__

import ast
import inspect
import json
import os
import re
import shlex
import sys
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property, reduce
from glob import escape, glob
from io import IOBase
from operator import or_
from pathlib import Path
from textwrap import dedent
from types import FunctionType
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from lk_jupyter.api.execution import StartRequest, StreamingExecutionRequest
from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.imports import imported_names, local_files
from lk_jupyter.code.ipython import as_python, check_magics, shows_last
from lk_jupyter.code.packages import installed_requirements
from lk_jupyter.code.source import Source
from lk_jupyter.code.syntax import check_code, parse
from lk_jupyter.code.variables import commands_in
from lk_jupyter.errors import UsageError
from lk_jupyter.machines.catalogue import cost_of, seconds_for
from lk_jupyter.options.runs import MachineOptions, RunOptions
from lk_jupyter.protocol.frames import FRAMES_KEY, nonce_in
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import (
    PACKAGE,
    PREFIX,
    SCRIPT,
    Cell,
    RemoteModule,
    is_internal,
    is_reserved,
    shipped_files,
)
from lk_jupyter.remote.script.files import ALL, EACH
from lk_jupyter.runs.package.rich import rich_part
from lk_jupyter.runs.variables.files import digest_files
from lk_jupyter.runs.variables.payload import VariablePayload
from lk_jupyter.text.secrets import SecretFinding, find
from lk_jupyter.text.units import credits_label, size_label

#: Bytes of a file that goes along because the code names it, and characters of such a name.
_NAMED_FILE, _LONGEST_NAME = EACH, 250

#: A pattern of files: it ends in a suffix, or begins with a folder.
_OF_FILES = re.compile(r"\.\w+$|^[\w.]+/")

#: Files that one pattern names at most.
_MATCHES = 100

#: Bytes of a file that is not text, and the part that brings such files.
_BINARY_FILE, _FILES = ALL, "script.files"

#: Folders next to the one where the code works that are not the author's.
_TAKEN = ("files", "cloudpickle", "__pycache__")

#: Packages that the status of a run names while they are installed.
_NAMED = 2


@dataclass(frozen=True)
class Limits:
    """Time limits of an account, in seconds, and what one run may cost, in credits (None: no limit)."""

    timeout: int
    max_timeout: int
    max_cost: Decimal | None = None


@dataclass(frozen=True)
class Bundle:
    """A run, complete but not sent.

    It was made from ``source`` and ``options``. ``files`` are the author's files next to the code; the request may
    hold more files of this package. ``rest`` has files that aren't text, in base64, and folders.
    Add ``line_shift`` to a line number of the uploaded script to get the author's.
    ``cost_binds`` is whether the time limit comes from ``max_cost``: the run costs that much when the time is up.
    ``secrets`` says where it seems to hold secrets; it is only sent if they are allowed.
    ``parcel`` has the variables that it brings, and the names of the variables that it sends back.
    The cell shows the addresses of ``ports``. ``hidden`` are the words of the request that are stored nowhere.
    ``phases`` is phase → seconds that it has taken so far.
    ``left_out`` are files of a folder that the code lists, which are too large or seem to hold a secret.
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
    left_out: tuple[str, ...] = ()

    def without_values(self) -> Bundle:
        """Return it without the values of the variables: a run that was sent keeps none of them in memory."""
        source, payload = replace(self.source, namespace={}), replace(self.payload, blobs=(), origin=None)
        return replace(self, source=source, payload=payload)

    @cached_property
    def timeout(self) -> int:
        """Seconds that the run may take."""
        return self.request.timeout

    @cached_property
    def worst_case(self) -> Decimal | None:
        """What the run costs if it takes all its time, in credits."""
        return cost_of(self.machine, self.timeout)

    @property
    def at_most(self) -> str:
        """What the run costs at most, in words, and which limit that is."""
        if self.worst_case is None:
            return f"price unknown, {self.timeout} s at most"
        limit = f"{'--max-cost, ' if self.cost_binds else ''}time limit {self.timeout} s"
        return f"at most {credits_label(self.max_cost if self.cost_binds else self.worst_case)} ({limit})"

    @property
    def installs(self) -> str:
        """What is installed before the run begins, in words; nothing where there is nothing to install."""
        lines = (self.request.requirements_content or "").splitlines()
        names = [match[0] for line in lines if (match := re.match(r"[A-Za-z0-9][\w.-]*", line.strip()))]
        more = f" +{len(names) - _NAMED}" if len(names) > _NAMED else ""
        return f"installing {', '.join(names[:_NAMED])}{more}" if names else ""

    @cached_property
    def nonce(self) -> str | None:
        """What the frames in the output of the run carry; None when it makes none."""
        return nonce_in(self.request.metadata)

    @cached_property
    def uploads(self) -> dict[str, bytes]:
        """The files that go along: name → content."""
        texts = {name: text.encode() for name, text in self.files.items()}
        return {**texts, **{name: b64decode(content) for name, content in self.rest.get("files", {}).items()}}

    @cached_property
    def token(self) -> str:
        """The name under which this very request can be found again."""
        return (self.request.metadata or {})[REQUEST_KEY]


def bundle(  # noqa: PLR0913 (what a run is made of)
    source: Source,
    options: RunOptions,
    machine: MachineType,
    limits: Limits,
    parts: Sequence[RemoteModule] = (),
    *,
    payload: VariablePayload | None = None,
    look: Sequence[str] = (),
) -> Bundle:
    """Build the request, with the parts that support the code in the run, and its variables.

    Raises UsageError or SyntaxError for code that can't run.
    """
    payload = payload or VariablePayload()
    carries = payload.carries
    rich = source.is_cell if options.rich is None else options.rich
    code = as_python(source.code) if rich else source.code
    tree = check_code(code, file_name=source.file_name, first_line=source.first_line, awaits=rich)
    if rich:
        has_ipython = (
            bool(options.session)
            or carries  # the run asks for it where it's missing
            or "ipython" in " ".join(options.requirements).lower()
            or "IPython" in imported_names(tree)
        )
        check_magics(tree, source.first_line, has_ipython=has_ipython)
        parts = [rich_part(), *parts]
    parts = [*([RemoteModule("script.time")] if rich and options.time else []), *parts, *payload.parts]
    names = imported_names(tree) | payload.modules
    near = _near_paths() if carries else ()
    local = local_files(names, source.folder, near)
    paths = {**local, **_asked_files(options.files, source.folder)}
    whole = ast.Module([*tree.body, *_functions_in(payload)], []) if carries else tree
    listed = _listed(tree, source.folder) if carries else {}
    if carries:
        paths = {**_named_files(whole, source.folder, payload, listed), **paths}
    files, binary = _contents(paths)
    binary |= {name: b64encode(files.pop(name).encode()).decode() for name in list(files) if name.startswith("..")}
    _check_places({**files, **binary}, source)
    folders = sorted(
        {*_named_folders(whole, source.folder, payload), *(key for key, path in listed.items() if path.is_dir())}
    )
    rest = {"files": binary, "folders": folders}
    if carries and payload.origin:
        payload = replace(payload, origin=replace(payload.origin, files=digest_files(paths, folders)))
    if binary or folders or carries:
        parts = [RemoteModule(_FILES, rest), *parts]  # before the variables: files among them are opened
    metadata = {**options.metadata, **payload.metadata, REQUEST_KEY: uuid.uuid4().hex}
    shipped: dict[str, str] = {}
    if parts:
        nonce = metadata[FRAMES_KEY] = uuid.uuid4().hex
        above = "\n" * (source.first_line - 1)
        first = _first(source, options.arg)
        show_last = rich and shows_last(source.code) and (_interactivity() if source.is_cell else True)
        by_statement = rich and source.is_cell
        flags = _future(source.namespace) if by_statement else 0
        cell = Cell(source.file_name, above + code, above + source.code, first, show_last, by_statement, flags)
        shipped = shipped_files(cell, parts, nonce, look)
        code, line_shift = SCRIPT, 0
    else:
        code, line_shift = _with_first_lines(source, options.arg, tree)
    request = StreamingExecutionRequest(
        code=code,
        execution_type=machine.hardware_profile,
        file_name=source.file_name,
        import_files=json.dumps({**files, **shipped}) if files or shipped else None,
        requirements_content=_requirements(
            options.requirements, _foreign(names, local, source.folder, near), source.folder
        ),
        run_name=options.name,
        labels=options.label or None,
        metadata=metadata,
    )
    # Accounts differ in their longest run, so the limit is a setting and not the model's.
    options = options.model_copy(update={"max_cost": limits.max_cost})
    seconds, cost_binds = time_limit(options, machine, limits)
    request = request.model_copy(update={"timeout": seconds})
    return Bundle(
        source,
        options,
        request,
        machine,
        files,
        line_shift,
        limits.max_cost,
        cost_binds,
        payload=payload,
        rest=rest,
        left_out=tuple(key for key, path in listed.items() if key not in paths and path.is_file()),
    )


def time_limit(options: MachineOptions, machine: MachineType, limits: Limits) -> tuple[int, bool]:
    """Return the seconds that a run may take, and whether it is its maximum cost that limits them.

    Raises UsageError for more than the account allows, and for a cost that cannot be kept.
    """
    asked = limits.timeout if options.timeout is None else options.timeout
    if not 1 <= asked <= limits.max_timeout:
        raise UsageError(
            f"--timeout must be 1 to {limits.max_timeout} s here, got {asked} s. Nothing was sent. If your "
            "account allows more: %lk_config max_timeout SECONDS"
        )
    seconds = asked if limits.max_cost is None else min(asked, seconds_for(machine, limits.max_cost))
    return seconds, seconds < asked


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
            raise UsageError(f"--files: no file matches '{pattern}' in {folder}. Nothing was sent.")
        found.update({_key(match, folder): folder / match for match in files})
    return found


#: Lines of the shell, functions and methods that list a folder.
_LISTS = re.compile(r"(?:ls|ll|dir)\b([^|;&>]*)")
_LISTING = {"listdir", "scandir", "walk", "iterdir", "glob", "iglob", "rglob", "fwalk"}


def _listed(tree: ast.Module, folder: Path) -> dict[str, Path]:
    """Return what is in the folders that the code lists, as in ``!ls`` and ``os.listdir("data")``: key → path."""
    found: dict[str, Path] = {}
    places: list[str] = []
    for text in commands_in(tree):
        if listing := _LISTS.fullmatch(text.partition("|")[0].strip()):
            places += [word.strip("'\"") for word in listing[1].split() if not word.startswith("-")] or ["."]
    for call in [node for node in ast.walk(tree) if isinstance(node, ast.Call)]:
        if getattr(call.func, "attr", getattr(call.func, "id", "")) in _LISTING:
            texts = [part.value for part in ast.walk(call) if isinstance(part, ast.Constant)]
            places += [text for text in texts if isinstance(text, str)] or ["."]
    for place in dict.fromkeys(place.rstrip("*") or "." for place in places if len(place) < _LONGEST_NAME):
        with suppress(OSError, ValueError, UsageError):
            inside = _key(Path(place), folder) if (folder / place).is_dir() else None
            for path in sorted((folder / inside).glob("*"))[:_MATCHES] if inside else ():
                if not (path.name.startswith((".", "__pycache__")) or is_reserved(path.name)):
                    found[_key(path, folder)] = path
    return found


def _named_files(
    tree: ast.Module, folder: Path, payload: VariablePayload, listed: Mapping[str, Path]
) -> dict[str, Path]:
    """Return the small files next to the notebook that the code or its variables name, as in ``read_csv("data.csv")``.

    Names may be patterns, or have values in them: ``f"part{i}.txt"`` names all files that it may mean. ``listed`` is
    what folders hold that the code lists.
    """
    found: dict[str, Path] = {}
    texts = _texts(tree, payload)
    named = [*sorted(texts), *(f"{place}/{text}" for place in _folders_in(texts, folder) for text in sorted(texts))]
    left = _BINARY_FILE
    safe = [key for key, path in listed.items() if not _holds_secret(path)]
    matches = _matching([*map(escape, [*named, *safe]), *sorted(_patterns(tree))], folder)
    for match in (*matches, *sorted(payload.named_files)):
        with suppress(OSError, ValueError, UsageError):
            path, key = folder / match, _near_key(Path(match), folder)
            size = path.stat().st_size if path.is_file() and key not in found else _NAMED_FILE + 1
            if size <= min(_NAMED_FILE, left) and not is_internal(key):
                found[key] = path
                left -= size
    return found


def _matching(patterns: Iterable[str], folder: Path) -> Iterator[str]:
    """Yield what patterns match in a folder, of each the first by name."""
    for pattern in patterns:
        with suppress(OSError, ValueError):
            yield from sorted(glob(pattern, root_dir=folder))[:_MATCHES]  # noqa: PTH207 (relative to the folder)


def _holds_secret(path: Path) -> bool:
    """Whether a small file seems to hold a secret; if the code only lists it, it is left out without a question."""
    with suppress(OSError, ValueError):
        return path.is_file() and path.stat().st_size <= _NAMED_FILE and bool(find(path.read_text(encoding="utf-8")))
    return False


def _functions_in(payload: VariablePayload) -> Iterator[ast.stmt]:
    """Yield the functions and methods of the notebook that go along: they may open files too."""
    values = list(payload.origin.values.values()) if payload.origin else []
    kinds = {value if isinstance(value, type) else type(value) for value in values}
    own = [part for kind in kinds if kind.__module__ == "__main__" for part in vars(kind).values()]
    for value in (*values, *own):
        with suppress(Exception):  # no text is known, or the value answers as it likes
            method = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
            method = method.fget if isinstance(method, property) else method
            function = getattr(method, "__wrapped__", method)
            if isinstance(function, FunctionType) and function.__module__ == "__main__":
                yield from ast.parse(dedent(inspect.getsource(function))).body


def _interactivity() -> bool | str:
    """Return whether the notebook shows the last expression of a cell, or ``all``."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    how: str = getattr(shell, "ast_node_interactivity", "")
    return how if how == "all" else how != "none"


def _future(namespace: Mapping[str, Any]) -> int:
    """Return the flags of what cells have imported from the future, which holds for the cells after them."""
    found = [value for value in list(namespace.values()) if isinstance(value, __future__._Feature)]
    return reduce(or_, [feature.compiler_flag for feature in found], 0)


def _near_paths() -> Iterable[str]:
    """Return the folders near the code that it has added to the path of modules."""
    from lk_jupyter.remote import ambient  # noqa: PLC0415 (imports what only this needs)

    return [path for path in ambient.added_paths() if Path(path).is_dir() and not Path(path).is_absolute()]


def _near_key(path: Path, folder: Path) -> str:
    """Return the path that a named file is shipped under: below the code's folder, or next to it."""
    parts = Path(os.path.normpath(path)).parts
    if parts[:1] != ("..",):
        return _key(path, folder)
    if len(parts) < 2 or parts[1] in ("..", *_TAKEN) or is_reserved(parts[1]):
        raise UsageError(f"'{path}' is too far from {folder}. Nothing was sent.")
    return "/".join(parts)


def _texts(tree: ast.Module, payload: VariablePayload) -> set[str]:
    """Return the texts that may name a file, or a file in a folder: of the code, its variables, and files in these."""
    values = list(payload.origin.values.values()) if payload.origin else []
    inner = [item for value in values if type(value) in (list, tuple) and len(value) <= _MATCHES for item in value]
    named = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    own = [str(value) for value in (*values, *inner) if isinstance(value, (str, Path))]
    held = list(payload.origin.tokens.values()) if payload.origin else []
    opened = [value.fid if type(value).__name__ == "NpzFile" else value for value in held]
    own += [str(value.name) for value in opened if isinstance(value, IOBase) and hasattr(value, "name")]
    own += [path for value in held for path in _database_files(value)]
    texts = {text for text in (*named, *own) if 0 < len(text) < _LONGEST_NAME and "\n" not in text}
    words = {word.strip("'\"") for text in commands_in(tree) for word in text.split()}  # !head name
    return texts | words | {f"{word}.py" for word in words}  # %run name


def _database_files(value: object) -> list[str]:
    """Return the file to which a connection of SQLite is open, from the folder where the code works."""
    kind = getattr(sys.modules.get("sqlite3"), "Connection", None)
    if kind is None or type(value) is not kind:
        return []
    with suppress(Exception):  # it is closed
        from lk_jupyter.remote.carry.kinds import databases  # noqa: PLC0415 (imports cloudpickle)

        return [os.path.relpath(path) for path in databases.database_files(value).values() if path]
    return []


def _patterns(tree: ast.Module) -> set[str]:
    """Return patterns of the files that the code may name: its own, and texts with values in them.

    A pattern ends like a file or begins like a folder: a label such as ``f"{a}_{b}"`` names no file.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values]
            found.add("".join(escape(part) if part != "*" else part for part in parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "*" in node.value:
            found.add(node.value)
    found |= {word for text in commands_in(tree) for word in text.split() if "*" in word}  # !cat *.txt
    plain = {text for text in found if len(text) < _LONGEST_NAME and "\n" not in text and "**" not in text}
    return {text for text in plain if _OF_FILES.search(text) and not text.startswith(("/", "~"))}


def _named_folders(tree: ast.Module, folder: Path, payload: VariablePayload) -> list[str]:
    """Return the folders next to the notebook that the code or its variables name, where it may write a file."""
    if not (payload.carries and payload.origin):
        return []
    return _folders_in({*_texts(tree, payload), *map(os.path.dirname, payload.named_files)}, folder)


def _folders_in(texts: AbstractSet[str], folder: Path) -> list[str]:
    found = set()
    for path in {path for text in texts for path in (Path(text), Path(text).parent)}:
        with suppress(OSError, ValueError, UsageError):
            if not path.is_absolute() and (folder / path).is_dir():
                found.add(_key(path, folder))
    return sorted(found - {"."})


def _contents(paths: Mapping[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts of files, and the others in base64."""
    texts: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, path in paths.items():
        content = path.read_bytes()
        try:
            texts[key] = content.decode("utf-8")
        except UnicodeDecodeError:
            if len(content) > _BINARY_FILE:
                raise UsageError(
                    f"'{path}' isn't UTF-8 text and is larger than {size_label(_BINARY_FILE)}. Nothing was sent. "
                    f"Upload it to the bucket: %lk_put {path}"
                ) from None
            binary[key] = b64encode(content).decode()
    return texts, binary


def _key(path: Path, folder: Path) -> str:
    """Return the path that a file is shipped under, which must lie below the code's folder."""
    try:
        return (folder / path).resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise UsageError(f"--files: '{path}' is outside {folder}. Nothing was sent. Copy it there first.") from None


def _check_places(files: Mapping[str, str], source: Source) -> None:
    """Refuse files that would be in the place of the code, or of what goes along with it."""
    for key, text in files.items():
        if is_internal(key):
            raise UsageError(
                f"'{key}': {PACKAGE} and names starting with {PREFIX} are reserved for lk_jupyter. "
                "Nothing was sent. Rename the file."
            )
        if key == source.file_name and text.strip() != source.code.strip():
            raise UsageError(
                f"'{key}' is the name of the code in the run. Nothing was sent. Rename the file, or leave it out."
            )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(
            f"-r: '{path}' isn't UTF-8 text, so it lists no packages. Nothing was sent. Name the packages: -r NAME"
        ) from None


def _foreign(names: AbstractSet[str], local: dict[str, Path], folder: Path, near: Iterable[str]) -> set[str]:
    """Return the imports of the code and of its local modules that are not local themselves."""
    inner = {name for path in local.values() for name in imported_names(parse(path.read_bytes()))}
    return {name for name in names | inner if not local_files({name}, folder, near)}


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
            f"-r: '{what}' is neither a file here nor a package. Nothing was sent. Example: -r "
            f"{shlex.quote('torch>=2.4')}"
        ) from None
