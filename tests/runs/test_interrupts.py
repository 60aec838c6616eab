"""lk_jupyter.runs.interrupts."""

import signal
import subprocess
import sys
import threading

import pytest
from localcloud.conftest import until
from patience import PATIENCE

from lk_jupyter._threads import import_safely
from lk_jupyter.runs.interrupts import AtInterrupt, SafeEvent, is_interrupt, serve_all, true_interrupts


class InTheWrongMoment(threading.Condition):
    """Is interrupted when it takes its lock back."""

    def _acquire_restore(self, _):
        raise KeyboardInterrupt


def wait():
    condition = InTheWrongMoment(threading.Lock())
    with condition:
        condition.wait(0.01)


def test_an_interrupt_in_the_wrong_moment_of_a_wait_is_one():
    with pytest.raises(KeyboardInterrupt), true_interrupts():
        wait()
    with pytest.raises(RuntimeError) as without:
        wait()
    assert is_interrupt(without.value)
    assert is_interrupt(KeyboardInterrupt())


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="of another kind"), true_interrupts():
        raise RuntimeError("of another kind")
    assert not is_interrupt(RuntimeError())
    assert not is_interrupt(None)


#: Waits for events, each wait interrupted one step of the interpreter later, in a process of its own: an interrupt
#: between such steps may leave more behind than locks.
INTERRUPTED = """
import sys, threading
from lk_jupyter.runs.interrupts import SafeEvent

def wait(event, step):
    steps = 0
    def count(frame, kind, _):
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += kind == "opcode"
        if steps == step:
            raise KeyboardInterrupt
        return count
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for one such frame when it begins to trace
    sys.settrace(count)
    try:
        event.wait(0.001)
    finally:
        sys.settrace(None)

for step in range(1, 1000):
    event = SafeEvent()
    try:
        wait(event, step)
    except KeyboardInterrupt:
        setter = threading.Thread(target=event.set)
        setter.start()
        setter.join()
        assert event.is_set() and event.wait()
    else:
        break
print(step)
"""


def test_an_event_can_be_set_wherever_a_wait_for_it_was_interrupted():
    said = subprocess.check_output([sys.executable, "-c", INTERRUPTED], text=True, timeout=PATIENCE)
    assert 10 < int(said) < 999


def test_all_that_wait_for_an_event_hear_of_it():
    event, heard = SafeEvent(), []
    waiting = [threading.Thread(target=lambda: heard.append(event.wait(PATIENCE)), daemon=True) for _ in range(5)]
    for each in waiting:
        each.start()
    event.set()
    for each in waiting:
        each.join(PATIENCE)
    assert heard == [True] * 5
    event.clear()
    assert not event.wait(0.01)


def test_the_end_of_python_waits_for_what_an_interrupt_calls_and_a_second_interrupt_is_said_to_it():
    begun, told, go_on = threading.Event(), threading.Event(), threading.Event()

    def act(again):
        begun.set()
        assert again.wait(PATIENCE)
        told.set()
        assert go_on.wait(PATIENCE)

    block = AtInterrupt(act)
    with pytest.raises(KeyboardInterrupt), block:
        raise KeyboardInterrupt
    assert begun.wait(PATIENCE)
    assert not serve_all()
    with pytest.raises(KeyboardInterrupt), block:
        raise KeyboardInterrupt
    assert told.wait(PATIENCE)
    assert not serve_all()
    go_on.set()
    until(serve_all)


def test_one_interrupt_is_not_reported_as_a_second_one():
    reports = []

    def act(again):
        reports.append(again.wait(0.1))

    with pytest.raises(KeyboardInterrupt), AtInterrupt(act):
        signal.raise_signal(signal.SIGINT)
    until(serve_all)
    assert reports == [False]


#: Fails in one cell after the other, and interrupts what follows.
LATE = """
import os, signal
from IPython.core.interactiveshell import InteractiveShell
from lk_jupyter.runs.interrupts import AtInterrupt, ignore_late_interrupts

shell = InteractiveShell.instance(history_manager=None)

def interrupts():
    counted = 0
    for _ in range(5):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            counted += 1
    return counted

ignore_late_interrupts()
first = interrupts()
ignore_late_interrupts()
print(first, interrupts())
shell.execution_count += 1
ignore_late_interrupts()
print(interrupts(), signal.getsignal(signal.SIGINT).before is signal.default_int_handler)
shell.execution_count += 1
with AtInterrupt(lambda _: None):
    print(interrupts())
print(interrupts())
shell.execution_count += 1
ignore_late_interrupts()
shell.events.trigger("post_run_cell", None)
print(interrupts())
"""


def test_interrupts_that_follow_an_error_do_not_hide_it_and_a_cell_that_keeps_running_can_be_interrupted():
    shown = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True).stdout
    assert shown == "2 5\n2 True\n2\n2\n5\n"


#: Interrupts the import of a package that one of its modules imports again, as yaml does; then it is imported anew.
INTERRUPTED_IMPORT = """
import os, pathlib, signal, sys, threading
from lk_jupyter._threads import import_safely

sys.path.insert(0, sys.argv[1])
threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    import_safely("twofold")
except KeyboardInterrupt:
    assert "twofold.parts" in sys.modules
    pathlib.Path(sys.argv[1], "go").touch()
    print(import_safely("twofold").answer)
"""


def test_an_interrupt_in_the_first_import_of_a_library_leaves_it_usable(tmp_path):
    package = tmp_path / "twofold"
    package.mkdir()
    (package / "__init__.py").write_text("from twofold.parts import *\nfrom twofold.whole import answer\n")
    (package / "parts.py").write_text("")
    (package / "whole.py").write_text(
        "import pathlib, time, twofold\n"
        f"while not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.02)\n"
        "answer = twofold.parts.__name__\n"
    )
    command = [sys.executable, "-c", INTERRUPTED_IMPORT, str(tmp_path)]
    assert subprocess.check_output(command, text=True, timeout=PATIENCE) == "twofold.parts\n"


def test_a_library_that_is_missing_is_an_import_error():
    with pytest.raises(ImportError):
        import_safely("no_such_library")
