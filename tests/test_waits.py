"""What a test waits for is an event: nothing here sleeps for longer than a look at it takes."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent

#: Seconds between two looks, and seconds after which a sleep is no wait: the test ends what sleeps so.
LOOK, NEVER_SLEPT_OUT = 0.2, 20

#: Milliseconds, the others take seconds.
IN_MILLISECONDS = "wait_for_timeout"


def sleeps(path):
    """Yield the line and the seconds of each sleep in a file, also of those in the code that its runs have."""
    text = path.read_text("utf-8")
    if "sleep(" not in text and IN_MILLISECONDS not in text:
        return
    try:
        tree = ast.parse(text)
    except SyntaxError:  # cells of a notebook, with magics
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in {"sleep", IN_MILLISECONDS}:
                yield node.lineno, node.args[0].value / (1000 if name == IN_MILLISECONDS else 1)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from ((node.lineno, float(found)) for found in re.findall(r"\bsleep\((\d*\.?\d+)\)", node.value))


def test_no_test_waits_for_a_time_instead_of_an_event():
    found = [
        f"{path.relative_to(TESTS)}:{line} sleeps {seconds:g} s"
        for path in sorted(TESTS.rglob("*.py"))
        if path.name != "film.py"  # what is filmed takes its time
        for line, seconds in sleeps(path)
        if LOOK < seconds < NEVER_SLEPT_OUT
    ]
    assert found == []
