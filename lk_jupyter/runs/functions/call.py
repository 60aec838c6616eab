"""Call a Python function as a run: build the request, and read the answer."""

from __future__ import annotations

import inspect
import pickletools
import sys
import uuid
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import cloudpickle

from lk_jupyter.code.imports import imported_names, providers
from lk_jupyter.code.syntax import call_without_warnings, parse
from lk_jupyter.errors import LkError, NoSuchObject, RunFailed, UsageError
from lk_jupyter.protocol.bucket import answer_key, call_key
from lk_jupyter.protocol.parts import CLOUDPICKLE, PACKAGE, RemoteModule
from lk_jupyter.remote import sign
from lk_jupyter.remote.values import pickle as pickles
from lk_jupyter.runs.package.secret_scan import scan_variable
from lk_jupyter.runs.submit.upload import CALL
from lk_jupyter.runs.variables.download import CHANGED, DELETED, UNSIGNED, matches_record
from lk_jupyter.text.secrets import SecretFinding, redact

if TYPE_CHECKING:
    from lk_jupyter.runs.run import Run
    from lk_jupyter.storage.storage import Storage

#: Bytes: larger calls are uploaded to the bucket; the journal stores smaller calls with their requests.
INLINE = 1 << 18

FRAME = "call"

#: The type of a message with entries of items before the answer, as in ``script.session``.
ITEMS = "application/vnd.lk.items+json"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"

#: The code of the run, which calls the uploaded module.
CODE = f"import {PACKAGE}.{CALL}\n{PACKAGE}.{CALL}.run()\n"

#: File name of a function that isn't defined in a file, such as a function of a notebook.
CELL = "cell.py"

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


class RemoteTraceback(Exception):
    """Contain the traceback of the remote error, as the cause of the error that is raised in this process."""

    @property
    def tb(self) -> str:
        """The text of the traceback, redacted."""
        return redact(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return f"\n{self.tb}"


@dataclass(frozen=True)
class ItemError:
    """The error of an item of a map."""

    error: BaseException


@dataclass
class StoredCall:
    """A call whose answer is also stored in the bucket, for a process that continues the map.

    ``on_send`` is called with the id of the run before the call is sent. ``entries`` arrive before the answer: the
    entries of the first items.
    """

    on_send: Callable[[str], object]
    entries: list[Any] = field(default_factory=list)

    def add_message(self, content: Mapping[str, Any]) -> None:
        """Add the entries in a verified message of a machine; a message after a lost message is ignored."""
        items = content.get("data", {}).get(ITEMS)
        if items and items["first"] == len(self.entries):
            self.entries += [a2b_base64(row["result"]) if "result" in row else row for row in items["entries"]]


@dataclass(frozen=True)
class FunctionCall:
    """Pack a function and its calls.

    ``text`` is the source of the function, if known. ``modules`` are the local modules that the run needs,
    ``package_modules`` the modules of packages that the run may need. With ``by_item``, the answer has an entry for
    each item, see ``read_item``; after ``seconds``, the answer has the entries of the first items. ``stored`` is the
    state of a call whose answer is stored.
    """

    name: str
    payload: bytes
    text: TextArgument
    modules: frozenset[str]
    package_modules: frozenset[str]
    secrets: tuple[SecretFinding, ...] = ()
    by_item: bool = False
    seconds: float | None = None
    stored: StoredCall | None = None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def pack(cls, function: Callable[..., Any], calls: Iterable[Arguments], folder: Path) -> FunctionCall:
        """Pack calls. Raises UsageError for objects that can't be pickled."""
        named = function.func if isinstance(function, partial) else function
        name = getattr(named, "__qualname__", None) or type(named).__name__
        calls = list(calls)
        try:
            payload = cloudpickle.dumps((function, calls))
        except Exception as error:  # noqa: BLE001 (objects raise what they like when they are packed)
            raise UsageError(f"{name} or one of its arguments can't be pickled: {error}. Nothing was sent.") from None
        text, imports = TextArgument.read(function), _find_names(payload)
        modules = [(name, module) for name, module in list(sys.modules.items()) if "." not in name]
        local = {name for name, module in modules if is_below(module, folder)}
        package_modules = frozenset(imports & sys.modules.keys() - local)
        return cls(name, payload, text, frozenset(imports & local), package_modules, scan_variable(f"of {name}", calls))

    @property
    def code(self) -> str:
        """The code of the run, below the source of the function for readers; the imports upload local modules."""
        comment = "".join(f"# {line}".rstrip() + "\n" for line in self.text.source.splitlines())
        return comment + "".join(f"import {name}\n" for name in sorted(self.modules)) + CODE

    @property
    def imports(self) -> frozenset[str]:
        """The packages that the function imports, as far as known."""
        return (self.package_modules & providers().keys()) | (self.text.imports - self.modules)

    @property
    def is_large(self) -> bool:
        """Whether the call is too large for the request, and is uploaded to the bucket."""
        return len(self.payload) > INLINE

    def part(self) -> RemoteModule:
        """Return the part that makes the call in the run."""
        data: dict[str, Any] = {"data": b2a_base64(self.payload, newline=False).decode()}
        if self.is_large:
            data = {"size": len(self.payload), "sha256": sha256(self.payload).hexdigest()}
        items: dict[str, Any] = {"seconds": self.seconds} if self.by_item else {}
        if self.stored:
            items["stored"] = True
        settings = {"python": PYTHON, "token": self.token, **asdict(self.text), **data, **items}
        return RemoteModule(CALL, settings, (CLOUDPICKLE,))

    def store(self, storage: Storage) -> None:
        """Upload the call to the bucket. Raises StorageError."""
        storage.put(self.payload, call_key(self.token))


@dataclass(frozen=True)
class TextArgument:
    """Store the text of a function: its file and its first line in that file; empty if unknown."""

    file: str = ""
    line: int = 1
    source: str = ""

    @classmethod
    def read(cls, function: Callable[..., Any]) -> TextArgument:
        """Find the text of a function."""
        with suppress(OSError, TypeError):
            lines, first = call_without_warnings(lambda: inspect.getsourcelines(function))
            file = Path(inspect.getfile(function))
            return cls(file.name if file.is_file() else CELL, first, "".join(lines))
        return cls()

    @property
    def imports(self) -> frozenset[str]:
        """The modules that its body imports."""
        with suppress(SyntaxError):  # such as a lambda's, which is part of a line
            return imported_names(parse(dedent(self.source)))
        return frozenset()


def read_answer(run: Run, call: FunctionCall, storage: Callable[[], Storage]) -> list[Any]:
    """Return the results of the calls of a run that has ended.

    Raises the error of a call, with the traceback from the run as its cause; RunFailed or RunAborted
    for a run that ended without an answer; StorageError.
    """
    frame = next(iter(run.messages.read_from_log(FRAME)), None)
    if frame and frame.kind != FRAME:
        raise RunFailed(f"The answer of run {run.short_id} {UNSIGNED}.", execution_id=run.execution_id)
    return read_payload(run, call, frame.payload if frame else {}, storage)


def read_payload(run: Run, call: FunctionCall, payload: Mapping[str, Any], storage: Callable[[], Storage]) -> list[Any]:
    """Return the results in a verified answer. Raises as ``read_answer``."""
    try:
        if "error" in payload or "excess" in payload:
            raise _load_error(run, payload)
        if "python" in payload:
            raise RunFailed(
                f"{call.name} was created with Python {PYTHON}, but the run has Python {payload['python']}. Functions "
                f"need the same version on both sides. Use a kernel with Python {payload['python']}, or run source "
                "code: %%lk_run",
                execution_id=run.execution_id,
            )
        if not payload:
            run.result()
            raise RunFailed(f"Run {run.short_id} finished without an answer.", execution_id=run.execution_id)
        results: list[Any] = _unpickle_results(run, _read_answer(run, call, payload, storage))
        return results
    finally:
        with suppress(LkError):
            if "size" in payload and not call.stored:
                storage().remove(answer_key(call.token))
            if call.is_large:
                storage().remove(call_key(call.token))


def _unpickle_results(run: Run, answer: bytes) -> Any:
    """Return the results in an answer. Raises RunFailed for a pickle that calls anything that values don't need."""
    try:
        return pickles.loads(answer)
    except pickles.Unsafe as error:
        raise RunFailed(
            f"The answer of run {run.short_id} {error}. Read the run's log: %lk_logs {run.short_id}",
            execution_id=run.execution_id,
        ) from None


def _read_answer(run: Run, call: FunctionCall, payload: Mapping[str, Any], storage: Callable[[], Storage]) -> bytes:
    """Return the packed answer. Anyone may have written to the bucket, so the answer must match the signed log."""
    if "size" not in payload:
        return a2b_base64(payload["data"])
    key = answer_key(call.token)
    try:
        answer = storage().get_bytes(key)
    except NoSuchObject:
        problem = f"The answer of run {run.short_id} {DELETED}: {key}. Call it again."
        raise RunFailed(problem, execution_id=run.execution_id) from None
    if not matches_record(answer, payload):
        raise RunFailed(f"The answer of run {run.short_id} {CHANGED}.", execution_id=run.execution_id)
    return bytes(answer)[sign.SIZE if call.stored else 0 :]


def read_item(run: Run, entry: bytes | Mapping[str, str]) -> Any:
    """Return the result of an item, an ``ItemError`` if the item failed. Raises RunFailed for an unsafe pickle."""
    return _unpickle_results(run, entry) if isinstance(entry, bytes) else ItemError(_load_error(run, entry))


def _load_error(run: Run, payload: Mapping[str, str]) -> BaseException:
    """Return the error that was raised in the run, or a description of that error if unpickling fails."""
    if "excess" in payload:
        return RunFailed(f"Run {run.short_id}: {payload['excess']}", execution_id=run.execution_id)
    error: BaseException | None = None
    with suppress(Exception):
        error = pickles.loads(a2b_base64(payload["data"]))
    if not isinstance(error, BaseException):
        last = payload["error"].rstrip().rpartition("\n")[2]
        error = RunFailed(f"run {run.short_id} raised {last}", execution_id=run.execution_id)
    error.__cause__ = RemoteTraceback(payload["error"])
    if hasattr(error, "add_note"):
        error.add_note(f"Raised in run {run.execution_id}.")
    return error


def _find_names(payload: bytes) -> set[str]:
    """Return the top-level names that a pickle may import: every text in the pickle counts."""
    texts = (argument for _, argument, _ in pickletools.genops(payload) if isinstance(argument, str))
    return {text.partition(".")[0].partition(" ")[0] for text in texts}


def is_below(module: Any, folder: Path) -> bool:
    """Return whether a module is a file or a package of a folder."""
    file = getattr(module, "__file__", None)
    if not file or module.__name__ == "__main__":
        return False
    path = Path(file)
    return folder in (path.parent, path.parent.parent if path.name == "__init__.py" else None)
