"""``%%lk_run`` in a real kernel, on a local cloud of its own, read as a front end reads it."""

import re
from itertools import groupby
from operator import itemgetter

import pytest
from magics.kernels import ALL_IS_SHOWN, fail


def test_lines_stream_in_while_the_cell_runs(kernel, tmp_path):
    go = tmp_path / "go"
    code = "\n".join(
        [
            "%%lk_run --gpu A100",
            "import pathlib, time",
            "print('first')",
            f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(.01)",
            "print('second')",
        ]
    )

    def release(cell):
        if "first" in cell.text:
            assert "second" not in cell.text
            go.touch()
        return go.exists()

    cell = kernel.run(code, on=release)
    assert cell.text == "first\nsecond\n"
    assert go.exists()


def test_one_line_names_state_machine_price_time_cost_and_id(kernel):
    cell = kernel.run("%%lk_run --gpu A100\nprint(1)")
    (shown,) = cell.shown
    line, note = shown.splitlines()
    assert "No GPU on this machine" in note
    state, machine, seconds, cost, run = line.split(" · ")
    assert (state, machine) == ("✓ completed", "A100 at 1.59 credits/h")
    assert seconds.endswith(" s")
    assert cost.endswith(" credits")
    assert len(run) == len("run ") + 36


def test_without_a_machine_the_setting_decides(kernel):
    assert "L40S at 1.19 credits/h" in kernel.run("%%lk_run\nprint(1)").shown[0]
    kernel.run("%env LK_MACHINE=gpu.h200")
    assert "H200 at 4.29 credits/h" in kernel.run("%%lk_run\nprint(1)").shown[0]
    kernel.run("%env LK_MACHINE=")


def test_without_a_machine_the_toolbar_of_the_notebook_decides_for_the_cell_that_its_page_reports(kernel):
    def plan(line, cell_id):
        kernel.run("from lk_jupyter.config import notebook_machine\nnotebook_machine.report_machine('one', 'gpu.a100')")
        return kernel.run(f"{line} --dry-run\nprint(1)", cell_id=cell_id).shown[0]

    assert "chosen in the toolbar" in plan("%%lk_run", "one")
    assert "gpu.a100" in plan("%%lk_run", "one")
    assert "gpu.h100" in plan("%%lk_run --gpu H100", "one")
    assert "gpu.l40s" in plan("%%lk_run", "another")


def test_a_failed_cell_raises_with_the_remote_traceback_and_the_lines_of_the_cell(kernel):
    cell = kernel.run("%%lk_run\nprint('before')\ndef f(x):\n    return 1 / x\n\nf(0)")
    assert cell.text == "before\n"
    assert cell.error["ename"] == "RunFailed"
    assert "ZeroDivisionError" in cell.error["evalue"]
    shown = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(cell.error["traceback"]))
    assert "ZeroDivisionError                         Traceback (most recent call last)" in shown
    assert "File cell.py:6\n      4     return 1 / x\n      5 \n----> 6 f(0)" in shown
    assert "File cell.py:4, in f(x)\n      2 print('before')\n      3 def f(x):\n----> 4     return 1 / x" in shown
    assert "lk_jupyter" not in shown


def test_a_progress_bar_ends_in_one_line(kernel):
    cell = kernel.run(
        "%%lk_run\nimport time\nfor i in range(30):\n    print(f'\\r{i}', end=''); time.sleep(.01)\nprint()"
    )
    assert "\n" not in cell.text.rstrip("\n")
    assert cell.text.rstrip().rpartition("\r")[2] == "29"


def test_a_flood_is_cut_in_the_notebook_and_whole_in_the_file(kernel):
    cell = kernel.run("%%lk_run --fresh --save flood\nfor i in range(20000): print('line', i)")
    lines = cell.text.splitlines()
    assert lines == [f"line {i}" for i in [*range(50), *range(19950, 20000)]]
    note = next(text for text in cell.shown if "lines hidden" in text)
    assert note.startswith("▸ 19,900 lines hidden. Complete log: ")
    assert len(cell.messages) < 30
    with open(note.rpartition("log: ")[2]) as log:  # noqa: PTH123
        assert log.read().splitlines() == [f"line {i}" for i in range(20000)]


def test_markup_in_a_log_stays_text(kernel):
    cell = kernel.run("%%lk_run\nprint('<script>alert(1)</script>\\x1b]8;;http://evil.example\\x07x\\x1b]8;;\\x07')")
    assert cell.text == "<script>alert(1)</script>x\n"


def test_quiet_shows_the_receipt_only(kernel):
    cell = kernel.run("%%lk_run --quiet\nprint('noise')")
    assert cell.text == ""
    assert cell.shown[-1].startswith("✓ completed")


def test_the_run_is_saved_in_a_variable(kernel):
    kernel.run("%%lk_run --save run\nimport sys; print('out'); print('err', file=sys.stderr)")
    assert kernel.value("run.result().stdout, run.result().stderr") == r"('out\n', 'err\n')"
    assert kernel.value("run.status") == "'completed'"


def test_arguments_files_and_modules_go_with_the_cell(kernel):
    kernel.run("from pathlib import Path; Path('shapes.py').write_text('SIDES = 4'); Path('a.txt').write_text('hi')")
    code = "%%lk_run --arg 7 --files a.txt\nimport sys, shapes\nprint(sys.argv[1], shapes.SIDES, open('a.txt').read())"
    assert kernel.run(code).text == "7 4 hi\n"


def test_a_plan_shows_machine_price_and_worst_case_and_sends_nothing(kernel, cloud):
    before = len(cloud.client.billing.history())
    cell = kernel.run("%%lk_run --dry-run --gpu H100 --timeout 600 -r numpy\nprint(1)")
    for words in ("gpu.h100, 80 GiB, 2.79 credits/h", "600 s", "0.4658 credits", "numpy"):
        assert words in cell.shown[0]
    assert len(cloud.client.billing.history()) == before


def test_interrupt_aborts_the_run_and_says_what_it_cost(kernel, cloud):
    cell = kernel.run(
        "%%lk_run --timeout 600 --save run\nimport time\nsteps = 3\nprint('on'); time.sleep(100)",
        on=kernel.interrupt_when(lambda cell: "on" in cell.text),
    )
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert cell.shown[-1].startswith("✗ failed")
    assert "stopped early to return its variables" in cell.shown[-1]
    assert "credits" in cell.shown[-1]
    assert "credits" not in cell.error["evalue"]  # the receipt has the cost
    assert "Set here: steps" in cell.shown[-1]
    assert "with the values from the moment when the run was stopped" in cell.shown[-1]
    assert kernel.value("run.status, steps") == "('failed', 3)"


def test_a_second_interrupt_leaves_at_once_and_names_the_command_that_stops_the_run(kernel, faulty):
    fail(faulty, method="POST", path="/workloads/abort/", delay=30)
    interrupted = set()

    def interrupt_twice(cell):
        reached = {"running": "on" in cell.text, "stopping": any("stopping" in text for text in cell.shown)}
        for state in (state for state, is_there in reached.items() if is_there and state not in interrupted):
            interrupted.add(state)
            kernel.manager.interrupt_kernel()
        return len(interrupted) == len(reached)

    cell = kernel.run(
        "%%lk_run --timeout 600 --save run\nimport time\nprint('on'); time.sleep(100)", on=interrupt_twice
    )
    run_id = kernel.value("run.execution_id").strip("'")
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert f"%lk_abort {run_id}" in cell.error["evalue"]
    assert faulty.client.execution.status(run_id).status == "running"
    faulty.http.delete(f"{faulty.base_url}/_faults").raise_for_status()
    faulty.client.workloads.abort(run_id)
    kernel.run(ALL_IS_SHOWN)


@pytest.mark.parametrize(
    "cut", [pytest.param(40, marks=pytest.mark.nightly), 333, pytest.param(2000, marks=pytest.mark.nightly)]
)
def test_a_stream_that_is_cut_shows_every_line_once(kernel, faulty, cut):
    fail(faulty, path="/stream/", cut_after=cut, times=3)
    cell = kernel.run("%%lk_run\nimport time\nfor i in range(60): print('line é', i); time.sleep(.005)")
    assert cell.text == "".join(f"line é {i}\n" for i in range(60))
    assert cell.shown[0].startswith("✓ completed")


def test_a_start_whose_answer_is_lost_is_followed_and_not_sent_twice(kernel, faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", lose_answer=True)
    assert kernel.run("%%lk_run\nprint('once')").text == "once\n"
    assert len(faulty.client.billing.history()) == 1


def test_a_cloud_that_crashes_and_comes_back_ends_the_cell_with_the_reason(kernel, faulty):
    port = faulty.cloud_url.rpartition(":")[2]

    def crash(cell):
        if "on" not in cell.text:
            return False
        faulty.kill()
        faulty.options = ("--port", port)
        faulty.start()
        return True

    cell = kernel.run("%%lk_run --timeout 600\nimport time\nprint('on'); time.sleep(100)", on=crash)
    assert cell.text == "on\n"
    assert cell.error["ename"] == "RunFailed"
    assert "failed on the cloud's side" in cell.error["evalue"]


def test_stderr_comes_as_stderr_where_the_code_wrote_it(kernel):
    cell = kernel.run(
        "%%lk_run\nimport sys, warnings\nprint('one')\nprint('careful', file=sys.stderr)\nprint('two', end='')\n"
        "sys.stderr.write('half')\nsys.stderr.flush()\nprint('three')\nwarnings.warn('last')"
    )
    streams = [(content["name"], content["text"]) for kind, content in cell.messages if kind == "stream"]
    merged = [(name, "".join(text for _, text in group)) for name, group in groupby(streams, key=itemgetter(0))]
    assert merged[:-1] == [
        ("stdout", "one\n"),
        ("stderr", "careful\n"),
        ("stdout", "two"),
        ("stderr", "half"),
        ("stdout", "three\n"),
    ]
    assert merged[-1][0] == "stderr"
    assert "UserWarning: last" in merged[-1][1]
    assert "stderr" not in cell.shown[-1]


def test_what_a_program_wrote_to_stderr_is_told_apart_after_the_receipt(kernel):
    cell = kernel.run(
        "%%lk_run\nprint('out', flush=True)\nimport subprocess\nsubprocess.run(\"echo 'careful <b>' >&2\", shell=True);"
    )
    assert sorted(cell.text.splitlines()) == ["careful <b>", "out"]
    assert cell.shown[-1].startswith("1 of these lines were printed to stderr")
    html = [content["data"]["text/html"] for kind, content in cell.messages if kind == "display_data"][-1]
    assert "careful &lt;b&gt;" in html


def test_run_all_stops_at_a_run_that_failed(kernel):
    cell = kernel.run("%%lk_run\nraise SystemExit(3)")
    assert "exit code 3" in cell.error["evalue"]


def test_a_run_that_takes_too_long_says_how_to_give_it_longer(kernel):
    cell = kernel.run("%%lk_run --timeout 1\nimport time; time.sleep(30)")
    assert "time limit" in cell.error["evalue"]
    assert "--timeout 2" in cell.shown[-1]


def test_a_detached_run_fills_its_own_output_from_the_background(kernel):
    cell = kernel.run("%%lk_run --detach --save run\nprint('from behind')")
    texts = kernel.texts_until(cell, lambda text: text.startswith("✓ completed"))
    assert cell.text == ""
    assert any("in the background" in text for text in texts)
    assert any("from behind" in text for text in texts)


def test_a_detached_run_makes_no_output_in_another_cell(kernel):
    kernel.run("%%lk_run --detach --save run\nimport time\nfor i in range(5): print('behind', i); time.sleep(.1)")
    other = kernel.run(f"run.wait()\n{ALL_IS_SHOWN}\nprint('mine')")
    assert [kind for kind, _ in other.messages if kind == "display_data"] == []
    assert other.text == "mine\n"


def test_attach_shows_an_ended_run_whole(kernel):
    kernel.run("%%lk_run --save run\nprint('a'); print('b')")
    cell = kernel.run("%lk_attach {run.short_id}")
    assert cell.text == "a\nb\n"
    assert cell.shown[-1].startswith("✓ completed")


def test_stored_logs_tell_stderr_apart(kernel):
    kernel.run("%%lk_run --save run\nimport sys\nprint('out')\nprint('err', file=sys.stderr)")
    cell = kernel.run("%lk_logs {run.short_id}")
    streams = [(content["name"], content["text"]) for kind, content in cell.messages if kind == "stream"]
    assert streams == [("stdout", "out\n"), ("stderr", "err\n")]


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        ("%%lk_run\n\n", "UsageError", "empty"),
        ("%%lk_run --gpo A100\n1", "UsageError", "Did you mean --gpu"),
        ("%%lk_run --gpu A1000\n1", "UsageError", "gpu.a100 (1.59 credits/h)"),
        ("%%lk_run --timeout 0\n1", "UsageError", "--timeout"),
        ("%%lk_run --on run --timeout 9999\n1", "UsageError", "1 to 600 s"),
        ("%%lk_run --files nothing-here.txt\n1", "UsageError", "nothing-here.txt"),
        ("%%lk_run --gpu A100 --machine cpu\n1", "UsageError", "one of them"),
        ("%%lk_run --save 1x\n1", "UsageError", "takes a variable name"),
        ("%%lk_run --no-rich\n!pip install torch", "UsageError", "%%lk_run -r torch"),
        ("%%lk_run\nx = 1\n%lk_status abcd", "UsageError", "line 3: %lk_status works only in the notebook"),
        ("%%lk_run --fresh\n%prun f()", "UsageError", "-r ipython"),
        ("%%lk_run\nx = (1,\n", "CodeError", "was never closed"),
        ("%lk_status zzzz", "UsageError", "%lk_runs"),
        ("%lk_abort ab", "UsageError", "too short"),
    ],
)
def test_bad_input_is_one_clear_error_and_nothing_is_sent(kernel, cloud, code, error, words):
    before = cloud.client.billing.history().total
    cell = kernel.run(code)
    assert cell.error["ename"] == error
    assert words in cell.error["evalue"]
    assert "lk_jupyter/" not in "\n".join(cell.error["traceback"])
    assert cloud.client.billing.history().total == before


def test_a_syntax_error_is_shown_as_ipython_shows_it(kernel):
    shown = "\n".join(kernel.run("%%lk_run\nx = 1\ny = (").error["traceback"])
    assert "cell.py:3" in shown
    assert "SyntaxError" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize("cell", ["%%lk_run --gpu A100 --nonsense\n1", "%%lk_run --gpu A100\n1 / 0", "train()"])
def test_the_debugger_starts_in_a_frame_of_the_user_after_an_error_of_the_package(kernel, cell):
    kernel.run("import lk_jupyter, sys, traceback\ndef train():\n    lk_jupyter.connect().run('1', gpu='A1000000')")
    kernel.run(cell)
    frames = kernel.value("[frame.filename for frame in traceback.extract_tb(sys.last_traceback)]")
    assert "lk_jupyter/" not in frames.replace("lk_jupyter/.venv", "")
    assert "ipykernel_" in frames
