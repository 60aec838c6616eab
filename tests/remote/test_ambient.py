"""State without a name: set where a module is imported, and compared at the end."""

import json
import os
import random
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import WITHOUT

from lk_jupyter.remote import ambient


def in_a_run(code, states):
    """Run code in another process as a run does; return which states it says have changed."""
    script = (
        "import sys, json; sys.path.insert(0, sys.argv[1])\n"
        "from _lk import ambient\n"
        f"watch = ambient.StateWatch({states!r})\n{code}\n"
        "print(json.dumps(watch.changed()))"
    )
    env = {**os.environ, "PYTHONPATH": WITHOUT}
    with tempfile.TemporaryDirectory(prefix="_lk_") as folder:
        Path(folder, "_lk").symlink_to(Path(ambient.__file__).parent)
        command = [sys.executable, "-c", script, folder]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_seed_goes_on_in_a_run_and_back_here():
    random.seed(7)
    states = ambient.read_states()
    printed, changed = in_a_run("import random; print(random.random())", states)
    expected = random.Random(7)
    assert float(printed) == expected.random()
    random.seed(1)
    assert ambient.set_states(json.loads(changed)) == {}
    assert random.random() == expected.random()


def test_what_a_run_leaves_alone_does_not_come_back():
    assert in_a_run("import random, decimal", ambient.read_states())[-1] == "{}"


#: What is imported, how its options are changed, and what is true where they arrived: those that one process can have.
OPTIONS = {
    "of Python": [
        (
            "logging",
            "logging.basicConfig(level=10)",
            "logging.root.level == 10",
        ),
        (
            "logging",
            (
                "handler = logging.StreamHandler(); handler.setFormatter(logging.Formatter('%(message)s!')); "
                "logging.getLogger('shop').addHandler(handler)"
            ),
            "[each.formatter._fmt for each in logging.getLogger('shop').handlers] == ['%(message)s!']",
        ),
        ("logging", "logging.getLogger('app').setLevel(40)", "logging.getLogger('app').level == 40"),
        ("logging", "logging.disable(20)", "not logging.getLogger('other').isEnabledFor(20)"),
        ("sys", "sys.setrecursionlimit(5000)", "sys.getrecursionlimit() == 5000"),
        ("sys", "sys.set_int_max_str_digits(0)", "sys.get_int_max_str_digits() == 0"),
        ("calendar", "calendar.setfirstweekday(6)", "calendar.firstweekday() == 6"),
        ("csv", "csv.register_dialect('mine', delimiter=';')", "csv.get_dialect('mine').delimiter == ';'"),
        ("decimal", "decimal.getcontext().prec = 5", "decimal.getcontext().prec == 5"),
        (
            "decimal",
            "decimal.getcontext().traps[decimal.Inexact] = True",
            "decimal.getcontext().traps[decimal.Inexact] and not decimal.getcontext().traps[decimal.Rounded]",
        ),
        (
            "decimal",
            "decimal.getcontext().flags[decimal.Inexact] = True",
            "decimal.getcontext().flags[decimal.Inexact]",
        ),
        ("locale", "locale.setlocale(locale.LC_ALL, 'C.UTF-8')", "locale.setlocale(locale.LC_TIME) == 'C.UTF-8'"),
        ("os", "os.environ['MODE'] = 'x'", "os.environ['MODE'] == 'x'"),
        ("os", "os.environ['TZ'] = 'UTC-9'", "__import__('time').timezone == -9 * 3600"),
    ],
    "warnings": [("warnings", "warnings.simplefilter('error')", "warnings.filters[0][0] == 'error'")],
    "numbers, tables, figures": [
        ("numpy", "numpy.set_printoptions(precision=2)", "numpy.get_printoptions()['precision'] == 2"),
        ("numpy", "numpy.seterr(divide='raise')", "numpy.geterr()['divide'] == 'raise'"),
        ("pandas", "pandas.set_option('display.precision', 2)", "pandas.get_option('display.precision') == 2"),
        ("matplotlib", "matplotlib.rcParams['lines.linewidth'] = 7", "matplotlib.rcParams['lines.linewidth'] == 7"),
        (
            "matplotlib",
            "ambient.driver.parts.add('display.rich'); matplotlib.use('svg')",
            "matplotlib.rcParams['backend'].lower() == 'svg'",
        ),
        (
            "matplotlib",
            "matplotlib.colormaps.register(matplotlib.colors.ListedColormap(['red']), name='mine')",
            "matplotlib.colormaps['mine'](0)[0] == 1",
        ),
        ("matplotlib.pyplot", "matplotlib.pyplot.ion()", "matplotlib.pyplot.isinteractive()"),
        (
            "matplotlib.colors",
            "matplotlib.colors.colorConverter.colors['k'] = (0.1, 0.1, 0.1)",
            "matplotlib.colors.to_rgb('k') == (0.1, 0.1, 0.1)",
        ),
        ("sklearn", "sklearn.set_config(display='text')", "sklearn.get_config()['display'] == 'text'"),
    ],
    "plotly": [
        (
            "plotly.io",
            "plotly.io.templates['mine'] = {'layout': {'width': 30}}",
            "plotly.io.templates['mine'].layout.width == 30",
        ),
        ("plotly.io", "plotly.io.templates.default = 'none'", "plotly.io.templates.default == 'none'"),
        (
            "plotly.io._renderers",
            "plotly.io.renderers.default = 'notebook_connected'; plotly.io.renderers._to_activate = []",
            "plotly.io.renderers.default == 'notebook_connected' and not plotly.io.renderers._to_activate",
        ),
        ("plotly.express", "plotly.express.defaults.width = 300", "plotly.express.defaults.width == 300"),
    ],
    "sympy": [
        (
            "sympy.printing.printer",
            "import sympy; sympy.init_printing(order='rev-lex')",
            "'1 + x' in sympy.pretty(sympy.Symbol('x') ** 2 + 1)",
        ),
    ],
    "bokeh": [
        ("bokeh.io.state", "bokeh.io.state.curstate().output_notebook()", "bokeh.io.state.curstate().notebook"),
        (
            "bokeh.io.state",
            "bokeh.io.state.curstate().document.theme = 'contrast'",
            "len(bokeh.io.state.curstate().document.theme._json['attrs']) > 0",
        ),
    ],
    "bokeh's count": [
        (
            "bokeh.util.serialization",
            "bokeh.util.serialization._simple_id = 2000",
            "bokeh.util.serialization.make_id() == 'p2001'",
        ),
    ],
    "jax": [("jax", "jax.config.update('jax_enable_x64', True)", "str(jax.numpy.ones(1).dtype) == 'float64'")],
    "dask": [("dask.config", "dask.config.set(scheduler='sync')", "dask.config.get('scheduler') == 'sync'")],
    "torch": [
        ("torch", "torch.set_printoptions(precision=2)", "str(torch.ones(1) / 3) == 'tensor([0.33])'"),
        ("torch", "torch.use_deterministic_algorithms(True)", "torch.are_deterministic_algorithms_enabled()"),
        (
            "torch.utils.hooks",
            "torch.nn.Linear(1, 1).register_forward_hook(print)",
            "torch.nn.Linear(1, 1).register_forward_hook(print).id >= 1",
        ),
    ],
}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.nightly] * (kind.split("'")[0] in {"bokeh", "plotly"})) for kind in OPTIONS],
)
def test_options_of_libraries_go_and_come(kind):
    rows = [row for row in OPTIONS[kind] if find_spec(row[0].partition(".")[0])]
    if not rows:
        pytest.skip("is not installed")
    libraries = {library for library, _, _ in rows}
    imports = "\n".join(f"import {library}" for library in libraries)
    (changed,) = in_a_run("\n".join([imports, *(change for _, change, _ in rows)]), {})
    states = json.loads(changed)
    assert libraries <= states.keys()  # importing them may have changed others
    shown = "\n".join(f"print({shown})" for _, _, shown in rows)
    assert in_a_run(f"{imports}\n{shown}", states)[: len(rows)] == ["True"] * len(rows)


def test_a_library_is_imported_no_further_than_the_code_does():
    pytest.importorskip("plotly")
    printed, _ = in_a_run("import plotly.io, plotly.express\nprint('plotly.io._renderers' in sys.modules)", {})
    assert printed == "False"


def test_a_variable_of_the_environment_that_a_run_deletes_is_deleted_here(monkeypatch):
    monkeypatch.setenv("MODE", "x")
    (changed,) = in_a_run("import os; del os.environ['MODE']", {})
    assert ambient.set_states({"os": json.loads(changed)["os"]}) == {}
    assert "MODE" not in os.environ


@pytest.mark.parametrize(("to", "here"), [("..", "."), ("deep", "work/deep"), (os.sep, os.sep)])
def test_the_folder_that_a_run_changes_to_is_the_one_next_to_the_notebook(tmp_path, monkeypatch, to, here):
    for name in ("run", "work"):
        (tmp_path / name / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    (changed,) = in_a_run(f"import os; os.chdir({to!r})", {})
    monkeypatch.chdir(tmp_path / "work")
    assert ambient.set_states({"os.path": json.loads(changed)["os.path"]}) == {}
    assert Path.cwd() == tmp_path / here


def test_an_option_that_has_its_value_already_is_not_set():
    asked = []

    class Library:
        get_options = staticmethod(lambda: {"old": True, "width": 80})
        set_options = staticmethod(lambda **options: asked.append(options))

    set_all = ambient.TABLE["xarray"][1]
    set_all(Library, {"old": True, "width": 80})
    set_all(Library, {"old": True, "width": 100})
    assert asked == [{"width": 100}]


def test_reading_states_imports_no_library():
    code = "import sys; from lk_jupyter.remote import ambient; ambient.read_states(); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_filters_of_other_libraries_stay_where_they_are():
    class Own(UserWarning):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error", Own)
        warnings.simplefilter("ignore", UserWarning)
        packed = ambient.read_states()["warnings"]
        assert ambient.set_states({"warnings": packed}) == {}
        assert any(row[2] is Own for row in warnings.filters)
        assert warnings.filters[0][2] is UserWarning


def test_filters_that_are_set_apply_to_a_warning_that_python_has_seen_before():
    def warn():
        warnings.warn("again", UserWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        packed = ambient.read_states()["warnings"]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("default")
        warn()
        assert ambient.set_states({"warnings": packed}) == {}
        assert not any("reads all filters again" in str(row[1]) for row in warnings.filters)
        with pytest.raises(UserWarning, match="again"):
            warn()


def test_folders_near_the_code_that_it_adds_to_the_path_go_and_come(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    added = ["..", "/far/away", str(tmp_path / ".hidden"), ""]
    before = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    monkeypatch.setattr(sys, "path", [str(tmp_path / "own"), *before, *added])
    assert ambient.added_paths() == {"own": True, "..": False, "/far/away": False}
    code = (
        "sys.path.append('late')\nfound = ambient.added_paths()\n"
        "print({name: found[name] for name in found}, sys.path[0])\n"
        "sys.path.remove('/far/away')"
    )
    printed, changed = in_a_run(code, ambient.read_states())
    assert printed == f"{{'own': True, '..': False, '/far/away': False, 'late': False}} {tmp_path / 'own'}"
    assert ambient.set_states(json.loads(changed)) == {}
    assert sys.path[-1] == str(tmp_path / "late")
    assert "/far/away" not in sys.path
    assert sys.path.count(str(tmp_path / "own")) == 1


def test_reading_a_state_at_the_end_may_import_a_module_whose_state_is_known():
    code = (
        "import random\nread, *more = ambient.TABLE['random']\n"
        "ambient.TABLE['random'] = (lambda module: __import__('decimal') and read(module), *more)\n"
        "random.seed(2)\nassert 'decimal' not in sys.modules"
    )
    (changed,) = in_a_run(code, ambient.read_states())
    assert "random" in json.loads(changed)


def test_a_relative_folder_above_the_parent_folder_comes_from_a_run_as_its_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (changed,) = in_a_run("import sys\nsys.path.append('../..')", ambient.read_states())
    assert ambient.set_states(json.loads(changed)) == {}
    assert sys.path[-1] == "../.."  # the root of a repository, for a notebook in a folder of a folder
    assert ambient.added_paths()["../.."] is False


def test_folders_that_packages_add_to_the_path_are_not_those_of_the_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packages = tmp_path / "env" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "own.pth").write_text(f"{tmp_path / 'src'}\n")
    monkeypatch.setattr(sys, "path", [str(packages), str(tmp_path / "src"), str(tmp_path / "mine")])
    ambient._list_package_folders.cache_clear()
    try:
        assert list(ambient.added_paths()) == ["mine"]
    finally:
        ambient._list_package_folders.cache_clear()


def test_pyplot_without_a_figure_yet_turns_no_figures_off():
    code = "import matplotlib.pyplot as plt\nfrom lk_jupyter.remote import ambient\n"
    code += "print(plt.isinteractive(), 'matplotlib.pyplot' in ambient.read_states())\n"
    code += "import matplotlib_inline.backend_inline\nplt.ioff()\nprint('matplotlib.pyplot' in ambient.read_states())"
    env = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    output = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert output == "False False\nTrue\n"
