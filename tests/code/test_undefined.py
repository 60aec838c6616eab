"""Names that a cell certainly reads and that nothing has set."""

import pytest

from lk_jupyter.code.undefined import undefined_names
from lk_jupyter.code.variables import assigned_names


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("print(modle)", ["modle"]),
        ("x = a + b\nb = 1", ["a", "b"]),
        ("total += 1", ["total"]),
        ("for row in rows: pass", ["rows"]),
        ("if ready: pass", ["ready"]),
        ("[x for x in rows]", ["rows"]),
        ("f(lambda x=d: y)", ["f", "d"]),
        ("class A(Base): pass", ["Base"]),
        ("@wrap\ndef f(x=start): return later", ["wrap", "start"]),
        ("a < b", ["a", "b"]),
    ],
)
def test_a_name_that_is_always_read_and_never_set_is_listed(code, names):
    assert undefined_names(code, {}) == names


@pytest.mark.parametrize(
    "code",
    [
        "x = 1\nprint(x, len([]), __name__, display, get_ipython, lk_resume)",
        "import numpy as np\nnp.pi",
        "from math import *\npi",
        "exec('y = 1')\ny",
        "globals()['y'] = 1\ny",
        "%run other.py\ny",
        "!ls\ny",
        "try:\n    y\nexcept NameError: pass",
        "with suppressed() if 0 else open('x') as f:\n    y",
        "if False:\n    y",
        "for x in []:\n    y",
        "False and y",
        "1 if True else y",
        "def f(): return y",
        "lambda: y",
        "[y for x in []]",
        "if (n := 3) > 2: print(n)\nn",
        "def f():\n    global y\n    y = 1\nf()\ny",
        "for i in range(3): pass\ni",
        "match 1:\n    case y: pass\ny",
        "import sys\nsys.exit()\ny",
        "class A:\n    y",
        "not valid python",
    ],
)
def test_a_name_that_may_be_set_or_not_read_is_not_listed(code):
    assert undefined_names(code, {"suppressed"}) == []


def test_names_of_the_notebook_are_set():
    assert undefined_names("print(X, y)", {"X": 1}) == ["y"]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("best, *scores = train()", ["best", "scores"]),
        ("def f(a):\n    inner = a\nclass C:\n    field = 1", ["f", "C"]),
        ("if ready:\n    x = 1\nprint(y := 2)", ["x", "y"]),
        ("for epoch in range(3):\n    loss = epoch\nwith open('x') as file: text = file.read()", ["loss", "text"]),
        ("import numpy as np\n_hidden = 1\nx = 1\ndel x\n[i for i in range(3)]\nrow[0] = row.name = 2", []),
        ("%time history = fit()", ["history"]),
        ("%%time\nx = 1\ny = 2", ["x", "y"]),
        ("1 +", []),
    ],
)
def test_names_that_a_cell_sets_for_later_cells_are_listed(code, names):
    assert assigned_names(code) == names
