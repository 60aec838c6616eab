"""The interrupt contract of lk_jupyter.magics._output.interrupt, line by line."""

import os
import re
import signal
import time
from types import SimpleNamespace

import pytest
from localcloud.conftest import until
from magics.kernels import fail
from patience import PATIENCE

from lk_jupyter.api.execution import is_final
from lk_jupyter.magics._output.interrupt import _describe_earlier_end

#: Runs that return no variables: they can only be ended by an abort.
SLEEPER = "%%lk_run --fresh --timeout 600 --save run {options}\nimport time\nprint('on', flush=True); time.sleep(100)"

#: For each line that it shows the kernel waits, unless that is over before it has begun: one line may not do.
TALKER = "%%lk_run --fresh --timeout 600 --save run\nimport time\nwhile True: print('on', flush=True); time.sleep(0.1)"

#: Interrupts the next cell when it has printed "on", where Condition.wait of CPython takes its lock back.
WRONG_MOMENT = """
import threading
restore = threading.Condition._acquire_restore
def interrupted(self, state):
    here = threading.current_thread() is threading.main_thread()
    if not here or "run" not in globals() or not run.log_path.exists() or "on" not in run.log_path.read_text():
        return restore(self, state)
    threading.Condition._acquire_restore = restore
    raise KeyboardInterrupt
globals().pop("run", None)
threading.Condition._acquire_restore = interrupted
"""

#: Interrupts the kernel once, when a run has ended and the cell reads its record, which takes long.
AT_THE_RECORD = f"""import os, signal, time
from lk_jupyter.runs.run import Run
reads = Run.wait_aside
def interrupted(run):
    Run.wait_aside = reads
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep({PATIENCE})
Run.wait_aside = interrupted"""


def is_on(cell):
    return "on" in cell.text


def says(word):
    return lambda cell: any(word in text for text in cell.shown)


def is_sent(cloud):
    """Whether the start of the run, for which a fault was ordered, has come; waited for once the cell has begun."""

    def has_come():
        return all(order["times"] == 0 for order in fail(cloud))

    return lambda cell: (says("submitting")(cell) or is_on(cell)) and until(has_come)


def one_run(cloud):
    """The only run that a cloud ever had, once it has ended."""
    return until(lambda: next((run for run in cloud.client.billing.history() if is_final(run.status)), None))


class Interrupts:
    """Interrupts a kernel at several points of a cell, one after the other."""

    def __init__(self, kernel, *points):
        self.kernel = kernel
        self.points = list(points)

    def __call__(self, cell):
        if self.points and self.points[0](cell):
            self.points.pop(0)
            self.kernel.manager.interrupt_kernel()
        return not self.points


def test_once_stops_the_run_and_shows_its_bill(kernel):
    cell = kernel.run(SLEEPER.format(options=""), on=Interrupts(kernel, is_on))
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert cell.error["evalue"] == "You stopped this run."
    assert " credits · " in cell.shown[-1]
    assert len(cell.error["traceback"]) == 1
    assert cell.shown[-1].startswith("■ aborted")


def test_twice_ends_the_cell_at_once_and_names_the_command_that_stops_the_run(kernel, faulty):
    fail(faulty, method="POST", path="/workloads/abort/", delay=20)
    twice = Interrupts(kernel, is_on, says("stopping"))
    cell = kernel.run(SLEEPER.format(options=""), on=twice)
    run_id = kernel.value("run.execution_id").strip("'")
    words = f"The run may still be active. Stop it: %lk_abort {run_id}"
    assert cell.error["evalue"] == f"Stopped waiting. The server hasn't confirmed the abort yet. {words}"
    assert kernel.texts_until(cell, lambda text: "in the background" in text and words in text)


@pytest.mark.parametrize("how", ["option", "setting"])
def test_detach_lets_the_run_go_on_in_the_background(kernel, cloud, tmp_path, how):
    go = tmp_path / "go"
    kernel.run(f"%env LK_ON_INTERRUPT={'detach' if how == 'setting' else ''}")
    option = "--on-interrupt detach" if how == "option" else ""
    code = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(.01)\nprint('went on')"
    cell = kernel.run(f"%%lk_run --save run {option}\nprint('on', flush=True)\n{code}", on=Interrupts(kernel, is_on))
    kernel.run("%env LK_ON_INTERRUPT=")
    assert "is still active in the background" in cell.error["evalue"]
    run_id = kernel.value("run.execution_id").strip("'")
    assert cloud.client.execution.status(run_id).status == "running"
    go.touch()
    texts = kernel.texts_until(cell, lambda text: text.startswith("✓ completed"))
    assert any("went on" in text for text in texts)


def test_before_the_run_is_sent_nothing_is_started(kernel, faulty):
    cell = kernel.run(SLEEPER.format(options=""), on=Interrupts(kernel, says("submitting")))
    assert cell.error["ename"] == "KeyboardInterrupt"
    until(lambda: not list(faulty.client.workloads.list()))


def test_a_run_that_is_being_sent_is_stopped_once_it_is_known(kernel, faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", delay=1)
    cell = kernel.run(SLEEPER.format(options=""), on=Interrupts(kernel, is_sent(faulty)))
    assert cell.error["evalue"] == "You stopped this run."
    assert cell.shown[-1].startswith("■ aborted")
    assert one_run(faulty).status == "aborted"


def test_a_run_whose_answer_is_lost_is_found_and_stopped(kernel, faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", lose_answer=True, delay=1)
    cell = kernel.run(SLEEPER.format(options=""), on=Interrupts(kernel, is_sent(faulty)))
    assert cell.error["evalue"] == "You stopped this run."
    assert one_run(faulty).status == "aborted"


def test_twice_while_it_is_sent_ends_the_cell_and_the_run_is_stopped_all_the_same(kernel, faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", delay=12)
    twice = Interrupts(kernel, is_sent(faulty), says("stopping"))
    cell = kernel.run(SLEEPER.format(options=""), on=twice)
    assert "It is aborted as soon as its id is known. Check: %lk_runs" in cell.error["evalue"]
    assert one_run(faulty).status == "aborted"


def test_a_start_that_was_refused_leaves_nothing_to_stop(kernel, faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", status=402, delay=1)
    cell = kernel.run(SLEEPER.format(options=""), on=Interrupts(kernel, is_sent(faulty)))
    assert cell.error["evalue"] == "nothing was started."


def test_a_run_that_is_being_sent_can_be_let_go_on(kernel, faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", delay=1)
    cell = kernel.run("%%lk_run --on-interrupt detach\nprint('on')", on=Interrupts(kernel, is_sent(faulty)))
    assert "is still active in the background" in cell.error["evalue"]
    assert one_run(faulty).status == "completed"


def test_while_reconnecting_the_run_is_stopped(kernel, faulty):
    fail(faulty, path="/stream/", cut_after=60, times=1)
    fail(faulty, path="/stream/", status=503, times=None)
    code = "%%lk_run --fresh\nimport time\nfor i in range(1000): print('on', i, flush=True); time.sleep(.05)"
    cell = kernel.run(code, on=Interrupts(kernel, says("reconnecting")))
    assert cell.error["evalue"] == "You stopped this run."
    assert one_run(faulty).status == "aborted"


def test_a_cloud_that_fails_lets_the_cell_go_with_words_and_the_abort_is_repeated_until_the_run_ends(kernel, faulty):
    fail(faulty, method="POST", path="/workloads/abort/", status=503, times=6)
    cell = kernel.run(SLEEPER.format(options=""), on=Interrupts(kernel, is_on))
    assert "The run may still be active: A fault that a test requested (HTTP 503)." in cell.error["evalue"]
    run_id = kernel.value("run.execution_id").strip("'")
    assert f"Stop it: %lk_abort {run_id}" in cell.error["evalue"]
    assert one_run(faulty).status == "aborted"
    assert kernel.texts_until(cell, lambda text: text.startswith("■ aborted"))


@pytest.mark.parametrize("gap", [0, 0.05, 0.15, 0.3, 1])
def test_two_interrupts_close_together_abort_the_run(kernel, cloud, gap):
    kernel.run("globals().pop('run', None)")

    def twice(cell):
        if is_on(cell):
            for pause in (gap, 0):
                os.kill(kernel.manager.provisioner.process.pid, signal.SIGINT)
                time.sleep(pause)
        return is_on(cell)

    cell = kernel.run(SLEEPER.format(options=""), on=twice)
    assert cell.error["ename"] == "KeyboardInterrupt"
    run_id = kernel.value("run.execution_id").strip("'")
    assert (
        until(lambda: (now := cloud.client.execution.get(run_id)) and is_final(now.status) and now).status == "aborted"
    )


def test_ten_interrupts_at_once_while_the_start_is_on_its_way_abort_the_run(kernel, faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", delay=1)
    sent = is_sent(faulty)

    def often(cell):
        if not sent(cell):
            return False
        for _ in range(10):
            os.kill(kernel.manager.provisioner.process.pid, signal.SIGINT)
            time.sleep(0.01)
        return True

    cell = kernel.run(SLEEPER.format(options=""), on=often)
    assert one_run(faulty).status == "aborted"
    if cell.error:  # the last of them may meet IPython while it writes the error
        assert cell.error["ename"] == "KeyboardInterrupt"


def test_an_interrupt_that_python_turns_into_another_error_stops_the_run(kernel, cloud):
    kernel.run(WRONG_MOMENT)
    cell = kernel.run(TALKER)
    assert cell.error["evalue"] == "You stopped this run."
    assert cloud.client.execution.status(kernel.value("run.execution_id").strip("'")).status == "aborted"


def test_after_the_end_there_is_nothing_to_stop_and_the_cell_ends_at_once(kernel, cloud):
    kernel.run(AT_THE_RECORD)
    cell = kernel.run("%%lk_run --save run\nprint('on')")
    assert cell.error["evalue"].startswith(("The run has finished", "The run had already finished"))
    assert cloud.client.execution.status(kernel.value("run.execution_id").strip("'")).status == "completed"


def test_in_plain_python_an_interrupt_of_a_start_stops_the_run(kernel, faulty):
    fail(faulty, method="POST", path="/execution/streaming/start", delay=1)
    code = "import lk_jupyter\nprint('on', flush=True)\nlk_jupyter.connect().run('import time; time.sleep(100)')"
    cell = kernel.run(code, on=Interrupts(kernel, is_sent(faulty)))
    assert cell.error["ename"] == "KeyboardInterrupt"
    assert one_run(faulty).status == "aborted"


def test_another_word_than_abort_and_detach_is_refused(kernel):
    error = kernel.run("%%lk_run --on-interrupt ignore\n1").error
    assert error["ename"] == "UsageError"
    assert "'abort' or 'detach'" in error["evalue"]


def test_a_run_that_had_finished_when_the_interrupt_came_says_how_to_see_its_cost():
    run = SimpleNamespace(is_finished=False, execution_id="abc")
    assert _describe_earlier_end(run) == "The run has finished; its cost isn't known yet. See it: %lk_attach abc"


#: Words of the line of a run while its cloud doesn't answer.
SILENCE = re.compile(r"◌ no answer for \d:\d\d · A100 at \S+ credits/h · cost unknown since then · run \w{8}$")


def test_while_the_cloud_is_silent_the_line_shows_for_how_long_and_no_clock_or_cost(kernel, faulty):
    kernel.run("from lk_jupyter.runs import monitor\nmonitor._PATIENCE = monitor._SILENCE = 0.5")
    code = "%%lk_run --gpu A100\nimport time\nprint('on', flush=True)\ntime.sleep(600)"
    silent_lines = []

    def act(cell):
        if is_on(cell) and not silent_lines and not fail(faulty):
            fail(faulty, method="GET", path="/execution/", status=503, times=None)
        elif not silent_lines:
            silent_lines.extend(line for text in cell.shown for line in text.splitlines() if "no answer" in line)
            if silent_lines:
                faulty.http.delete(f"{faulty.base_url}/_faults")
        return bool(silent_lines) and interrupt(cell)

    interrupt = Interrupts(kernel, says("● running"))
    cell = kernel.run(code, on=act)
    assert SILENCE.fullmatch(silent_lines[0]), silent_lines
    assert cell.shown[-1].startswith("✗ failed · A100 at ")
    kernel.run("monitor._PATIENCE, monitor._SILENCE = 5.0, 20.0")
