"""Store the results of a map's items on this machine, so that a map continues after the kernel ended."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

from lk_jupyter.config.files import platform_path
from lk_jupyter.errors import UsageError
from lk_jupyter.journal.database import Database, Schema
from lk_jupyter.remote.carry.kinds.functions import is_filled
from lk_jupyter.remote.values import pickle as pickles
from lk_jupyter.runs.functions.call import is_below
from lk_jupyter.runs.functions.stored_answers import StoredAnswers

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,79}", re.ASCII)

#: Seconds after which the results of a map are deleted, from the last result.
_LIFE = 30 * 24 * 3600.0

_TABLES = {
    "results": Schema({"item": "TEXT PRIMARY KEY", "result": "BLOB"}),
    "calls": Schema({"token": "TEXT PRIMARY KEY", "run": "TEXT", "items": "TEXT"}),
}


class StoredResults:
    """The results of a map with a name, by function and item; files of other maps are deleted after 30 days.

    Raises UsageError for a name that isn't a file name.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], working_folder: Path, write: Callable[[str], None]
    ) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"resume takes letters, digits, '.', - and _, at most 80, got '{name}'. Nothing was sent. "
                "Example: resume='sweep'"
            )
        folder = platform_path("data", "maps")
        _delete_old_files(folder)
        self._database = Database(folder / f"{name}.sqlite", _TABLES, write)
        self._function = _hash_function(function, working_folder, set())
        self._counts: Counter[str] = Counter()

    def next_key(self, arguments: Any) -> str:
        """Return the key of the next item: equal items of a map have different keys."""
        key = sha256(f"{self._function} {hash_value(arguments)}".encode()).hexdigest()
        self._counts[key] += 1
        return f"{key}-{self._counts[key]}"

    def load(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return key → result of the items with a result that this Python can read."""
        results = {}
        try:
            for key in keys:
                for row in self._database.execute("SELECT result FROM results WHERE item = ?", (key,)):
                    with suppress(Exception):  # a changed class or package: the item is called again
                        results[key] = pickles.loads(row["result"])
        finally:
            self._database.close()
        return results

    def begin_call(self, token: str, keys: Sequence[str], run: str) -> None:
        """Record that a run makes the call with this token for the items with these keys."""
        self._database.execute("INSERT OR REPLACE INTO calls VALUES (?, ?, ?)", (token, run, json.dumps(keys)))

    def put(self, results: Mapping[str, bytes], token: str) -> None:
        """Store pickled results by key, and forget the call with this token."""
        statement = "INSERT OR REPLACE INTO results VALUES (?, ?)"
        rows = [(statement, row) for row in results.items()]
        self._database.execute_all([*rows, ("DELETE FROM calls WHERE token = ?", (token,))])
        self._database.close()

    def add_earlier(self, keys: AbstractSet[str], answers: StoredAnswers) -> None:
        """Store the results of calls that an earlier process made for items with these keys, and wait for active calls.

        Raises StorageError: the items would be called again.
        """
        for row in self._database.execute("SELECT * FROM calls"):
            called = json.loads(row["items"])
            if not keys.isdisjoint(called):
                entries = answers.read(row["token"], row["run"])
                results = {key: entry for key, entry in zip(called, entries, strict=False) if isinstance(entry, bytes)}
                self.put(results, row["token"])
                answers.remove(row["token"])
        self._database.close()


def _delete_old_files(folder: Path) -> None:
    """Delete the results of maps without a new result for 30 days."""
    for path in folder.glob("*.sqlite*"):
        with suppress(OSError):  # another process has deleted the file
            if time.time() - path.stat().st_mtime > _LIFE:
                path.unlink()


def _hash_function(function: Any, folder: Path, visited: set[int]) -> str:
    """Return a hash of a function with the functions and values that it reads from its module."""
    if isinstance(function, MethodType):
        return _hash_function(function.__func__, folder, visited) + hash_value(function.__self__)
    if not isinstance(function, FunctionType) or id(function) in visited or not _is_local(function, folder):
        return hash_value(function)
    visited.add(id(function))
    names = sorted(_list_names(function.__code__) & function.__globals__.keys())
    cells = [cell.cell_contents for cell in function.__closure__ or () if is_filled(cell)]
    values = [*(function.__globals__[name] for name in names), *cells]
    parts = [
        _hash_code(function.__code__),
        hash_value([function.__defaults__, function.__kwdefaults__]),
        *(_hash_function(value, folder, visited) for value in values),
    ]
    return _hash_text(" ".join([*names, *parts]))


def _hash_code(code: CodeType) -> str:
    """Return a hash of code without the lines: a constant set has another order in each process."""
    constants = [_hash_code(value) if isinstance(value, CodeType) else hash_value(value) for value in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return _hash_text(f"{code.co_code.hex()} {names} {counts} {' '.join(constants)}")


def _is_local(function: FunctionType, folder: Path) -> bool:
    """Return whether a function is of the notebook or of a module of the working folder, which may change."""
    return function.__module__ == "__main__" or is_below(sys.modules.get(function.__module__), folder)


def _list_names(code: Any) -> set[str]:
    """Return the names that code reads, with the code of inner functions."""
    inner = [_list_names(constant) for constant in code.co_consts if hasattr(constant, "co_names")]
    return set(code.co_names).union(*inner)


#: Types whose text is the value, and the most elements of a container that are hashed one by one.
_PLAIN, _MOST_ELEMENTS = (type(None), bool, int, float, complex, str, bytes), 1_000


def hash_value(value: Any, depth: int = 8) -> str:
    """Return a hash that is the same in another process; the hash of the type for a value without content."""
    from lk_jupyter.remote.carry.digests import digest_value  # noqa: PLC0415 (only for variables)

    kind = type(value)
    if kind in _PLAIN:
        return _hash_text(f"{kind.__name__} {value!r}")
    if kind in (list, tuple, dict, set, frozenset) and len(value) <= _MOST_ELEMENTS and depth:
        hashes = [hash_value(each, depth - 1) for each in (value.items() if kind is dict else value)]
        ordered = hashes if kind in (list, tuple) else sorted(hashes)
        return _hash_text(f"{kind.__name__} {' '.join(ordered)}")
    if digest := digest_value(value):
        return digest
    try:
        return sha256(pickles.dumps(value)).hexdigest()
    except Exception:  # noqa: BLE001 (objects raise what they like when they are packed)
        return f"{kind.__module__}.{kind.__qualname__}"


def _hash_text(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
