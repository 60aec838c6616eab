"""Check that identifiers are nouns and verbs of the field, in Python and TypeScript.

``python tests/names.py`` fails if a package has more findings than its limit in ``limits.json``, or fewer;
``--lower`` records fewer, ``--list PACKAGE`` prints the findings of a package.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import limits

ROOT = Path(__file__).parents[1]
#: Words that name no thing, as an identifier or as a part of one.
NOT_NAMES = frozenset(
    {
        "asked",
        "begun",
        "came",
        "found",
        "given",
        "gone",
        "heard",
        "held",
        "here",
        "its",
        "judged",
        "kept",
        "known",
        "left",
        "made",
        "mine",
        "of",
        "others",
        "ours",
        "own",
        "said",
        "seen",
        "sent",
        "shown",
        "taken",
        "there",
        "told",
        "tried",
        "wanted",
        "whole",
    }
)
#: Words of an earlier naming → today's.
LEFTOVERS = {
    "lane": "member",
    "company": "observers",
    "companion": "observer",
    "parcel": "payload",
    "pump": "monitor",
    "remark": "notice",
    "doctor": "hints",
}
#: Names of the wire and of disk, words of the cloud, and a function that matplotlib calls.
ON_THE_WIRE = frozenset({"billing_company_name", "lk_lane", "new_figure_manager_given_figure"})
#: Public names: index and column of the table of a fan-out, an option of an invoice address, old option names.
PUBLIC = frozenset(
    {
        *('"lane"', "'lane'", "``lane``", '"remark"', "``remark``", '"Remark"'),
        *('"company"', "company: str", '"Company."', "--company"),
        *('"doctor"', '"no_doctor"'),
    }
)
GROUP = "names"
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_TS_NOISE = re.compile(r"""/\*.*?\*/|//[^\n]*|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`""", re.DOTALL)
_TS_BINDING = re.compile(
    r"\b(?:const|let|var|function|class|interface|type|enum)\s+([\w$]+)"  # a declaration
    r"|\b(?:const|let|var)\s+([\[{][^=;]*?[\]}])\s*="  # one that unpacks
    r"|([\w$]+)\s*\??:(?!:)"  # a parameter or a property
    r"|([\w$]+)\s*=>"  # the parameter of an arrow function
    r"|(?:async|static|private|public|protected|get|set)\s+([\w$]+)\s*\("  # a method
)


class Name(NamedTuple):
    """An identifier at the place that binds it."""

    package: str
    place: str
    name: str


class Finding(NamedTuple):
    """An identifier that breaks a rule."""

    package: str
    kind: str
    place: str
    name: str


@cache
def names() -> tuple[Name, ...]:
    """Return the bindings of all packages."""
    return tuple(_names())


def _names() -> Iterator[Name]:
    for path in sorted((ROOT / "lk_jupyter").rglob("*.py")):
        parts = path.relative_to(ROOT / "lk_jupyter").parts
        package = parts[0] if len(parts) > 1 else "lk_jupyter"
        for line, name in python_names(path.read_text(encoding="utf-8")):
            yield Name(package, f"{path.relative_to(ROOT)}:{line}", name)
    for path in sorted((ROOT / "labextension" / "src").rglob("*.ts*")):
        for line, name in typescript_names(path.read_text(encoding="utf-8")):
            yield Name("labextension", f"{path.relative_to(ROOT)}:{line}", name)


def python_names(source: str) -> Iterator[tuple[int, str]]:
    """Iterate over the identifiers that Python code binds, with their lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or (
            isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name
        ):
            yield node.lineno, str(node.name)
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def typescript_names(source: str) -> Iterator[tuple[int, str]]:
    """Iterate over the identifiers that TypeScript code binds, with their lines."""
    code = _TS_NOISE.sub(lambda noise: "''" + "\n" * noise[0].count("\n"), source)
    for binding in _TS_BINDING.finditer(code):
        line = code.count("\n", 0, binding.start()) + 1
        for name in re.findall(r"[A-Za-z_$][\w$]*", next(filter(None, binding.groups()))):
            yield line, name


def parts(name: str) -> list[str]:
    """Split an identifier into its words: ``_by_lane`` and ``byLane`` into by and lane."""
    return [part.lower() for part in _PARTS.findall(name)]


def findings() -> Iterator[Finding]:
    """Iterate over the identifiers that break a rule."""
    for package, place, name in names():
        words = [] if name in ON_THE_WIRE else parts(name)
        if NOT_NAMES.intersection(words):
            yield Finding(package, "not a noun", place, name)
        if any(word in LEFTOVERS or word.removesuffix("s") in LEFTOVERS for word in words):
            yield Finding(package, "leftover", place, name)


def _advice(kind: str) -> str:
    if kind == "leftover":
        return "write " + ", ".join(f"{new} for {old}" for old, new in LEFTOVERS.items())
    return "name the thing (response, offset) or the action and its object (send_request); not names: " + ", ".join(
        sorted(NOT_NAMES)
    )


def main(*args: str) -> int:
    """Report the packages that exceed their limits; 1 if any does."""
    found = list(findings())
    counts = Counter(f"{finding.package}: {finding.kind}" for finding in found)
    if args[:1] == ("--lower",):
        limits.lower(GROUP, counts)
    over = limits.exceeded(GROUP, counts, limits.read())
    for finding in found:
        if args == ("--list", finding.package):
            print(f"{finding.place}: {finding.name}: {finding.kind}")
    for key, limit in over.items():
        print(f"{GROUP}: {key}: {counts[key]} findings, limit {limit}. Rename: {_advice(key.rpartition(': ')[2])}")
        print(f"List them: python tests/names.py --list {key.partition(':')[0]}")
    return 1 if limits.report(GROUP, counts, "names.py") or over else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
