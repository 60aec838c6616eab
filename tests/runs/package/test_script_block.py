"""What a script block changes in a run, and what the user must allow first."""

import os
import re

import changes
import nbformat
import pytest
from cloud_process import CHANGES
from nbformat.sign import NotebookNotary

from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import save
from lk_jupyter.errors import RunFailed, UsageError
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package import script_block
from lk_jupyter.runs.package.prepare import prepare, prepare_cell
from lk_jupyter.runs.package.secret_scan import require_consent
from lk_jupyter.views.plan import plan_view

BLOCK = '# /// script\n# requires-python = ">=3.8"\n# dependencies = ["numpy>=1", "torch==2.4.1"]\n{}# ///\n'
PACKAGES = BLOCK.format("")


def with_limits(*lines):
    return BLOCK.format("".join(f"# {line}\n" for line in ("[tool.lk]", *lines)))


@pytest.fixture(autouse=True)
def _no_answers(monkeypatch):
    monkeypatch.setattr(script_block, "_allowed", set())


@pytest.fixture
def notebook(tmp_path, names, monkeypatch):
    """Write a notebook with a first cell, and make it the notebook of the running cell."""

    def write(first, *, trusted=False):
        path = tmp_path / "received.ipynb"
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("Hi"), nbformat.v4.new_code_cell(first)])
        nbformat.write(book, path)
        monkeypatch.setenv("JPY_SESSION_NAME", str(path))
        if trusted:
            notary = NotebookNotary()
            notary.sign(nbformat.read(path, as_version=4))
            notary.store.close()
        return path

    return write


def cell(code="print(1)"):
    return Source(code, "cell.py", 2, is_cell=True)


def test_a_blocks_packages_are_installed_and_the_line_goes_first(session):
    bundle = prepare(session, Source(with_limits("gpu = 'A100'", "timeout = 30") + "print(1)"), RunOptions())
    assert bundle.request.requirements_content == "numpy>=1\ntorch==2.4.1\n"
    assert (bundle.machine.hardware_profile, bundle.timeout) == ("gpu.a100", 30)
    on_line = RunOptions(machine="gpu.h100", timeout=20, requirements=["pandas"])
    bundle = prepare(session, Source(with_limits("gpu = 'A100'", "timeout = 30") + "print(1)"), on_line)
    assert (bundle.machine.hardware_profile, bundle.timeout) == ("gpu.h100", 20)
    assert bundle.request.requirements_content == "numpy>=1\ntorch==2.4.1\npandas\n"


@pytest.mark.nightly
def test_auto_leaves_the_version_of_a_package_to_the_block(session):
    bundle = prepare(session, Source(PACKAGES + "import numpy, packaging"), RunOptions(requirements=["auto"]))
    assert re.fullmatch(r"numpy>=1\ntorch==2.4.1\npackaging==\S+\n", bundle.request.requirements_content)


def test_a_block_only_lowers_the_maximum_cost_of_the_settings(session):
    save("max_cost", "0.02")
    lower = prepare(session, Source(with_limits("max-cost = 0.01")), RunOptions())
    higher = prepare(session, Source(with_limits("max-cost = 5", "timeout = 500")), RunOptions())
    assert (str(lower.max_cost), str(higher.max_cost)) == ("0.01", "0.02")
    assert higher.worst_case <= higher.max_cost


def test_a_malformed_block_sends_nothing(session, cloud, notebook):
    before = changes.read(cloud.data / CHANGES)
    notebook("# /// script\n# dependencies = [\n# ///\n")
    for source in (Source("# /// script\n# dependencies = [\n# ///\nprint(1)"), cell()):
        with pytest.raises(UsageError, match=r"line \d.*Nothing was sent"):
            session.run(source.code) if not source.is_cell else prepare(session, source, RunOptions())
    assert changes.read(cloud.data / CHANGES) == before


def test_packages_of_a_received_notebook_need_an_answer_that_lists_them(session, notebook):
    path = notebook(PACKAGES)
    bundle = prepare(session, cell(), RunOptions())
    assert "torch==2.4.1" in str(plan_view(bundle))
    with pytest.raises(
        UsageError, match=r"first cell of 'received.ipynb' requests packages numpy>=1, torch==2.4.1\. No"
    ):
        require_consent([bundle])
    questions = []
    with pytest.raises(UsageError, match=rf"Nothing was sent\. .*jupyter trust {re.escape(str(path))}"):
        require_consent([bundle], questions.append)
    require_consent([bundle], lambda text: questions.append(text) is None)
    require_consent([prepare(session, cell(), RunOptions())])
    assert len(questions) == 2
    assert questions[0].endswith("requests packages numpy>=1, torch==2.4.1. Use it? [y/N] ")
    notebook(PACKAGES.replace("numpy", "nunpi"))
    with pytest.raises(UsageError, match="nunpi"):
        require_consent([prepare(session, cell(), RunOptions())])


def test_a_trusted_notebook_needs_no_answer(session, notebook):
    notebook(with_limits("gpu = 'H200'", "timeout = 600"), trusted=True)
    (bundle,) = require_consent([prepare(session, cell(), RunOptions(timeout=10))])
    assert (bundle.machine.hardware_profile, bundle.timeout) == ("gpu.h200", 10)


@pytest.mark.parametrize(
    ("lines", "options", "is_raised"),
    [
        (["gpu = 'H200'"], {}, True),
        (["gpu = 'H200'", "timeout = 1"], {}, True),
        (["gpu = 'H200'"], {"gpu": "L40S"}, False),
        (["machine = 'cpu'"], {}, True),  # no price is published
        (["timeout = 600"], {}, False),
        (["timeout = 5", "max-cost = 1"], {}, False),
        (["timeout = 5"], {"timeout": 600}, False),
    ],
)
def test_a_block_that_raises_the_price_above_the_settings_needs_an_answer(session, lines, options, is_raised):
    bundle = prepare(session, Source(with_limits(*lines) + "print(1)"), RunOptions(**options))
    if not is_raised:
        assert require_consent([bundle]) == [bundle]
        return
    with pytest.raises(
        UsageError, match=r"requests machine .*credits.*Nothing was sent|price unknown.*Nothing was sent"
    ):
        require_consent([bundle])
    assert require_consent([bundle], lambda _: True) == [bundle]


def test_a_longer_time_limit_than_the_settings_needs_an_answer(session):
    save("timeout", "60")
    bundle = prepare(session, Source(with_limits("timeout = 61") + "print(1)"), RunOptions())
    with pytest.raises(UsageError, match="time limit 61 s"):
        session.run(with_limits("timeout = 61") + "print(1)")
    assert bundle.timeout == 61


def test_the_newest_executed_block_is_used_before_the_saved_first_cell(session, notebook, names):
    notebook(PACKAGES, trusted=True)
    names["In"] = ["", PACKAGES.replace("numpy", "scipy"), "# /// script\nx = 1"]
    bundle = prepare(session, cell(), RunOptions())
    assert bundle.request.requirements_content == "scipy>=1\ntorch==2.4.1\n"
    assert bundle.block.place == "cell [1]"


def test_packages_of_a_block_are_refused_in_a_session(session):
    with pytest.raises(UsageError, match=r"%pip install 'numpy>=1' torch==2.4.1"):
        prepare_cell(session, cell(PACKAGES + "print(1)"), RunOptions(), {})


def test_a_run_with_another_python_ends_before_its_code(session):
    code = '# /// script\n# requires-python = "<3.8"\n# ///\nprint("started")'
    run = session.run(code)
    with pytest.raises(RunFailed):
        run.result()
    assert "requires Python '<3.8'" in run.record.stderr
    assert "started" not in (run.record.stdout or "")


def test_a_whole_notebook_installs_the_packages_of_its_first_cell(session, notebook):
    path = notebook('# /// script\n# dependencies = ["packaging"]\n# ///\n')
    with pytest.raises(UsageError, match=r"requests packages packaging\. Nothing was sent"):
        session.run_notebook(str(path))
    assert os.environ["JPY_SESSION_NAME"] == str(path)
