"""Find the files and folders that a run gets: local modules, ``--files``, and files that code or variables name."""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from glob import escape, glob
from io import IOBase
from pathlib import Path
from textwrap import dedent
from types import FunctionType
from typing import Any

from lk_jupyter.code.imports import local_files
from lk_jupyter.code.source import Source
from lk_jupyter.code.variables import commands_in
from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.parts import PACKAGE, PREFIX, is_internal, is_reserved
from lk_jupyter.remote.script.files import ALL, EACH
from lk_jupyter.runs.variables.payload import VariablePayload
from lk_jupyter.text.secrets import find_secrets
from lk_jupyter.text.units import size_label

#: The maximum number of characters of a file's name in code or variables.
_LONGEST_NAME = 250

#: A pattern of files ends in a suffix, or starts with a folder.
_FILE_PATTERN = re.compile(r"\.\w+$|^[\w.]+/")

#: The maximum number of files for each pattern, and of items of a list that are read.
_MATCHES = 100

#: Folders next to the working folder of a run that aren't the author's.
_RESERVED_FOLDERS = ("files", "cloudpickle", "__pycache__")

#: Shell lines, functions and methods that list a folder.
_LIST_COMMAND = re.compile(r"(?:ls|ll|dir)\b([^|;&>]*)")
_LIST_FUNCTIONS = {"listdir", "scandir", "walk", "iterdir", "glob", "iglob", "rglob", "fwalk"}


@dataclass(frozen=True)
class RunFiles:
    """The files of a run: key in the run → path, key → text, and key → content in base64 if it isn't text.

    ``local_modules`` are modules next to the code, ``import_folders`` the folders with these modules. ``folders`` are
    the folders that the run gets. ``named`` are keys of files that only the text of the code names. ``skipped`` are
    files of listed folders that are too large or seem to contain a secret.
    """

    paths: dict[str, Path]
    texts: dict[str, str]
    binary: dict[str, str]
    folders: list[str]
    skipped: tuple[str, ...]
    named: tuple[str, ...]
    local_modules: dict[str, Path]
    import_folders: tuple[str, ...]


def collect_files(
    source: Source, tree: ast.Module, modules: AbstractSet[str], patterns: list[str], payload: VariablePayload
) -> RunFiles:
    """Return the files that a run gets. ``modules`` are imported modules. Raises UsageError for unusable files."""
    folder, import_folders = source.folder, _list_added_folders() if payload.carries else ()
    local = local_files(modules, folder, import_folders)
    paths = {**local, **_find_matching_files(patterns, folder)}
    listed: dict[str, Path] = {}
    named: dict[str, Path] = {}
    folders: set[str] = set()
    if payload.carries:
        listed = find_listed_files(tree, folder)
        search = NamedFileSearch(tree, folder, payload)
        named = {key: path for key, path in search.find_files(listed).items() if key not in paths}
        paths = {**named, **paths}
        folders = {*search.find_folders(), *(key for key, path in listed.items() if path.is_dir())}
    texts, binary = _read_files(paths)
    _refuse_reserved_names({**texts, **binary}, source)
    skipped = tuple(key for key, path in listed.items() if key not in paths and path.is_file())
    return RunFiles(paths, texts, binary, sorted(folders), skipped, tuple(named), local, import_folders)


def _list_added_folders() -> tuple[str, ...]:
    """Return the folders near the code that the notebook added to ``sys.path``."""
    from lk_jupyter.remote import ambient  # noqa: PLC0415 (only for variables)

    return tuple(path for path in ambient.added_paths() if Path(path).is_dir() and not Path(path).is_absolute())


def _find_matching_files(patterns: list[str], folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for pattern in patterns:
        matches = [Path(match) for match in sorted(glob(pattern, root_dir=folder, recursive=True))]  # noqa: PTH207
        matching_files = [match for match in matches if (folder / match).is_file()]
        if not matching_files:
            raise UsageError(f"--files: no file matches '{pattern}' in {folder}. Nothing was sent.")
        files.update({_build_key(match, folder): folder / match for match in matching_files})
    return files


def find_listed_files(tree: ast.Module, folder: Path) -> dict[str, Path]:
    """Return the content of folders that the code lists, as in ``!ls`` and ``os.listdir("data")``: key → path."""
    listed: dict[str, Path] = {}
    for name in _find_listed_folders(tree):
        with suppress(OSError, ValueError, UsageError):
            key = _build_key(Path(name), folder) if (folder / name).is_dir() else None
            for path in sorted((folder / key).glob("*"))[:_MATCHES] if key else ():
                if not (path.name.startswith((".", "__pycache__")) or is_reserved(path.name)):
                    listed[_build_key(path, folder)] = path
    return listed


def _find_listed_folders(tree: ast.Module) -> list[str]:
    """Return the texts that may name folders which the code lists."""
    names: list[str] = []
    for command in commands_in(tree):
        if listing := _LIST_COMMAND.fullmatch(command.partition("|")[0].strip()):
            names += [word.strip("'\"") for word in listing[1].split() if not word.startswith("-")] or ["."]
    for call in [node for node in ast.walk(tree) if isinstance(node, ast.Call)]:
        if getattr(call.func, "attr", getattr(call.func, "id", "")) in _LIST_FUNCTIONS:
            texts = [part.value for part in ast.walk(call) if isinstance(part, ast.Constant)]
            names += [text for text in texts if isinstance(text, str)] or ["."]
    return list(dict.fromkeys(name.rstrip("*") or "." for name in names if len(name) < _LONGEST_NAME))


class NamedFileSearch:
    """Find files next to the notebook that code or variables name, as in ``read_csv("data.csv")``.

    Names may be patterns, or contain values: ``f"part{i}.txt"`` names all files that fit. Code of uploaded functions
    is searched too.
    """

    def __init__(self, tree: ast.Module, folder: Path, payload: VariablePayload) -> None:
        self._folder = folder
        self._payload = payload
        self._values = list(payload.origin.values.values()) if payload.origin else []
        self._tree = ast.Module([*tree.body, *_iterate_function_code(self._values)], [])

    def find_files(self, listed: Mapping[str, Path]) -> dict[str, Path]:
        """Return the small files with these names: key → path. ``listed`` are files of listed folders."""
        files: dict[str, Path] = {}
        budget = ALL
        for name in (*self._iterate_matches(listed), *sorted(self._payload.named_files)):
            with suppress(OSError, ValueError, UsageError):
                path, key = self._folder / name, _build_nearby_key(Path(name), self._folder)
                size = path.stat().st_size if path.is_file() and key not in files else EACH + 1
                if size <= min(EACH, budget) and not is_internal(key):
                    files[key] = path
                    budget -= size
        return files

    def find_folders(self) -> list[str]:
        """Return the folders with these names, in which the run may write files."""
        if not self._payload.origin:
            return []
        return _find_existing_folders({*self._texts, *map(os.path.dirname, self._payload.named_files)}, self._folder)

    def _iterate_matches(self, listed: Mapping[str, Path]) -> Iterator[str]:
        """Yield the files of all names and patterns: for each pattern, the first by name."""
        texts = sorted(self._texts)
        below = [f"{folder}/{text}" for folder in _find_existing_folders(self._texts, self._folder) for text in texts]
        safe = [key for key, path in listed.items() if not _contains_secret(path)]
        for pattern in [*map(escape, [*texts, *below, *safe]), *sorted(_find_file_patterns(self._tree))]:
            with suppress(OSError, ValueError):
                yield from sorted(glob(pattern, root_dir=self._folder))[:_MATCHES]  # noqa: PTH207 (relative)

    @cached_property
    def _texts(self) -> set[str]:
        """Return the texts that may name a file, or a file in a folder: in code, variables, and open files."""
        nodes = ast.walk(self._tree)
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        texts += self._iterate_variable_texts()
        names = {text for text in texts if 0 < len(text) < _LONGEST_NAME and "\n" not in text}
        words = {word.strip("'\"") for text in commands_in(self._tree) for word in text.split()}  # !head name
        return names | words | {f"{word}.py" for word in words}  # %run name

    def _iterate_variable_texts(self) -> Iterator[str]:
        """Yield texts and paths in variables, and the names of open files and databases."""
        sequences = [value for value in self._values if type(value) in (list, tuple) and len(value) <= _MATCHES]
        items = [item for sequence in sequences for item in sequence]
        yield from (str(value) for value in (*self._values, *items) if isinstance(value, (str, Path)))
        for value in self._payload.origin.tokens.values() if self._payload.origin else ():
            file = value.fid if type(value).__name__ == "NpzFile" else value
            if isinstance(file, IOBase) and hasattr(file, "name"):
                yield str(file.name)
            yield from _list_database_files(value)


def _iterate_function_code(values: list[Any]) -> Iterator[ast.stmt]:
    """Yield the code of functions and methods of the notebook that are uploaded: this code may open files too."""
    kinds = {value if isinstance(value, type) else type(value) for value in values}
    attributes = [part for kind in kinds if kind.__module__ == "__main__" for part in vars(kind).values()]
    for value in (*values, *attributes):
        with suppress(Exception):  # the source is unknown, or the value raises any error
            method = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
            method = method.fget if isinstance(method, property) else method
            function = getattr(method, "__wrapped__", method)
            if isinstance(function, FunctionType) and function.__module__ == "__main__":
                yield from ast.parse(dedent(inspect.getsource(function))).body


def _list_database_files(value: object) -> list[str]:
    """Return the files of an open SQLite connection, relative to the working folder."""
    kind = getattr(sys.modules.get("sqlite3"), "Connection", None)
    if kind is None or type(value) is not kind:
        return []
    with suppress(Exception):  # the connection is closed
        from lk_jupyter.remote.carry.kinds import databases  # noqa: PLC0415 (only for variables)

        return [os.path.relpath(path) for path in databases.database_files(value).values() if path]
    return []


def _find_file_patterns(tree: ast.Module) -> set[str]:
    """Return patterns of the files that the code may name: patterns in the code, and texts that contain values.

    A pattern ends like a file or starts like a folder: a label such as ``f"{a}_{b}"`` names no file.
    """
    patterns = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values]
            patterns.add("".join(escape(part) if part != "*" else part for part in parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "*" in node.value:
            patterns.add(node.value)
    patterns |= {word for text in commands_in(tree) for word in text.split() if "*" in word}  # !cat *.txt
    plain = {text for text in patterns if len(text) < _LONGEST_NAME and "\n" not in text and "**" not in text}
    return {text for text in plain if _FILE_PATTERN.search(text) and not text.startswith(("/", "~"))}


def _contains_secret(path: Path) -> bool:
    """Return whether a small file seems to contain a secret. Such files of listed folders aren't uploaded."""
    with suppress(OSError, ValueError):
        return path.is_file() and path.stat().st_size <= EACH and bool(find_secrets(path.read_text(encoding="utf-8")))
    return False


def _find_existing_folders(texts: AbstractSet[str], folder: Path) -> list[str]:
    keys = set()
    for path in {path for text in texts for path in (Path(text), Path(text).parent)}:
        with suppress(OSError, ValueError, UsageError):
            if not path.is_absolute() and (folder / path).is_dir():
                keys.add(_build_key(path, folder))
    return sorted(keys - {"."})


def _read_files(paths: Mapping[str, Path]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts of files, and in base64 all other files and files outside of the code's folder."""
    texts: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, path in paths.items():
        content = path.read_bytes()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            if len(content) > ALL:
                raise UsageError(
                    f"'{path}' isn't UTF-8 text and is larger than {size_label(ALL)}. Nothing was sent. "
                    f"Upload it to the bucket: %lk_put {path}"
                ) from None
            binary[key] = b64encode(content).decode()
            continue
        if key.startswith(".."):
            binary[key] = b64encode(content).decode()
        else:
            texts[key] = text
    return texts, binary


def _build_nearby_key(path: Path, folder: Path) -> str:
    """Return the key of a named file: its path below the code's folder, or next to that folder. Raises UsageError."""
    parts = Path(os.path.normpath(path)).parts
    if parts[:1] != ("..",):
        return _build_key(path, folder)
    if len(parts) < 2 or parts[1] in ("..", *_RESERVED_FOLDERS) or is_reserved(parts[1]):
        raise UsageError(f"'{path}' isn't in the parent folder of {folder}. Nothing was sent.")
    return "/".join(parts)


def _build_key(path: Path, folder: Path) -> str:
    """Return the key of a file, which is its path below the code's folder. Raises UsageError."""
    try:
        return (folder / path).resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        raise UsageError(f"--files: '{path}' is outside {folder}. Nothing was sent. Copy it there first.") from None


def _refuse_reserved_names(files: Mapping[str, str], source: Source) -> None:
    """Refuse files that would replace the code of the run, or files of lk_jupyter. Raises UsageError."""
    for key, text in files.items():
        if is_internal(key):
            raise UsageError(
                f"'{key}': {PACKAGE} and names starting with {PREFIX} are reserved for lk_jupyter. "
                "Nothing was sent. Rename the file."
            )
        if key == source.file_name and text.strip() != source.code.strip():
            raise UsageError(
                f"'{key}' is reserved for the code of the run. Nothing was sent. Rename the file, or leave it out."
            )
