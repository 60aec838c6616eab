import pytest

from lk_jupyter.code.syntax import call_without_warnings, check_code
from lk_jupyter.errors import UsageError


def test_good_code_gives_its_tree():
    assert len(check_code("x = 1\ny = 2", file_name="cell.py").body) == 2


@pytest.mark.parametrize("code", ["", "  \n\n"])
def test_an_empty_cell_is_named(code):
    with pytest.raises(UsageError, match="The cell is empty"):
        check_code(code, file_name="cell.py")


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("!pip install torch einops", "%%lk_run -r torch einops"),
        ("%pip install -q torch", "%%lk_run -r torch"),
        ("!nvidia-smi", 'subprocess.run("nvidia-smi", shell=True, check=True)'),
        ("%matplotlib inline", 'plt.savefig("figure.png")'),
        ("%timeit f()", "timeit"),
        ("%cd data", 'os.chdir("data")'),
        ("%env A=1", "os.environ"),
        ("%load_ext autoreload", "delete the line"),
        ("%%bash", "plain Python"),
        ("    !ls", 'subprocess.run("ls", shell=True, check=True)'),
    ],
)
def test_an_ipython_line_is_named_with_what_to_write_in_its_place(line, advice):
    with pytest.raises(UsageError) as caught:
        check_code(f"x = 1\nif x:\n    pass\n{line}\n", file_name="cell.py", first_line=2)
    assert f"line 5: {line.strip()}" in str(caught.value)
    assert advice in str(caught.value)


def test_all_ipython_lines_are_named_at_once():
    with pytest.raises(UsageError) as caught:
        check_code("!a\n%b\n", file_name="cell.py")
    assert "line 1" in str(caught.value)
    assert "line 2" in str(caught.value)


def test_a_percent_that_is_python_is_left_alone():
    check_code("x = (7\n% 3)\ns = '''\n!ls\n%cd\n'''", file_name="cell.py")


def test_a_syntax_error_has_the_line_of_the_cell():
    with pytest.raises(SyntaxError) as caught:
        check_code("x = 1\ny = (", file_name="cell.py", first_line=2)
    assert (caught.value.filename, caught.value.lineno) == ("cell.py", 3)


@pytest.mark.parametrize("code", ["return 1", "await f()", "x = '\0'", "break"])
def test_code_that_does_not_compile_is_refused(code):
    with pytest.raises(SyntaxError):
        check_code(code, file_name="cell.py")


def test_trees_are_made_while_another_thread_makes_some():
    tries = iter([SystemError("AST constructor recursion depth mismatch"), None])

    def make_tree():
        if failure := next(tries):
            raise failure
        return "tree"

    assert call_without_warnings(make_tree) == "tree"
