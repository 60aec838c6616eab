"""Changes 200 random lines, one at a time, and counts how many of the changes the tests catch.

    python tests/mutation [--lines N] [--seed N] [--again] [--map] [--jobs N]

Works on a copy of the sources below ``.out/mutation``. The first time, and with ``--map``, it writes down which tests
run which line; a mutant is tried on the tests of its line, the fastest first. ``--again`` tries those of the
last report that survived, found by the text of their lines: those that were caught still are. The report names all that
survived.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from mutants import Mutant, compiles, mutants

ROOT = Path(__file__).parents[2]
OUT = ROOT / ".out" / "mutation"
MAP = OUT / "map.json"
REPORT = OUT / "report.json"
ROOMS = ("account", "api", "journal", "machines", "magics", "protocol", "runs", "storage", "vms")
#: The rooms' own tests, and those of others that see them in many ways.
TESTS = (*ROOMS, "widgets", "serverext", "test_operations.py", "test_session.py", "test_stand_in.py")
BUILT = ("lk_jupyter/labextension", "lk_jupyter/widgets/static")
#: A mutant is tried on tests that took this long together, and killed after some times as long: a loop has no end.
MOST_SECONDS = 30.0
_PATIENCE = 6


def main() -> int:
    """Print the counts and what survived; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=200, help="how many lines to change")
    parser.add_argument("--seed", type=int, default=1, help="which lines")
    parser.add_argument("--again", action="store_true", help="those of the last report that survived")
    parser.add_argument("--map", action="store_true", help="find out anew which tests run which line")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    asked = parser.parse_args()
    trees = [_copied(OUT / f"tree{number}") for number in range(asked.jobs)]
    if asked.map or not MAP.exists():
        _write_map(trees[0])
    known = json.loads(MAP.read_text())
    before = json.loads(REPORT.read_text()) if asked.again else []
    chosen = _survivors(before) if asked.again else _sample(asked.lines, asked.seed)
    report = [row for row in before if row["outcome"] == "caught"]
    for row in _tried(chosen, known, trees):
        report.append(row)
        REPORT.write_text(json.dumps(report, indent=1))  # all so far: it takes hours, and may be ended before
    _show(report)
    return 0


def _sample(lines: int, seed: int) -> list[tuple[str, Mutant]]:
    """Return a mutant for each of some random lines: a random kind that the line has, then one of that kind."""
    found: dict[tuple[str, int], dict[str, list[Mutant]]] = {}
    for file in sorted(path for room in ROOMS for path in (ROOT / "lk_jupyter" / room).rglob("*.py")):
        for mutant in mutants(file.read_text(encoding="utf-8")):
            kinds = found.setdefault((str(file.relative_to(ROOT)), mutant.line), {})
            kinds.setdefault(mutant.kind, []).append(mutant)
    chance, chosen = random.Random(seed), []
    for file, line in chance.sample(sorted(found), len(found)):
        mutant = chance.choice(found[file, line][chance.choice(sorted(found[file, line]))])
        if len(chosen) < lines and compiles(mutant.apply((ROOT / file).read_text(encoding="utf-8"))):
            chosen.append((file, mutant))
    return chosen


def _survivors(rows: list[dict]) -> list[tuple[str, Mutant]]:
    """Return the mutants of a report that survived, where their lines are now."""
    chosen = []
    for row in rows:
        source = (ROOT / row["file"]).read_text(encoding="utf-8")
        lines = source.splitlines()
        same = [
            mutant
            for mutant in mutants(source)
            if (mutant.kind, mutant.new) == (row["kind"], row["new"]) and lines[mutant.line - 1].strip() == row["text"]
        ]
        if same and row["outcome"] != "caught":
            chosen.append((row["file"], min(same, key=lambda mutant: abs(mutant.line - row["line"]))))
    return chosen


def _copied(tree: Path) -> Path:
    """Copy the sources that git knows, and what is built of them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    shutil.rmtree(tree, ignore_errors=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    for name in BUILT:
        shutil.copytree(ROOT / name, tree / name)
    return tree


def _environment(tree: Path) -> dict[str, str]:
    paths = os.pathsep.join([str(tree), str(tree / "tests")])
    return {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "LK_EXAMPLES": "5"}


def _write_map(tree: Path) -> None:
    """Write down which tests run which line, of the sources as they are now."""
    command = [sys.executable, "-m", "pytest", "-p", "mutation.coverage_map", "-q", "-p", "no:cacheprovider"]
    command += [place for place in (f"tests/{name}" for name in TESTS) if (tree / place).exists()]
    env = {**_environment(tree), "LK_COVERAGE_MAP": str(MAP)}
    MAP.unlink(missing_ok=True)
    with (OUT / "map.log").open("w") as log:
        subprocess.run(command, cwd=tree, env=env, check=False, stdout=log, stderr=log)


def _tried(chosen: list[tuple[str, Mutant]], known: dict, trees: list[Path]) -> Iterator[dict]:
    workers: SimpleQueue[subprocess.Popen] = SimpleQueue()
    for tree in trees:
        command = [sys.executable, str(tree / "tests/mutation/worker.py")]
        workers.put(
            subprocess.Popen(
                command, cwd=tree, env=_environment(tree), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )

    def tried(file: str, source: str, tests: list[str]) -> dict:
        limit = 60 + _PATIENCE * sum(known["seconds"][test] for test in tests)
        worker = workers.get()
        try:
            worker.stdin.write(json.dumps({"file": file, "source": source, "tests": tests, "seconds": limit}) + "\n")
            worker.stdin.flush()
            return json.loads(worker.stdout.readline())
        finally:
            workers.put(worker)

    def outcome(file: str, mutant: Mutant) -> dict:
        source = (ROOT / file).read_text(encoding="utf-8")
        row = {"file": file, "text": source.splitlines()[mutant.line - 1].strip(), **vars(mutant)}
        tests = tests_of(known, file, mutant.line)
        if not tests:
            return {**row, "outcome": "run by no test"}
        answer = tried(file, mutant.apply(source), tests)
        row |= {"outcome": "caught" if answer["code"] else "survived", "tests": len(tests), **answer}
        print(f"{row['outcome']:9} {file}:{mutant.line} {mutant.kind}", flush=True)
        return row

    file, mutant = next((file, mutant) for file, mutant in chosen if tests_of(known, file, mutant.line))
    same = tried(file, (ROOT / file).read_text(encoding="utf-8"), tests_of(known, file, mutant.line))
    if same["code"]:
        raise SystemExit(f"the tests fail without a change:\n{same['output']}")
    with ThreadPoolExecutor(len(trees)) as pool:
        yield from pool.map(lambda each: outcome(*each), chosen)
    for _ in trees:
        worker = workers.get()
        worker.stdin.close()
        worker.wait()


def tests_of(known: dict, file: str, line: int) -> list[str]:
    """Return the tests of a line, the fastest first; of a line that runs at import, those of its file."""
    lines = known["lines"].get(file, {})
    near = next((lines[str(number)] for number in range(line, line - 12, -1) if str(number) in lines), None)
    tests = near or {test for found in lines.values() for test in found}
    chosen, seconds = [], 0.0
    for test in sorted(tests, key=lambda test: (known["seconds"][test], test)):
        seconds += known["seconds"][test]
        if chosen and seconds > MOST_SECONDS:
            break
        chosen.append(test)
    return chosen


def _show(report: list[dict]) -> None:
    for row in report:
        if row["outcome"] != "caught":
            print(f"{row['outcome']}: {row['file']}:{row['line']} ({row['kind']}: {row['new']!r})\n    {row['text']}")
    for room in (*ROOMS, ""):
        counts = Counter(row["outcome"] for row in report if row["file"].startswith(f"lk_jupyter/{room}"))
        print(f"{room or 'all':8} {counts['caught']:4} of {counts.total():4} caught, {dict(counts)}")


if __name__ == "__main__":
    sys.exit(main())
