"""The parts that are uploaded with the code of a run and support the code.

A part is a module of ``lk_jupyter/remote``, which is the package ``_lk`` in a run, where ``archive`` imports all
modules from one file. The driver ``script.run`` imports the part and calls ``before(settings, namespace)``,
``rewritten(tree)`` with the syntax tree of the code, and ``after(settings, namespace, error)``, if defined. A part
sends messages to the notebook with ``frame`` of the driver. Without a part, the code is sent alone and unchanged.
"""

from __future__ import annotations

import ast
import json
import marshal
import os
import re
import sys
import zlib
from binascii import b2a_base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.util import cache_from_source, find_spec
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Any

from lk_jupyter.remote import archive

SHIPPED = Path(__file__).parent.parent / "remote"

#: The package of our modules in a run, the module that runs the author's file, and the module that signs.
PACKAGE = "_lk"
DRIVER = "script.run"
SIGN = "sign"

#: The library that packs functions and classes, and has to be the same on both sides.
CLOUDPICKLE = "cloudpickle"
SETTINGS = "_lk_settings.json"
CODE = "_lk_code.txt"

#: The file with the key that signs the messages of a run. The file is added during the start and stored nowhere.
KEY = "_lk_key.txt"

#: Prefix of the names of our other files, and of all files of earlier versions; no file of the author has this prefix.
PREFIX = "_lk_"

#: Code that replaces the script, and the code of earlier versions.
SCRIPT = f"import {PACKAGE}.{DRIVER}\n{PACKAGE}.{DRIVER}.main(globals())\n"
EARLIER_SCRIPT = "import _lk_run\n_lk_run.main(globals())\n"


@dataclass(frozen=True)
class RemoteModule:
    """A module of ``remote``, with settings (JSON), and the required modules and packages of ``remote``.

    ``needs`` may also contain ``CLOUDPICKLE``.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """The author's file for the driver.

    ``source`` is the author's text, if the text is more than Python. ``first`` is a line to run first; ``show_last`` is
    whether the last expression is shown, or ``all`` expressions; ``is_cell`` is whether each statement is compiled
    separately, ``flags`` are the future imports of earlier cells.
    """

    name: str
    text: str
    source: str = ""
    first: str = ""
    show_last: bool | str = False
    is_cell: bool = False
    flags: int = 0


def build_run_files(cell: Cell, parts: Sequence[RemoteModule], nonce: str, look: Sequence[str] = ()) -> dict[str, str]:
    """Return the files that are uploaded: the driver, the settings, the author's file and the parts.

    ``look`` are folders of which the run reports the bucket's. They are sent without their first slash: the local cloud
    starts a store for a run whose text contains the bucket's folder.
    """
    modules = [DRIVER, SIGN, *(name for part in parts for name in (part.name, *part.needs))]
    settings = {
        "nonce": nonce,
        "cell": cell.name,
        "source": cell.source if cell.source != cell.text else "",
        "first": cell.first,
        "show_last": cell.show_last,
        "is_cell": cell.is_cell,
        "flags": cell.flags,
        "parts": {part.name: part.settings for part in parts},
        **({"look": [folder.lstrip("/") for folder in look]} if look else {}),
    }
    return {
        **module_files(modules),
        SETTINGS: json.dumps(settings, ensure_ascii=False),
        CODE: cell.text,
    }


def is_internal(path: str) -> bool:
    """Return whether a file of a request is ours, and not the author's."""
    return path.startswith((PREFIX, f"{PACKAGE}/", f"{PACKAGE}."))


def is_reserved(part: str) -> bool:
    """Return whether only our files have this name, as a part of their paths."""
    return part.startswith(PREFIX) or part == PACKAGE


def module_files(names: Iterable[str]) -> dict[str, str]:
    """Return modules of ``remote``, all modules of its packages, and their parent packages, as files of a run.

    ``names`` may contain ``CLOUDPICKLE`` too.
    """
    return dict(_build_module_files(frozenset(names)))


@cache
def _build_module_files(names: frozenset[str]) -> dict[str, str]:
    paths = {path: file for name in sorted(names) for path, file in sorted(_list_module_paths(name).items())}
    source = _load_archive(paths)
    files = {path: read_stripped_code(file) for path, file in _list_module_paths("archive").items()}
    if CLOUDPICKLE in names:  # processes that the code starts import the library too
        files[f"{CLOUDPICKLE}/__init__.py"] = (
            f"import sys, {PACKAGE}\ndel sys.modules[__name__]\nimport {CLOUDPICKLE}\n"
        )
    return {**files, f"{PACKAGE}/{archive.SOURCE}": source}


def _load_archive(paths: Mapping[str, Path]) -> str:
    """Return the archive of modules, stored next to the compiled files of ``remote``."""
    states = [(path, file.stat().st_size, file.stat().st_mtime_ns) for path, file in paths.items()]
    stamp = sha256(repr(states).encode()).hexdigest()
    name = sha256(repr([*paths]).encode()).hexdigest()[:8]
    stored = Path(cache_from_source(str(SHIPPED / f"archive-{name}.py"))).with_suffix(".txt")
    with suppress(OSError, ValueError):
        stored_stamp, archive_text = stored.read_text("ascii").split("\n")
        if stored_stamp == stamp:
            return archive_text
    archive_text = _pack_sources({path: read_stripped_code(file) for path, file in paths.items()})
    if not sys.dont_write_bytecode:
        with suppress(OSError):
            stored.parent.mkdir(parents=True, exist_ok=True)
            draft = stored.with_suffix(f".{os.getpid()}")
            draft.write_text(f"{stamp}\n{archive_text}", "ascii")
            draft.replace(stored)
    return archive_text


@cache
def _list_module_paths(name: str) -> dict[str, Path]:
    """Return path in a run → file of a module, of all modules of a package, and of their parent packages."""
    if name == CLOUDPICKLE:
        folder = Path(str(getattr(find_spec(CLOUDPICKLE), "origin", None))).parent
        return {f"{CLOUDPICKLE}/{file.name}": file for file in folder.glob("*.py")}
    path = SHIPPED.joinpath(*name.split("."))
    modules = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    parents = {folder for module in modules for folder in module.parents if SHIPPED in (folder, *folder.parents)}
    files = [*(folder / "__init__.py" for folder in parents), *modules]
    return {f"{PACKAGE}/{file.relative_to(SHIPPED).as_posix()}": file for file in files}


def _pack_sources(sources: dict[str, str]) -> str:
    """Return path → source as an archive, which ``archive.unpack`` reads; every version of Python reads format 2."""
    return b2a_base64(zlib.compress(marshal.dumps(sources, 2)), newline=False).decode()


def read_part_settings(import_files: str | None, name: str) -> dict[str, Any] | None:
    """Return the settings of a part in the files of a request; None without this part.

    Earlier versions sent each part as a file ``_lk_NAME.py``, which is the name of the part in their settings.
    """
    earlier = PREFIX + name.rpartition(".")[2]
    text = import_files or ""
    if not any(f'\\"{part}\\": ' in text for part in (name, earlier)):  # the settings are JSON within JSON
        return None
    files = json.loads(text)
    parts = json.loads(files[SETTINGS])["parts"] if SETTINGS in files else {}
    settings: dict[str, Any] | None = parts.get(name, parts.get(earlier))
    return settings


def read_stripped_code(path: Path) -> str:
    """Return a module without comments, docstrings and annotations; its lines keep their numbers."""
    return strip_code(path.read_bytes()).decode("utf-8")


_COMMENT = re.compile(rb"^ *#.*$", re.MULTILINE)

#: Nodes that may have a docstring.
_DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)


def strip_code(source: bytes) -> bytes:
    """Return Python code without the parts that execution doesn't need; each line keeps its number.

    These parts are comments on their own lines, docstrings, annotations, imports for type checkers, and the import that
    delays the evaluation of annotations.
    """
    lengths = [len(line) for line in source.splitlines(keepends=True)]
    starts = [0, *accumulate(lengths)]
    pieces, position = [], 0
    for first, last, replacement in sorted(_iterate_unexecuted_parts(ast.parse(source), source, starts)):
        if first >= position:
            pieces += [source[position:first], replacement, b"\n" * source.count(b"\n", first, last)]
            position = last
    return _COMMENT.sub(b"", b"".join([*pieces, source[position:]]))


def _iterate_unexecuted_parts(
    tree: ast.Module, source: bytes, starts: Sequence[int]
) -> Iterator[tuple[int, int, bytes]]:
    """Iterate over the parts of code that execution doesn't need: the first byte, the last byte, the replacement."""

    def place(node: Any) -> tuple[int, int]:
        return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset

    for node in _iterate_statements(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False):
            yield (*place(node.body[0]), b"" if len(node.body) > 1 or node is tree else b"pass")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters += filter(None, [node.args.vararg, node.args.kwarg])
            yield from ((*place(each), each.arg.encode()) for each in parameters if each.annotation)
            if node.returns:
                first, last = place(node.returns)
                yield source.rindex(b"->", 0, first), last, b""
        elif isinstance(node, ast.AnnAssign):
            first, last = place(node)
            yield (place(node.target)[1], place(node.value)[0], b" = ") if node.value else (first, last, b"pass")
        elif _is_for_type_checkers(node):
            yield (*place(node), b"")


def _iterate_statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Iterate over a module and all statements in it, without their expressions."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "handlers", "orelse", "finalbody"):
            waiting += getattr(node, name, ())


def _is_for_type_checkers(node: ast.AST) -> bool:
    """Return whether a statement serves type checkers only: an import of their names, or of annotations."""
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "TYPE_CHECKING"
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


#: Characters of a token that are part of a name.
MARK = 12

#: The part of a name that is the token.
MARKED = re.compile(rf"-[0-9a-f]{{{MARK}}}(?=(?:\.\w+)?$)")


def add_token_to_name(name: str, token: str) -> str:
    """Return a unique file name for a run."""
    path = PurePath(name)
    return f"{path.stem}-{token[:MARK]}{path.suffix}"


def remove_token_from_name(name: str) -> str:
    """Return a file name without the token, as its author wrote it."""
    return MARKED.sub("", name)
