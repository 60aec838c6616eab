"""Each regular expression of the package takes little time, also for a text that was made to keep it busy."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest
from pumps import TAILS, Expression, expressions, pumps, script_expressions

import lk_jupyter

#: Characters of a text, and seconds of CPU time for it.
MUCH, SECONDS = 65_536, 1.0

#: A text of this part of it takes less than this part of the time if the time grows with the text, not its square.
_PART, _FAST = 16, SECONDS / 300

SOURCES = Path(lk_jupyter.__file__).parent


@pytest.fixture(scope="module")
def scripts():
    """The expressions in TypeScript."""
    return script_expressions(SOURCES.parent / "labextension" / "src")


@pytest.fixture(scope="module")
def all_expressions(scripts):
    """The expressions of the package, in Python and TypeScript."""
    return [*expressions(SOURCES), *scripts]


class TooLong(Exception):
    """An expression takes more than its time."""


def _stop(*_arguments):
    raise TooLong


def seconds_of(compiled, method, text, limit):
    """Return the CPU time that a method takes for a text, at most the limit."""
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    began = time.thread_time()
    try:
        if method in {"search", "findall", "finditer", "sub", "subn", "split"}:
            for _ in compiled.finditer(text):
                pass
        else:
            getattr(compiled, method)(text)
    except TooLong:
        return limit
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return time.thread_time() - began


def slowest(expression: Expression) -> tuple[float, str]:
    """Return the time for the text that takes an expression the longest, and the start of this text."""
    compiled = re.compile(expression.pattern, expression.flags)
    worst = (0.0, "")
    for start, piece in pumps(expression.pattern, expression.flags):
        for tail in TAILS:
            small = start + piece * (MUCH // _PART // len(piece)) + tail
            if any(seconds_of(compiled, expression.method, small, SECONDS) < _FAST for _ in range(2)):
                continue
            text = start + piece * (MUCH // len(piece)) + tail
            seconds = min(seconds_of(compiled, expression.method, text, 1.1 * SECONDS) for _ in range(2))
            worst = max(worst, (seconds, f"{start!r} + {piece!r} * n + {tail!r}"))
            if worst[0] >= SECONDS:
                return worst
    return worst


@pytest.mark.nightly  # 20 s; the text of secrets by day: tests/text/test_secrets.py
def test_no_text_keeps_a_regular_expression_busy(all_expressions):
    before = signal.signal(signal.SIGVTALRM, _stop)
    try:
        results = [(each, *slowest(each)) for each in all_expressions]
    finally:
        signal.signal(signal.SIGVTALRM, before)
    slow = [
        f"{each.place} {each.method} {seconds:.2f} s {text}\n    {each.pattern}"
        for each, seconds, text in results
        if seconds >= SECONDS
    ]
    assert not slow, "\n".join(slow)


def test_expressions_of_sources_and_of_modules_are_collected(all_expressions, scripts):
    assert len(all_expressions) > 200
    assert len(scripts) > 20 or not (SOURCES.parent / "labextension").exists()
    assert any(each.pattern == r"^Exception ignored " for each in all_expressions)


@pytest.mark.nightly
def test_a_text_is_found_for_each_kind_of_slow_expression():
    before = signal.signal(signal.SIGVTALRM, _stop)
    slow = [r"\w+@\w+", r"^\s*def "]
    try:
        times = {each: slowest(Expression(each, re.MULTILINE, "search", ""))[0] for each in slow}
    finally:
        signal.signal(signal.SIGVTALRM, before)
    assert all(seconds >= SECONDS for seconds in times.values()), times
