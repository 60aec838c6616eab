import os
import re
import runpy
import subprocess
import sys
from functools import cache
from pathlib import Path

import books
import nbformat
import pytest
from cloud_process import forked_kernels
from conftest import WITHOUT
from patience import PATIENCE

from lk_jupyter.localcloud.runs import gpus

pytestmark = pytest.mark.xdist_group("notebooks")

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = [
    pytest.param(path.name, marks=[] if path.stem == "quickstart" else [pytest.mark.nightly]) for path in books.TOLD
]
RUN_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@pytest.fixture(scope="session")
def executed(cloud, tmp_path_factory):
    """A function that executes a notebook by name, once a session."""
    home = tmp_path_factory.mktemp("kernel")
    env = {
        **os.environ,
        "LK_BASE_URL": cloud.base_url,
        "LK_API_KEY": cloud.api_key,
        "LK_LOG_DIR": str(home / "logs"),
        "LK_JOURNAL": str(home / "journal.sqlite"),
        "IPYTHONDIR": str(home / "ipython"),
    }

    @cache
    def execute(name):
        book = nbformat.read(FOLDER / name, as_version=4)
        with forked_kernels():
            books.Client(book, timeout=PATIENCE, allow_errors=True).execute(env=env)
        return book

    return execute


@pytest.fixture
def cell(executed):
    """A function that gives an executed cell of the quickstart, or of another notebook."""
    return lambda cell_id, book="quickstart.ipynb": next(cell for cell in executed(book).cells if cell.id == cell_id)


def stream_of(cell):
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def shown_by(cell):
    return [output.data["text/plain"] for output in cell.outputs if "data" in output]


def receipt_of(cell):
    (receipt,) = (text for text in shown_by(cell) if re.search(RUN_ID, text))
    return receipt


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_what_it_is_kept_with(executed, name):
    kept = nbformat.read(FOLDER / name, as_version=4)
    assert books.shape(executed(name)) == books.shape(kept)
    assert kept.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_fails_but_those_that_are_meant_to(executed, name):
    code = [cell for cell in executed(name).cells if cell.cell_type == "code"]
    failed = [cell.id for cell in code if any(output.output_type == "error" for output in cell.outputs)]
    assert failed == [cell.id for cell in code if "raises-exception" in cell.metadata.get("tags", ())]


@pytest.mark.parametrize("name", NAMES)
def test_every_rich_output_has_a_plain_text_twin(executed, name):
    rich = [output.data for cell in executed(name).cells for output in cell.get("outputs", ()) if "data" in output]
    assert any("text/html" in data for data in rich)
    assert all(data.get("text/plain", "").strip() for data in rich if data.get("text/html", "").strip())


def test_the_first_run_gets_a_variable_and_returns_a_figure_a_curve_and_a_fitted_model(cell):
    lines = stream_of(cell("train")).splitlines()
    steps = [re.fullmatch(r"epoch (\d)/8 loss: (\d\.\d{3}) accuracy: (0\.\d{3})", line) for line in lines]
    assert [step[1] for step in steps] == list("12345678")
    assert float(steps[-1][3]) > 0.9 > float(steps[0][3])
    assert {"image/png", "text/plain"} in [set(output.data) for output in cell("train").outputs if "data" in output]
    assert "hidden" in cell("load").source
    assert re.match(r"4[0-4]\d of 450 digits are right", stream_of(cell("back")))


def test_a_run_ends_with_a_receipt_of_state_time_cost_and_id(cell):
    line = receipt_of(cell("train")).splitlines()[0]
    assert re.fullmatch(
        rf"✓ completed · A100 at 1\.59 credits/h · (waited \S+ s( \([^)]*\))?, ran )?"
        rf"\S+ s · [\d.]+ credits · run {RUN_ID}",
        line,
    )


def test_a_plan_names_the_machine_and_the_most_it_costs(cell):
    (plan,) = shown_by(cell("plan"))
    assert "gpu.h100" in plan
    assert "300" in plan
    assert not stream_of(cell("plan"))


def test_a_saved_run_is_there_for_python(cell):
    first, last = stream_of(cell("result")).splitlines()
    assert re.fullmatch(r"digits ended as completed on gpu\.a100 for 0\.\d{4} credits", first)
    assert last.startswith("epoch 8/8 loss: ")


def test_a_failing_cell_shows_the_line_that_failed(cell):
    (error,) = (output for output in cell("fail").outputs if output.output_type == "error")
    shown = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))
    lines = cell("fail").source.splitlines()
    assert error.ename == "RunFailed"
    for line in ("print(mean([]))", "    return sum(values) / len(values)"):
        number = lines.index(line) + 1
        assert f"cell.py:{number}" in shown
        assert f"----> {number} {line}" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "the mean of nothing is ..." in stream_of(cell("fail"))


def test_a_failure_can_be_handled_in_python(cell):
    assert stream_of(cell("session")).splitlines()[-1] == "exit code: 3"


def test_looking_back_shows_the_run_and_its_log(cell):
    run_id = re.search(RUN_ID, receipt_of(cell("train")))[0]
    assert run_id[:8] in shown_by(cell("runs"))[0]
    assert "epoch 8/8 loss: " in str(cell("logs").outputs)


def test_the_quickstart_ends_with_runs_that_are_ranked(cell, executed):
    code = [each for each in executed("quickstart.ipynb").cells if each.cell_type == "code"]
    assert code[-1].id == "sweep"
    assert "best accuracy" in "".join(shown_by(cell("sweep"))).lower()


@pytest.mark.nightly
def test_an_experiment_shows_its_figure_and_brings_its_variables_back(cell):
    train, back = cell("train", "experiment.ipynb"), cell("back", "experiment.ipynb")
    kinds = [set(output.data) for output in train.outputs if "data" in output]
    assert {"image/png", "text/plain"} in kinds
    assert "100%" in "".join(shown_by(train))
    values = re.findall(r"(\w+) \(", receipt_of(train).partition("Set here: ")[2])
    assert {"history", "best", "model"} <= set(values)
    assert re.match(r"The best of 8 epochs reached 0\.\d{3}\.", stream_of(back))
    assert "epoch" in shown_by(back)[0]


@pytest.mark.nightly
def test_an_experiment_compares_three_machines_and_decides(cell):
    (table,) = (text for text in shown_by(cell("fan", "experiment.ipynb")) if "Remark" in text)
    assert [name in table for name in ("A100", "H100", "L40S")] == [True] * 3
    assert "cheapest that finished" in table
    assert re.match(
        r"Go on with gpu\.\w+: [\d.]+ s for 0\.\d{4} credits", stream_of(cell("decide", "experiment.ipynb"))
    )
    assert shown_by(cell("history", "experiment.ipynb"))[0].count("completed") == 4


@pytest.mark.nightly
def test_the_demo_shows_lines_while_the_run_goes_on(tmp_path):
    go = tmp_path / "go"
    wait = f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)"
    source = f"%%lk_run --gpu A100\nimport pathlib, time\nprint('first')\n{wait}\nprint('second')"
    cells = [nbformat.v4.new_code_cell(text) for text in ("%load_ext lk_jupyter", source)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "book.ipynb")
    show = [sys.executable, FOLDER / "show.py", tmp_path / "book.ipynb", tmp_path / "executed.ipynb"]
    command = [sys.executable, FOLDER / "on_local_cloud.py", "--fresh", "--simulate-gpu", tmp_path / "cloud", *show]
    shown = ""
    env = {**os.environ, "PYTHONPATH": WITHOUT}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        for line in process.stdout:
            shown += line
            if line.endswith("| first\n"):
                go.touch()  # only now it can come to the second
    assert process.returncode == 0
    assert re.search(r"s \| second$", shown, re.MULTILINE)
    assert shown.count("Its GPU figures are simulated.") == (not gpus.available())
    assert "completed" in str(nbformat.read(tmp_path / "executed.ipynb", as_version=4).cells[1].outputs)
    assert not (tmp_path / "cloud" / "server.json").exists()


def test_the_demo_fails_when_a_cell_does(tmp_path, capsys):
    cells = [nbformat.v4.new_code_cell("raise ValueError('told so')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "book.ipynb")
    show = runpy.run_path(str(FOLDER / "show.py"))["main"]
    with forked_kernels():
        assert show(tmp_path / "book.ipynb", tmp_path / "executed.ipynb") == 1
    assert "stopped at ValueError: told so" in capsys.readouterr().out
    assert (tmp_path / "executed.ipynb").exists()
