"""What travels with a run, at work: the code is run as a cloud runs it, without a cloud."""

import __future__

import dis
import json
import re
import subprocess
import sys
from base64 import b64decode
from importlib.metadata import version

import pytest
from packaging.version import Version
from patience import PATIENCE

from lk_jupyter.api.machine_types import MachineType
from lk_jupyter.code.source import Source
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.frames import STDERR, Frame, Splitter, format_frame
from lk_jupyter.runs.package import bundle as bundles
from lk_jupyter.runs.package.bundle import BundleBuilder, Limits

L40S = MachineType(hardware_profile="gpu.l40s", price_per_hour=1.0)


class Done:
    """What a run has shown: text and frames in order, of both streams."""

    def __init__(self, process, nonce, folder):
        self.code = process.returncode
        self.raw = process.stdout
        self.folder = folder
        splitter = Splitter(nonce)
        items = [*splitter.feed(process.stdout), *splitter.end()]
        self.items = [format_frame(item) if getattr(item, "kind", "") == STDERR else item for item in items]
        assert splitter.damaged == 0

    @property
    def text(self):
        return "".join(item for item in self.items if isinstance(item, str))

    def payloads(self, kind="display"):
        return [item.payload for item in self.items if isinstance(item, Frame) and item.kind == kind]

    @property
    def shown(self):
        """Text, and the forms of what was shown in its place."""
        return [item if isinstance(item, str) else item.payload.get("data", item.kind) for item in self.items]


@pytest.fixture
def run(tmp_path):
    """Run a cell as a cloud does; both streams come as one."""

    def run(code, **options):
        source = Source(code, "cell.py", 2, tmp_path, is_cell=True)
        package = BundleBuilder(source, RunOptions(**options), L40S, Limits(60, 600)).build()
        for name, text in json.loads(package.request.import_files).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "cell.py").write_text(package.request.code)
        command = [sys.executable, "-X", "utf8", "cell.py"]
        process = subprocess.run(
            command,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=False,
            timeout=PATIENCE,
        )
        process.stdout = process.stdout.decode()
        return Done(process, package.nonce, tmp_path)

    return run


def test_the_last_expression_is_shown(run):
    assert run("x = 6\nprint('a')\nx * 7").shown == ["a\n", {"text/plain": "42"}]


@pytest.mark.parametrize("code", ["x = 1", "None", "5;", "print(end='')"])
def test_nothing_is_shown_where_a_notebook_shows_nothing(run, code):
    assert run(code).shown == []


def test_each_statement_is_compiled_alone_as_in_a_notebook(run):
    code = (
        "import re, dis\ndef f(): return re.sub('a', 'b', 'a')\n"
        "print('LOAD_METHOD' in {of.opname for of in dis.get_instructions(f)})\n"
        "from __future__ import annotations\ndef h(x: Later): pass\nh.__annotations__"
    )
    alone = {}
    exec("def f(): return re.sub('a', 'b', 'a')", alone)
    own = "LOAD_METHOD" in {of.opname for of in dis.get_instructions(alone["f"])}
    assert run(code).shown == [f"{own}\n", {"text/plain": "{'x': 'Later'}"}]
    assert "NameError" in run(f"def g(x: Later): pass\ng.__annotations__\n{code}").raw
    source = Source("def f(x: Later): pass\nf.__annotations__", is_cell=True, namespace={"a": __future__.annotations})
    flags = BundleBuilder(source, RunOptions(), L40S, Limits(60, 600)).build().request.import_files
    assert f'\\"flags\\": {__future__.annotations.compiler_flag}' in flags


def test_a_cell_that_awaits_is_in_one_loop_and_may_end_an_iteration(run):
    code = (
        "import asyncio\nawait asyncio.sleep(0)\nloop = asyncio.get_running_loop()\n"
        "await asyncio.sleep(0)\nprint(loop is asyncio.get_running_loop())\nnext(iter([]))"
    )
    done = run(code)
    assert done.text.startswith("True\n")
    assert "StopIteration" in done.raw
    assert "RuntimeError" not in done.raw
    assert "StopIteration" in run("next(iter([]))").raw


def test_shown_objects_and_text_come_in_order_also_from_threads_and_processes(run):
    code = (
        "import subprocess, sys, threading\nprint('a', end='')\ndisplay(1)\nsubprocess.run(['echo', 'b'])\n"
        "thread = threading.Thread(target=display, args=(2,)); thread.start(); thread.join()\n"
        "print('c', file=sys.stderr, flush=True)\ndisplay(3)\nprint('d')"
    )
    one, two, three = ({"text/plain": str(number)} for number in (1, 2, 3))
    assert run(code).shown == ["a", one, "b\n", two, "c\n", three, "d\n"]


@pytest.mark.parametrize("last", ["print(8)", "print(await task)"])
def test_a_loop_is_active_where_the_code_begins_a_task(run, last):
    done = run(f"import asyncio\nasync def eight(): return 8\ntask = asyncio.create_task(eight())\n{last}")
    assert (done.code, done.text) == (0, "8\n")


def test_an_object_is_shown_in_all_its_forms(run):
    code = (
        "class Thing:\n    def _repr_html_(self): return '<b>x</b>'\n    def _repr_png_(self): return b'\\x89PNG'\n"
        "    def _repr_latex_(self): return '$x$', {'size': 1}\n    def _repr_json_(self): return {'a': 1}\n"
        "    def __repr__(self): return 'Thing'\nThing()"
    )
    (payload,) = run(code).payloads()
    assert payload["data"] == {
        "text/html": "<b>x</b>",
        "image/png": "iVBORw==",
        "text/latex": "$x$",
        "application/json": {"a": 1},
        "text/plain": "Thing",
    }
    assert payload["metadata"] == {"text/latex": {"size": 1}}


def test_a_form_that_fails_is_told_and_the_others_are_shown(run):
    code = "class Thing:\n    def _repr_html_(self): return 1 / 0\n    def __repr__(self): return 'Thing'\nThing()"
    done = run(code)
    assert done.code == 0
    assert "ZeroDivisionError" in done.text
    assert done.payloads()[0]["data"] == {"text/plain": "Thing"}


def test_an_output_is_updated_by_its_id(run):
    done = run("handle = display(1, display_id='x')\nhandle.update(2)\nhandle2 = display(3, display_id=True)")
    assert done.payloads()[0]["id"] == "x"
    assert done.payloads("update") == [{"data": {"text/plain": "2"}, "metadata": {}, "id": "x"}]


def test_figures_are_shown_at_plt_show_and_at_the_end_whatever_the_code_does_to_its_folder_and_path(run):
    done = run(
        "import os, sys\nos.chdir('/')\nsys.path.pop(0)\ndisplay(1)\n"
        "import matplotlib.pyplot as plt\nplt.plot([1]); plt.show()\nprint('between')\nplt.plot([2]);"
    )
    one, first, text, second = done.shown
    assert (one, text) == ({"text/plain": "1"}, "between\n")
    for figure in (first, second):
        assert b64decode(figure["image/png"]).startswith(b"\x89PNG")
        assert figure["text/plain"] == "<Figure size 640x480 with 1 Axes>"


@pytest.mark.parametrize("backend", ["svg", pytest.param("agg", marks=pytest.mark.nightly)])
def test_figures_of_every_backend_are_shown_also_those_of_code_that_fails(run, backend):
    plot = "import matplotlib.pyplot as plt\nplt.plot([1])\nplt.show()\nprint(plt.get_fignums())\nplt.plot([2])\n1/0"
    done = run(f"import matplotlib\nmatplotlib.use({backend!r})\n{plot}")
    assert done.code == 1
    assert done.text == "[]\n"
    figures = [payload["data"]["image/png"] for payload in done.payloads()]
    assert [b64decode(figure)[:4] for figure in figures] == [b"\x89PNG"] * 2
    assert len({*figures}) == 2


def test_a_backend_that_the_environment_names_is_left_alone(run, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert run("import matplotlib\nmatplotlib.get_backend().lower()").shown == [{"text/plain": "'agg'"}]


def test_a_data_frame_comes_as_a_table_and_as_text(run):
    (payload,) = run("import pandas as pd\npd.DataFrame({'a': [1]})").payloads()
    assert "<table" in payload["data"]["text/html"]
    assert payload["data"]["text/plain"] == "   a\n0  1"


def test_an_image_comes_as_a_picture(run):
    (payload,) = run("from PIL import Image\nImage.new('RGB', (2, 2))").payloads()
    assert b64decode(payload["data"]["image/png"]).startswith(b"\x89PNG")


def test_ipythons_display_objects_show_through_ours(run):
    code = (
        "from IPython.display import HTML, Latex, JSON, display, update_display, clear_output\n"
        "display(HTML('<i>x</i>'), display_id='h')\nupdate_display(Latex('$y$'), display_id='h')\n"
        "clear_output(wait=True)\nJSON({'a': 1})"
    )
    done = run(code)
    assert done.payloads()[0]["data"]["text/html"] == "<i>x</i>"
    assert done.payloads("update")[0]["data"]["text/latex"] == "$y$"
    assert done.payloads("clear") == [{"wait": True}]
    assert done.payloads()[1]["data"]["application/json"] == {"a": 1}


#: Code that a run may have among others, with what it writes.
LINES = [
    ("!echo hi", "hi\r\n"),
    ("name = 'you'\n!echo {name} $name $$HOME_", "you you\r\n"),
    ("files = !ls cell.py\nprint(files)", "['cell.py']\n"),
    ("%env LK_TRY=1\nimport os; print(os.environ['LK_TRY'])", "env: LK_TRY=1\n1\n"),
    ("%mkdir made\n%ls -d made", "made/\r\n"),
    ("!echo 'print(n)' > other.py\nn = 4\n%run -i other.py", "4\n"),
    ("!exit 3\nprint(_exit_code)", "3\n"),
    ("import asyncio\nawait asyncio.sleep(0)\nprint('awaited')", "awaited\n"),
]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        pytest.param("\n".join(code for code, _ in LINES), "".join(text for _, text in LINES), id="lines"),
        pytest.param("%cd .\n", "", marks=pytest.mark.nightly),
        ("%%bash\necho one\necho two", "one\ntwo\n"),
        ("%%writefile note.txt\nhello", "Writing note.txt\n"),
        pytest.param("%%script cat\nthrough", "through\n", marks=pytest.mark.nightly),
        pytest.param("%%python\nprint('in another')", "in another\n", marks=pytest.mark.nightly),
        ("%%capture kept\nprint('no')", ""),
        pytest.param("%load_ext autoreload\n%autoreload 2\n%matplotlib inline", "", marks=pytest.mark.nightly),
    ],
)
def test_ipythons_syntax_works(run, code, text):
    done = run(code)
    assert done.code == 0
    assert re.sub(r"^/.*\n", "", done.text) == text


@pytest.mark.nightly
def test_matplotlib_takes_a_backend_without_pictures_and_lists_all(run):
    done = run("%matplotlib --list\n%matplotlib agg\nimport matplotlib.pyplot as plt\nplt.plot([1])\nplt.get_backend()")
    early = Version(version("matplotlib")) < Version("3.9") or Version(version("ipython")) < Version("8.24")
    first = "tk" if early else "agg"
    assert f"Available matplotlib backends: ['{first}'" in done.text
    assert [payload["data"] for payload in done.payloads()] == [{"text/plain": "'agg'"}]


def test_a_statement_is_timed(run):
    assert re.fullmatch(r"[\d.]+ \w{1,2} ± .* of 2 runs, 5 loops each\)\n", run("%timeit -n 5 -r 2 sum([1])").text)
    done = run("%time 6 * 7")
    assert "Wall time: " in done.text
    assert done.payloads()[0]["data"] == {"text/plain": "42"}


def test_pip_is_that_of_the_interpreter(run):
    assert "site-packages" in run("%pip --version").text or "No module named pip" in run("%pip --version").text


def plain(done):
    (payload,) = done.payloads("error")
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(payload["traceback"]))


def test_an_error_is_shown_as_ipython_shows_it(run):
    done = run("def f(x):\n    y = x\n    return 1 / x\n\nf(0)")
    assert plain(done).splitlines()[1:] == [
        "ZeroDivisionError                         Traceback (most recent call last)",
        "File cell.py:6",
        "      4     return 1 / x",
        "      5 ",
        "----> 6 f(0)",
        "",
        "File cell.py:4, in f(x)",
        "      2 def f(x):",
        "      3     y = x",
        "----> 4     return 1 / x",
        "      5 ",
        "      6 f(0)",
        "",
        "ZeroDivisionError: division by zero",
    ]


def test_the_log_has_the_plain_traceback_and_the_notebook_does_not_show_it_twice(run):
    done = run("print('a')\n1/0")
    assert "ZeroDivisionError: division by zero\n" in done.raw
    assert done.text == "a\n"


def test_what_led_to_an_error_is_told(run):
    shown = plain(run("try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise ValueError('bad\\nvalue') from e"))
    assert (
        shown.index("ZeroDivisionError: division") < shown.index("direct cause") < shown.index("ValueError: bad\nvalue")
    )


def test_a_deep_recursion_is_cut(run):
    shown = plain(run("def f(): return f()\nf()"))
    assert "more places" in shown
    assert len(shown.splitlines()) < 300


def test_lines_below_a_magic_have_their_numbers(run):
    shown = plain(run("%%time\nx = 1\n1/0"))
    assert "----> 4 1/0" in shown
    assert "_lk" not in shown
    assert "      2 %%time" in shown


def test_a_run_that_exits_shows_no_error(run):
    done = run("import sys\nsys.exit(3)")
    assert (done.code, done.items) == (3, [])


BAR = "from tqdm.auto import tqdm, trange\nimport time\n"


def test_a_bar_tells_how_far_it_is_and_its_text_stays_in_the_log(run):
    done = run(f"{BAR}print('a')\nfor i in tqdm(range(4), desc='load'): time.sleep(.2)\nprint('b')")
    bars = done.payloads("bar")
    assert done.text == "a\nb\n"
    assert "100%|" in done.raw
    assert {bar["label"] for bar in bars} == {"load"}
    assert (bars[0]["n"], bars[0]["state"]) == (0, "going")
    assert (bars[-1]["n"], bars[-1]["total"], bars[-1]["state"]) == (4, 4, "ended")
    assert 2 <= len(bars) <= 5


def test_nested_bars_are_told_apart_and_one_that_leaves_is_gone(run):
    done = run(f"{BAR}for i in trange(2):\n    for j in tqdm(range(3), leave=False, total=None): pass")
    states = {bar["bar"]: bar["state"] for bar in done.payloads("bar")}
    assert list(states.values()) == ["ended", "gone", "gone"]


def test_bars_in_files_and_bars_that_are_off_are_left_alone(run):
    code = "import io\nfile = io.StringIO()\nfor i in tqdm(range(2), file=file): pass\nlist(tqdm([], disable=True))\n"
    assert run(f"{BAR}{code}len(file.getvalue()) > 0").shown == [{"text/plain": "True"}]


def test_what_is_written_between_bars_is_shown(run):
    assert run(f"{BAR}for i in tqdm(range(2)): tqdm.write(f'step {{i}}')").text == "step 0\nstep 1\n"


def test_a_script_is_plain_unless_it_is_asked_for(tmp_path):
    source = Source("1", folder=tmp_path)
    assert BundleBuilder(source, RunOptions(), L40S, Limits(60, 600)).build().nonce is None
    assert BundleBuilder(source, RunOptions(rich=True), L40S, Limits(60, 600)).build().nonce
    cell = Source("1", folder=tmp_path, is_cell=True)
    package = BundleBuilder(cell, RunOptions(rich=False), L40S, Limits(60, 600)).build()
    assert (package.request.code, package.request.import_files) == ("1", None)


@pytest.mark.nightly
def test_plotly_figures_come_as_its_own_renderer_shows_them_in_a_kernel(run):
    done = run("import plotly.graph_objects as go\nfigure = go.Figure(go.Scatter(y=[1, 2]))\nfigure.show()\nfigure")
    kind = "application/vnd.plotly.v1+json"
    shown = [payload["data"] for payload in done.payloads()]
    assert [data[kind]["data"][0]["type"] for data in shown if kind in data] == ["scatter", "scatter"]
    if not version("plotly").startswith("5."):  # which shows them as HTML too
        assert [list(data) for data in shown] == [[kind], [kind]]


def test_the_errors_of_a_group_are_all_told(run):
    if sys.version_info < (3, 11):
        pytest.skip("exception groups are of Python 3.11")
    shown = plain(run("raise ExceptionGroup('both', [ValueError('one'), KeyError('two')])"))
    assert "ExceptionGroup: both (2 sub-exceptions)" in shown
    assert "ValueError: one" in shown
    assert "KeyError: 'two'" in shown


def test_an_excepthook_of_the_code_is_called(run):
    done = run("import sys\nsys.excepthook = lambda kind, error, tb: print('mine', kind.__name__)\n1/0")
    assert (done.text, done.code) == ("mine ZeroDivisionError\n", 1)


@pytest.mark.parametrize("package", ["exceptiongroup._formatting", "apport_python_hook"])
def test_an_excepthook_that_a_package_brings_to_each_python_takes_no_error_from_the_notebook(run, package):
    done = run(f"import sys\ndef hook(*_): pass\nhook.__module__ = {package!r}\nsys.excepthook = hook\n1/0")
    assert "ZeroDivisionError" in plain(done)


def test_an_output_that_is_too_large_for_the_log_is_told(run):
    no_bucket = "from _lk.script import offload\noffload.PLACES = ()\n"  # the machine may have such a folder
    big = "class Big:\n    def _repr_html_(self): return 'x' * 17_000_000\n    def __repr__(self): return 'Big'\nBig()"
    code = no_bucket + big
    (payload,) = run(code).payloads()
    assert payload["data"]["text/plain"].startswith("Big\n(an output of 17,000,003 bytes is too large for the log")


def test_a_folder_that_cannot_be_written_is_no_hindrance(run, monkeypatch):
    script = (
        "import builtins, _lk.script.run\nreal = open\ndef shut(path, mode='r', **more):\n"
        "    if 'w' in mode: raise PermissionError(path)\n    return real(path, mode, **more)\n"
        "builtins.open = shut\n_lk.script.run.main(globals())\n"
    )
    monkeypatch.setattr(bundles, "SCRIPT", script)
    assert "----> 2 1/0" in plain(run("1/0"))


def test_bars_that_ask_for_widgets_become_bars_too(run):
    done = run(
        "from tqdm.notebook import tqdm, trange\nfor i in tqdm(range(2), desc='a'): pass\nfor i in trange(2): pass"
    )
    assert {payload["state"] for payload in done.payloads("bar")} == {"going", "ended"}


def test_a_widget_is_shown_as_far_as_it_can_be_and_the_way_to_a_live_one_is_named(run):
    note = "Not interactive: widgets need a kernel on the machine. Add one: %lk_kernel add A100"
    code = (
        "import ipywidgets\ndisplay(ipywidgets.IntSlider())\n"
        "from ipywidgets import *\npicture = Image(value=b'PNG', format='png')\n"
        "VBox([HTML('<b>shown</b>'), HBox([picture, Text('<i>')])])"
    )
    payload, other = run(code).payloads()
    assert payload["data"]["text/plain"] == "IntSlider(value=0)"
    assert f"<small>{note}</small>" in payload["data"]["text/html"]
    assert '<input type="range" disabled min="0" max="100" value="0"> 0' in payload["data"]["text/html"]
    assert set(payload["data"]) == {"text/plain", "text/html"}
    html = other["data"]["text/html"]
    assert "<b>shown</b>" in html
    assert 'src="data:image/png;base64,UE5H"' in html
    assert '<input disabled value="&lt;i&gt;">' in html


@pytest.mark.parametrize("options", ["['a', 'b']", "[('a', 1), ('b', 2)]", "(('a', (1, 2)), ('b', (3, 4)))"])
def test_a_choice_is_shown_with_its_labels_whatever_their_values_are(run, options):
    (payload,) = run(f"import ipywidgets\nipywidgets.Dropdown(options={options}, index=1)").payloads()
    assert "<select disabled><option>a</option><option selected>b</option></select>" in payload["data"]["text/html"]


def test_interact_shows_its_first_result_and_that_nobody_can_move_it(run):
    done = run("from ipywidgets import interact\ninteract(lambda x: print('x is', x), x=5);")
    assert done.text == "x is 5\n"
    assert "Not interactive" in done.payloads()[-1]["data"]["text/html"]


@pytest.mark.parametrize("name", ["input", "getpass"])
def test_a_question_ends_with_words_in_place_of_a_bare_error(run, name):
    done = run(f"from getpass import getpass\n{name}('Who?')")
    (error,) = done.payloads("error")
    assert error["text"].endswith(f"EOFError: a run has no input for {name}()\n")
    assert "During handling" not in error["text"]
    assert done.code == 1


def test_values_and_arguments_of_any_alphabet_arrive(run):
    assert run("import sys\nprint(sys.argv[1:])", arg=["é😀", "\u2028'\"\\"]).text == "['é😀', '\\u2028\\'\"\\\\']\n"


def test_magics_of_ipython_itself_work_where_it_is_installed(run):
    done = run("import IPython\nx = 1\n%who_ls\n%precision 2")
    assert done.code == 0
    assert done.payloads()[-1]["data"]["text/plain"] == "'%.2f'"


def test_the_expression_that_failed_is_marked(run):
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.11 and later tell where it is")
    (payload,) = run("é = [1]; x = é[3]").payloads("error")
    assert "\x1b[30;43mé[3]\x1b[0m" in "\n".join(payload["traceback"])


def test_code_that_only_prints_compiles_nothing_that_it_does_not_use(run):
    done = run("import atexit, sys\natexit.register(lambda: print(*sys.modules))\nprint('first')")
    loaded = set(done.text.split())
    assert {name for name in loaded if name.startswith("_lk.")} == {
        "_lk.archive", "_lk.script", "_lk.script.run", "_lk.display", "_lk.display.rich",
    }  # fmt: skip
    assert loaded & {"__future__", "json", "traceback", "linecache"} == set()


def test_what_json_cannot_hold_is_told_so_that_a_notebook_can(run):
    code = (
        "import numpy as np\nclass Thing:\n"
        "    def _repr_json_(self): return {'a': np.arange(2), 'n': float('nan'), 's': {1}}\n"
        "    __repr__ = lambda self: 'Thing'\nThing()"
    )
    assert run(code).payloads()[0]["data"]["application/json"] == {"a": [0, 1], "n": None, "s": "{1}"}
