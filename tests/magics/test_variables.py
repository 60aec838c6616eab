"""``--in`` and ``--out`` in a real kernel, read as a front end reads it."""

import pytest

from lk_jupyter.text.secrets import COLOUR


@pytest.fixture(scope="module")
def kernel(kernel):
    made = kernel.run(
        "import numpy as np\nimport pandas as pd\nimport threading\n"
        "df = pd.DataFrame({'x': [1.0, 2.0, 3.0]})\ncfg = {'factor': 10, 'größe': (1, 2)}\nlock = threading.Lock()\n"
        "big = np.arange(400_000.0)\ndef helper(): pass"
    )
    assert made.error is None
    return kernel


def forget(kernel, *names):
    kernel.run(f"for name in {names!r}: globals().pop(name, None)")


def test_variables_go_along_and_come_back_into_the_notebook(kernel):
    forget(kernel, "best", "history")
    code = "best = df.x.sum() * cfg['factor']\nhistory = big * 2\nprint('ran')"
    cell = kernel.run(f"%%lk_run --fresh --in df,cfg,big --out best,history\n{code}")
    assert cell.text == "ran\n"
    assert cell.shown[-1].splitlines()[-1].strip() == "Set here: best, history"
    kinds = "type(best).__name__, type(history).__name__"
    assert kernel.value(f"float(best), float(history[-1]), {kinds}") == "(60.0, 799998.0, 'float64', 'ndarray')"


def test_what_goes_along_is_shown_before_it_is_sent(kernel):
    first = []
    kernel.run("%%lk_run --fresh --in cfg,big\npass", on=lambda cell: first.extend(cell.shown))
    assert "brings cfg, big (3.2 MB)" in first[0]


def test_the_plan_names_each_with_its_kind_and_size_and_no_link(kernel):
    (plan,) = kernel.run("%%lk_run --fresh --in df,big,cfg --out best --dry-run\npass").shown
    assert "df (DataFrame, " in plan
    assert "big (ndarray, 3.2 MB)" in plan
    assert "cfg (dict, " in plan
    assert "Outputs" in plan
    assert "X-Amz" not in plan


def test_all_that_the_cell_reads_goes_along_by_itself(kernel):
    cell = kernel.run(
        "%%lk_run --fresh --in-all\nfor row in df.x:\n    row = row * cfg['factor']\nprint(np.sum(big), row)"
    )
    assert cell.error is None
    assert "brings big, cfg, df, np" in str(cell.messages)
    assert cell.text == "79999800000.0 30.0\n"


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("--in dff", "pass", "--in: this notebook has no variable dff. Nothing was sent. Did you mean df?"),
        (
            "--in lock",
            "pass",
            "lock is a lock, which belongs to this process: create it in the cell that uses it\nNothing was sent.",
        ),
        ("--in-all", "helper()", "helper is a function of this notebook: define it in the cell"),
        ("--out 1a", "pass", "--out takes variable names"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_sent(kernel, line, code, said):
    cell = kernel.run(f"%%lk_run --fresh {line}\n{code}")
    assert cell.error["ename"] == "UsageError"
    assert said in "\n".join(cell.error["traceback"])
    assert cell.shown == []


def test_what_did_not_come_is_named_and_the_rest_is_set(kernel):
    forget(kernel, "good", "bad", "never")
    receipt = kernel.run("%%lk_run --fresh --out good,bad,never\ngood = 1\nbad = open('/dev/null')").shown[-1]
    assert "Set here: good" in receipt
    assert "⚠ bad is an open file, which belongs to this process: send its path or its content." in receipt
    assert "⚠ never was not set." in receipt
    assert kernel.value("good, 'bad' in dir()") == "(1, False)"


def test_after_an_error_what_was_there_is_set_and_that_is_said(kernel):
    forget(kernel, "best")
    cell = kernel.run("%%lk_run --fresh --out best\nbest = 5\n1 / 0")
    assert cell.error["ename"] == "RunFailed"
    assert "Set here: best, with the values from the moment when the run failed" in cell.shown[-1]
    assert kernel.value("best") == "5"


def test_a_detached_run_gives_its_variables_when_it_is_asked(kernel):
    forget(kernel, "later")
    kernel.run("%%lk_run --fresh --out later --detach --save run\nlater = {'a': [1, 2]}")
    assert kernel.value("run.outputs()") == "{'later': {'a': [1, 2]}}"
    assert kernel.value("'later' in dir()") == "False"


def test_whoever_attaches_gets_the_variables_too(kernel):
    kernel.run("%%lk_run --fresh --out later --detach --save run\nlater = 7")
    run_id = kernel.value("run.execution_id").strip("'")
    kernel.run("run.wait()")
    forget(kernel, "later")
    cell = kernel.run(f"%lk_attach {run_id}")
    assert "Set here: later" in cell.shown[-1]
    assert kernel.value("later") == "7"


def test_the_identical_run_brings_and_returns_the_same_again(kernel):
    kernel.run("%%lk_run --fresh --in big,cfg --out total --save run\ntotal = float(big.sum()) * cfg['factor']")
    run_id = kernel.value("run.execution_id").strip("'")
    kernel.run("cfg = {'factor': 0}; total = None")
    assert "Set here: total" in kernel.run(f"%lk_rerun {run_id}").shown[-1]
    assert kernel.value("total") == "799998000000.0"


def test_a_sweep_brings_the_same_to_each_of_its_runs(kernel):
    kernel.run("cfg = {'factor': 10}")
    code = "%%lk_run --fresh --sweep lr=1,2 --in cfg --out total --save fan --detach\ntotal = cfg['factor'] * lr"
    assert kernel.run(code).error is None
    assert kernel.run("fan.wait()").error is None
    assert kernel.value("[lane.run.outputs()['total'] for lane in fan.members]") == "[10, 20]"


# Any cell


def test_a_cell_with_carry_does_here_what_it_does_as_it_stands(kernel):
    kernel.run(
        "import random\nclass Account:\n    def __init__(self): self.balance = 0\n"
        "    def pay(self, n): self.balance += n * rate\nrate, account, frame = 2, Account(), df.copy()\n"
        "same, table, items = account, frame, []\nrandom.seed(5)"
    )
    code = (
        "import math as m\naccount.pay(3)\nframe['y'] = np.sqrt(frame.x)\nitems.append(frame)\n"
        "def area(r): return m.pi * r\nvalue = random.random()\nprint(isinstance(account, Account))"
    )
    cell = kernel.run(f"%%lk_run --carry\n{code}")
    assert cell.error is None
    assert cell.text == "True\n"
    receipt = cell.shown[-1]
    assert "Set here: area" in receipt
    assert "Changed here: account" in receipt
    assert "big" not in receipt
    assert kernel.value("account.balance, same is account, isinstance(same, Account)") == "(6, True, True)"
    assert kernel.value("table is frame, list(table.columns), items[0] is frame") == "(True, ['x', 'y'], True)"
    assert kernel.value("round(area(1), 2), m.__name__") == "(3.14, 'math')"
    kernel.run("after = random.random(); random.seed(5); expected = random.random(), random.random()")
    assert kernel.value("(value, after) == expected") == "True"


def test_files_that_a_cell_writes_are_written_here_and_those_that_it_names_go_along(kernel, tmp_path):
    before = kernel.value("import os; os.getcwd()").strip("'")
    kernel.run(f"os.chdir({str(tmp_path)!r}); place = 'b.npy'")
    try:
        code = "np.save(place, np.arange(3))\nfor i in range(2): open(f'part{i}.txt', 'w').write(str(i))"
        cell = kernel.run(f"%%lk_run --carry\n{code}")
        assert "Written here: b.npy, part0.txt, part1.txt" in cell.shown[-1]
        assert kernel.run("%%lk_run --carry\nmkdir empty").error is None
        (tmp_path / "part1.txt").write_text("mine")
        code = "print(np.load(place).sum(), [open(f'part{n}.txt').read() for n in range(2)])"
        code += "\nopen('part0.txt', 'a').write('!')\n!ls empty && touch empty/x && ls empty"
        cell = kernel.run(f"%%lk_run --carry\n{code}")
        assert cell.text.splitlines() == ["3 ['0', 'mine']", "x"]
        assert (tmp_path / "empty" / "x").exists()
        assert (tmp_path / "part0.txt").read_text() == "0!"
        code = "open('part' + str(1) + '.txt', 'w').write('of the run')"
        cell = kernel.run(f"%%lk_run --carry\n{code}")
        assert "part1_from_run.txt" in "".join(cell.shown)
        assert (tmp_path / "part1.txt").read_text() == "mine"
        assert (tmp_path / "part1_from_run.txt").read_text() == "of the run"
        (tmp_path / "kept.csv").write_text("sent")
        code = "os.remove('b.npy'); os.remove('part0.txt'); os.rmdir('empty' if not os.remove('empty/x') else '')"
        cell = kernel.run(f"%%lk_run --carry\n{code}\nfor each in ['kept.csv']: os.remove(each)")
        assert "Deleted here: b.npy, empty/, empty/x, kept.csv, part0.txt" in cell.shown[-1]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["part1.txt", "part1_from_run.txt"]
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "large").write_bytes(bytes(9_000_000))
        cell = kernel.run("%%lk_run --carry\nos.rmdir('data')")
        assert "data/ was deleted by the run but stays here: the folder contains other files." in "".join(cell.shown)
        assert (tmp_path / "data" / "large").exists()
    finally:
        kernel.run(f"os.chdir({before!r})")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("open('../up.txt', 'w').write('x')", "../up.txt is outside the working folder, so it isn't returned."),
        (
            "for number in range(1200): open(f'{number}.txt', 'w').close()",
            "files of the run aren't returned: the working folder has more than 1,000 files.",
        ),
    ],
)
def test_files_of_a_run_that_are_not_returned_are_named(kernel, tmp_path, code, reason):
    before = kernel.value("import os; os.getcwd()").strip("'")
    kernel.run(f"os.chdir({str(tmp_path)!r})")
    try:
        assert reason in "".join(kernel.run(f"%%lk_run --carry\n{code}").shown)
        assert "working folder" not in "".join(kernel.run("%%lk_run --carry\nopen('here.txt', 'w').close()").shown)
    finally:
        kernel.run(f"os.chdir({before!r})")


def test_modules_are_found_where_an_earlier_cell_looks_for_them(kernel, tmp_path):
    before = kernel.value("import os; os.getcwd()").strip("'")
    kernel.run(f"import sys; os.chdir({str(tmp_path)!r})")
    try:
        code = "import os, sys\nos.mkdir('own')\nopen('own/mine_alone.py', 'w').write('V = 3')\nsys.path.append('own')"
        assert kernel.run(f"%%lk_run --carry\n{code}").error is None
        assert kernel.run("%%lk_run --carry\nimport mine_alone\nprint(mine_alone.V)").text == "3\n"
        assert kernel.value("mine_alone.V") == "3"
    finally:
        kernel.run(f"os.chdir({before!r}); sys.path[:] = [p for p in sys.path if p != {str(tmp_path / 'own')!r}]")


@pytest.mark.nightly  # tests/remote/test_ambient.py
def test_magics_accessors_a_backend_and_the_form_of_values_are_as_earlier_cells_have_set_them(kernel):
    kernel.run("import matplotlib; backend = matplotlib.get_backend()")
    cell = kernel.run(
        "%%lk_run --carry\nfrom IPython.core.magic import register_line_magic\nimport pandas as pd\n"
        "@register_line_magic\ndef twice(line): return line * 2\n"
        "@pd.api.extensions.register_dataframe_accessor('rows_of')\nclass Rows:\n"
        "    def __init__(self, frame): self.count = len(frame)\n"
        "%alias_magic again twice\n%precision 3\nfrom matplotlib.pyplot import plot, show\n"
        "matplotlib.use('nbagg')\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1])\nplt.show()"
    )
    try:
        assert cell.error is None
        assert [text for text in cell.shown if text.startswith("<IPython")] == [
            "<IPython.core.display.Javascript object>",
            "<IPython.core.display.HTML object>",
        ]
        assert "<img src=" in str(cell.messages)  # a picture in the place of a figure that nobody can move
        assert kernel.value("plt.get_backend().lower()") == "'nbagg'"
        kernel.run("matplotlib.use(backend)")
        assert kernel.run("%twice ab").shown == ["'abab'"]
        assert kernel.run("%again c").shown == ["'cc'"]
        assert kernel.run("3.14159265").shown == ["3.142"]
        assert kernel.value("show is __import__('matplotlib.pyplot').pyplot.show") == "True"
        code = "%again d\nprint(df.rows_of.count)\nplot([1]); show()\ndisplay(2 / 3)\n%precision\n%pprint\n%twice d"
        cell = kernel.run(f"%%lk_run --carry\n{code}")
        assert (cell.error, cell.text) == (None, "3\nPretty printing has been turned OFF\n")
        assert cell.shown[1:4] == ["<Figure size 640x480 with 1 Axes>", "0.667", "'dd'"]
        assert kernel.run("list(range(40))").shown == [str(list(range(40)))]
        assert kernel.run("%pprint\n1 / 8").shown == ["0.125"]
    finally:
        kernel.run("for name in ('twice', 'again'): get_ipython().magics_manager.magics['line'].pop(name, None)")
        kernel.run("del pd.DataFrame.rows_of; pd.DataFrame._accessors.discard('rows_of'); del twice, Rows, plot, show")
        kernel.run("%precision\nmatplotlib.use(backend)")


def test_how_cells_show_values_stays_as_an_earlier_cell_has_set_it(kernel, tmp_path):
    before = kernel.value("import os; os.getcwd()").strip("'")
    kernel.run(f"os.chdir({str(tmp_path)!r})")
    try:
        kernel.run(
            "%%lk_run --carry\nfrom IPython.core.interactiveshell import InteractiveShell\nimport os\n"
            "InteractiveShell.ast_node_interactivity = 'all'\nos.mkdir('deep')\nopen('deep/x.txt', 'w').close()\n"
            "os.chdir('deep')"
        )
        assert kernel.value("os.path.relpath('.', '..')") == "'deep'"
        assert kernel.run("%%lk_run --carry\n1 + 1\nx = 5\nx + 1").shown[1:3] == ["2", "6"]
    finally:
        kernel.run(f"os.chdir({before!r}); get_ipython().ast_node_interactivity = 'last_expr'")


def test_the_history_is_in_a_run_what_it_is_here(kernel):
    kernel.run("%%lk_run --carry\n5 + 6")
    cell = kernel.run("%%lk_run --carry\nprint(_ + 1, _i, In[-2], list(Out.values())[-1])\n_ * 2")
    assert cell.text == "12 5 + 6 5 + 6 11\n"
    assert kernel.value("_, __") == "(22, 11)"


def test_names_that_ipython_hides_travel_too_as_pylab_sets_them(kernel):
    kernel.run("import math as m\ndef root(x): return m.sqrt(x)\nget_ipython().user_ns_hidden['m'] = m")
    try:
        assert kernel.run("%%lk_run --carry\nprint(root(9), m.floor(2.5))").text == "3.0 2\n"
    finally:
        kernel.run("del m, root, get_ipython().user_ns_hidden['m']")


def test_names_of_python_that_a_cell_binds_anew_are_so_in_runs_and_here(kernel):
    code = (
        "import builtins\ndef print(*words): builtins.print('mine', *words)\n"
        "display, sys, list = 5, [6], 'text'\ndef open(name): return f'opened {name}'\nprint(open('x'))"
    )
    names = "print", "display", "open", "sys", "list"
    try:
        cell = kernel.run(f"%%lk_run --carry\n{code}")
        assert (cell.error, cell.text) == (None, "mine opened x\n")
        assert kernel.value("display, sys, list, open('y')") == "(5, [6], 'text', 'opened y')"
        cell = kernel.run("%%lk_run --carry\nprint(open(list), display)\nsys.append(7)\nmax = len = None\nbig")
        assert (cell.error, cell.text) == (None, "mine opened text 5\n")
        assert cell.shown[1].startswith("array([0.")
        assert kernel.value("sys, max") == "([6, 7], None)"
        assert kernel.run(f"%%lk_run --carry\ndel max, len, {', '.join(names)}\nprint(len([1]))").text == "1\n"
        assert kernel.value("print.__module__, len([1, 2]), display.__module__[:7]") == "('builtins', 2, 'IPython')"
    finally:
        forget(kernel, *names, "max", "len", "builtins")


def test_what_a_class_prints_when_it_is_pickled_is_no_output_of_the_cell(kernel):
    kernel.run(
        "class Loud:\n    def __getstate__(self): print('packed'); return self.__dict__\n"
        "    def __setstate__(self, state): print('unpacked'); self.__dict__ = state\nloud = Loud(); loud.n = 1"
    )
    try:
        cell = kernel.run("%%lk_run --carry\nimport copy\nloud.n += 1\nprint(loud.n)\ntwin = copy.copy(loud)")
        assert cell.text == "2\npacked\nunpacked\n"
        assert kernel.value("loud.n, twin.n") == "(2, 2)"
        assert kernel.run("print('heard')").text == "heard\n"
        code = "class Last:\n    def __del__(self): print('gone')\nlast, other = Last(), Last()\ndel other"
        assert kernel.run(f"%%lk_run --carry\n{code}").text == "gone\n"
        assert kernel.run("%%lk_run --carry\nprint(type(last).__name__)").text == "Last\n"
    finally:
        forget(kernel, "loud", "twin", "Loud", "copy", "last", "Last")


def test_carry_is_the_default_where_it_is_set_so_and_no_carry_switches_it_off(kernel):
    kernel.run("%env LK_CARRY=")
    kernel.run("%lk_config carry on")
    try:
        kernel.run("count = [1]")
        kernel.run("%%lk_run\ncount.append(2)")
        assert kernel.value("count") == "[1, 2]"
        assert kernel.run("%%lk_run --no-carry\ncount.append(3)").error["ename"] == "RunFailed"
    finally:
        kernel.run("%lk_config carry --unset\n%env LK_CARRY=always")


def test_the_plan_and_the_status_line_name_what_travels(kernel):
    (plan,) = kernel.run("%%lk_run --carry --dry-run\nbig[0] = helper").shown
    assert "big (ndarray, 3.2 MB)" in plan
    assert "helper (function, " in plan
    assert "all changed variables" in plan
    first = []
    kernel.run("%%lk_run --carry\nbig[0]", on=lambda cell: first.extend(cell.shown))
    assert "brings big 3.2 MB" in first[0]


def test_what_changed_here_while_a_run_went_on_is_kept_and_both_are_there(kernel):
    kernel.run("held, twice, mine, deep = 1, [1], [1], {'in': [1]}; asked = asked_too = 0; unread = [0]")
    kernel.run(
        "%%lk_run --carry --detach --save run\n"
        "held = held + 1\ntwice.append(2)\nmine.append('run')\ndeep['in'].append('run')"
    )
    kernel.run(
        "%%lk_run --fresh --detach --out asked,asked_too,unread --save named\nasked = asked_too = unread = 'run'"
    )
    kernel.run("run.wait(); held = 'mine'; mine.append('here'); deep['in'].append('here')")
    kernel.run("named.wait(); asked = 'mine'; unread.append('here')")
    cell = kernel.run(f"%lk_attach {kernel.value('run.execution_id')[1:9]}")
    assert (
        "held changed in this notebook during the run, so the value from the run is in held_from_run" in cell.shown[-1]
    )
    assert kernel.value("held, held_from_run, twice") == "('mine', 2, [1, 2])"
    assert kernel.value("mine, mine_from_run") == "([1, 'here'], [1, 'run'])"
    assert kernel.value("deep, deep_from_run") == "({'in': [1, 'here']}, {'in': [1, 'run']})"

    cell = kernel.run(f"%lk_attach {kernel.value('named.execution_id')[1:9]}")
    assert (
        "asked changed in this notebook during the run, so the value from the run is in asked_from_run"
        in cell.shown[-1]
    )
    assert kernel.value("asked, asked_from_run, asked_too") == "('mine', 'run', 'run')"
    assert kernel.value("unread, unread_from_run") == "([0, 'here'], 'run')"


def test_what_a_thread_changes_here_while_the_cell_waits_for_its_run_is_kept_too(kernel, tmp_path):
    begun, changed = str(tmp_path / "begun"), str(tmp_path / "changed")
    kernel.run(
        f"import os\nos.mkfifo({begun!r}); os.mkfifo({changed!r})\nrows, total = [1], 0\n"
        f"def change():\n    global total\n    open({begun!r}).read()\n"
        f"    rows.append('here'); total = 'here'\n    open({changed!r}, 'w').close()\n"
        "threading.Thread(target=change, daemon=True).start()"
    )
    waits = f"open({begun!r}, 'w').close()\nwith open({changed!r}) as file: file.read()"
    cell = kernel.run(f"%%lk_run --carry\nrows.append('run')\ntotal = total + 1\n{waits}")
    assert "rows changed in this notebook during the run" in cell.shown[-1]
    assert kernel.value("rows, rows_from_run, total, total_from_run") == "([1, 'here'], [1, 'run'], 'here', 1)"


def test_after_an_error_what_was_changed_before_it_comes_back(kernel):
    kernel.run("steps = []")
    cell = kernel.run("%%lk_run --carry\nsteps.append(1)\nhandle = open('/dev/null')\n1 / 0")
    assert cell.error["ename"] == "RunFailed"
    assert "handle is an open file, which belongs to this process" in cell.shown[-1]
    assert kernel.value("steps") == "[1]"


def test_a_function_of_a_run_shows_its_lines_in_a_traceback_here(kernel):
    kernel.run("%%lk_run --carry\ndef broken():\n    raise ValueError('here')")
    error = kernel.run("broken()").error
    assert error["ename"] == "ValueError"
    assert "raise ValueError('here')" in COLOUR.sub("", "\n".join(error["traceback"]))


def test_a_variable_that_is_deleted_after_its_run_leaves_the_memory(kernel):
    kernel.run(
        "import gc, weakref\nclass Kept: pass\nheld = Kept()\nseen = weakref.ref(held)\ngc.collect()\ngc.disable()"
    )
    assert kernel.run("%%lk_run --carry\nheld.n = 1").error is None
    assert kernel.value("held.n") == "1"
    kernel.run("del held")
    assert kernel.value("(gc.enable(), seen())") == "(None, None)"
