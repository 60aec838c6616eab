"""``%lk_run_notebook``: a notebook goes with its parameters, and comes back executed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import books
import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

import lk_jupyter
from lk_jupyter.journal.journal import journal

pytestmark = pytest.mark.xdist_group("notebooks")


@pytest.fixture(autouse=True)
def folder(signed_in, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, *cells):
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    nbformat.write(book, name)


def parameters(code):
    return nbformat.v4.new_code_cell(code, metadata={"tags": ["parameters"]})


def outputs(name):
    book = nbformat.read(name, as_version=4)
    nbformat.validate(book)
    return [
        "".join(
            output.get("text") or output.get("data", {}).get("text/plain") or output["ename"] for output in cell.outputs
        )
        for cell in book.cells
        if cell.cell_type == "code"
    ]


def test_a_notebook_runs_with_parameters_and_comes_back_beside_it(run_cell, folder):
    (folder / "shapes.py").write_text("SIDES = 4")
    write(
        "train.ipynb",
        nbformat.v4.new_markdown_cell("# A title"),
        parameters("lr = 0.5\nname = 'none'"),
        "import shapes\n%time rate = lr * shapes.SIDES\nprint('rate', rate)",
        "from IPython.display import HTML\nHTML('<b>' + name + '</b>')",
        "rate",
    )
    shown = run_cell("%lk_run_notebook train.ipynb --gpu A100 -p lr=0.25 -p name=mine --timeout 300")
    assert "rate 1.0\n" in shown
    assert "✓ completed" in shown
    assert f"Executed notebook: {folder / 'train.out.ipynb'}" in shown
    _, injected, third, html, last = outputs("train.out.ipynb")
    assert (injected, last) == ("", "1.0")
    assert third.endswith("rate 1.0\n")
    assert html == "<IPython.core.display.HTML object>"
    book = nbformat.read("train.out.ipynb", as_version=4)
    assert book.cells[2].source == "# Parameters\nlr = 0.25\nname = 'mine'"
    assert [cell.execution_count for cell in book.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
    assert outputs("train.ipynb") == ["", "", "", ""]


def test_whoever_reads_the_executed_notebook_finds_no_secret_in_it(run_cell, folder):
    make = "key = 'sk-ant-' + 'a1B2c3D4' * 5; mark = 'PRIVATE' + ' KEY-----'; "
    make += "pem = f'-----BEGIN {mark}\\n' + 'MIIa' * 20 + f'\\n-----END {mark}'"
    write(
        "leaky.ipynb",
        make,
        "print('log', key, flush=True); print(pem)",
        "key",
        "from IPython.display import HTML\nHTML(f'<b>{key}</b>')",
        "display({'application/json': {'deep': [key], key: 1}}, raw=True)",
        "raise ValueError(key)",
    )
    run_cell("%lk_run_notebook leaky.ipynb --gpu A100 --timeout 300")
    kept = (folder / "leaky.out.ipynb").read_text()
    assert "a1B2c3D4a1B2" not in kept
    assert "MIIaMIIa" not in kept
    assert kept.count("[redacted]") >= 6


def test_a_cell_that_fails_ends_the_run_and_the_cells_before_it_are_kept(run_cell, folder):
    write("bad.ipynb", "print('before')", "1 / 0", "print('never')")
    shown = run_cell("%lk_run_notebook bad.ipynb -o out.ipynb --timeout 300")
    assert "ZeroDivisionError" in shown
    assert "RunFailed: run" in shown
    assert f"Executed notebook: {folder / 'out.ipynb'}, 2 of 3 cells" in shown
    assert outputs("out.ipynb") == ["before\n", "ZeroDivisionError", ""]


@pytest.mark.nightly
def test_another_kernel_goes_on_with_it(run_cell, shell, folder):
    write("long.ipynb", "print('one')", "print('two')")
    with lk_jupyter.connect() as session:
        run = session.run_notebook("long.ipynb", timeout=300)
        run.wait()
    assert not (folder / "long.out.ipynb").exists()  # nobody has followed it
    shown = run_cell("%lk_run_notebook long.ipynb --timeout 300 --attach auto --save again")
    assert shell.user_ns["again"].execution_id == run.execution_id
    assert "Attached to the run that was already started for this notebook" in shown
    assert outputs("long.out.ipynb") == ["one\n", "two\n"]
    (folder / "long.out.ipynb").unlink()
    run_cell(f"%lk_attach {run.short_id}")
    assert outputs("long.out.ipynb") == ["one\n", "two\n"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("trian.ipynb", "No notebook 'trian.ipynb'. Nothing was sent. Did you mean train.ipynb?"),
        ("text.ipynb", "text.ipynb' as a notebook"),
        ("old.ipynb", "old.ipynb' isn't a notebook of version 4"),
        ("empty.ipynb", "empty.ipynb' contains no code."),
        (
            "train.ipynb -p lrr=1",
            (
                "-p lrr: the notebook's cell with the tag 'parameters' doesn't set this variable. Nothing was sent. "
                "Did you mean lr?"
            ),
        ),
        ("train.ipynb -p 1x=1", "'1x' isn't a variable name"),
        ("train.ipynb -p lr", "takes key=value"),
        ("train.ipynb -o train.ipynb", "--output would overwrite 'train.ipynb'"),
        ("train.ipynb -o none/x.ipynb", "no folder 'none'"),
        ("train.ipynb --gpu A100,H100", "Several machines"),
        ("secret.ipynb", "cell 1 line 1"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sent(run_cell, folder, line, said):
    write("train.ipynb", parameters("lr = 0.5"))
    write("empty.ipynb", nbformat.v4.new_markdown_cell("words"))
    write("secret.ipynb", f"key = 'AKIA{'Q3EXAMPLE7XYZABC'[:16]}'")
    (folder / "text.ipynb").write_text("words")
    (folder / "old.ipynb").write_text(json.dumps({"nbformat": 3, "worksheets": []}))
    shown = run_cell(f"%lk_run_notebook {line}")
    assert "UsageError: " in shown
    assert said in shown


WIDGETS = (
    "from ipywidgets import interact, Output, IntSlider\nout = Output()\nout",
    "with out:\n    print('inside')",
    "interact(lambda x: print(x), x=3);",
    "handle = display('first', display_id=True)",
    "handle.update('second')",
    "from IPython.display import clear_output\nfor i in range(3):\n    clear_output(wait=True)\n    print(i)",
)


@pytest.mark.nightly
def test_a_notebook_with_widgets_and_late_updates_is_what_nbclient_makes_of_it(run_cell, folder):
    write("lively.ipynb", *WIDGETS)
    here = nbformat.read("lively.ipynb", as_version=4)
    books.Client(here, kernel_name="python3").execute()
    shown = run_cell("%lk_run_notebook lively.ipynb --timeout 300")
    assert "✓ completed" in shown
    there = nbformat.read("lively.out.ipynb", as_version=4)
    nbformat.validate(there)
    assert [plain_outputs(cell) for cell in there.cells] == [plain_outputs(cell) for cell in here.cells]
    models = [book.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"] for book in (there, here)]
    assert sorted(model["model_name"] for model in models[0].values()) == sorted(
        model["model_name"] for model in models[1].values()
    )


def plain_outputs(cell):
    return re.sub(r"[0-9a-f]{32}", "", json.dumps(cell.outputs, sort_keys=True))


def test_packages_are_found_in_the_cells_of_a_notebook(run_cell, folder):
    write("needs.ipynb", "import numpy\nimport no_such_module_anywhere")
    shown = run_cell("%lk_run_notebook needs.ipynb -r auto")
    assert "-r auto: 'no_such_module_anywhere' isn't installed here" in shown
    assert "_lk" not in shown


def test_papermill_executes_a_notebook_on_the_cloud_and_raises_the_error_of_its_cell(folder):
    (folder / "shapes.py").write_text("SIDES = 4")
    write("train.ipynb", parameters("lr = 0.5"), "import shapes\nprint('rate', lr * shapes.SIDES)\nlr", "1 / 0", "2")
    with pytest.raises(PapermillExecutionError, match="ZeroDivisionError"), Path("printed.txt").open("w") as printed:
        papermill.execute_notebook(
            "train.ipynb",
            "out.ipynb",
            {"lr": 0.25},
            kernel_name="python3",
            language="python",
            engine_name="lk",
            machine="cpu",
            stdout_file=printed,
            execution_timeout=300,
            progress_bar=False,
        )
    book = nbformat.read("out.ipynb", as_version=4)
    states = [cell.metadata.papermill["status"] for cell in book.cells if "papermill" in cell.metadata]
    assert states[-5:-1] == ["completed", "completed", "completed", "failed"]
    assert "rate 1.0" in json.dumps(book)
    assert (folder / "printed.txt").read_text() == "rate 1.0\n"
    (entry,) = journal().entries()
    assert (entry.state, entry.machine) == ("failed", "cpu")
    assert not (folder / "train.out.ipynb").exists()


def test_papermill_reports_an_option_that_does_not_fit_and_nothing_is_sent(folder):
    write("train.ipynb", "1")
    with pytest.raises(TypeError, match="gpuu"):
        papermill.execute_notebook("train.ipynb", "out.ipynb", engine_name="lk", kernel_name="python3", gpuu="A100")
    assert journal().entries() == []
