"""Print the tests of the files that differ from main, by the mirror of the tree: ``make near``."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def changed() -> set[Path]:
    """Return the files that differ from main, and those that git does not know yet."""
    commands = (("diff", "--name-only", "--merge-base", "main"), ("ls-files", "--others", "--exclude-standard"))
    answers = (subprocess.run(["git", *how], cwd=ROOT, check=True, capture_output=True, text=True) for how in commands)
    return {Path(line) for answer in answers for line in answer.stdout.splitlines()}


def mirrored(path: Path, root: Path = ROOT) -> list[Path]:
    """Return the tests of a file: its own, those of the nearest package that has some, or all of its room."""
    tests, (top, *packages) = root / "tests", path.parent.parts or ("",)
    if top == "tests":
        return [root / path] if path.name.startswith("test_") else [tests.joinpath(*packages)][: len(packages)]
    if top == "labextension":
        return [tests / "test_labextension.py"]
    if top != "lk_jupyter" or path.suffix != ".py":
        return []
    for each in (path.stem, *reversed(packages[1:])):
        pattern = f"test_{each.strip('_')}.py"
        if found := sorted((tests / packages[0]).rglob(pattern) if packages else tests.glob(pattern)):
            return found
    return [tests / packages[0]] if packages else []


if __name__ == "__main__":
    near = {test for path in changed() for test in mirrored(path) if test.exists()}
    print(*sorted(near) or sys.exit("No test mirrors what has changed: make unit"))
