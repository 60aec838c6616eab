"""Runs tests with the oldest and the newest dependencies, on each Python that the package promises: ``make matrix``.

    python tests/matrix.py [CELL ...] [--quick | --tests PATH ...]

Each cell gets an environment below ``.out/matrix``. The oldest dependencies are the lowest of each requirement for
which the Python has a wheel. A Python that is not on this machine, nor to be had by uv, is named and passed over.
``--quick`` runs what starts no server, kernel or browser, and a few real runs: minutes instead of hours.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
OUT = ROOT / ".out" / "matrix"
WITHOUT_BROWSER = ("tests", "--ignore", "tests/ui", "--ignore", "tests/test_notebooks.py", "--ignore", "tests/suites")
#: Where Lab itself matters most: our plugins load, panel and widgets work, a notebook runs.
LAB = ("tests/ui/test_lab.py", "tests/ui/test_panel.py", "tests/ui/test_widgets.py", "tests/ui/test_first_hour.py")


#: Real runs in a real kernel, interrupted ones, variables, the bucket and the local cloud's own.
REAL = (
    "tests/magics/test_run.py",
    "tests/magics/test_interrupted.py",
    "tests/magics/test_storage.py",
    "tests/magics/test_terminal.py",
    "tests/magics/test_variables.py",
    "tests/localcloud/test_runs.py",
    "tests/localcloud/test_server.py",
    "tests/serverext/test_routes.py",
    "tests/test_executor.py",
)
QUICK = (("tests", "-m", "unit and not nightly"), REAL)

#: What stays as new as the boto3 of the tests wants it.
OF_TESTS = {"botocore", "urllib3"}


class Cell(NamedTuple):
    """A Python, how its dependencies are chosen, and the tests that it runs."""

    name: str
    python: str
    oldest: bool
    tests: tuple[str, ...]
    extra: str = "demo"


CELLS = (
    *(
        Cell(f"{python}-{age}", python, age == "oldest", WITHOUT_BROWSER)
        for python in ("3.10", "3.12", "3.14")
        for age in ("oldest", "newest")
    ),
    Cell("3.14t-newest", "3.14t", oldest=False, tests=WITHOUT_BROWSER),
    Cell("lab-oldest", "3.12", oldest=True, tests=LAB),
    Cell("lab-newest", "3.12", oldest=False, tests=LAB),
    Cell("no-extra", "3.12", oldest=False, tests=("tests/test_extras.py",), extra=""),
)


class Failed(Exception):
    """An environment that could not be made."""


def main() -> int:
    """Run the cells one after the other; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=", ".join(cell.name for cell in CELLS))
    parser.add_argument("--quick", action="store_true", help="a few tests of each cell of Pythons")
    parser.add_argument("--tests", nargs="+", help="tests that are run in place of those of the cell")
    asked = parser.parse_args()
    if unknown := set(asked.cells) - {cell.name for cell in CELLS}:
        parser.error(f"unknown cell: {', '.join(sorted(unknown))}")
    OUT.mkdir(parents=True, exist_ok=True)
    chosen = [cell for cell in CELLS if cell.name in asked.cells or not asked.cells]
    rows = list(_results(chosen, asked.tests, quick=asked.quick))
    return int(any(outcome.startswith("failed") for _, outcome in rows))


def _results(cells: list[Cell], tests: list[str] | None, *, quick: bool) -> Iterator[tuple[str, str]]:
    for cell in cells:
        began = time.monotonic()
        sets = QUICK if quick and cell.tests is WITHOUT_BROWSER else (tuple(tests or cell.tests),)
        outcome = _tried(cell, sets)
        print(f"{cell.name:12} {time.monotonic() - began:5.0f} s  {outcome}", flush=True)
        yield cell.name, outcome


def _tried(cell: Cell, sets: tuple[tuple[str, ...], ...]) -> str:
    folder, log = OUT / cell.name, OUT / f"{cell.name}.log"
    if not _has(cell.python):
        return f"passed over: no Python {cell.python}"
    try:
        python = _environment(cell, folder)
    except Failed as error:
        return f"failed: {error}"
    runner, env = python, {**os.environ, "LK_EXAMPLES": "5"}
    if not cell.extra:  # its tests come from here, and start its Python
        runner, env = Path(sys.executable), {**env, "LK_BARE_PYTHON": str(python)}
    # The oldest of one package warn of the newest of the next, Python of their code, and pyzmq of what an early
    # jupyter_client leaves open: no warnings of ours.
    ignored = ("-Wignore::DeprecationWarning", "-Wignore::SyntaxWarning", "-Wignore:Unclosed context:ResourceWarning")
    quiet = ignored if cell.oldest else ()
    command = [runner, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", *quiet]
    command += ["-m", "not nightly"]  # of two, the last counts
    code, ends = 0, []
    with log.open("w") as output:
        for tests in sets:
            done = subprocess.run([*command, *tests], cwd=ROOT, env=env, check=False, stdout=output, stderr=output)
            code = code or done.returncode
            ends.append(log.read_text(errors="replace").strip().rpartition("\n")[2].strip("= "))
    return f"{'failed' if code else 'passed'}: {'; '.join(ends)}" + (f" ({log.relative_to(ROOT)})" if code else "")


def _has(python: str) -> bool:
    found = subprocess.run([_uv(), "python", "find", python], capture_output=True, check=False).returncode == 0
    return (
        found or subprocess.run([_uv(), "python", "install", python], capture_output=True, check=False).returncode == 0
    )


def _environment(cell: Cell, folder: Path) -> Path:
    """Make the environment of a cell; return its Python."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    _do("venv", "--quiet", "--clear", "--python", cell.python, folder)
    if not cell.extra:
        _do("pip", "install", "--quiet", "--python", python, ROOT)
        return python
    age = "lowest-direct" if cell.oldest else "highest"
    _install(cell, python, "dev", age)  # what the tests need may want more of what it shares with the package
    if cell.oldest:
        _install(cell, python, cell.extra, age)
    _do("pip", "install", "--quiet", "--python", python, "--no-deps", "--editable", ROOT)
    return python


def _install(cell: Cell, python: Path, extra: str, age: str) -> None:
    listed = OUT / f"{cell.name}-{extra}.txt"
    wheels = ("--only-binary", ":all:")
    how = ("--quiet", "--no-annotate", *wheels, "--python", python, "--resolution", age, "--extra", extra)
    _do("pip", "compile", *how, ROOT / "pyproject.toml", "--output-file", listed)
    rows = [row for row in listed.read_text().splitlines() if extra == "dev" or row.partition("==")[0] not in OF_TESTS]
    listed.write_text("\n".join(rows))
    _do("pip", "install", "--quiet", *wheels, "--python", python, "--no-deps", "--requirement", listed)


def _do(*arguments: object) -> None:
    done = subprocess.run([_uv(), *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(" ".join(done.stderr.split())[-300:])


def _uv() -> str:
    return shutil.which("uv") or str(Path(sys.executable).with_name("uv"))


if __name__ == "__main__":
    sys.exit(main())
