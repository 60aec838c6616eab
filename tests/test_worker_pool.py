"""Executors whose machines stay between calls, and joblib on these machines: Jupyter servers of this environment."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, as_completed
from contextlib import suppress
from decimal import Decimal
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from random import Random

import cloudpickle
import joblib
import pytest
from conftest import RunningCloud

import lk_jupyter
from lk_jupyter import joblib_backend
from lk_jupyter.config.files import platform_path
from lk_jupyter.errors import ConnectionFailed, RunAborted, RunFailed, UsageError
from lk_jupyter.executor import Executor
from lk_jupyter.journal.journal import journal
from lk_jupyter.protocol.metadata import SESSION_KEY
from lk_jupyter.runs.submit import upload
from lk_jupyter.session import connect

pytestmark = pytest.mark.xdist_group("hosted")

ROOT = Path(__file__).parent.parent

#: As in ``patience``; this file is imported on machines, where the tests' other files are not.
PATIENCE = 300


@pytest.fixture(scope="module", autouse=True)
def _travel_by_value():
    """The functions of this file are sent like those of a notebook: the machine can't import this file."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def user(hosting, home, monkeypatch):
    monkeypatch.setenv("LK_BASE_URL", hosting.base_url)
    monkeypatch.setenv("LK_API_KEY", hosting.api_key)
    return hosting


@pytest.fixture
def separate_hosting(tmp_path):
    """A local cloud of one test, which the test may kill."""
    running = RunningCloud(tmp_path / "hosting", "--engine", "none", "--clock-speed", "20", has_lab=False)
    yield running
    if running.is_running():
        running.stop()


@pytest.fixture
def signed_in(user):
    with connect(user.base_url, user.api_key) as session:
        yield session


@pytest.fixture
def signed_in_runs(cloud, home):
    with connect(cloud.base_url, cloud.api_key) as session:
        yield session


def started_machines():
    """Return the ids of the machines that the executors of this test started."""
    return [entry.execution_id for entry in journal().entries() if SESSION_KEY in entry.metadata]


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def active_runs(cloud):
    return [run.execution_id for run in cloud.client.workloads.list()]


def square(x):
    print("squaring", x)
    return x * x


def sum_nested(number):
    """Make calls of joblib in a call of joblib."""
    return sum(joblib.Parallel(n_jobs=2, backend="lk")(joblib.delayed(square)(number) for _ in range(2)))


def sum_nested_with_warning(number):
    with pytest.warns(UserWarning, match="starts no machines inside a multiprocessing worker"):
        return sum_nested(number)


def die_once(marker):
    if not Path(marker).exists():
        Path(marker).touch()
        os._exit(1)
    return "second try"


def read_model():
    return os.environ["LK_TEST_MODEL"]


def load_model(name):
    os.environ["LK_TEST_MODEL"] = name


def fork_and_return():
    return os.fork()


def write_after_fork(path, number):
    pid = os.fork()
    with Path(path).open("a") as file:
        file.write(f"{number}\n")
    if pid:
        os.waitpid(pid, 0)
    return pid


def reach_limit_once(path, number):
    """Do as a machine does at its time limit: interrupt the call, the first time."""
    marker = Path(path, "limit")
    if number == 2 and not marker.exists():
        marker.touch()
        raise KeyboardInterrupt
    with Path(path, "numbers").open("a") as file:
        file.write(str(number))
    return number


def fail_first(folder, number):
    """Fail for every third number, the first time in this folder."""
    marker = Path(folder, str(number))
    if number % 3 == 0 and not marker.exists():
        marker.touch()
        raise ValueError(number)
    return number


def end_process_at(number):
    if number == 2:
        os._exit(1)
    return number


def end_machine_at(number):
    if number == 2:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return number


def wait_after_start(path):
    Path(path).touch()
    time.sleep(60)


def wait_until_killed(folder, number, *, is_repeated=False):
    """Write the number; the items 2 and 7 wait for the end of their machines, once or always."""
    marker = Path(folder, f"processes-{number}")
    if number in {2, 7} and (is_repeated or not marker.exists()):
        time.sleep(0.2)  # the results of the items before arrive
        marker.write_text(f"{os.getpid()} {os.getppid()}")
        time.sleep(300)
    with Path(folder, "numbers").open("a") as file:
        file.write(f"{number}\n")
    return number


def kill_machines(folder, count):
    """Kill ``count`` machines at the same moment, as soon as an item on each waits."""
    processes = set()
    while len(processes) < 2 * count:
        wait_until(lambda: any(folder.glob("processes-*")))
        for file in folder.glob("processes-*"):
            processes |= set(map(int, file.read_text().split()))
    for pid in processes:
        with suppress(ProcessLookupError):  # a process ends with its parent
            os.kill(pid, signal.SIGKILL)


def return_bytes(folder, size):
    """Return zeros, and write their count; only 10 zeros for the largest size once the file ``limit`` exists."""
    with Path(folder, "sizes").open("a") as file:
        file.write(f"{size}\n")
    return bytes(10 if size == 12_000_000 and Path(folder, "limit").exists() else size)


def current_request():
    return get_ipython().get_parent()["header"]["msg_id"]  # noqa: F821 (of the machine)


def test_machines_make_one_call_after_another_and_end_with_the_executor(user, signed_in):
    with Executor(2, keep="5m", gpu="A100", initializer=load_model, initargs=("tiny",), session=signed_in) as executor:
        assert executor.price_label == "2 × A100, at most 0.5300 credits in 10 min 00 s"  # noqa: RUF001
        futures = [executor.submit(square, number) for number in range(6)]
        assert [future.result() for future in futures] == [0, 1, 4, 9, 16, 25]
        assert futures[3].output == "squaring 3\n"
        with pytest.raises(ZeroDivisionError) as failure:
            executor.submit(divmod, 1, 0).result()
        assert "ZeroDivisionError" in str(failure.value.__cause__)
        machines = started_machines()
        assert len(machines) == 2
        futures[0].abort_soon()  # the machine of an ended call makes other calls
        assert executor.submit(read_model).result() == "tiny"
        large = bytes(1_000_000)
        assert executor.submit(lambda data: data + b"1", large).result() == large + b"1"
        assert list(signed_in.storage.ls(".lk/f/")) == []
        requests = list(executor.map(lambda _: current_request(), range(1_000)))
        assert len(set(requests)) == 8
        assert next(as_completed([executor.submit(square, 2)])).result() == 4
        assert asyncio.run(await_call(executor)) == 81
        assert started_machines() == machines
    assert not set(machines) & set(active_runs(user))
    with pytest.raises(RuntimeError):
        executor.submit(square, 1)


async def await_call(executor):
    wrapped = asyncio.wrap_future(executor.submit(square, 3))
    return await asyncio.get_running_loop().run_in_executor(executor, square, await wrapped)


def test_a_call_whose_python_died_is_made_once_more_on_the_same_machine(user, signed_in, tmp_path):
    with Executor(1, keep="5m", session=signed_in) as executor:
        assert executor.submit(die_once, str(tmp_path / "marker")).result() == "second try"
        with pytest.raises(ConnectionFailed):
            executor.submit(os._exit, 1).result()
        with pytest.raises(RuntimeError, match=r"sys\.exit\(3\)"):
            executor.submit(sys.exit, 3).result()
        with pytest.raises(TypeError, match="pickle"):
            executor.submit(threading.Lock).result()
        with pytest.raises(UsageError, match="can't be pickled"):
            executor.submit(square, threading.Lock())
        assert executor.submit(fork_and_return).result() > 0
        forks = list(executor.map(write_after_fork, repeat(str(tmp_path / "forks")), range(3), chunksize=3))
        assert [pid > 0 for pid in forks] == [True] * 3
        assert sorted((tmp_path / "forks").read_text().split()) == ["0", "0", "1", "1", "2", "2"]  # both processes
        errors = list(executor.map(end_process_at, range(4), chunksize=4, return_errors=True))
        assert [*errors[:2], errors[3]] == [0, 1, 3]
        assert isinstance(errors[2], ConnectionFailed)
        assert executor.submit(square, 3).result() == 9
        assert list(executor.map(reach_limit_once, repeat(str(tmp_path)), range(4), chunksize=4)) == [0, 1, 2, 3]
        assert (tmp_path / "numbers").read_text() == "0123"
        assert len(started_machines()) == 1
    assert not set(started_machines()) & set(active_runs(user))


def test_no_machine_replaces_a_machine_that_a_user_aborts(user, signed_in, tmp_path):
    with Executor(1, keep="5m", session=signed_in) as executor:
        active = executor.submit(wait_after_start, str(tmp_path / "started"))
        waiting = executor.submit(square, 2)
        wait_until((tmp_path / "started").exists)
        (machine,) = started_machines()
        assert journal().entries()[0].pool == executor.price_label
        user.client.workloads.abort(machine)
        with pytest.raises(RunAborted, match="starts no more machines"):
            active.result()
        with pytest.raises(UsageError, match="Create another executor"):
            waiting.result()
    assert started_machines() == [machine]


def test_more_calls_can_be_made_after_the_calls_of_a_starting_machine_were_aborted(user, signed_in):
    with Executor(1, keep="5m", session=signed_in) as executor:
        first = executor.submit(square, 2)
        wait_until(started_machines)
        executor.abort_calls()
        with pytest.raises((RunAborted, CancelledError)):
            first.result()
        assert executor.submit(square, 3).result() == 9


def test_a_machine_near_its_time_limit_hands_over_to_another_machine(user, signed_in):
    with Executor(1, keep="5m", timeout=31, session=signed_in) as executor:
        assert executor.submit(square, 2).result() == 4
        (first,) = executor._pool.workers
        wait_until(lambda: not first.is_usable)
        assert executor.submit(square, 3).result() == 9
        wait_until(lambda: first.ended_at is not None)
        assert len(started_machines()) == 2
    assert not set(started_machines()) & set(active_runs(user))


def test_a_map_repeats_items_that_fail_and_another_map_calls_only_items_without_a_result(signed_in_runs, tmp_path):
    (tmp_path / "a").mkdir()
    with Executor(2, machine="cpu", session=signed_in_runs) as executor:
        results = executor.map(
            fail_first, repeat(str(tmp_path / "a")), range(6), chunksize=3, return_errors=True, resume="a"
        )
        errors = list(results)
        assert [str(errors.pop(3)), str(errors.pop(0))] == ["3", "0"]
        assert errors == [1, 2, 4, 5]
        submitted = len(journal().entries())
        results = executor.map(fail_first, repeat(str(tmp_path / "a")), range(7), chunksize=3, retries=1, resume="a")
        assert list(results) == [*range(7)]
    calls = journal().entries()[: -submitted or None]
    assert len(calls) <= 2  # the items 0, 3 and 6, and 6 again
    (file,) = platform_path("data", "maps").glob("*.sqlite")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_result_that_is_too_large_is_the_error_of_its_item_and_other_results_stay(
    user, signed_in, tmp_path, monkeypatch
):
    monkeypatch.setattr(upload, "_without_bucket", {signed_in})
    sizes = [1_000_000, 2, 12_000_000, 4, 7_900_000, 6]  # more together than a message may have
    with Executor(1, keep="5m", session=signed_in) as executor:
        results = list(executor.map(bytes, sizes, chunksize=6, return_errors=True))
        problem = (
            r"Run \w+: The result has 12,000,0\d\d bytes, and the run has no bucket\. Without the bucket, up to "
            r"8,000,000 bytes can be returned\. Return a smaller result, such as the path of a file that the function "
            r"stores\.\nItem 3 has no result\."
        )
        assert re.fullmatch(problem, str(results.pop(2)))
        assert [*map(len, results)] == [1_000_000, 2, 4, 7_900_000, 6]
        results = executor.map(partial(return_bytes, str(tmp_path)), sizes, chunksize=6, resume="large")
        assert [len(next(results)), len(next(results))] == [1_000_000, 2]
        with pytest.raises(RunFailed, match=problem + r"\nResults of the first 2 of 6 items arrived\. Continue"):
            next(results)
        (tmp_path / "limit").touch()
        results = executor.map(partial(return_bytes, str(tmp_path)), sizes, chunksize=6, resume="large")
        assert [*map(len, results)] == [1_000_000, 2, 10, 4, 7_900_000, 6]
        calls = (tmp_path / "sizes").read_text().split()
        assert [calls.count(str(size)) for size in sizes] == [1, 1, 2, 1, 1, 1]
        with pytest.raises(RunFailed, match="up to 12,000,000 bytes can be returned"):
            executor.submit(bytes, 12_000_000).result()
        assert len(started_machines()) == 1


def test_all_machines_together_cost_at_most_the_maximum_and_the_items_left_are_listed(user, signed_in):
    with Executor(1, keep="5m", max_cost=0.19, session=signed_in) as executor:
        assert executor.price_label.endswith("at most 0.1894 credits")
        results = executor.map(end_machine_at, range(4), chunksize=1)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises((UsageError, ConnectionFailed), match=r"first 2 of 4 items.*resume='NAME'"):
            next(results)
    assert sum(signed_in.get(machine).cost for machine in started_machines()) <= Decimal("0.19")


@pytest.mark.parametrize("count", [3, pytest.param(200, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])])
def test_no_machine_is_active_after_interrupts_at_random_moments(user, signed_in, count):
    random = Random(count)
    for _ in range(count):
        with suppress(KeyboardInterrupt), Executor(2, keep="5m", session=signed_in) as executor:
            threading.Timer(random.uniform(0, 4), os.kill, [os.getpid(), signal.SIGINT]).start()
            results = executor.map(square, range(4))
            assert list(results) == [0, 1, 4, 9]
            executor.submit(time.sleep, 600).result()
    wait_until(lambda: not set(started_machines()) & set(active_runs(user)))


#: A map whose item at ``KILLS_AT`` kills the process ``VICTIM`` once, and whose items write their number at their end.
KILLED_MAP = """
import os, signal, sys, time
from pathlib import Path
from lk_jupyter import Executor

FOLDER, COUNT, KILLS_AT, VICTIM = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
SECONDS = 0.05 if VICTIM == "cloud" else 0.006

def work(number):
    time.sleep(SECONDS)
    marker = FOLDER / "killed"
    if number == KILLS_AT and not marker.exists():
        marker.touch()
        time.sleep(0.1)
        processes = {"worker": os.getpid(), "machine": os.getppid()}
        os.kill(processes.get(VICTIM) or int((FOLDER / VICTIM).read_text()), signal.SIGKILL)
        time.sleep(0.1 if VICTIM in {"kernel", "cloud"} else 600)
    with open(FOLDER / "items", "a") as file:
        file.write(f"{number}\\n")
    return 2 * number

(FOLDER / "kernel").write_text(str(os.getpid()))
executor = Executor(2, keep="2s")
results = list(executor.map(work, range(COUNT), resume="killed"))
assert results == [2 * number for number in range(COUNT)], results
executor.shutdown()
"""


@pytest.mark.nightly
@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("victim", ["kernel", "worker", "machine", "cloud"])
def test_a_map_that_is_killed_at_a_random_item_repeats_and_loses_no_item(request, tmp_path, victim, seed):
    count = int(os.environ.get("LK_ITEMS", "1000"))
    cloud = request.getfixturevalue("separate_hosting" if victim == "cloud" else "hosting")
    (tmp_path / "cloud").write_text(str(cloud.process.pid))
    kills_at = Random(f"{victim} {seed}").randrange(count)
    arguments = [sys.executable, "-c", KILLED_MAP, str(tmp_path), str(count), str(kills_at), victim]
    for attempt in range(3):
        env = {**os.environ, "LK_BASE_URL": cloud.base_url, "LK_API_KEY": cloud.api_key}
        with subprocess.Popen(arguments, env=env, stderr=subprocess.PIPE, text=True) as process:
            if victim == "cloud" and not attempt:
                wait_until(lambda: not cloud.is_running())
                cloud.kill()  # waits for its end
                cloud.start()
            errors = process.communicate(timeout=PATIENCE)[1]
        if process.returncode == 0:
            break
    assert process.returncode == 0, errors
    assert attempt == {"kernel": 1, "worker": 0, "machine": 0}.get(victim, attempt)
    items = sorted(map(int, (tmp_path / "items").read_text().split()))
    assert {*items} == {*range(count)}
    # The bucket ends with the local cloud, so the item that each machine calls at that moment can't be stored.
    assert len(items) - count <= (2 if victim == "cloud" else 0)


@pytest.mark.parametrize("resume", [None, "killed"])
def test_a_map_continues_on_new_machines_after_all_machines_were_killed(user, signed_in, tmp_path, resume):
    with Executor(2, keep="5m", gpu="A100", session=signed_in) as executor:
        function = partial(wait_until_killed, str(tmp_path))
        results = executor.map(function, range(20), chunksize=5, resume=resume)
        kill_machines(tmp_path, 2)
        assert list(results) == [*range(20)]
        assert len(started_machines()) == 4
    numbers = sorted(map(int, (tmp_path / "numbers").read_text().split()))
    repeated = [] if resume else [0, 1, 5, 6]  # with a name, each result is stored
    assert numbers == sorted([*range(20), *repeated])
    assert not set(started_machines()) & set(active_runs(user))


def test_a_map_whose_machines_are_always_killed_reports_the_lost_item_the_cost_and_how_to_continue(
    user, signed_in, tmp_path
):
    with Executor(2, keep="5m", gpu="A100", session=signed_in) as executor:
        function = partial(wait_until_killed, str(tmp_path), is_repeated=True)
        results = executor.map(function, range(20), chunksize=5, resume="killed")
        for _ in range(2):
            kill_machines(tmp_path, 2)
            for file in tmp_path.glob("processes-*"):
                file.unlink()
        with pytest.raises(ConnectionFailed) as loss:
            list(results)
        machines = started_machines()
        assert re.fullmatch(
            r"Machine (\w+) ended during wait_until_killed: its Jupyter server failed\. The machines of this executor "
            r"cost 0\.0\d+ credits so far\. Read the log: %lk_logs \1\nItem 3 has no result\.\n"
            r"Results of the first 2 of 20 items arrived\. Continue with the remaining items: "
            r"map\(\.\.\., resume='killed'\)",
            str(loss.value),
        )
    assert (len(machines), started_machines()) == (4, machines)
    assert not set(machines) & set(active_runs(user))


def test_an_image_needs_machines_that_stay(signed_in):
    with pytest.raises(UsageError, match="image works only together with keep"):
        Executor(image="quay.io/jupyter/scipy-notebook", session=signed_in)


@pytest.mark.nightly  # with joblib: tests/test_executor.py
def test_a_grid_search_of_scikit_learn_starts_one_machine_for_each_worker(user, capsys):
    from sklearn.datasets import make_classification  # noqa: PLC0415 (takes a second)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 (as above)
    from sklearn.model_selection import GridSearchCV  # noqa: PLC0415 (as above)

    X, y = make_classification(80, random_state=0)  # noqa: N806
    grid = {"C": [0.01, 0.1, 1.0]}
    local = GridSearchCV(LogisticRegression(), grid, cv=3).fit(X, y)
    lk_jupyter.register_joblib()
    with joblib.parallel_config(backend="lk", n_jobs=2, requirements=[], keep="5m"):
        remote = GridSearchCV(LogisticRegression(), grid, cv=3).fit(X, y)
        assert len(started_machines()) == 2
        assert joblib.Parallel()(joblib.delayed(square)(number) for number in range(5)) == [0, 1, 4, 9, 16]
        assert joblib.Parallel()(joblib.delayed(sum_nested)(number) for number in range(3)) == [0, 2, 8]
    assert capsys.readouterr().out == "joblib on 2 × L40S, at most 0.3967 credits in 10 min 00 s\n"  # noqa: RUF001
    assert remote.best_params_ == local.best_params_
    assert (remote.cv_results_["mean_test_score"] == local.cv_results_["mean_test_score"]).all()
    assert len(started_machines()) == 2
    for executor in joblib_backend._executors.values():
        executor.shutdown()
    assert not set(started_machines()) & set(active_runs(user))


def test_joblib_refuses_functions_that_share_memory(user):
    lk_jupyter.register_joblib()
    with pytest.raises(ValueError, match="shared memory"):
        joblib.Parallel(backend="lk", n_jobs=2, require="sharedmem")
    assert started_machines() == []


def test_the_options_of_a_call_of_joblib_are_the_options_of_its_machines(user, capsys):
    lk_jupyter.register_joblib()
    parallel = joblib.Parallel(2, "lk", gpu="A100", initializer=load_model, initargs=("tiny",), max_nbytes=1)
    with parallel:
        assert capsys.readouterr().out.startswith("joblib on 2 × A100, ")  # noqa: RUF001
        assert parallel._backend._executor._pool.initializer.name == "load_model"
        parallel._backend.batch_completed(1, 0.001)
        assert parallel._backend.compute_batch_size() > 1
    assert parallel._backend.compute_batch_size() == 1
    assert started_machines() == []


def test_one_job_of_joblib_is_made_here_with_a_warning(user):
    lk_jupyter.register_joblib()
    with joblib.parallel_config(backend="lk", gpu="A100"), pytest.warns(UserWarning, match="set n_jobs=2 or more"):
        assert joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2
    assert started_machines() == []


def test_a_process_of_a_pool_makes_the_calls_of_joblib_without_machines(user):
    lk_jupyter.register_joblib()
    with get_context("fork").Pool(1) as pool:
        assert pool.apply(sum_nested_with_warning, (3,)) == 18
    assert started_machines() == []


def guide_recipe(word):
    """Return the block of the guide with this word, as code."""
    book = json.loads((ROOT / "notebooks" / "how-to" / "many-tasks.ipynb").read_text("utf-8"))
    recipe = next("".join(cell["source"]) for cell in book["cells"] if word in "".join(cell["source"]))
    return recipe.partition("```python\n")[2].partition("```")[0]


@pytest.mark.nightly
def test_the_recipe_of_the_guide_for_dask_computes_on_an_executor(signed_in_runs):
    import dask  # noqa: PLC0415 (takes long)

    with Executor(2, machine="cpu", session=signed_in_runs) as executor:
        names = {"executor": executor, "simulate": square}
        exec(guide_recipe("import dask").replace("20", "4"), names)
        assert dask.compute(names["total"], scheduler=executor) == (14,)
    assert len(journal().entries()) > 1


@pytest.mark.nightly
def test_the_recipe_of_the_guide_for_optuna_makes_50_distinct_trials(user, signed_in):
    pytest.importorskip("optuna")
    with Executor(2, keep="1m", session=signed_in) as executor:
        names = {"executor": executor, "__name__": "__main__"}
        exec(guide_recipe("import optuna"), names)
    trials = names["study"].trials
    assert len({trial.params["lr"] for trial in trials}) == 50
    assert all(trial.value == (trial.params["lr"] - 0.1) ** 2 for trial in trials)
