"""Compare how public scripts and notebooks are read: by this package, and by the reference of PEP 723.

``python benchmarks/script_blocks.py FOLDER`` reads each .py and .ipynb file below a folder that contains a block.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomllib
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from lk_jupyter.code.script_block import BLOCK_START, read_block
from lk_jupyter.errors import UsageError

#: The expression of the specification.
REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


def read_as_specified(text: str) -> dict[str, Any] | None:
    """Return the metadata as the reference implementation of PEP 723 does. Raises ValueError."""
    matches = [match for match in REFERENCE.finditer(text) if match["type"] == "script"]
    if len(matches) > 1:
        raise ValueError("several blocks")
    if not matches:
        return None
    lines = matches[0]["content"].splitlines(keepends=True)
    return tomllib.loads("".join(line[2:] if line.startswith("# ") else line[1:] for line in lines))


def sources(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and code of each script, and of the first code cell of each notebook, with a block."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in {".py", ".ipynb"}:
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
            text = "".join(cells[0]["source"]) if cells else ""
        if BLOCK_START in text:
            yield str(path.relative_to(folder)), text


def describe_difference(text: str) -> str:
    """Return how the two readings of a text differ; empty if they are equal."""
    try:
        expected = read_as_specified(text)
    except ValueError as error:
        with suppress(UsageError):
            return f"only the reference refuses it: {error}, {read_block(text)}"
        return ""
    try:
        block = read_block(text)
    except UsageError as error:
        return f"only this package refuses it: {error}"
    if expected is None or block is None:
        return "" if expected is None and block is None else "only one reading finds a block"
    packages = tuple(str(Requirement(each)) for each in expected.get("dependencies", []))
    python = str(SpecifierSet(expected.get("requires-python", "")))
    equal = (block.dependencies, block.requires_python) == (packages, python)
    return "" if equal else f"{block} differs from {expected}"


def main() -> None:
    """Print the differences, and how many readings are equal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    rows = {name: describe_difference(text) for name, text in sources(parser.parse_args().folder)}
    for name, difference in rows.items():
        if difference:
            print(f"{name}: {difference}")
    print(f"{sum(not difference for difference in rows.values())} of {len(rows)} read as the reference reads them")


if __name__ == "__main__":
    main()
