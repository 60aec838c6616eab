"""What a notebook holds after its cells have tried to leak what they know."""

import os
import re
from contextlib import closing
from pathlib import Path

import books
import nbformat
import pytest
from cloud_process import forked_kernels
from conftest import RunningCloud
from magics.kernels import ALL_IS_SHOWN
from magics.test_front_ends import LAB
from patience import PATIENCE

from lk_jupyter.journal.journal import journal
from lk_jupyter.runs.log import RunLog

KEY = "lk_" + "3fA9" * 8
REST = KEY[3:]

LEAKING = """%%lk_run --save run
import os, sys, time
key = os.environ['LEAK']
print('the key is', key)
for part in key[:2], key[2:7], key[7:20], key[20:]:
    print(part, end='', flush=True); time.sleep(0.2)
print('', file=sys.stderr)
print('err', key, file=sys.stderr)
raise ValueError(key)
"""


PRYING = """%%lk_run --save run
import os, pathlib, signal, sys
def lk_checkpoint(folder):
    pass
print(dict(os.environ))
for file in pathlib.Path(sys.modules['_lk.script.run'].FOLDER).rglob('*'):
    if file.is_file():
        print(file.read_bytes())
act = signal.getsignal(signal.SIGALRM).__closure__[0].cell_contents
links = [cell.cell_contents['put'] for cell in act.__closure__ if 'put' in cell.cell_contents]
print(len(links), 'link found:', *links)
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """A cloud of its own: names of runs look like keys here, and whoever shares it would find them."""
    running = RunningCloud(tmp_path_factory.mktemp("guarded"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def execute(cloud, tmp_path_factory):
    """A function that executes cells in a notebook of their own, and gives it; files are in ``execute.home``."""
    home = tmp_path_factory.mktemp("kernel")
    paths = {"HOME": str(home), "IPYTHONDIR": str(home / "ipython"), "LK_LOG_DIR": str(home / "logs")}
    env = {**os.environ, **paths, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    cloud.client.environment_variables.upsert({"name": "LEAK", "value": KEY})

    def execute(*cells):
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in ("%load_ext lk_jupyter", *cells)])
        with forked_kernels():
            books.Client(book, timeout=PATIENCE, allow_errors=True).execute(env=env, cwd=str(home))
        return book

    execute.home = home
    return execute


def outputs(book):
    return str([cell.outputs for cell in book.cells])


def test_nothing_that_a_run_prints_shows_or_raises_puts_a_secret_into_the_notebook(execute):
    book = execute(
        LEAKING,
        "%lk_status {run.execution_id}",
        "%lk_logs {run.execution_id}",
        "run.result()",
        "run.record",
        "[run.record, run.logs()]",
        "%lk_run_is_no_magic",
        "import logging; logging.basicConfig(level=logging.DEBUG)",
        "%xmode Verbose\nlk = run._session.client\nlk.execution.get('no-such-run')",
        "%%lk_run --detach --save later\nimport os; print(os.environ['LEAK'])",
        f"later.wait()\n{ALL_IS_SHOWN}\nlater, later.result(), run.follow()",
    )
    shown = outputs(book)
    assert "the key is lk_…[redacted]" in shown
    assert "ValueError: lk_…[redacted]" in shown
    assert REST not in shown
    assert not [at for at in range(len(REST) - 12) if REST[at : at + 12] in shown]
    assert "/stream/" not in shown


def test_a_run_that_pries_finds_secrets_and_the_notebook_does_not_show_them(execute, cloud):
    book = execute(PRYING, "print(run.log_path)", "print(run._streaming_url.get_secret_value())")
    shown = outputs(book)
    log = Path(book.cells[2].outputs[0].text.strip())
    address = book.cells[3].outputs[0].text.strip()
    assert "1 link found:" in shown
    assert "X-Amz-Signature=" not in shown
    assert REST not in shown
    assert cloud.api_key not in shown
    assert address not in log.read_text()
    assert address not in str([cell.outputs for cell in book.cells[:3]])
    assert (log.stat().st_mode & 0o077, log.parent.stat().st_mode & 0o077) == (0, 0)
    kept = b"".join(file.read_bytes() for file in execute.home.rglob("journal.sqlite*"))
    assert kept
    assert not [secret for secret in (b"X-Amz-Signature=", REST.encode(), address.encode()) if secret in kept]


def test_a_cell_with_a_secret_is_not_sent_where_nobody_can_be_asked(execute, cloud):
    before = cloud.client.billing.history(limit=1).total
    book = execute(f"%%lk_run\nkey = '{KEY}'", f"%%lk_run --dry-run\nkey = '{KEY}'")
    (error,) = book.cells[1].outputs
    assert error.ename == "UsageError"
    assert "line 2 (API key of Lyceum Cloud)" in error.evalue
    assert "--allow-secrets" in error.evalue
    assert REST not in outputs(book)
    assert "line 2 (API key of Lyceum Cloud)" in str(book.cells[2].outputs)
    assert cloud.client.billing.history(limit=1).total == before


@pytest.mark.parametrize(("answer", "runs"), [("y", True), ("n", False), ("", False)])
def test_a_cell_with_a_secret_asks_first(signed_in, run_cell, monkeypatch, answer, runs):
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or answer)
    shown = run_cell(f"%%lk_run\nkey = '{KEY}'\nprint('it ran')")
    assert re.search(r"line 2 \(API key.*\[y/N\]", " ".join(questions[0].split()))
    assert ("it ran" in shown) == runs
    assert ("Nothing was sent" in shown) != runs


def test_allowed_secrets_go_without_a_question(signed_in, run_cell):
    shown = run_cell(f"%%lk_run --allow-secrets\nkey = '{KEY}'\nprint(key, len(key))")
    assert f"lk_…[redacted] {len(KEY)}" in shown
    assert REST not in shown


def test_several_runs_with_a_secret_ask_once(signed_in, run_cell, monkeypatch):
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: questions.append(question) or "n")
    shown = run_cell(f"%%lk_run --gpu A100,H100\nkey = '{KEY}'")
    assert "Nothing was sent" in shown
    assert len(questions) == 1


def test_neither_journal_nor_its_companions_hold_a_secret_or_the_address_of_the_stream(signed_in, run_cell):
    run_cell(
        f"%%lk_run --allow-secrets --label {KEY} --metadata who={KEY} --save run\nkey = '{KEY}'\nraise OSError(key)"
    )
    path = journal().path
    assert path.exists()
    kept = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    assert b"lk_\\u2026[redacted]" in kept
    assert REST.encode() not in kept
    assert b"/stream/" not in kept


@pytest.mark.nightly  # of one run: below
def test_the_lanes_of_several_runs_show_no_secret(execute):
    book = execute(
        "%%lk_run --gpu A100,H100 --save table\nimport os\nprint('key', os.environ['LEAK'])",
        "%%lk_run --gpu A100,H100\nimport os\nraise ValueError(os.environ['LEAK'])",
        "%lk_runs\n",
        "%lk_history",
        "%%lk_run --allow-secrets --gpu A100,H100 --label " + KEY + " --name " + KEY + "\nprint(1)",
        "%lk_runs",
        "%lk_history",
    )
    shown = outputs(book)
    assert "key lk_…[redacted]" in shown
    assert "lk_…[redacted]" in str(book.cells[-1].outputs)
    assert "lk_…[redacted]" in str(book.cells[-2].outputs)
    assert REST not in shown


def test_the_address_of_the_stream_is_in_no_repr(signed_in, shell, run_cell, tmp_path):
    run_cell("%%lk_run --save run\nprint(1)")
    run = shell.user_ns["run"]
    address = run._streaming_url.get_secret_value()
    assert address
    with closing(RunLog(tmp_path / "run.log")) as log:
        assert address not in f"{vars(run)!r} {run.follower(log)!r} {run!r}"


def run_asked(kernel, code, act):
    """Run a cell whose question is acted on; return the question, and what the cell has shown."""
    asked, shown = [], []

    def on_question(message):
        asked.append(message["content"]["prompt"])
        act()

    keep = {"output_hook": lambda message: shown.append((message["msg_type"], message["content"]))}
    before, kernel.client.session.metadata = kernel.client.session.metadata, LAB
    try:
        kernel.client.execute_interactive(code, stdin_hook=on_question, timeout=PATIENCE, **keep)
    finally:
        kernel.client.session.metadata = before
    return asked[0], str([content for kind, content in shown if kind not in {"execute_input", "status"}])


@pytest.mark.nightly
def test_a_notebook_asks_in_its_front_end(kernel):
    code = f"%%lk_run\nkey = '{KEY}'\nprint('it ran')"
    question, shown = run_asked(kernel, code, lambda: kernel.client.input("y"))
    assert "line 2 (API key of Lyceum Cloud)" in " ".join(question.split())
    assert "it ran" in shown
    assert REST not in question + shown


def test_an_interrupted_question_sends_nothing(kernel, cloud):
    before = cloud.client.billing.history(limit=1).total
    _, shown = run_asked(kernel, f"%%lk_run\nkey = '{KEY}'", kernel.manager.interrupt_kernel)
    assert "Nothing was sent" in shown
    assert REST not in shown
    assert cloud.client.billing.history(limit=1).total == before
