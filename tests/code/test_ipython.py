import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lk_jupyter.code.ipython import check_magics, replace_ipython_syntax, shows_last
from lk_jupyter.errors import UsageError


def test_plain_python_is_left_as_it_is():
    code = "x = 7 % 3\ns = '!ls'  # why?\nprint(f'{x!r}')\n"
    assert replace_ipython_syntax(code) == code


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("!ls -l", "get_ipython().system('ls -l')"),
        ("files = !ls", "files = get_ipython().getoutput('ls')"),
        ("%timeit f()", "get_ipython().run_line_magic('timeit', 'f()')"),
        ("    %cd data", "    get_ipython().run_line_magic('cd', 'data')"),
    ],
)
def test_a_line_of_ipython_becomes_a_call(line, python):
    assert replace_ipython_syntax(f"if x:\n    pass\n{line}\n").splitlines()[2] == python


LINES = st.sampled_from(
    ["x = 1", "", "!ls \\\n  -l", "%time f(1,\n  2)", "y = !ls \\\n -a", "if x:\n    !echo", "# !no"]
)


@given(st.lists(LINES, max_size=8))
def test_every_line_keeps_its_number(lines):
    code = "".join(f"{line}\nMARK{at} = {at}\n" for at, line in enumerate(lines))
    places = {line: number for number, line in enumerate(code.splitlines()) if line.startswith("MARK")}
    python = replace_ipython_syntax(code).splitlines()
    assert {line: number for number, line in enumerate(python) if line.startswith("MARK")} == places


def test_a_cell_magic_below_empty_lines_keeps_its_number():
    assert (
        replace_ipython_syntax("\n\n%%time\nx = 1\n").splitlines()[2].startswith("get_ipython().run_cell_magic('time'")
    )


@pytest.mark.parametrize(
    ("code", "shown"), [("x", True), ("x;", False), ("x;  # y", False), ("x  # ;", True), ("(", True)]
)
def test_a_semicolon_keeps_the_last_value_back(code, shown):
    assert shows_last(code) is shown


def refusal(code, **options):
    with pytest.raises(UsageError) as caught:
        check_magics(ast.parse(replace_ipython_syntax(code)), 2, has_ipython=False, **options)
    return str(caught.value)


def test_a_magic_that_a_run_has_not_is_named_with_its_line_and_what_to_do():
    assert refusal("x = 1\n%prun f()").startswith("line 3: %prun doesn't work in a run")
    assert "-r ipython" in refusal("%%cython\nx")


@pytest.mark.parametrize(
    ("code", "below"),
    [
        ("%%capture out\n!pip install x\nf()", "get_ipython().system('pip install x')\nf()\n"),
        ("%%time\n%%bash\nls", "get_ipython().run_cell_magic('bash', '', 'ls\\n')\n"),
        ("%%bash\n!ls", "!ls\n"),
    ],
)
def test_the_lines_below_a_magic_may_have_ipythons_syntax_too(code, below):
    (statement,) = ast.parse(replace_ipython_syntax(code)).body
    assert ast.literal_eval(statement.value.args[2]) == below


def test_a_question_for_help_is_sent_to_a_cell_of_the_notebook():
    assert (
        refusal("x = 1\nx?") == "line 3: a run can't show help. Nothing was sent. Use a separate cell without %%lk_run."
    )


def test_our_own_magics_stay_in_the_notebook():
    assert "line 2: %lk_status works only in the notebook" in refusal("%lk_status 1")


@pytest.mark.parametrize("name", ["history", "tb", "debug", "macro x", "store x"])
def test_magics_for_what_only_the_notebook_has_stay_there(name):
    with pytest.raises(UsageError, match=f"line 3: %{name.split()[0]} works only in the notebook's kernel"):
        check_magics(ast.parse(replace_ipython_syntax(f"x = 1\n%{name}")), 2, has_ipython=True)


@pytest.mark.parametrize(
    "code", ["!ls", "%time x", "%pip install x", "%%bash\nls", "%%timeit\n1", "%matplotlib inline"]
)
def test_the_magics_of_a_run_may_go(code):
    check_magics(ast.parse(replace_ipython_syntax(code)), 2, has_ipython=False)


def test_any_magic_may_go_where_the_run_has_ipython():
    check_magics(ast.parse(replace_ipython_syntax("%prun f()")), 2, has_ipython=True)


def test_a_cell_magic_in_the_middle_is_told_where_it_belongs():
    assert refusal("x = 1\n%%time\ny = 2").startswith("line 3: %%time must be the first line of the cell")
