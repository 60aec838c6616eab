"""What is loaded when, and who may import whom."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest
from conftest import WITHOUT

ROOT = Path(__file__).parent.parent

HEAVY = {
    "anywidget",
    "fastapi",
    "fsspec",
    "httpx",
    "ipywidgets",
    "matplotlib",
    "numpy",
    "obstore",
    "pandas",
    "PIL",
    "pyarrow",
    "pydantic",
    "tenacity",
    "uvicorn",
}

REPORT = (
    "print(json.dumps({name: getattr(m, '__file__', None) for name, m in sys.modules.items() if name not in before}))"
)


def loaded_by(program, host="pass"):
    """Return the modules that a program loads in a fresh interpreter, with their files; not those of its host."""
    command = [sys.executable, "-c", f"import json, sys\n{host}\nbefore = {{*sys.modules}}\n{program}\n{REPORT}"]
    with tempfile.TemporaryDirectory() as folder:  # an active run in the developer's journal would load more
        # PYTHONPATH: half of the start of a Jupyter server less.
        env = {**os.environ, "PYTHONPATH": WITHOUT, "LK_JOURNAL": str(Path(folder, "journal.sqlite"))}
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=env)
    return json.loads(done.stdout.splitlines()[-1])


def third_party(modules):
    site = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return {name.partition(".")[0] for name, file in modules.items() if file and any(file.startswith(p) for p in site)}


def test_importing_the_package_loads_nothing_of_others():
    assert third_party(loaded_by("import lk_jupyter; assert lk_jupyter.__version__")) - {"lk_jupyter"} == set()


def test_loading_the_extension_is_light():
    start = "from IPython.testing.globalipapp import start_ipython; shell = start_ipython()"
    load = "shell.run_line_magic('load_ext', 'lk_jupyter')\nassert shell.find_cell_magic('lk_run')"
    added = {name.partition(".")[0] for name, file in loaded_by(load, start).items() if file}
    assert "lk_jupyter" in added
    assert added & HEAVY == set()


def test_words_are_drawn_without_matplotlib_which_takes_long_to_import():
    drawn = loaded_by("from lk_jupyter.views.png import draw_words\nassert draw_words('\u2713 a')")
    assert "PIL.ImageDraw" in drawn
    assert not {"matplotlib", "numpy"} & set(drawn)


def test_a_connection_loads_no_command_line():
    loaded = loaded_by("import httpx; from lk_jupyter import connect; httpx.main")
    assert "httpx._main" in loaded  # whoever imported it first has it whole
    loaded = loaded_by("from lk_jupyter import connect")
    assert "lk_jupyter.api._http" in loaded
    assert not {"click", "pygments", "rich"} & set(loaded)


def test_a_run_loads_the_operations_that_runs_use_and_what_aborts_them():
    loaded = loaded_by("import lk_jupyter.session, lk_jupyter.runs.submit.submission")
    groups = {name.removeprefix("lk_jupyter.api.") for name in loaded if name.startswith("lk_jupyter.api.")}
    assert {"execution", "workloads"} <= groups
    assert not {"batches", "billing", "inference", "orgs", "serverless", "vms"} & groups


def test_the_observers_of_a_run_load_nothing_of_vms():
    loaded = loaded_by("import lk_jupyter.runs.observers.default")
    assert "lk_jupyter.runs.ports" in loaded
    assert not [name for name in loaded if name.startswith("lk_jupyter.vms.")]


SHELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
"""
SERVER = "import jupyter_server.serverapp, jupyter_server.base.handlers"


@pytest.mark.parametrize(
    ("host", "ours", "most"),
    [
        (SHELL, "shell.run_line_magic('load_ext', 'lk_jupyter')", 21),
        (SERVER, "import lk_jupyter.serverext, lk_jupyter.serverext.routes", 20),
    ],
    ids=["extension", "server extension"],
)
def test_what_each_start_waits_for_stays_few_modules(host, ours, most, tmp_path, monkeypatch):
    monkeypatch.setenv("LK_JOURNAL", str(tmp_path / "journal.sqlite"))
    added = set(loaded_by(ours, host))
    slow = {"concurrent.futures", "difflib", "hashlib", "html", "lk_jupyter.config.assumptions"}
    assert added & slow == set()
    assert len(added) <= most, sorted(added)


@pytest.mark.nightly  # make check looks at it for each change
def test_rooms_import_only_what_they_may():
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("place", "name"), [("config", "setting"), ("options", "RunOptions"), ("runs.metrics", "read")]
)
def test_a_name_that_the_guide_takes_from_a_room_is_there(place, name):
    assert callable(getattr(import_module(f"lk_jupyter.{place}"), name))


def test_each_name_that_a_script_outside_the_package_imports_exists():
    missing = []
    for path in sorted([*ROOT.glob("notebooks/*.py"), *ROOT.glob("benchmarks/*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] == "lk_jupyter":
                module = import_module(node.module)
                missing += [(path.name, name.name) for name in node.names if not _has_name(module, name.name)]
    assert not missing


def _has_name(module, name):
    is_package = hasattr(module, "__path__")
    return hasattr(module, name) or (is_package and find_spec(f"{module.__name__}.{name}") is not None)


@pytest.mark.parametrize(("place", "name"), [("runs.spending", "Spending"), ("runs.journal", "journal")])
def test_a_module_that_has_moved_warns_at_its_former_place(place, name):
    with pytest.warns(DeprecationWarning, match=f"lk_jupyter.{place} has moved to"):
        assert callable(getattr(import_module(f"lk_jupyter.{place}"), name))


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("lk_jupyter")  # deferred and type-only imports too
    below = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules - {"lk_jupyter"}}
    graphlib.TopologicalSorter(below).prepare()


def test_no_public_class_name_exists_twice():
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "lk_jupyter").rglob("*.py"))
    classes = Counter(name for text in texts for name in re.findall(r"^\s*class (\w+)\b.*:$", text, re.MULTILINE))
    assert len(classes) > 400
    assert [name for name, count in classes.items() if count > 1 and not name.startswith("_")] == []
