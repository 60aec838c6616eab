"""A cell on several machines and with several values, in a real kernel."""

import re
import threading
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from lk_jupyter.magics._fan_out import FanOutView
from lk_jupyter.protocol.bucket import GRACE

HANGS = "import time\nprint('at work', flush=True)\ntime.sleep(100)"


def html(cell):
    """Return the rich outputs as a front end has them at the end."""
    outputs = {}
    for kind, content in cell.messages:
        if kind in {"display_data", "update_display_data"}:
            outputs[content["transient"]["display_id"]] = content["data"].get("text/html", "")
    return list(outputs.values())


def test_the_board_ends_as_a_table_that_compares_and_logs_that_can_be_opened(kernel):
    code = "%%lk_run --gpu A100,L40S --sweep lr=0.1,0.01 --metric accuracy --save table\n"
    cell = kernel.run(f"{code}print('<b>', lr)\nprint('accuracy:', 1 - lr)")
    board, table, logs = cell.shown
    assert board.startswith("4 runs: 4 completed · ")
    assert "of accuracy is the highest." in table
    lines = table.splitlines()
    rows = [line.split()[:4] for line in lines[2:6]]
    assert sorted(rows[:2]) == [["2", "A100", "0.01", "✓"], ["4", "L40S", "0.01", "✓"]]
    assert sorted(rows[2:]) == [["1", "A100", "0.1", "✓"], ["3", "L40S", "0.1", "✓"]]
    assert "best accuracy" in lines[2]
    assert table.count("best accuracy") == 1  # of equal runs, the cheapest
    assert "cheapest that finished" in table
    assert "fastest" in table
    assert "The table has no GPU memory or GPU use" in table
    (receipts,) = [metadata["lk_jupyter"]["runs"] for metadata in cell.metadata]
    assert [receipt["machine"] for receipt in receipts] == ["gpu.a100", "gpu.a100", "gpu.l40s", "gpu.l40s"]
    assert logs.count(".log") == 4
    folded = html(cell)[2]
    assert folded.count("<details>") == 4
    assert "Log of run 1 · A100 · lr=0.1 · 2 lines" in folded
    assert "&lt;b&gt; 0.1\naccuracy: 0.9" in folded
    assert cell.text == ""
    assert kernel.value("type(table).__name__, table.index.tolist(), table['accuracy'].tolist()") == (
        "('DataFrame', [1, 2, 3, 4], [0.9, 0.99, 0.9, 0.99])"
    )


@pytest.mark.nightly
def test_what_a_lane_shows_besides_text_is_in_its_log(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --sweep lr=1,2 --metric accuracy\nprint('text')\n{'accuracy': lr}")
    table = cell.shown[1].splitlines()
    assert ["best accuracy" in line for line in table[2:4]] == [True, False]
    folded = html(cell)[2]
    assert "text\n{&#x27;accuracy&#x27;: 1}" in folded
    assert "7411" not in folded


def test_variables_go_to_every_lane_and_come_back_by_lane(kernel):
    kernel.run("lr, offset, squares = 'not this one', 100, None")
    cell = kernel.run(
        "%%lk_run --fresh --gpu A100 --sweep lr=1,2 --in-all --out squares\nsquares = [lr, lr * lr + offset]"
    )
    assert cell.error is None, cell.error
    assert kernel.value("squares") == "{1: [1, 101], 2: [2, 104]}"
    assert "Each of squares is a dict" in cell.shown[1]
    kernel.run(
        "%%lk_run --fresh --gpu A100 --sweep lr=1,100 --stop-on-first --out squares\n"
        "import time; time.sleep(lr - 1)\nsquares = lr"
    )
    assert kernel.value("squares") == "1"


def test_a_secret_in_a_log_is_not_kept_in_the_notebook(kernel):
    secret = "ghp_" + "a1B2" * 9
    cell = kernel.run("%%lk_run --gpu A100 --sweep x=1,2\nprint(x, 'ghp_' + 'a1B2' * 9)")
    assert "[redacted]" in html(cell)[2]
    assert secret not in str(cell.messages)


def test_the_journal_knows_the_cell_that_started_the_lanes(kernel):
    kernel.run("%%lk_run --gpu A100 --sweep x=1,2\nx")
    kernel.run("from lk_jupyter.journal.journal import journal; entries = journal().entries(limit=2)")
    assert kernel.value("{entry.session for entry in entries} == {get_ipython().kernel.session.session}") == "True"


def test_the_lanes_are_shown_as_they_go_in_one_output(kernel, tmp_path):
    code = f"import pathlib, time\nprint('at work on', x, flush=True)\ngo = pathlib.Path({str(tmp_path)!r}, 'go')\n"
    code += "while not go.exists(): time.sleep(.01)"
    seen, bundles = [], []

    def release(cell):
        (board,) = cell.shown
        if "at work on 1" in board:
            seen.append(board)
            bundles.extend(content["data"] for kind, content in cell.messages if kind == "update_display_data")
            (tmp_path / "go").touch()
        return bool(seen)

    cell = kernel.run(
        f"%%lk_run --gpu A100 --sweep x=1,2 --parallel 1 --quiet\n{code}", on=lambda cell: cell.shown and release(cell)
    )
    (board,) = seen
    assert "1 running, 1 queued locally" in board
    assert "at most 0.5309 credits" in board
    assert "1 queued locally · A100 at 1.59 credits/h · " in board
    assert re.search(r"^1  1  ● running", board, re.MULTILINE)
    kept = bundles[-1]["application/vnd.lk.run+json"]
    assert kept["head"] == "2 runs · A100 at 1.59 credits/h · at most 0.5309 credits"
    assert [(run["name"], run["state"]) for run in kept["runs"]] == [
        ("1 · x=1", "running"),
        ("2 · x=2", "queued locally"),
    ]
    assert kept["runs"][0]["told"] == ["at work on 1"]
    first = next(content["data"]["text/plain"] for kind, content in cell.messages if kind == "display_data")
    assert "2 queued locally" in first
    assert "at most" in first
    assert len(cell.shown) == 2


def test_interrupt_aborts_every_lane_and_says_what_they_cost(kernel, cloud):
    cell = kernel.run(
        f"%%lk_run --gpu A100,H100,L40S --timeout 600 --save table --parallel 2\n{HANGS}",
        on=kernel.interrupt_when(lambda cell: any(text.count("at work") == 2 for text in cell.shown)),
    )
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert "the runs were stopped: 2 runs for " in cell.error["evalue"]
    assert "in total" in cell.error["evalue"]
    assert kernel.value("table['state'].tolist()") == "['failed', 'failed', 'not started']"
    ours = kernel.value("table['run'].tolist()")
    assert not [run for run in cloud.client.workloads.list() if run.execution_id in ours]


def test_a_second_interrupt_leaves_at_once_with_a_line_for_each_lane(kernel, faulty):
    faulty.http.post(
        f"{faulty.base_url}/_faults", json={"method": "POST", "path": "/workloads/abort/", "delay": 30, "times": None}
    ).raise_for_status()
    interrupted = set()

    def interrupt_twice(cell):
        board = cell.shown[-1] if cell.shown else ""
        reached = {"running": board.count("at work") == 2, "stopping": "interrupt again" in board}
        for state in (state for state, is_there in reached.items() if is_there and state not in interrupted):
            interrupted.add(state)
            kernel.manager.interrupt_kernel()
        return len(interrupted) == len(reached)

    cell = kernel.run(f"%%lk_run --gpu A100,L40S\n{HANGS}", on=interrupt_twice)
    assert cell.error["ename"] == "KeyboardInterrupt"
    for run in faulty.client.workloads.list():
        assert f"%lk_abort {run.execution_id}   (run " in cell.error["evalue"]
    assert len(list(faulty.client.workloads.list())) == 2
    faulty.http.delete(f"{faulty.base_url}/_faults")
    for run in faulty.client.workloads.list():
        faulty.client.workloads.abort(run.execution_id)
    kernel.texts_until(cell, lambda text: "2 aborted" in text)  # the board is kept current


@pytest.mark.parametrize("seconds", [0.05, 0.2])
def test_a_second_interrupt_shortly_after_the_first_aborts_all_runs_now(kernel, cloud, seconds):
    code = f"{HANGS.replace('time.sleep(100)', '')}value = 1\nwhile True:\n    try:\n        time.sleep(100)\n"
    code += "    except KeyboardInterrupt:\n        pass"
    interrupts = []

    def interrupt_twice(cell):
        if not interrupts and cell.shown and cell.shown[-1].count("at work") == 2:
            interrupts.append(time.monotonic())
            kernel.manager.interrupt_kernel()
            time.sleep(seconds)  # the second interrupt comes before the aborts of the first
            kernel.manager.interrupt_kernel()
        return bool(interrupts)

    cell = kernel.run(f"%%lk_run --gpu A100,L40S --timeout 600\n{code}", on=interrupt_twice)
    ids = re.findall(r"%lk_abort (\S+)   \(run ", cell.error["evalue"])
    if ids:  # else the runs have ended before the second interrupt
        assert len(ids) == 2
        assert "They are aborted in the background." in cell.error["evalue"]
    while any(run.execution_id in ids for run in cloud.client.workloads.list()):
        assert time.monotonic() - interrupts[0] < GRACE / 2
    kernel.texts_until(cell, lambda text: text.startswith("Complete logs:"))  # of this cell, not of the next one


def test_an_interrupt_may_let_all_go_on_in_the_background(kernel, tmp_path):
    code = f"import pathlib, time\nprint('at work', flush=True)\ngo = pathlib.Path({str(tmp_path)!r}, 'go')\n"
    code += "while not go.exists(): time.sleep(.01)"
    cell = kernel.run(
        f"%%lk_run --gpu A100,L40S --timeout 600 --on-interrupt detach --save fan\n{code}",
        on=kernel.interrupt_when(lambda cell: any(text.count("at work") == 2 for text in cell.shown)),
    )
    assert "the runs are still active in the background" in cell.error["evalue"]
    (tmp_path / "go").touch()
    texts = kernel.texts_until(cell, lambda text: text.startswith("Complete logs:"))
    assert any(text.startswith("2 runs: 2 completed") for text in texts)
    assert kernel.value("[outcome.state for outcome in fan.outcomes()]") == "['completed', 'completed']"


def test_the_cell_raises_when_no_lane_completed(kernel):
    cell = kernel.run("%%lk_run --gpu A100,L40S\nprint(1)\n1 / 0")
    assert cell.error["ename"] == "RunFailed"
    assert "none of the 2 runs completed" in cell.error["evalue"]
    assert "cell.py:3" in "\n".join(cell.error["traceback"])
    seen = "\n".join([*cell.shown, *cell.error["traceback"]])  # the logs are folded
    assert seen.count("division by zero") == 1
    assert re.search(r"ended with exit code 1\.\s.*\n.*like run 1", cell.shown[1])


def test_the_table_of_runs_that_no_error_follows_says_why_they_failed(kernel):
    cell = kernel.run("%%lk_run --gpu A100,L40S --detach\n1 / 0")
    texts = kernel.texts_until(cell, lambda text: text.startswith("Complete logs:"))
    assert [text.count("division by zero") for text in texts if "Remark" in text] == [1]


@pytest.mark.nightly  # tests/runs/fanout
def test_what_companions_say_stands_below_the_table_with_the_lanes_it_is_about(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --sweep x=0,1,2\nif x < 2: import nothing_of_this_name")
    assert "nothing_of_this_name" in cell.shown[1]
    assert cell.shown[1].count("-r nothing") <= 1
    assert "(runs 1, 2)" in cell.shown[1]


def test_one_failed_lane_is_a_result_unless_strict(kernel):
    code = "--gpu A100 --sweep x=0,1\n1 / x"
    cell = kernel.run(f"%%lk_run {code}")
    assert cell.error is None
    assert "ZeroDivisionError" in cell.shown[1]
    cell = kernel.run(f"%%lk_run --require-all {code}")
    assert "1 of the 2 runs didn't complete" in cell.error["evalue"]


def test_the_first_that_completes_is_kept(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --sweep x=100,0 --stop-on-first\nimport time\ntime.sleep(x)")
    assert cell.error is None
    assert "was stopped: run 2 completed first" in cell.shown[1]
    assert "Run 2 completed first and was kept; the other runs were aborted." in cell.shown[1]
    assert sum(text.count("in total") for text in cell.shown) == 1


def test_a_plan_shows_every_lane_with_the_cost_of_all_and_sends_nothing(kernel, cloud):
    before = cloud.client.billing.history().total
    cell = kernel.run("%%lk_run --dry-run --gpu A100,H100 --sweep lr=1,2 --timeout 360\nprint(lr)")
    assert "4 runs cost at most 0.8784 credits in total; 4 run at once. Nothing was sent." in cell.shown[0]
    assert cloud.client.billing.history().total == before


def test_a_detached_fan_out_goes_on_in_its_own_outputs(kernel):
    cell = kernel.run("%%lk_run --gpu A100 --sweep x=1,2 --detach --save fan\nprint(x)")
    texts = kernel.texts_until(cell, lambda text: text.startswith("Complete logs:"))
    assert any(text.startswith("2 runs: 2 completed") for text in texts)
    assert kernel.value("fan.wait(300), len(fan.table())") == "(True, 2)"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--sweep lr=1,2 --gpu A100,A1000", "Unknown machine 'A1000'"),
        ("--sweep lr", "lr=0.1,0.01"),
        ("--sweep momentum=1,2", "doesn't use 'momentum'"),
        ("--sweep lr=1,2 --metric (", "--metric"),
        ("--sweep lr=1,2 --parallel 0", "--parallel"),
        ("--gpu A100 --stop-on-first", "several runs"),
        ("--sweep lr=1,2 --timeout 9999", "1 to 600 s"),
    ],
)
def test_bad_input_is_one_clear_error_and_nothing_is_sent(kernel, cloud, line, words):
    before = cloud.client.billing.history().total
    cell = kernel.run(f"%%lk_run {line}\nprint(lr)")
    assert cell.error["ename"] == "UsageError"
    assert words in cell.error["evalue"]
    assert len(cell.error["evalue"].splitlines()) == 1
    assert cloud.client.billing.history().total == before


def test_a_syntax_error_is_shown_as_ipython_shows_it(kernel):
    shown = "\n".join(kernel.run("%%lk_run --sweep x=1,2\nx\ny = (").error["traceback"])
    assert "cell.py:3" in shown
    assert "SyntaxError" in shown


@pytest.mark.parametrize("error", [None, OSError])
def test_nobody_waits_for_runs_in_the_background_whose_end_was_shown_or_could_not_be(error):
    def end():
        if error:
            raise error

    view = SimpleNamespace(follow=lambda _: None, end=end, done=threading.Event())
    with pytest.raises(error) if error else nullcontext():
        FanOutView._keep_showing(view)
    assert view.done.is_set()


@pytest.mark.nightly
def test_runs_that_get_variables_leave_modules_alone_and_replace_nothing_by_a_dict(kernel):
    kernel.run("import time\nclass Kind: pass\nrows, label = [1], 'label'")
    code = "import math\nKind()\ntime.sleep(0)\nrows.append(lr)\nbest = lr * len(label)\nsame = math.pi"
    cell = kernel.run(f"%%lk_run --gpu A100 --sweep lr=1,2\n{code}")
    assert cell.error is None
    assert kernel.value("best, same, math.floor(2.5), time.sleep(0), Kind().__class__.__name__") == (
        "({1: 5, 2: 10}, 3.141592653589793, 2, None, 'Kind')"
    )
    assert kernel.value("rows, rows_by_run, label") == "([1], {1: [1, 1], 2: [1, 2]}, 'label')"
    assert "rows: unchanged in this notebook, because the runs returned different values." in "".join(cell.shown)


@pytest.mark.nightly
def test_the_leaderboard_has_the_curves_of_all_runs_the_best_first_and_a_picture_for_other_front_ends(kernel):
    code = "for n in range(1, 5): print(f'epoch {n}/4 loss={lr / n:.3f}')\n1 / (lr - 3)"
    cell = kernel.run(f"%%lk_run --gpu A100 --sweep lr=0.4,0.2,3\n{code}")
    boards = [
        content["data"]["application/vnd.lk.run+json"]
        for kind, content in cell.messages
        if "data" in content and "board" in content["data"].get("application/vnd.lk.run+json", {})
    ]
    board = boards[-1]
    score = {"name": "loss", "highest": False}
    assert board["board"] == {"swept": ["lr"], "score": score, "names": ["loss"], "longest": 600}
    first, second, third = board["runs"]
    assert (first["number"], first["values"], first["score"]) == (1, {"lr": "0.4"}, 0.1)
    assert second["curves"] == [{"name": "loss", "steps": [1, 2, 3, 4], "values": [0.2, 0.1, 0.067, 0.05]}]
    assert "best loss" in second["marks"]
    assert third["marks"] == []
    assert "division by zero" in third["notes"][0]
    table = cell.shown[1].splitlines()
    assert [line.split()[0] for line in table[2:5]] == ["2", "1", "3"]
    assert "Machine" not in table[0]
    assert 'alt="Curves of loss" src="data:image/svg+xml;base64,' in html(cell)[1]
    notes = [
        content["data"]["application/vnd.lk.run+json"]
        for kind, content in cell.messages
        if "data" in content and content["data"].get("application/vnd.lk.run+json", {}).get("head") == ""
    ]
    assert notes[-1]["runs"] == []


def test_a_run_of_a_comparison_is_used_without_warnings_and_changes_of_the_user_stay(kernel):
    kernel.run("class Model:\n    pass\nhistory, mine = [], 1")
    code = "%%lk_run --sync --gpu A100 --sweep C=1,2 --metric acc\n"
    body = (
        "clf = Model(); clf.C = C\nhistory.append(C)\nmine = C\nfor step in range(3): print('acc:', C)\nacc = C * 1.0"
    )
    cell = kernel.run(code + body)
    (receipts,) = [metadata["lk_jupyter"]["runs"] for metadata in cell.metadata]
    run_id = receipts[0]["execution_id"]
    kernel.run("mine = 'changed'")
    used = kernel.run(f"%lk_attach {run_id}")
    assert "clf_from_run" not in used.text + str(used.shown)
    assert kernel.value("[name for name in globals() if name.endswith('_from_run')]") == "['mine_from_run']"
    assert kernel.value("clf.C, acc, step, history, mine") == "(1, 1.0, 2, [1], 'changed')"
