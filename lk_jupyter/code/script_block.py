"""Read the inline metadata of a script (PEP 723): packages, Python version, and machine and limits of ``[tool.lk]``.

A block starts with ``# /// script`` and ends with ``# ///``. The cell contains the block, or the first cell of the
notebook, where juv writes it. The text may be another person's: this module parses and never executes.
"""

from __future__ import annotations

import re
import sys
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from lk_jupyter.code.packages import normalize_name
from lk_jupyter.errors import UsageError
from lk_jupyter.options.runs import MachineOptions, check
from lk_jupyter.protocol.json_limits import load_json

#: The line that starts a block.
BLOCK_START = "# /// script"

_OPENING, _CLOSING = re.compile(r"# /// ([a-zA-Z0-9-]+)"), "# ///"
_SCRIPT = "script"

#: The characters of a block and of a notebook that are read at most.
_MAX_BLOCK, _MAX_NOTEBOOK = 100_000, 50_000_000

#: The characters of a file name in a message at most.
_MAX_NAME = 80

#: Fields of the metadata.
_FIELDS = ("dependencies", "requires-python", "tool")

#: Keys of ``[tool.lk]``: options of the line.
_OPTIONS = tuple(name.replace("_", "-") for name in MachineOptions.model_fields)

#: Sources of ``[tool.uv.sources]`` that choose an index only; a run installs from its own index.
_INDEX_KEYS = {"index", "marker", "extra", "group"}

_TOML_PLACE = re.compile(r" \(at line (\d+), column \d+\)")


@dataclass(frozen=True)
class ScriptBlock:
    """The metadata of a script.

    ``options`` are machine and limits of ``[tool.lk]``, ``place`` describes the cell or file that contains the block.
    ``tables`` is the text of all tables, from the first on. ``notebook`` is the path of the file whose first cell
    contains the block; None if the executed code contains the block.
    """

    dependencies: tuple[str, ...] = ()
    requires_python: str = ""
    options: Mapping[str, Any] | None = None
    place: str = "the cell"
    tables: str = ""
    notebook: Path | None = None

    @property
    def digest(self) -> str:
        """Return a digest of packages, Python range and options."""
        content = repr((self.dependencies, self.requires_python, sorted((self.options or {}).items())))
        return sha256(content.encode(errors="replace")).hexdigest()

    @property
    def packages(self) -> set[str]:
        """Return the normalized names of the packages."""
        return {normalize_name(Requirement(text).name) for text in self.dependencies}


def read_block(
    code: str, *, first_line: int = 1, place: str = "the cell", notebook: Path | None = None
) -> ScriptBlock | None:
    """Return the block of a script; None without a block.

    ``first_line`` is the number of the code's first line in the author's view.

    Raises:
        UsageError: The block is malformed. The message has the line and the fix.
    """
    if BLOCK_START not in code:
        return None
    lines = code.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    blocks = [(start, end) for kind, start, end in _find_blocks(lines, first_line, place) if kind == _SCRIPT]
    if len(blocks) > 1:
        line = blocks[1][0] + first_line
        raise _build_error(
            place, line, "this is a second '# /// script' block, but a script can have only one", "Delete this block."
        )
    for start, end in blocks:
        content = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines[start + 1 : end])
        return _BlockReader(content, start + first_line, place, notebook).read()
    return None


def find_notebook_block(notebook: str | None, cell: str) -> ScriptBlock | None:
    """Return the block of a notebook's first code cell; None without a block, and for a file that can't be read.

    ``cell`` is the code of the executed cell, which may be this first cell. Raises UsageError for a malformed block.
    """
    path = Path(notebook).expanduser() if notebook else None
    first = next(iter(read_code_cells(path)), None) if path else None
    if path is None or first is None or first.strip() == cell.strip():
        return None
    return read_block(first, place=describe_first_cell(path), notebook=path)


def describe_first_cell(notebook: Path) -> str:
    """Return the place of a block in a notebook, without signs of the file name that a terminal obeys."""
    name = "".join(filter(str.isprintable, notebook.name))
    return f"the first cell of '{name[:_MAX_NAME]}'"


def read_code_cells(notebook: Path) -> list[str]:
    """Return the sources of the code cells in a notebook's file; an empty list if the file can't be read."""
    with suppress(OSError, ValueError, RecursionError, AttributeError, LookupError, TypeError):
        if notebook.stat().st_size <= _MAX_NOTEBOOK:
            cells = load_json(notebook.read_text("utf-8"))["cells"]
            return ["".join(cell["source"]) for cell in cells if cell.get("cell_type") == "code"]
    return []


def _find_blocks(lines: list[str], first_line: int, place: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, opening line and closing line of each block, as the reference expression of PEP 723 finds them."""
    at = 0
    while at < len(lines):
        opening = _OPENING.fullmatch(lines[at])
        if opening is None:
            at += 1
            continue
        end = at + 1
        while end < len(lines) and (lines[end] == "#" or lines[end].startswith("# ")):
            end += 1
        closing = next((each for each in range(end - 1, at, -1) if lines[each] == _CLOSING), None)
        if closing is not None:
            yield opening[1], at, closing
        elif opening[1] == _SCRIPT and _is_comment(lines, at):
            raise _build_unclosed_error(lines, at, end, first_line, place)
        at = at + 1 if closing is None else closing + 1


def _is_comment(lines: list[str], at: int) -> bool:
    """Return whether a line is a comment, not part of a text in quotes; code that can't be read has comments only."""
    code = "".join(f"{line}\n" for line in lines)
    with suppress(SyntaxError, tokenize.TokenError):
        for token in tokenize.generate_tokens(StringIO(code).readline):
            if token.start[0] <= at + 1 <= token.end[0] and token.type in _TEXTS:
                return False
    return True


#: Types of the tokens of texts in quotes; f-strings have a separate type since Python 3.12.
_TEXTS = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def _build_unclosed_error(lines: list[str], at: int, end: int, first_line: int, place: str) -> UsageError:
    if end < len(lines) and lines[end].startswith("#"):
        problem = f"{lines[end][:40]!r} has no space after '#'"
        return _build_error(place, end + first_line, problem, "Put a space after '#'.")
    problem = "the '# /// script' block has no end"
    return _build_error(place, at + first_line, problem, "Add the line '# ///' after its last line.")


def _build_error(place: str, line: int, problem: str, fix: str) -> UsageError:
    return UsageError(f"Can't read the script block in {place}: line {line}: {problem}. Nothing was sent. {fix}")


@dataclass(frozen=True)
class _BlockReader:
    """Reads the content of a block whose opening is at ``line`` in the author's view."""

    content: str
    line: int
    place: str
    notebook: Path | None

    def read(self) -> ScriptBlock:
        """Return the block. Raises UsageError."""
        if len(self.content) > _MAX_BLOCK:
            raise self._build_error(
                "", f"the block has {len(self.content)} characters; the limit is {_MAX_BLOCK}", "Shorten it."
            )
        metadata = self._parse_toml()
        self._check_fields(metadata, _FIELDS, "field")
        dependencies, python = metadata.get("dependencies", []), metadata.get("requires-python", "")
        if not isinstance(dependencies, list):
            raise self._build_error("dependencies", "'dependencies' isn't a list", 'Example: dependencies = ["numpy"]')
        tool = self._read_table(metadata, "tool")
        tables = re.search(r"^\[", self.content, re.MULTILINE)
        block = ScriptBlock(
            dependencies=tuple(map(self._check_requirement, dependencies)),
            requires_python=self._check_python(python),
            options=self._read_options(self._read_table(tool, "lk")),
            place=self.place,
            tables=self.content[tables.start() :] if tables else "",
            notebook=self.notebook,
        )
        self._refuse_local_sources(block, self._read_table(tool, "uv"))
        return block

    def _parse_toml(self) -> dict[str, Any]:
        if sys.version_info >= (3, 11):
            import tomllib  # noqa: PLC0415 (few runs have a block)
        else:
            import tomli as tomllib  # noqa: PLC0415
        try:
            return tomllib.loads(self.content)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            text = str(error) or "too deep"
            number = match[1] if (match := _TOML_PLACE.search(text)) else len(self.content.split("\n"))
            problem = f"{_TOML_PLACE.sub('', text)[:200]}, in {self._read_line(int(number))!r}"
            raise _build_error(self.place, self.line + int(number), problem, "Correct the TOML.") from None

    def _read_line(self, number: int) -> str:
        lines = self.content.split("\n")
        return lines[min(number, len(lines)) - 1].strip()[:60]

    def _check_fields(self, table: Mapping[str, Any], names: tuple[str, ...], kind: str) -> None:
        """Refuse a name that is almost one of ``names``; other names are reserved for later versions of the format."""
        for name in table:
            if name not in names and (near := get_close_matches(name, names, n=1, cutoff=0.8)):
                raise self._build_error(name, f"unknown {kind} {name[:80]!r}", f"Write '{near[0]}'.")

    def _read_table(self, table: Mapping[str, Any], name: str) -> dict[str, Any]:
        inner = table.get(name, {})
        if not isinstance(inner, dict):
            raise self._build_error(name, f"'{name}' isn't a table", f"Write a table: [tool.{name}]")
        return inner

    def _check_requirement(self, text: object) -> str:
        label = repr(str(text)[:80])  # another person's text: no line breaks, no control characters
        try:
            requirement = Requirement(text if isinstance(text, str) and text.isprintable() else "")
        except InvalidRequirement:
            fix = "Write it as 'name' or 'name>=1.2'."
            raise self._build_error(str(text), f"{label} isn't a package", fix) from None
        if "${" in str(text):  # pip would send the value, perhaps a secret of the run, to the address
            fix = "Write the address without variables."
            raise self._build_error(str(text), f"{label} contains an environment variable", fix)
        if (requirement.url or "").lower().startswith("file:"):
            fix = "Publish the package, or send its modules with --files."
            raise self._build_error(str(text), f"{label} is a file that isn't in the run", fix)
        return str(requirement)

    def _check_python(self, text: object) -> str:
        try:
            return str(SpecifierSet(text if isinstance(text, str) else "invalid"))
        except InvalidSpecifier:
            fix = 'Example: requires-python = ">=3.11"'
            raise self._build_error(
                "requires-python", f"{str(text)[:80]!r} isn't a Python version range", fix
            ) from None

    def _read_options(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return machine and limits of ``[tool.lk]``."""
        for name, value in table.items():
            near = get_close_matches(name, _OPTIONS, n=1)
            fix = f"Did you mean '{near[0]}'?" if near else f"Keys: {', '.join(_OPTIONS)}."
            if name not in _OPTIONS:
                raise self._build_error(name, f"[tool.lk] doesn't support the key {name[:80]!r}", fix)
            if not isinstance(value, (str, int, float)) or isinstance(value, bool) or "," in str(value):
                raise self._build_error(name, f"{name!r} can't be {str(value)[:80]!r}", "Write one value.")
        for name, value in table.items():
            try:
                check(MachineOptions, {name.replace("-", "_"): str(value)})
            except UsageError as error:
                raise self._build_error(name, str(error).rstrip("."), "Correct the value.") from None
        options = {name.replace("-", "_"): str(value) for name, value in table.items()}
        chosen = check(MachineOptions, options)
        if chosen.gpu and chosen.machine:
            raise self._build_error("machine", "[tool.lk] has both 'gpu' and 'machine'", "Delete one of them.")
        return {name: value for name in MachineOptions.model_fields if (value := getattr(chosen, name)) is not None}

    def _refuse_local_sources(self, block: ScriptBlock, uv: dict[str, Any]) -> None:
        """Refuse packages that uv would take from another source: the index may have another package of this name."""
        for name, source in self._read_table(uv, "sources").items():
            sources = source if isinstance(source, list) else [source]
            keys = {key for each in sources if isinstance(each, dict) for key in each}
            if normalize_name(name) in block.packages and keys - _INDEX_KEYS:
                fix = f"Add the source to dependencies, for example '{normalize_name(name)} @ git+https://…'."
                raise self._build_error(name, f"a run can't use the source of {name[:80]!r} in [tool.uv.sources]", fix)

    def _build_error(self, text: str, problem: str, fix: str) -> UsageError:
        """Return the error with the line that starts with a text, or contains it."""
        lines = list(enumerate(self.content.split("\n"), 1)) if text else []
        offsets = [at for at, line in lines if line.startswith(text)] or [at for at, line in lines if text in line]
        offset = offsets[0] if offsets else 0
        return _build_error(self.place, self.line + offset, problem, fix)


def block_options(block: ScriptBlock | None, options: MachineOptions, max_cost: Decimal | None) -> dict[str, Any]:
    """Return the options of a block that the line doesn't set. A block only lowers ``max_cost`` of the settings."""
    values = dict((block and block.options) or {})
    if options.gpu or options.machine:
        values = {name: value for name, value in values.items() if name not in {"gpu", "machine"}}
    values = {name: value for name, value in values.items() if getattr(options, name) is None}
    if max_cost is not None and "max_cost" in values:
        values["max_cost"] = min(values["max_cost"], max_cost)
    return values


def format_block(requirements: Iterable[str], unknown: Iterable[str], tables: str = "") -> str:
    """Return the text of a block for the Python of this kernel.

    ``unknown`` are imports whose package isn't known: comments of the block. ``tables`` is text of an earlier block.
    """
    python = ".".join(map(str, sys.version_info[:2]))
    lines = [f'requires-python = ">={python}"', "dependencies = ["]
    lines += [f'    "{requirement}",' for requirement in requirements]
    lines += [f"    # import {name}: no package in this kernel provides this module" for name in unknown]
    text = "\n".join([*lines, "]", *(["", *tables.rstrip().split("\n")] if tables else [])])
    return "\n".join([BLOCK_START, *(f"# {line}".rstrip() for line in text.split("\n")), _CLOSING, ""])
