"""How easy the code is to find one's way in: circles, directions, the way of one cell, names, sizes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from figures import Figure

import lk_jupyter
from lk_jupyter.localcloud import launch

ROOT = Path(lk_jupyter.__file__).parent

#: Runs one cell until everything is loaded and connected, then once more with every call of our functions counted.
TRACE = """
import json, sys, threading
from IPython.core.interactiveshell import InteractiveShell
root = sys.argv[1]
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "lk_jupyter")
CELL = "%%lk_run --gpu L40S\\nprint('one cell')"
for _ in range(2):
    shell.run_cell(CELL)
calls, files, left, here = set(), set(), 0, threading.local()

def watch(frame, event, _):
    global left
    code = frame.f_code
    if event != "call" or not code.co_filename.startswith(root) or code.co_name.startswith("<"):
        return
    before, seen = getattr(here, "file", None), here.__dict__.setdefault("seen", set())
    here.file = code.co_filename
    left += here.file != before and here.file in seen
    seen.add(here.file)
    files.add(here.file)
    calls.add(code)

threading.setprofile(watch)
sys.setprofile(watch)
shell.run_cell(CELL)
sys.setprofile(None)
threading.setprofile(None)
print(json.dumps({"files": len(files), "functions": len(calls), "returns": left}))
"""


@dataclass(frozen=True)
class Module:
    """A module of the package: its name, its file, and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module


def measure() -> Iterator[Figure]:
    """Yield the figures; only the cell is executed, on a local cloud of its own."""
    modules = {module.name: module for module in _modules()}
    graph = {name: _imports(module, modules) for name, module in modules.items()}
    circles = _circles(graph)
    largest = max((len(circle) for circle in circles), default=0)
    yield Figure(
        "import circles, with deferred and type-only imports", len(circles), 0, "circles", f"largest {largest}"
    )
    walk = _walk()
    yield Figure("one warm cell passes", walk["files"], 45, "files")
    yield Figure("one warm cell calls", walk["functions"], 250, "functions")
    yield Figure("one warm cell comes back to a file that it had left", walk["returns"], 200, "times")
    yield from _names(list(modules.values()))
    yield from _sizes(list(modules.values()))


def _modules() -> Iterator[Module]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        yield Module(name, path, ast.parse(path.read_text(encoding="utf-8")))


def _imports(module: Module, modules: Mapping[str, Module]) -> set[str]:
    """Return the modules that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in modules else node.module for name in names}
    return {name for name in found if name in modules and name != module.name}


def _circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the groups of modules that all reach each other."""
    reached = {name: _reached(graph, name) for name in graph}
    circles = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return [set(circle) for circle in circles if circle]


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    todo = list(graph[start])
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            todo += graph[name]
    return found


def _walk() -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        cloud = launch.start(Path(folder, "cloud"))
        kept = {
            "LK_LOG_DIR": f"{folder}/logs",
            "LK_JOURNAL": f"{folder}/journal.sqlite",
            "IPYTHONDIR": f"{folder}/ipython",
        }
        env = {**os.environ, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, **kept}
        try:
            told = subprocess.check_output([sys.executable, "-c", TRACE, f"{ROOT}{os.sep}"], env=env, text=True)
        finally:
            launch.stop(cloud.data)
    walk: dict[str, int] = json.loads(told.splitlines()[-1])
    return walk


def _names(modules: list[Module]) -> Iterator[Figure]:
    classes = Counter(
        node.name
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    twice = [name for name, count in classes.items() if count > 1]
    yield Figure("class names that exist more than once", len(twice), 0, "names", ", ".join(sorted(twice)[:8]))
    names = [name for module in modules for name in _functions(module)]
    private = sum(name.startswith("_") and not name.endswith("__") for name in names)
    yield Figure("private functions, of all", 100 * private / len(names), 25, "%", f"{private} of {len(names)}")


def _functions(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def _sizes(modules: list[Module]) -> Iterator[Figure]:
    texts = [module.path.read_text(encoding="utf-8").splitlines() for module in modules]
    documented = sum(_documentation(module.tree) for module in modules)
    lines = sum(len([line for line in text if line.strip()]) for text in texts)
    yield Figure(
        "lines without blank ones and docstrings", lines - documented, 29_000, "lines", f"{len(modules)} files"
    )
    yield _spread("lines of a file", [len(text) for text in texts], 250)
    bodies = [
        (node.end_lineno or 0) - node.body[0].lineno + 1 - _own_documentation(node)
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    yield _spread("lines of a function", bodies, 15)


def _spread(what: str, sizes: list[int], limit: float) -> Figure:
    tenths = quantiles(sizes, n=10)
    return Figure(
        f"{what}, at the 90th percentile", tenths[8], limit, "lines", f"median {tenths[4]:g}, most {max(sizes)}"
    )


def _documentation(tree: ast.Module) -> int:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return sum(_own_documentation(node) for node in ast.walk(tree) if isinstance(node, documented))


def _own_documentation(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node, clean=False) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


if __name__ == "__main__":
    for figure in measure():
        print(figure)
