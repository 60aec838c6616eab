"""Functions on the cloud, as ``concurrent.futures`` has them."""

import concurrent.futures
import functools
import gc
import math
import operator
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import nullcontext, suppress
from pathlib import Path

import cloudpickle
import pytest

import lk_jupyter
from lk_jupyter import executor as executor_module
from lk_jupyter.errors import PaymentRequired, RunAborted, RunFailed, UsageError
from lk_jupyter.executor import Executor
from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.bucket import CALLS
from lk_jupyter.runs.functions import call
from lk_jupyter.runs.submit import upload
from lk_jupyter.session import connect

THREE = 3

#: As in ``patience``; this file is imported in runs, where the tests' other files are not.
PATIENCE = 300


def mark_nightly(*cases):
    """Return cases for ``parametrize`` that only the tests of the night have; a tuple has the values of a case."""
    rows = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [pytest.param(*row, marks=pytest.mark.nightly) for row in rows]


@pytest.fixture(scope="module", autouse=True)
def _travel_by_value():
    """The functions of this file travel as those of a notebook do: the machine cannot import it."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def executor(session):
    with Executor(gpu="A100", max_workers=2, session=session) as executor:
        yield executor


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def square(x):
    print("squaring", x)
    return x * x


def boom(x):
    raise KeyError("boom", x)


class Odd(Exception):
    """One that cannot be made again from its arguments."""

    def __init__(self, one, _two):
        super().__init__(one)


def odd():
    raise Odd(1, 2)


def wait_for(path):
    while not os.path.exists(path):  # noqa: PTH110
        time.sleep(0.01)


def shape(value):
    return type(value).__name__, len(value)


def started(future):
    end = time.monotonic() + PATIENCE
    while future.run is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return future.run


def test_it_is_what_the_package_exports():
    assert lk_jupyter.Executor is Executor
    assert issubclass(Executor, concurrent.futures.Executor)


def test_a_function_runs_over_there_and_its_value_comes_back(executor, session):
    future = executor.submit(square, 7)
    assert future.result(PATIENCE) == 49
    assert future.output == "squaring 7\n"
    assert future.run.machine.hardware_profile == "gpu.a100"
    assert future.run.record.run_name == "square"
    assert session.client.execution.get(future.run.execution_id).status == "completed"


def test_closures_globals_and_keyword_arguments_travel(executor):
    offset = 10
    future = executor.submit(lambda x, *, y: x + y + offset + THREE, 1, y=2)
    assert future.result(PATIENCE) == 16


def test_the_standard_functions_of_futures_work_on_them(executor):
    futures = [executor.submit(square, x) for x in range(3)]
    done, not_done = concurrent.futures.wait(futures, PATIENCE)
    assert (len(done), not_done) == (3, set())
    assert {future.result() for future in concurrent.futures.as_completed(futures)} == {0, 1, 4}


def test_map_keeps_the_order_and_stops_at_the_shortest(executor):
    assert list(executor.map(lambda x, y: x - y, [10, 20, 30], [1, 2])) == [9, 18]


def test_items_of_a_chunk_share_a_run(executor):
    assert list(executor.map(square, range(5), chunksize=3)) == [0, 1, 4, 9, 16]
    entries = journal().entries()
    assert len(entries) == 2
    assert len({entry.group for entry in entries}) == 1


def test_an_error_comes_back_as_it_is_with_the_traceback_from_over_there(executor):
    error = executor.submit(boom, 1).exception(PATIENCE)
    assert type(error) is KeyError
    assert error.args == ("boom", 1)
    assert isinstance(error.__cause__, call.RemoteTraceback)
    shown = str(error.__cause__)
    assert 'File "test_executor.py", line ' in shown
    assert 'raise KeyError("boom", x)' in shown
    assert "_lk" not in shown


def test_an_error_that_cannot_be_made_here_is_told(executor):
    error = executor.submit(odd).exception(PATIENCE)
    assert isinstance(error, RunFailed)
    assert "Odd: 1" in str(error)
    assert "raise Odd(1, 2)" in str(error.__cause__)


def test_an_item_that_fails_ends_the_map(executor):
    results = executor.map(lambda x: 1 // x, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_process_that_dies_is_a_failed_run(executor):
    with pytest.raises(RunFailed, match="exit code 3"):
        executor.submit(os._exit, 3).result(PATIENCE)


def test_what_cannot_travel_is_told_before_anything_is_sent(executor):
    with pytest.raises(UsageError, match=r"square or one of its arguments.*lock.*Nothing was sent"):
        executor.submit(square, threading.Lock())
    assert journal().entries() == []


def test_a_value_that_cannot_come_back_is_the_error_of_the_call(executor):
    error = executor.submit(lambda: (x for x in "abc")).exception(PATIENCE)
    assert isinstance(error, TypeError)
    assert "generator" in str(error)


def test_another_version_of_python_is_told_before_anything_is_unpacked(executor, monkeypatch):
    monkeypatch.setattr(call, "PYTHON", "3.1")
    with pytest.raises(RunFailed, match=r"created with Python 3\.1, but the run has Python 3\.\d+"):
        executor.submit(square, 1).result(PATIENCE)


def test_what_is_large_travels_through_the_bucket_and_does_not_stay_there(executor, session):
    assert executor.submit(shape, bytes(3 << 20)).result(PATIENCE) == ("bytes", 3 << 20)
    back = executor.submit(lambda: os.urandom(1 << 20)).result(PATIENCE)
    assert len(back) == 1 << 20
    assert list(session.storage.ls(CALLS)) == []
    assert "X-Amz-Signature" not in str([entry.request for entry in journal().entries()])


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_a_member_who_overwrites_an_answer_executes_nothing_here(executor, session, tmp_path, monkeypatch):
    read_answer = executor_module.read_answer

    def late(run, made, storage):
        session.storage.put(pickle.dumps([Evil(tmp_path / "ran")]), upload.answer_key(made.token))
        return read_answer(run, made, storage)

    monkeypatch.setattr(executor_module, "read_answer", late)
    with pytest.raises(RunFailed, match=r"The answer of run \w+ was changed in the bucket after the run sent it"):
        executor.submit(lambda: os.urandom(1 << 20)).result(PATIENCE)
    assert not (tmp_path / "ran").exists()


def test_an_answer_that_was_deleted_from_the_bucket_is_named(executor, session, monkeypatch):
    read_answer = executor_module.read_answer

    def late(run, call, storage):
        session.storage.remove(upload.answer_key(call.token))
        return read_answer(run, call, storage)

    monkeypatch.setattr(executor_module, "read_answer", late)
    with pytest.raises(
        RunFailed, match=r"The answer of run \w+ was deleted from the bucket: \.lk/f/\S+/answer. Call it"
    ):
        executor.submit(lambda: os.urandom(1 << 20)).result(PATIENCE)


def test_an_answer_that_calls_a_function_outside_of_values_is_refused_before_it_is_called(executor, tmp_path):
    with pytest.raises(
        RunFailed, match=r"The answer of run \w+ calls 'pathlib[\w.]*.touch', which isn't allowed in a value"
    ):
        executor.submit(Evil, tmp_path / "ran").result(PATIENCE)
    assert not (tmp_path / "ran").exists()


def test_an_answer_without_the_signature_of_its_run_is_not_read(executor, tmp_path):
    def answer(path):
        from _lk.script import run  # noqa: PLC0415

        run._key = b""
        return Evil(path)

    with pytest.raises(RunFailed, match="isn't signed with the key of the run, so it wasn't read"):
        executor.submit(answer, tmp_path / "ran").result(PATIENCE)
    assert not (tmp_path / "ran").exists()


def test_a_member_who_overwrites_a_call_executes_nothing_in_the_run(executor, session, tmp_path, monkeypatch):
    evil = pickle.dumps((Path.touch, [((tmp_path / "ran",), {})]))
    monkeypatch.setattr(
        call.FunctionCall, "store", lambda made, storage: storage.put(evil, upload.call_key(made.token))
    )
    with pytest.raises(RuntimeError, match="The call was changed in the bucket, so the function was not called"):
        executor.submit(shape, bytes(1 << 20)).result(PATIENCE)
    assert not (tmp_path / "ran").exists()


def test_without_a_bucket_answers_come_through_the_log(session, make_cloud):
    cloud = make_cloud("--faults")
    fault = {"method": "POST", "path": "/storage/credentials", "status": 403, "times": None}
    cloud.http.post(f"{cloud.base_url}/_faults", json=fault).raise_for_status()
    with connect(cloud.base_url, cloud.api_key) as other, Executor(gpu="A100", session=other) as executor:
        assert len(executor.submit(lambda: os.urandom(1 << 20)).result(PATIENCE)) == 1 << 20
        with pytest.raises(RunFailed, match=r"has 12,000,\d+ bytes, and the run has no bucket\. Without"):
            executor.submit(bytes, 12_000_001).result(PATIENCE)


def test_no_more_than_the_workers_go_on_and_what_waits_can_be_cancelled(session, tmp_path):
    with Executor(gpu="A100", max_workers=1, session=session) as executor:
        first = executor.submit(wait_for, str(tmp_path / "go"))
        second = executor.submit(square, 2)
        third = executor.submit(square, 3)
        started(first)
        assert not first.cancel()
        assert second.cancel()
        assert second.run is None
        (tmp_path / "go").touch()
        assert third.result(PATIENCE) == 9
    assert second.cancelled()
    assert len(journal().entries()) == 2


def test_an_interrupt_in_the_block_aborts_what_goes_on_and_starts_nothing_more(session):
    futures = []

    def work():
        with Executor(gpu="A100", max_workers=1, session=session) as executor:
            futures.extend([executor.submit(time.sleep, 100), executor.submit(square, 2)])
            started(futures[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    first, second = futures
    assert isinstance(first.exception(PATIENCE), RunAborted)
    assert second.cancelled()
    assert [run for run in session.client.workloads.list() if run.execution_id == first.run.execution_id] == []


def test_a_call_after_an_interrupt_that_the_block_has_caught_is_interrupted_too(session):
    with Executor(gpu="A100", max_workers=1, session=session) as executor:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        wait_until(lambda: executor._threads._shutdown)
        with pytest.raises(KeyboardInterrupt):
            executor.submit(abs, 1)
    assert journal().entries() == []


@pytest.mark.parametrize("in_block", [True, False])
def test_an_interrupt_while_a_call_gets_its_thread_leaves_no_run(session, monkeypatch, in_block):
    executor = Executor(gpu="A100", max_workers=1, session=session)
    start = executor._threads._adjust_thread_count

    def start_and_interrupt():
        start()
        wait_until(lambda: any(entry.execution_id for entry in journal().entries()))
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(executor._threads, "_adjust_thread_count", start_and_interrupt)
    block = executor if in_block else nullcontext()
    with pytest.raises(KeyboardInterrupt), block:
        executor.submit(time.sleep, 100)
    (entry,) = journal().entries()
    wait_until(lambda: session.client.execution.status(entry.execution_id).status == "aborted")
    executor.shutdown()


@pytest.fixture
def unstoppable(make_cloud, home):
    """A session on a cloud that accepts no abort, and ends all runs with the test."""
    cloud = make_cloud("--faults")
    with connect(cloud.base_url, cloud.api_key) as session:
        fault = {"method": "POST", "path": "abort", "status": 503, "times": None}
        cloud.http.post(f"{cloud.base_url}/_faults", json=fault).raise_for_status()
        yield session
        cloud.http.delete(f"{cloud.base_url}/_faults").raise_for_status()
        wait_until(lambda: not list(session.client.workloads.list()))


def interrupted_when(condition):
    """Interrupt the main thread as soon as this is true."""

    def interrupt():
        wait_until(condition)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()


@pytest.mark.parametrize("place", ["result", *mark_nightly("map", "block")])
def test_an_interrupt_names_the_commands_that_stop_runs_that_may_be_active(unstoppable, place):
    executor = Executor(max_workers=2, session=unstoppable)

    def active():
        return [entry.execution_id for entry in journal().entries() if entry.execution_id]

    def work():
        if place == "result":
            executor.submit(time.sleep, 100).result()
        elif place == "map":
            list(executor.map(time.sleep, [100, 100]))
        else:
            with executor:
                executor.submit(time.sleep, 100)
                executor.submit(time.sleep, 100)

    interrupted_when(lambda: len(active()) == (1 if place == "result" else 2))
    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert active()
    for execution_id in active():
        assert "The run may still be active: A fault that a test requested (HTTP 503)" in str(caught.value)
        assert f"Stop it: %lk_abort {execution_id}" in str(caught.value)


def test_an_interrupt_while_map_submits_aborts_the_calls_before(session):
    def items():
        yield 100
        wait_until(lambda: any(entry.execution_id for entry in journal().entries()))
        signal.raise_signal(signal.SIGINT)

    executor = Executor(max_workers=2, session=session)
    with pytest.raises(KeyboardInterrupt):
        executor.map(time.sleep, items())
    (entry,) = journal().entries()
    wait_until(lambda: session.client.execution.status(entry.execution_id).status == "aborted")
    executor.shutdown()


TWICE = '''
import os, signal, sys, threading, time
from lk_jupyter import executor

class Sending:
    remainder, is_stuck = "", False
    def __init__(self): self.unwanted = threading.Event()
    def abort_soon(self): self.unwanted.set()

class Executor(executor.Executor):
    def _make_call(self, future, call):
        future.sending = Sending()
        active.set()
        future.sending.unwanted.wait()
        raise executor.LkError("aborted")

def interrupted_again_at(step):
    """Interrupt a call; interrupt again at this step of Python's own locks and futures, while the block is left."""
    steps = None
    def count(frame, event, argument):
        nonlocal steps
        frame.f_trace_opcodes = True
        if steps is not None and event == "opcode" and frame.f_code.co_filename in LOCKS:
            steps += 1
            if steps == step:
                signal.raise_signal(signal.SIGINT)
        return count
    def handler(number, frame):
        nonlocal steps
        steps = steps or 0
        raise KeyboardInterrupt
    def interrupt():
        active.wait()
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, handler)
    threading.Thread(target=interrupt, daemon=True).start()
    sys.settrace(count)
    try:
        with calls:
            calls.submit(abs, 1).result()
    finally:
        sys.settrace(None)

calls = Executor(1)
LOCKS = {threading.__file__, sys.modules['concurrent.futures._base'].__file__}
for step in range(1, 60, 5):
    active = threading.Event()
    if not (child := os.fork()):
        signal.alarm(60)
        try:
            interrupted_again_at(step)
        except KeyboardInterrupt:
            calls.shutdown()
            os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
'''


def test_a_second_interrupt_at_any_step_of_leaving_lets_the_process_end(cloud, tmp_path):
    env = {**os.environ, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key, "LK_JOURNAL": str(tmp_path / "j")}
    done = subprocess.run([sys.executable, "-c", TWICE], env=env, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == {"0"}, done.stderr


def test_an_unknown_option_is_a_type_error_and_none_leaves_an_option_unset(session):
    with pytest.raises(TypeError, match=r"'initializer' is an invalid keyword argument\. Nothing was sent\."):
        Executor(2, session=session, initializer=abs)
    with pytest.raises(TypeError, match="'tiemout'"):
        session.run("1", tiemout=3)
    Executor(2, session=session, timeout=None, gpu=None).shutdown()


def test_after_a_shutdown_nothing_can_be_submitted(session):
    executor = Executor(gpu="A100", session=session)
    future = executor.submit(square, 2)
    executor.shutdown(wait=True)
    assert future.done()
    with pytest.raises(RuntimeError):
        executor.submit(square, 3)


@pytest.mark.nightly
def test_the_packages_of_a_function_can_be_told_by_its_imports(home):
    def function():
        import httpx  # noqa: PLC0415

        return httpx, pytest

    packed = call.FunctionCall.pack(function, [((), {})], home)
    assert {"httpx", "pytest"} <= packed.imports
    assert not {"_lk", "sys", "os"} & packed.imports


def test_a_start_that_is_refused_is_the_future_s_error(make_cloud, home):
    cloud = make_cloud("--faults")
    fault = {"method": "POST", "path": "/execution/streaming/start", "status": 402}
    cloud.http.post(f"{cloud.base_url}/_faults", json=fault).raise_for_status()
    with (
        connect(cloud.base_url, cloud.api_key) as other,
        Executor(gpu="A100", session=other, max_workers=1) as executor,
    ):
        futures = [executor.submit(square, x) for x in (1, 2)]
        assert isinstance(futures[0].exception(PATIENCE), PaymentRequired)
        assert futures[1].result(PATIENCE) == 4


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"gpu": "A1000"}, UsageError, "Unknown machine"),
        ({"gpu": "A100,H100"}, UsageError, "several runs"),
        ({"gpu": "A100", "timeout": 9999}, UsageError, "1 to 600"),
        ({"gpu": "A100", "detach": True}, UsageError, "detach"),
        ({"gpu": "A100", "outputs": ["x"]}, UsageError, "outputs"),
        ({"gpu": "A100", "gpus": 2}, TypeError, "gpus"),
        ({"gpu": "A100", "max_workers": 0}, ValueError, "greater than 0"),
    ],
)
def test_options_that_do_not_fit_are_told_when_it_is_made(session, options, error, words):
    with pytest.raises(error, match=words):
        Executor(session=session, **options)


def test_a_secret_among_the_arguments_is_not_sent_unasked(session):
    secret = "ghp_" + "a1B2" * 9
    with Executor(gpu="A100", session=session) as executor:
        error = executor.submit(len, secret).exception(PATIENCE)
        assert isinstance(error, UsageError)
        assert secret not in str(error)
    with Executor(gpu="A100", session=session, allow_secrets=True) as executor:
        assert executor.submit(len, secret).result(PATIENCE) == 40


SCRIPT = """
import lk_jupyter, shapes

def area(side):
    return shapes.area(side)

if __name__ == "__main__":
    with lk_jupyter.Executor(gpu="A100", max_workers=2) as executor:
        print(list(executor.map(area, [2, 3])), executor.submit(shapes.area, 4).result())
"""


def test_a_plain_script_needs_no_notebook_and_its_modules_go_along(cloud, tmp_path):
    (tmp_path / "shapes.py").write_text("def area(side):\n    return side * side\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    env = {**os.environ, "HOME": str(tmp_path), "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "[4, 9] 16\n", done.stderr


#: Submits calls and ends: what they print is printed when each is done. A forked process has none of them to wait for.
SUBMITS_AND_ENDS = """
import multiprocessing, os, sys, threading
from lk_jupyter import Executor

def refuse(*_, **__):
    raise RuntimeError("can't create new thread at interpreter shutdown")

def refuse_threads():
    for name in {"_start_new_thread", "_start_joinable_thread"} & set(vars(threading)):
        setattr(threading, name, refuse)

executor = Executor(2, machine="cpu")
for word in ("apple", "pear", "plum"):
    executor.submit(print, word).add_done_callback(lambda future: os.write(1, future.output.encode()))
if sys.argv[1] == "refuse":
    threading._register_atexit(refuse_threads)
elif sys.argv[1] == "fork":
    process = multiprocessing.get_context("fork").Process(target=abs, args=(1,))
    process.start()
    process.join(60)
    os.write(1, b"forked\\n" if process.exitcode == 0 else b"hangs\\n")
"""


def run_script(folder, cloud, source, *arguments):
    env = {**os.environ, "HOME": str(folder), "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
    command = [sys.executable, "-W", "ignore", "-c", source, *arguments]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("case", ["simple", *mark_nightly("refuse", "fork")])
def test_a_script_that_submits_and_ends_makes_all_calls(cloud, tmp_path, case):
    if case == "fork" and not hasattr(os, "fork"):
        pytest.skip("This system has no fork.")
    with run_script(tmp_path, cloud, SUBMITS_AND_ENDS, case) as script:
        output, errors = script.communicate(timeout=PATIENCE)
    assert sorted(output.split()) == sorted(["apple", "pear", "plum", *(["forked"] if case == "fork" else [])]), errors
    assert not errors


def test_an_interrupt_of_the_exit_aborts_the_calls_that_it_waits_for(cloud, session, tmp_path):
    source = """
import time
from lk_jupyter import Executor
executor = Executor(1, machine="cpu")
abort = executor.abort
executor.abort = lambda: (time.sleep(0.2), abort())  # as on a busy machine
future = executor.submit(time.sleep, 600)
executor.submit(time.sleep, 600)
while not future.run: time.sleep(0.02)
print(future.run.execution_id, flush=True)
"""
    with run_script(tmp_path, cloud, source) as script:
        execution_id = script.stdout.readline().strip()
        wait_until(lambda: session.client.execution.status(execution_id).status == "running")
        script.send_signal(signal.SIGINT)
        script.communicate(timeout=PATIENCE)
    wait_until(lambda: session.client.execution.status(execution_id).status == "aborted")
    assert execution_id not in {run.execution_id for run in session.client.workloads.list()}


class Line:
    """A model as libraries have them, with methods of each kind."""

    def __init__(self, slope):
        self.slope = slope

    def predict(self, x):
        return self.slope * x

    def fail(self, x):
        raise RuntimeError(x)

    @classmethod
    def made(cls, slope):
        return cls(slope).slope

    @staticmethod
    def twice(x):
        return 2 * x

    def __call__(self, x):
        return self.slope + x


@functools.lru_cache
def cached(x):
    return x + 1


@functools.wraps(square)
def wrapped(x):
    return -x


@pytest.mark.parametrize(
    ("function", "answer"),
    [
        (Line.made, 2),
        (Line(3), 5),
        (math.sqrt, 2**0.5),
        (cached, 3),
        *mark_nightly(
            (Line(3).predict, 6),
            (Line.twice, 4),
            (functools.partial(Line.predict, Line(5)), 10),
            ([1, 2, 3].count, 1),
            (operator.methodcaller("bit_length"), 2),
            (wrapped, -2),
        ),
    ],
    ids=lambda value: getattr(value, "__qualname__", type(value).__name__),
)
def test_every_kind_of_callable_can_be_called(executor, function, answer):
    assert executor.submit(function, 2).result(PATIENCE) == answer


def test_an_error_of_a_method_has_the_remote_traceback_as_its_cause(executor):
    error = executor.submit(Line(3).fail, 1).exception(PATIENCE)
    assert type(error) is RuntimeError
    assert isinstance(error.__cause__, call.RemoteTraceback)
    assert "raise RuntimeError(x)" in error.__cause__.tb


def test_an_unknown_argument_of_map_is_an_error_and_nothing_is_sent(executor):
    with pytest.raises(TypeError, match="chunk_size"):
        executor.map(square, [1, 2], chunk_size=9)
    assert journal().entries() == []


@pytest.mark.parametrize("chunksize", [1, 2])
def test_map_keeps_no_reference_to_what_it_gave(executor, chunksize):
    for value in executor.map(Line, [1, 2], chunksize=chunksize):
        seen = weakref.ref(value)
        del value
        gc.collect()
        assert seen() is None


def test_map_starts_no_more_than_its_buffer_ahead(executor):
    taken = []
    results = executor.map(square, (taken.append(x) or x for x in range(5)), buffersize=2)
    assert taken == [0, 1]
    assert next(results) == 0
    assert taken == [0, 1, 2]
    results.close()


def test_map_cancels_what_waits_when_nobody_takes_the_rest(session):
    with Executor(1, gpu="A100", session=session) as executor:
        results = executor.map(square, range(4))
        assert next(results) == 0
        results.close()
    assert len(journal().entries()) <= 2


def test_the_number_of_workers_can_stand_first(session):
    with Executor(3, gpu="A100", session=session) as executor:
        assert executor._max_workers == 3  # dask and joblib read it


@lk_jupyter.remote(machine="cpu", max_workers=2)
def factorial(number, *, end=1):
    """Multiply the numbers from ``end`` on."""
    return number * factorial(number - 1, end=end) if number > end else number


def test_calls_of_a_decorated_function_are_made_on_the_cloud_and_its_own_calls_in_the_run(session, monkeypatch):
    monkeypatch.setattr(factorial, "_session", session)
    assert factorial(5) == 120
    future = factorial.submit(5, end=4)
    assert list(factorial.map([3, 4], chunksize=2)) == [6, 24]
    assert (future.result(), future.run.machine.hardware_profile) == (20, "cpu")
    assert len(journal().entries()) == 3
    assert (factorial.__name__, factorial.__doc__) == ("factorial", "Multiply the numbers from ``end`` on.")
    assert factorial.__wrapped__(3, end=3) == 3
    factorial.shutdown()
    assert factorial.submit(1).result() == 1  # another executor
    factorial.shutdown()


def test_an_option_that_does_not_fit_is_reported_at_the_definition_and_nothing_is_sent(session):
    with pytest.raises(UsageError, match="timeout"):
        lk_jupyter.remote(timeout="soon")(square)
    with pytest.raises(TypeError, match="gpuu"):
        lk_jupyter.remote(gpuu="A100")(square)
    assert journal().entries() == []


@pytest.mark.parametrize(
    "imports",
    [
        "import lk_jupyter; remote = lk_jupyter.remote",
        "from lk_jupyter import remote",
        *mark_nightly(
            "import lk_jupyter.remote.sign, lk_jupyter; remote = lk_jupyter.remote; assert remote.sign.SIZE",
            "from lk_jupyter.remote import sign; from lk_jupyter import remote",
            "import lk_jupyter.remote as remote",
            "from lk_jupyter.executor import Executor; from lk_jupyter import *",
        ),
    ],
)
def test_the_decorator_is_callable_after_each_order_of_imports(imports):
    code = (
        f"{imports}; import inspect, lk_jupyter.remote.script; call = remote(machine='cpu')(abs); "
        "assert remote is lk_jupyter.remote and 'function' in inspect.signature(remote).parameters; "
        "assert lk_jupyter.remote.script and 'Decorate' in inspect.getdoc(remote); print(call.__wrapped__(-1))"
    )
    script = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert script.stdout == "1\n", script.stderr
