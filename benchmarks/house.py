"""Measure how easy the code is to read: names, sentences, import circles, foreign private names, annotations, sizes.

``python benchmarks/house.py`` prints a table for each package of ``lk_jupyter`` and for ``labextension``;
``make bench`` reports the figures of all packages together.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import quantiles

from figures import Figure

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lk_jupyter"
BROWSER = ROOT / "labextension" / "src"
sys.path.append(str(ROOT / "tests"))

import names  # noqa: E402
import words  # noqa: E402

VAGUE = re.compile(r"\b(?:it|its|itself|them|others?|ones?|those)\b", re.IGNORECASE)
WHAT = re.compile(r"\bwhat\b", re.IGNORECASE)
WORD = re.compile(r"[A-Za-z][\w'-]*")
LEFTOVER = re.compile(rf"\b(?:{'|'.join(names.LEFTOVERS)}|companie)s?\b", re.IGNORECASE)
#: Names that start with an underscore and are documented.
DOCUMENTED = frozenset({"_asdict", "_exit", "_fields", "_getframe", "_make", "_replace"})
TS_IMPORT = re.compile(r"""(?:from|import)\s*\(?\s*['"](\.[^'"]+)['"]""")


@dataclass(frozen=True)
class Module:
    """A Python module: its dotted name, its package, its source and its syntax tree."""

    name: str
    package: str
    path: Path
    source: str
    tree: ast.Module


@cache
def modules() -> tuple[Module, ...]:
    """Parse all modules of the package."""
    parsed = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        source = path.read_text(encoding="utf-8")
        package = parts[1] if len(parts) > 2 else "lk_jupyter"
        parsed.append(Module(name, package, path, source, ast.parse(source)))
    return tuple(parsed)


def measure() -> Iterator[Figure]:
    """Yield the figures of all packages together."""
    bindings, wrong = _names()
    prose = _prose()
    length = sum(prose.values(), Counter())
    python, browser = _circles(_python_imports()), _circles(_browser_imports())
    foreign = sum(len(private) for private in foreign_names().values())
    functions = [function for module in modules() for function in _functions(module.tree)]
    untyped = sum(not _annotated(function) for function in functions)
    files = [module.source.count("\n") for module in modules()]
    yield Figure("names that are not nouns", _rate(wrong.total(), bindings.total()), 5, "per 1,000")
    yield Figure("'what' in docstrings and comments", _rate(length["what"], length["words"]), 2, "per 1,000")
    yield Figure("it, its, others, one, those there", _rate(length["vague"], length["words"]), 15, "per 1,000")
    yield Figure("lines with words of the last naming", _leftovers().total(), 0, "lines")
    yield Figure("import circles in Python, all forms", len(python), 0, "circles", _largest(python))
    yield Figure("import circles in TypeScript, all forms", len(browser), 0, "circles", _largest(browser))
    yield Figure("private names of other libraries", foreign, 15, "names")
    yield Figure("functions without annotations", 100 * untyped / len(functions), 0, "%")
    yield _sizes("lines of a file", files, 650)
    yield _sizes("lines of a function", [_body(function) for function in functions], 78)


def _rate(count: int, total: int) -> float:
    return 1000 * count / total if total else 0


def _largest(circles: list[set[str]]) -> str:
    return f"largest {max(map(len, circles))} files" if circles else ""


def _sizes(title: str, sizes: list[int], limit: float) -> Figure:
    tenths = quantiles(sizes, n=10)
    return Figure(f"longest, {title}", max(sizes), limit, "lines", f"p50 {tenths[4]:g}, p90 {tenths[8]:g}")


@cache
def _names() -> tuple[Counter[str], Counter[str]]:
    """Count the bindings of each package, and those that are not nouns."""
    bindings = Counter(name.package for name in names.names())
    return bindings, Counter(finding.package for finding in names.findings() if finding.kind == "not a noun")


@cache
def _prose() -> Mapping[str, Counter[str]]:
    """Count the words of docstrings and comments of each package, and the vague ones."""
    counts: dict[str, Counter[str]] = {}
    for text in words.prose():
        package = text.room.partition(": ")[2]
        counter = counts.setdefault(package, Counter())
        counter["words"] += len(WORD.findall(text.text))
        counter["what"] += len(WHAT.findall(text.text))
        counter["vague"] += len(VAGUE.findall(text.text))
    return counts


@cache
def _leftovers() -> Counter[str]:
    """Count the lines of each package with words of the last naming, also inside identifiers."""
    sources = [(module.package, module.source) for module in modules()]
    sources += [("labextension", path.read_text(encoding="utf-8")) for path in _browser_files()]
    return Counter(
        package
        for package, source in sources
        for line in source.splitlines()
        if LEFTOVER.search(
            re.sub(r"_|(?<=[a-z])(?=[A-Z])", " ", re.sub("|".join(names.ON_THE_WIRE | names.PUBLIC), "", line))
        )
    )


def _browser_files() -> list[Path]:
    return sorted(BROWSER.rglob("*.ts*"))


def _python_imports() -> dict[str, set[str]]:
    """Return the modules that each module imports: anywhere in it, for types only, or by a string."""
    module_names = {module.name for module in modules()}
    aliases = {module.path.stem: module.name for module in modules() if module.path.stem.startswith("_lk_")}
    graph = {}
    for module in modules():
        targets = (aliases.get(target, target) for target in _targets(module, module_names))
        graph[module.name] = {target for target in targets if target in module_names} - {module.name}
    graph.pop("lk_jupyter", None)  # lists what the package loads on demand
    return graph


def _targets(module: Module, module_names: set[str]) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(module, node)
            for alias in node.names:
                inner = f"{source}.{alias.name}".removeprefix(".")
                yield inner if inner in module_names else source
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." not in node.value[:1]:
            yield node.value


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    folder = module.name.split(".")
    depth = node.level - (module.path.name == "__init__.py")
    return ".".join([*folder[: len(folder) - depth], *([node.module] if node.module else [])])


def _browser_imports() -> dict[str, set[str]]:
    """Return the files that each TypeScript file imports, types included."""
    files = {str(path.relative_to(BROWSER).with_suffix("")): path for path in _browser_files()}
    graph = {}
    for name, path in files.items():
        targets = TS_IMPORT.findall(path.read_text(encoding="utf-8"))
        resolved = {os.path.relpath(path.parent / target, BROWSER) for target in targets}
        graph[name] = {target for target in resolved if target in files} - {name}
    return graph


def _circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the groups of files that all reach each other."""
    reached = {name: _reached(graph, name) for name in graph}
    circles = {frozenset(target for target in reached[name] if name in reached.get(target, ())) for name in graph}
    return [set(circle) for circle in circles if circle]


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    pending = list(graph[start])
    while pending:
        if (name := pending.pop()) not in reached:
            reached.add(name)
            pending += graph.get(name, ())
    return reached


@cache
def foreign_names() -> dict[str, set[str]]:
    """Return the private names of each package that no module of ours defines."""
    defined = {name.name for name in names.names()}
    uses: dict[str, set[str]] = {}
    for module in modules():
        private = {name for node in ast.walk(module.tree) for name in _private(node)}
        uses.setdefault(module.package, set()).update(private - defined - DOCUMENTED)
    return uses


def _private(node: ast.AST) -> Iterator[str]:
    names_of_node: list[str] = []
    if isinstance(node, ast.Attribute):
        names_of_node = [node.attr]
    elif isinstance(node, ast.ImportFrom) and not node.level and not str(node.module).startswith(("lk_jupyter", "_lk")):
        names_of_node = [alias.name for alias in node.names]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "hasattr"}:
        names_of_node = [str(item.value) for item in node.args[1:2] if isinstance(item, ast.Constant)]
    for name in names_of_node:
        if name.startswith("_") and not name.startswith(("__", "_lk")):
            yield name


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(tree: ast.Module) -> list[Function]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _annotated(function: Function) -> bool:
    signature = function.args
    parameters = [*signature.posonlyargs, *signature.args, *signature.kwonlyargs, signature.vararg, signature.kwarg]
    typed = all(item is None or item.annotation or item.arg in {"self", "cls"} for item in parameters)
    return typed and (function.returns is not None or function.name == "__init__")


def _body(function: Function) -> int:
    documented = ast.get_docstring(function, clean=False) is not None
    first = function.body[0]
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - first.lineno + 1 - docstring


def rows() -> Iterator[tuple[str, ...]]:
    """Yield one row for each package, with the columns of the table."""
    bindings, wrong = _names()
    prose, leftovers, foreign = _prose(), _leftovers(), foreign_names()
    yield "package", "not nouns", "'what'", "it/its/…", "leftovers", "foreign private", "untyped %", "longest file"
    for package in sorted(bindings):
        counts = prose.get(package, Counter())
        sources = [module for module in modules() if module.package == package]
        functions = [function for module in sources for function in _functions(module.tree)]
        untyped = 100 * sum(not _annotated(function) for function in functions) / max(len(functions), 1)
        lengths = [module.source.count("\n") for module in sources]
        yield (
            package,
            f"{_rate(wrong[package], bindings[package]):.1f}",
            f"{_rate(counts['what'], counts['words']):.1f}",
            f"{_rate(counts['vague'], counts['words']):.1f}",
            str(leftovers[package]),
            str(len(foreign.get(package, ()))),
            f"{untyped:.1f}",
            str(max(lengths, default=0)),
        )


if __name__ == "__main__":
    for row in rows():
        print(f"{row[0]:<13}" + "".join(f"{cell:>16}" for cell in row[1:]))
    print("Names, 'what' and it/its/others/one/those are per 1,000 bindings or words.")
    for figure in measure():
        print(figure)
    for circle in [*_circles(_python_imports()), *_circles(_browser_imports())]:
        print("circle:", ", ".join(sorted(circle)))
