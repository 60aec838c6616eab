"""Which slips a mutant of a source can hold."""

from __future__ import annotations

import pytest
from mutation.mutants import compiles, mutants


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("x = a < b", {"x = a <= b", "x = None"}),
        ("if ready and paid: go()", {"if ready or paid: go()", "if ready and paid: pass"}),
        ("total += cost", {"pass"}),
        ("raise Failed(1)", {"pass"}),
        (
            "def f(): return 'Bär' + x",
            {"def f(): return 'BärXX' + x", "def f(): return 'Bär' - x", "def f(): return None"},
        ),
        ("if not sent: send()", {"if bool(sent): send()", "if not sent: pass"}),
    ],
)
def test_a_mutant_differs_from_its_source_in_one_place(source, changed):
    found = {mutant.apply(source) for mutant in mutants(source)}
    assert found == changed
    assert all(map(compiles, found))


def test_prose_and_annotations_have_no_mutants():
    source = 'def f(x: "text" = None) -> "text":\n    """Say it."""\n    Field(description="words")\n'
    assert {mutant.kind for mutant in mutants(source)} == {"call left out"}
