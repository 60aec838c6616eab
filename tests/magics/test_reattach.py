"""A run that outlives its kernel, its cloud or its reader, and is shown whole all the same."""

import signal
import socket
import time
from decimal import Decimal

import pytest
from localcloud.conftest import until
from magics.kernels import fail

from lk_jupyter.code.source import Source
from lk_jupyter.connection.budget import sum_charges
from lk_jupyter.journal.journal import JournalEntry, journal
from lk_jupyter.magics import run as run_magics
from lk_jupyter.magics._output.unfinished_runs import GoingOn, StateCheck, list_unfinished_runs
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.submit.start import start_once
from lk_jupyter.runs.submit.submission import build_entry
from lk_jupyter.session import connect

LINES = 40


def counting(go, options="--gpu A100"):
    """A cell that prints half of its lines, and the rest when it is let go on."""
    return "\n".join(
        [
            f"%%lk_run {options}",
            "import pathlib, time",
            f"for number in range({LINES}):",
            "    print('line é', number, flush=True)",
            f"    while number == {LINES // 2} and not pathlib.Path({str(go)!r}).exists(): time.sleep(.01)",
        ]
    )


WHOLE = "".join(f"line é {number}\n" for number in range(LINES))
HALF = f"line é {LINES // 2}\n"
TOKEN = "5e1f2a3b" + "0" * 24
RUN = "3f0c0000-0000-4000-8000-000000000000"


class Leave(Exception):
    """Ends the reading of a cell that goes on."""


def leave_when(ready):
    def on(cell):
        if ready(cell):
            raise Leave
        return False

    return on


@pytest.fixture(autouse=True)
def going_on(kernel, cloud):
    """Give the runs that the test has started and that go on; what it leaves is ended and forgotten, for the next."""
    before = {run.execution_id for run in cloud.client.workloads.list()}

    def runs():
        return [run for run in cloud.client.workloads.list() if run.execution_id not in before]

    yield runs
    kernel.run(f"%env LK_BASE_URL={cloud.base_url}\n%env LK_API_KEY={cloud.api_key}\n%env JPY_SESSION_NAME=")
    for run in runs():
        cloud.client.workloads.abort(run.execution_id)
    kernel.forget()


@pytest.fixture
def left_behind(kernel, going_on, tmp_path):
    """A run whose kernel crashed in the middle: its id, and what lets it go on."""
    go = tmp_path / "go"
    with pytest.raises(Leave):
        kernel.run(counting(go), on=leave_when(lambda cell: HALF in cell.text))
    kernel.crash()
    (run,) = going_on()
    return run.execution_id, go


def test_a_kernel_that_is_restarted_by_its_user_leaves_the_run_alone(kernel, going_on, tmp_path):
    go = tmp_path / "go"
    with pytest.raises(Leave):
        kernel.run(counting(go), on=leave_when(lambda cell: HALF in cell.text))
    (run,) = going_on()
    kernel.restart()
    go.touch()
    cell = kernel.run(f"%lk_attach {run.execution_id}")
    assert cell.error is None
    assert cell.text == WHOLE


def test_after_a_kernel_restart_attaching_shows_every_line_once(kernel, left_behind):
    run_id, go = left_behind

    def release(cell):
        if HALF in cell.text:
            go.touch()
        return go.exists()

    cell = kernel.run(f"%lk_attach {run_id[:8]}", on=release)
    assert cell.text == WHOLE
    assert cell.shown[-1].startswith("✓ completed")
    assert kernel.run(f"%lk_attach {run_id[:8]}").text == WHOLE


@pytest.mark.nightly
def test_attaching_shows_the_kept_log_though_the_server_is_silent(kernel, faulty, tmp_path):
    go = tmp_path / "go"
    with pytest.raises(Leave):
        kernel.run(counting(go), on=leave_when(lambda cell: HALF in cell.text))
    loaded = kernel.crash()
    assert loaded.error is None
    kernel.run(f"%env LK_BASE_URL={faulty.base_url}\n%env LK_API_KEY={faulty.api_key}")
    (run,) = faulty.client.workloads.list()
    fail(faulty, path="/stream/", status=503, times=8)

    def release(cell):
        if HALF in cell.text:
            go.touch()
        return go.exists()

    assert kernel.run(f"%lk_attach {run.execution_id}", on=release).text == WHOLE


def test_a_log_whose_end_was_torn_is_shown_whole(kernel):
    kernel.run("%%lk_run --save run\nfor i in range(9): print('zeile ü', i)")
    kernel.run("with open(run.log_path, 'r+b') as f: f.truncate(f.seek(0, 2) - 12)")
    cell = kernel.run("%lk_attach {run.short_id}")
    assert cell.text == "".join(f"zeile ü {i}\n" for i in range(9))


def test_two_followers_of_one_run_both_end_whole(kernel, left_behind):
    run_id, go = left_behind
    kernel.run(f"%lk_attach {run_id} --detach --save first")

    def release(cell):
        if HALF in cell.text:
            go.touch()
        return go.exists()

    assert kernel.run(f"%lk_attach {run_id}", on=release).text == WHOLE
    kernel.run("first.wait()")
    assert kernel.value("first.log_path.read_text()").count("line") == LINES


def test_a_run_knows_its_notebook_and_cell(kernel):
    kernel.run("%env JPY_SESSION_NAME=/home/me/train.ipynb")
    kernel.run("%%lk_run --save run --gpu A100\nprint(1)")
    kernel.run("%env JPY_SESSION_NAME=")
    kernel.run("from lk_jupyter.journal.journal import journal; entry = journal().get(run.execution_id)")
    assert kernel.value("entry.notebook") == "'/home/me/train.ipynb'"
    assert kernel.value("entry.code, entry.options") == r"('print(1)\n', {'gpu': 'A100', 'save': 'run'})"
    assert kernel.value("entry.state, bool(entry.session)") == "('completed', True)"


def test_a_cell_that_is_run_again_attaches_to_its_run_that_goes_on(kernel, cloud, tmp_path):
    go = tmp_path / "go"
    code = counting(go, "--gpu A100 --attach auto")
    with pytest.raises(Leave):
        kernel.run(code, on=leave_when(lambda cell: HALF in cell.text), cell_id="a")
    kernel.crash()

    def release(cell):
        if HALF in cell.text:
            go.touch()
        return go.exists()

    before = cloud.client.billing.history().total
    cell = kernel.run(code, on=release, cell_id="a")
    assert cell.error is None, (cell.error, cell.shown)
    assert cell.text == WHOLE
    assert any("Attached to the run that this cell already started." in text for text in cell.shown)
    assert cloud.client.billing.history().total == before


def test_a_run_that_ended_unseen_is_shown_once_and_then_started_anew(kernel, cloud, going_on, tmp_path):
    go = tmp_path / "go"
    code = counting(go, "--attach auto")
    with pytest.raises(Leave):
        kernel.run(code, on=leave_when(lambda cell: HALF in cell.text), cell_id="a")
    kernel.crash()
    (run,) = going_on()
    go.touch()
    list(cloud.client.follow(run.execution_id))
    assert kernel.run(code, cell_id="b").text == WHOLE  # another cell: a run of its own
    again = kernel.run(code, cell_id="a")
    assert again.text == WHOLE
    assert run.execution_id in again.shown[-1]
    assert run.execution_id not in kernel.run(code, cell_id="a").shown[-1]


def test_a_cell_whose_code_has_changed_starts_a_run_of_its_own(kernel):
    kernel.run("%%lk_run --timeout 600 --detach --attach auto --save first\nimport time; time.sleep(100)", cell_id="c")
    kernel.run("%%lk_run --attach auto --save second\nprint(2)", cell_id="c")
    assert kernel.value("first.execution_id == second.execution_id") == "False"
    kernel.run("first.abort()")


def test_at_loading_the_runs_that_go_on_are_named_with_one_line_each(kernel, cloud, going_on, tmp_path):
    go = tmp_path / "go"
    kernel.run("%env JPY_SESSION_NAME=/home/me/train.ipynb")
    with pytest.raises(Leave):
        kernel.run(counting(go), on=leave_when(lambda cell: HALF in cell.text))
    (run,) = going_on()
    with kernel.journal() as journal:
        until(lambda: journal.get(run.execution_id).state == "running")
    loaded = kernel.crash()
    kernel.texts_until(loaded, lambda text: f"run {run.execution_id[:8]} · running · " in text)
    go.touch()
    list(cloud.client.follow(run.execution_id))
    ended = kernel.crash()
    with kernel.journal() as journal:
        until(lambda: journal.get(run.execution_id).state == "completed")
    texts = [*ended.shown, *(update["data"]["text/plain"] for update in kernel.earlier_updates)]
    assert not any(run.execution_id[:8] in text for text in texts if "running" not in text)
    assert kernel.crash().shown == []


def test_loading_lists_checked_runs_and_ended_runs_only_of_their_notebook(signed_in):
    with connect() as session:
        bundle = prepare(session, Source("print(6 * 7)"), RunOptions())
        entry = build_entry(session, bundle)
        entry.notebook = "/home/me/train.ipynb"
        journal().add(entry)
        run_id = start_once(session.client, bundle).execution_id
        list(signed_in.client.follow(run_id))
    entries = journal().entries(going_on=True)
    lines = {}
    for notebook in ("/home/me/train.ipynb", "/home/me/other.ipynb", None):
        check = StateCheck(entries, notebook)
        check.start()
        check.join()
        lines[notebook] = str(check.summarize([]))
    assert f"run {run_id[:8]} · completed, not viewed yet · " in lines["/home/me/train.ipynb"]
    assert lines["/home/me/other.ipynb"] == lines[None] == ""


def test_loading_names_runs_that_it_could_not_check(signed_in, shell, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:  # it accepts the connection, and never answers
        silent_url = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("LK_BASE_URL", silent_url)
        journal().add(JournalEntry(TOKEN, silent_url, execution_id=RUN, created_at=time.time(), state="running"))
        list_unfinished_runs(shell)
    assert f"run {RUN[:8]} · last known state: running, not checked · " in capsys.readouterr().out


def test_several_runs_that_lost_their_kernel_are_followed_by_their_cell_again(kernel, going_on, tmp_path):
    go = tmp_path / "go"
    code = counting(go, "--gpu A100,L40S --sweep step=1,2 --parallel 3 --attach auto --save table") + "\nstep"
    with pytest.raises(Leave):
        kernel.run(code, on=leave_when(lambda cell: any(text.startswith("4 runs: 3 running") for text in cell.shown)))
    kernel.crash()
    before = {run.execution_id for run in going_on()}
    assert len(before) == 3
    go.touch()
    cell = kernel.run(code)
    assert cell.error is None, cell.error
    assert "This cell had already started 3 of these runs" in cell.shown[-2]
    assert all(run in kernel.value("table['run'].tolist()") for run in before)
    assert kernel.value("set(table['state'])") == "{'completed'}"
    assert (
        kernel.value(f"[open(log).read().startswith({WHOLE!r}) for log in table['log']]") == "[True, True, True, True]"
    )
    assert "before" not in kernel.run(code).shown[-2]


def test_attaching_without_an_id_shows_the_last_run_of_the_notebook_also_after_its_end(kernel, tmp_path):
    go = tmp_path / "go"
    go.touch()
    kernel.run("%env JPY_SESSION_NAME=/home/me/last.ipynb")
    kernel.run(counting(go))
    kernel.run("%env JPY_SESSION_NAME=/home/me/other.ipynb")
    kernel.run("%%lk_run\nprint('another notebook')")
    kernel.run("%env JPY_SESSION_NAME=/home/me/last.ipynb")
    assert kernel.run("%lk_attach").text == WHOLE


def test_attaching_without_an_id_outside_of_a_notebook_shows_the_last_run_of_the_kernel(kernel, tmp_path):
    go = tmp_path / "go"
    go.touch()
    kernel.run("%%lk_run\nprint('earlier')")
    kernel.run(counting(go))
    assert kernel.run("%lk_attach").text == WHOLE


def test_attaching_without_an_id_in_a_new_notebook_takes_the_only_active_run_or_lists_them(kernel, faulty, tmp_path):
    def run_elsewhere(code):
        kernel.run("%env JPY_SESSION_NAME=/home/me/train.ipynb")
        kernel.run(code)
        kernel.run("%env JPY_SESSION_NAME=/home/me/new.ipynb")

    run_elsewhere("1")
    assert kernel.run("%lk_attach").error["evalue"].startswith("No active run.")
    go = tmp_path / "go"
    run_elsewhere(counting(go, "--detach --save one --name first"))
    cell = kernel.run("%lk_attach", on=lambda cell: HALF in cell.text and (go.touch() or True))
    assert cell.text == WHOLE
    go.unlink()
    for name in ("second", "third"):
        run_elsewhere(counting(go, f"--detach --name {name}"))
    listed = kernel.run("%lk_attach").error["evalue"].splitlines()
    assert listed[0] == "2 runs are active. Follow one of them:"
    ids = {run.execution_id[:8] for run in faulty.client.workloads.list()}
    assert {line.split()[1] for line in listed[1:]} == ids
    assert {"second", "third"} <= set(" ".join(listed).replace(",", " ").split())
    go.touch()
    kernel.run("%lk_wait")


@pytest.mark.usefixtures("signed_in")
@pytest.mark.parametrize(("line", "fix"), [("%lk_attach 3f0c", "%lk_abort 3f0c"), ("%lk_attach", "%lk_runs")])
def test_an_interrupt_before_the_log_is_read_shows_how_to_stop_the_run(run_cell, monkeypatch, line, fix):
    def interrupt(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(run_magics, "current", interrupt)
    shown = run_cell(line)
    assert (
        "KeyboardInterrupt: You interrupted %lk_attach before the log was read. The run may still be active." in shown
    )
    assert fix in shown
    assert "Traceback" not in shown


@pytest.fixture
def unanswered(signed_in):
    """A function that records a start without an answer, sent some seconds ago to a server."""

    def record(age, base_url=signed_in.base_url):
        entry = JournalEntry(
            TOKEN, base_url, machine="gpu.l40s", created_at=time.time() - age, price_per_hour=Decimal(1)
        )
        entry.request = {"code": "print(1)", "timeout": 60}
        journal().add(entry)

    return record


def test_a_start_without_an_answer_is_looked_up_and_then_no_longer_listed(unanswered, run_cell):
    unanswered(age=100)
    assert str(GoingOn(journal().entries(going_on=True))) == (
        "start 5e1f2a3b · no answer · gpu.l40s · sent 1 min ago · look it up: %lk_attach 5e1f2a3b"
    )
    shown = run_cell("%lk_attach 5e1f2a3b")
    assert "yet. Check again: %lk_attach 5e1f2a3b. After 8 min, the request counts as failed." in shown
    assert journal().entries(going_on=True)
    journal().update(TOKEN, created_at=time.time() - 700)
    assert "so nothing was started. The request isn't listed any more." in run_cell("%lk_attach 5e1f")
    assert journal().entries(going_on=True) == []


def test_a_start_without_an_answer_that_the_cloud_shows_is_followed(signed_in, run_cell):
    with connect() as session:
        package = prepare(session, Source("print(6 * 7)"), RunOptions())
        journal().add(build_entry(session, package))
        run_id = start_once(session.client, package).execution_id
    assert "42" in run_cell(f"%lk_attach {package.token[:8]}")
    assert journal().get(package.token).execution_id == run_id


def test_a_start_to_another_server_can_be_discarded_and_counts_in_budgets(unanswered, run_cell):
    unanswered(age=100, base_url="https://elsewhere.example")
    shown = run_cell("%lk_attach 5e1f2a3b")
    assert "was sent to https://elsewhere.example, but you are signed in to http://127" in shown
    assert "%lk_attach 5e1f2a3b --discard" in shown
    assert run_cell("%lk_attach 5e1f2a3b --discard").startswith("Removed the start request 5e1f2a3b from the list.")
    assert journal().entries(going_on=True) == []
    assert sum_charges(journal().charges("https://elsewhere.example", since=0)).open > 0
    assert "--discard is only for a start request that the cloud never answered" in run_cell(
        "%lk_attach 5e1f2a3b --discard"
    )


def test_at_loading_a_start_is_looked_up_and_stays_listed_while_its_run_may_appear(kernel, going_on):
    with kernel.journal() as kept:
        base_url = kernel.value("__import__('os').environ['LK_BASE_URL']").strip("'")
        kept.add(JournalEntry(TOKEN, base_url, machine="gpu.l40s", created_at=time.time() - 100))
        loaded = kernel.crash()
        kernel.texts_until(loaded, lambda text: "start 5e1f2a3b · no answer · gpu.l40s" in text)
        kept.update(TOKEN, created_at=time.time() - 700)
        kernel.crash()
        until(lambda: kept.get(TOKEN).state == "refused")
    assert kernel.crash().shown == []
