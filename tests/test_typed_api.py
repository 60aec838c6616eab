"""What type checkers and editors know of the options of Python calls."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lk_jupyter import _docs

ROOT = Path(__file__).parent.parent

#: Code of a user; a line with a comment is one that both type checkers have to report.
SAMPLE = """\
from decimal import Decimal

import lk_jupyter

session = lk_jupyter.connect("local")
run = session.run("y = x", inputs={"x": 1}, outputs=["y"], gpu="A100", timeout="2h", max_cost=1.5, label=("a", "b"))
code: int | None = run.result().return_code
session.run("", timeout=600, max_cost=Decimal(1), requirements=["torch"], attach="auto", metadata={"team": "vision"})
table = session.fan_out("", sweep=["lr=1,2"], parallel=2, metric=["loss"], stop_on_first=True).table()
session.run_image("python:3.11", ["python", "-V"], port=[8000], env=["MODE=test"], stop_timeout="30s")
session.run_compose("services: {}", gpu="A100", mount=True)
session.run_notebook("a.ipynb", parameter={"lr": "0.1"}, output="b.ipynb")
session.start_notebook(gpu="A100", timeout=600)
warm = session.warm_python("train", gpu="A100", idle=5)
text: str = warm.run_code("x = 1", outputs=["x"], sync=True).text
session.history("lr", since="7d", limit=5)
lk_jupyter.history(machine="a100", audit=True)
with lk_jupyter.Executor(max_workers=2, gpu="A100", files=["*.csv"]) as executor:
    total: int = executor.submit(pow, 2, 5).result()
    sizes: list[int] = list(executor.map(len, ["a"]))


@lk_jupyter.remote(gpu="A100", keep="5m", max_workers=2)
def double(number: int) -> int:
    return 2 * number


@lk_jupyter.remote
def halve(number: int) -> float:
    return number / 2


doubled: int = double(1) + double.submit(2).result() + sum(double.map([3]))
half: float = halve(number=doubled)

session.run("", gpuu="A100")  # misspelled
session.run("", timeout=[600])  # type
session.run("", max_cost={})  # type
session.run("", requirements="torch")  # type
session.run("", attach="always")  # type
session.run("", quiet=True)  # a run without a cell shows nothing
session.run(1)  # type
session.fan_out("", parallell=2)  # misspelled
session.run_image("python:3.11", port=["http"])  # type
session.run_compose("", shell=False)  # an option of images
session.run_notebook("a.ipynb", parameters={"lr": "0.1"})  # misspelled
session.start_notebook(gpu=100)  # type
session.warm_python("train", sweep=["lr=1,2"])  # an option of runs
warm.run_code("x = 1", sync="yes")  # type
session.history(limit="all")  # type
lk_jupyter.history(machin="a100")  # misspelled
lk_jupyter.Executor(gpu="A100", max_cost=[1])  # type
lk_jupyter.Executor(session=session, detach=True)  # an option of cells
lk_jupyter.remote(gpu=[1])  # type
double("1")  # type
lk_jupyter.connect(url="local")  # misspelled
"""

#: Packages that mypy needs not read for the sample: it takes half of the time.
LARGE = "httpx.*,pydantic.*,IPython.*,traitlets.*,rich.*,numpy.*,obstore.*,keyring.*,yaml.*,websockets.*"

#: The bodies of our functions are checked elsewhere.
OURS = "[mypy-lk_jupyter.*]\nfollow_imports = silent\n"


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nstrict = true\n[mypy-{LARGE}]\nfollow_imports = skip\n{OURS}", "utf-8")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}', encoding="utf-8")
    return path


def _output(*command, cwd):
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False).stdout


def _lines_of_mypy(sample):
    cache = ROOT / ".mypy_cache" / "sample"
    shown = _output("mypy", "--config-file=mypy.ini", f"--cache-dir={cache}", "sample.py", cwd=sample.parent)
    return {int(line) for line in re.findall(r"^sample\.py:(\d+): error", shown, re.MULTILINE)}, shown


def _lines_of_pyright(sample):
    shown = _output("basedpyright", "--outputjson", "--pythonpath", sys.executable, "sample.py", cwd=sample.parent)
    problems = [each for each in json.loads(shown)["generalDiagnostics"] if each["severity"] == "error"]
    return {each["range"]["start"]["line"] + 1 for each in problems}, shown


@pytest.mark.parametrize(
    ("program", "check"),
    [
        pytest.param("mypy", _lines_of_mypy, id="mypy", marks=pytest.mark.nightly),  # 20 s; by day, pyright checks
        pytest.param("basedpyright", _lines_of_pyright, id="pyright"),
    ],
)
def test_a_type_checker_accepts_good_calls_and_reports_misspelled_options_and_wrong_types(program, check, sample):
    if not importlib.util.find_spec(program):
        pytest.skip(f"{program} isn't installed")
    wrong = {number for number, line in enumerate(SAMPLE.splitlines(), 1) if "  # " in line}
    reported, shown = check(sample)
    assert len(wrong) == 21
    assert reported == wrong, shown


def test_the_types_of_keyword_arguments_are_current():
    assert _docs.KEYWORDS.read_text(encoding="utf-8") == _docs.keywords_module(), "run: make docs"
