"""The checks of names and of subjects of commits, and the limits that only fall."""

import json

import limits
import names
import pytest
import words

CODE = """
def asked(told, *given, kept=None, **its):
    left, (ours, price) = told, given
    self.sent = [whole for whole in left if (here := whole)]
    try:
        pass
    except ValueError as said:
        pass
    match left:
        case {"a": found}:
            pass
class Lane: ...
"""
TYPESCRIPT = """
// const held = 1
const { made, price } = read('const kept = 1');
let given: Whole = 1;
function told(asked: string, left?: number) { return rows.map(seen => seen.size); }
"""


def test_every_form_that_binds_an_identifier_is_checked():
    bound = [name for _, name in names.python_names(CODE)]
    assert set(bound) >= {
        "asked",
        "told",
        "given",
        "kept",
        "its",
        "left",
        "ours",
        "sent",
        "whole",
        "here",
        "said",
        "found",
    }
    assert "Lane" in bound
    bound = [name for _, name in names.typescript_names(TYPESCRIPT)]
    assert sorted(bound) == sorted(["made", "price", "given", "told", "asked", "left", "seen"])


def test_an_unclear_word_counts_inside_a_longer_name_too():
    assert names.parts("_rows_kept") == ["rows", "kept"]
    assert names.parts("byLane") == ["by", "lane"]
    assert names.parts("MOST_LANES") == ["most", "lanes"]
    assert names.parts("planet") == ["planet"]


def test_a_limit_only_falls(tmp_path):
    path = tmp_path / "limits.json"
    path.write_text(json.dumps({"names: api: leftover": 3, "names: vms: leftover": 1, "words: docs": 2}))
    counts = {"api: leftover": 2, "vms: leftover": 2, "text: leftover": 1}
    assert limits.exceeded("names", counts, limits.read(path)) == {"vms: leftover": 1, "text: leftover": 0}
    assert limits.too_high("names", counts, limits.read(path)) == ["api: leftover"]
    limits.lower("names", counts, path=path)
    assert limits.read(path) == {"names: api: leftover": 2, "names: vms: leftover": 1, "words: docs": 2}


def test_limits_with_conflict_markers_name_the_command_that_solves_the_conflict(tmp_path):
    path = tmp_path / "limits.json"
    path.write_text('{\n<<<<<<< HEAD\n "names: api: leftover": 3\n=======\n}')
    with pytest.raises(SystemExit, match="git checkout --ours"):
        limits.read(path)


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ("runs: read the bytes of a message once", ""),
        ("names, words: pass the limit to the check", ""),
        ("runs: " + "read " * 14, "76 characters"),
        ("Read the bytes of a message once", "area: imperative"),
        ("runs: the bytes are read once", "area: imperative"),
        ("runs: fixed the order of the lines", "'fixed'"),
        ("runs: fixes the order of the lines", "'fixes'"),
        ("runs: fixing the order of the lines", "'fixing'"),
    ],
)
def test_the_subject_of_a_commit_is_an_area_and_an_imperative(subject, problem):
    reported = words.subject_problem(subject)
    assert problem in reported
    assert bool(problem) == bool(reported)


def test_a_sample_has_no_code_and_each_row_with_the_header_of_its_table():
    page = """Two settings:

| Name | Effect |
| --- | --- |
| keep | keeps it |

| Value | Result |
|---|---|
| never | nothing |

```sh
lk runs

lk wait
```
"""
    lines = ["Two settings:", "Name: keep | Effect: keeps it", "Value: never | Result: nothing"]
    assert [line for line in words._lines_of_page(page) if line] == lines
