"""The life of a run: what it is given, how it ends, what stays."""

from __future__ import annotations

import json
import zipfile
from ast import literal_eval
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

ENDLESS = "import time\nprint('up')\ntime.sleep(600)"

ESCAPES = """
import subprocess, sys
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
same_session = subprocess.Popen(sleeper)
own_session = subprocess.Popen(sleeper, start_new_session=True)
print(same_session.pid, own_session.pid)
"""


def test_a_run_goes_through_its_states_with_times_in_order(api):
    started = api.post("/execution/streaming/start", {"code": ENDLESS}).json()
    assert started["status"] == "pending"
    run = started["execution_id"]
    api.first_line(run)
    assert api.get(f"/execution/streaming/{run}/status").json() == {
        "execution_id": run,
        "status": "running",
        "errors": None,
    }
    api.post(f"/workloads/abort/{run}")
    record = api.ended(run)
    times = [record[k] for k in ("created_at", "execelet_start", "start_time", "end_time", "finish_time")]
    assert times == sorted(times)


def test_a_record_tells_what_was_asked_for_and_what_came_of_it(api):
    asked = {
        "file_name": "probe.py",
        "run_name": "probe",
        "labels": ["a", "b"],
        "metadata": {"cell": "7"},
        "execution_type": "gpu.a100",
    }
    record = api.run("print('hi')", **asked)
    hardware = asked.pop("execution_type")
    assert {key: record[key] for key in asked} == asked
    assert record["hardware_profile"] == hardware
    assert (record["status"], record["return_code"], record["stdout"]) == ("completed", 0, "hi\n")
    assert (record["execution_type"], record["python_code"]) == ("python code", "print('hi')")


def test_unfinished_runs_are_listed_with_what_was_asked_for(api):
    run = api.start(ENDLESS, run_name="listed", labels=["x"], metadata={"k": "v"})
    [row] = [row for row in api.get("/workloads/list").json() if row["execution_id"] == run]
    assert (row["run_name"], row["labels"], row["metadata"]) == ("listed", ["x"], {"k": "v"})
    api.post(f"/workloads/abort/{run}")
    api.ended(run)
    assert run not in [row["execution_id"] for row in api.get("/workloads/list").json()]


def test_a_traceback_looks_as_if_python_had_run_the_script(api):
    record = api.run("def f():\n    1 / 0\n\nf()", file_name="cell.py")
    assert record["status"] == "failed"
    lines = [line for line in record["stderr"].splitlines() if not set(line) <= set(" ~^")]
    assert lines == [
        "Traceback (most recent call last):",
        '  File "cell.py", line 4, in <module>',
        "    f()",
        '  File "cell.py", line 2, in f',
        "    1 / 0",
        "ZeroDivisionError: division by zero",
    ]


@pytest.mark.parametrize(
    ("code", "return_code", "stderr"),
    [
        ("import sys\nsys.exit('bye')", 1, "bye\n"),
        ("import sys\nsys.exit(7)", 7, ""),
        ("import os\nos._exit(4)", 4, ""),
        ("import os\nos.kill(os.getpid(), 9)", 137, ""),
    ],
)
def test_exit_codes_are_the_codes_own(api, code, return_code, stderr):
    record = api.run(code)
    assert (record["status"], record["return_code"], record["stderr"]) == ("failed", return_code, stderr)


def test_an_interrupt_ends_code_as_it_ends_python(api):
    record = api.run("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time\ntime.sleep(600)")
    assert record["return_code"] == 130
    assert record["stderr"].endswith("KeyboardInterrupt\n")


def test_the_script_is_the_main_module(api):
    code = (
        "from __future__ import annotations\nimport sys\n"
        "print(__name__, sys.argv, __file__.endswith('/cell.py'), __file__.startswith(sys.path[0]), __spec__)\n"
        "frame = sys._getframe()\nwhile frame.f_back: frame = frame.f_back\n"
        "print(frame.f_globals['__file__'] == __file__)"  # beside which bokeh writes its pages
    )
    assert api.run(code, file_name="../x/cell.py")["stdout"] == "__main__ ['cell.py'] True True None\nTrue\n"


def test_multiprocessing_works_forked_and_spawned(api):
    code = (
        "import multiprocessing\ndef square(x):\n    return x * x\nif __name__ == '__main__':\n"
        "    for kind in ('fork', 'spawn'):\n        with multiprocessing.get_context(kind).Pool(2) as pool:\n"
        "            print(pool.map(square, [1, 2, 3]))"
    )
    assert api.run(code)["stdout"] == "[1, 4, 9]\n[1, 4, 9]\n"


def test_prior_imports_are_names_or_statements(api):
    record = api.run("print(math.floor(2.5), sqrt(9))", prior_imports=["math", "from math import sqrt"])
    assert record["stdout"] == "2 3.0\n"


def test_files_lie_beside_the_script(api):
    files = json.dumps({"pkg/__init__.py": "", "pkg/words.py": "WORD = 'grün'"})
    assert api.run("from pkg.words import WORD\nprint(WORD)", import_files=files)["stdout"] == "grün\n"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "C:\\x", "C:x", "..\\x", "", "a\0b"])
def test_files_outside_the_working_folder_are_refused(api, name):
    answer = api.post("/execution/streaming/start", {"code": "1", "import_files": json.dumps({name: "x"})})
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "import_files"]


@pytest.mark.parametrize("text", ["{", "[]", '{"a.py": 1}', '{"a.py": "\\ud800"}'])
def test_files_that_are_no_map_of_texts_are_refused(api, text):
    answer = api.post("/execution/streaming/start", {"code": "1", "import_files": text})
    assert answer.status_code == 422


def test_nothing_of_the_callers_environment_reaches_a_run(api):
    record = api.run("import os\nprint([k for k in os.environ if k.startswith(('LK_', 'PYTEST_', 'JPY_'))])")
    assert set(literal_eval(record["stdout"])) - {"LK_STORAGE"} == {"LK_EXECUTION_ID"}


def test_the_time_limit_ends_a_run_with_a_reason(api):
    record = api.run(ENDLESS, timeout=1)
    assert (record["status"], record["return_code"]) == ("timeout", None)
    assert record["status_details"] == "the time limit of 1 s was reached"
    assert record["stdout"] == "up\n"


def test_abort_kills_the_whole_tree_also_what_left_the_group(api, until):
    run = api.start(ESCAPES + "same_session.wait()")
    pids = [int(pid) for pid in api.first_line(run).split()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    answer = api.post(f"/workloads/abort/{run}").json()
    assert answer["status"] == "aborted"
    record = api.ended(run)
    assert (record["status"], record["return_code"]) == ("aborted", None)
    assert record["end_time"] is not None
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


def test_what_holds_much_memory_and_takes_long_to_die_is_waited_for(api, until):
    """While it gives its memory back it has no environment, by which it was known."""
    large = "import time; held = b'x' * 200_000_000; print(flush=True); time.sleep(600)"
    run = api.start(
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {large!r}], stdout=subprocess.PIPE, start_new_session=True)\n"
        "child.stdout.readline()\nprint(child.pid)\nchild.wait()"
    )
    pid = int(api.first_line(run))
    api.post(f"/workloads/abort/{run}")
    assert api.ended(run)["status"] == "aborted"
    until(lambda: not psutil.pid_exists(pid))


def test_what_a_run_leaves_behind_ends_with_it(api, until):
    record = api.run(ESCAPES)
    assert record["status"] == "completed"
    until(lambda: not any(psutil.pid_exists(int(pid)) for pid in record["stdout"].split()))


def test_aborting_a_run_that_has_ended_tells_its_state(api):
    record = api.run("1")
    answer = api.post(f"/workloads/abort/{record['execution_id']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert api.record(record["execution_id"]) == record


def test_stop_lets_a_run_say_goodbye(api):
    code = (
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit()))\n"
        "print('up')\ntime.sleep(600)"
    )
    run = api.start(code)
    api.first_line(run)
    assert api.post(f"/workloads/stop/{run}").status_code == 200
    record = api.ended(run)
    assert (record["status"], record["stdout"]) == ("cancelled", "up\nbye\n")
    assert api.post(f"/workloads/stop/{run}").status_code == 404


def test_the_older_calls_abort_and_complete(api):
    runs = [api.start(ENDLESS) for _ in range(2)]
    for run, call in zip(runs, ("abort", "complete"), strict=True):
        api.first_line(run)
        assert api.post(f"/execution/streaming/{call}/{run}").status_code == 200
    assert [api.ended(run)["status"] for run in runs] == ["aborted", "completed"]


def test_a_record_can_be_deleted_when_the_run_has_ended(api):
    run = api.start(ENDLESS)
    api.first_line(run)
    refused = httpx.delete(api.http.base_url.join(f"execution/{run}"), headers=api.http.headers)
    assert refused.status_code == 400
    assert "abort it first" in refused.json()["detail"]
    api.post(f"/workloads/abort/{run}")
    api.ended(run)
    assert api.http.delete(f"/execution/{run}").status_code == 200
    assert api.get(f"/execution/{run}").status_code == 404
    assert api.get(f"/logs/execution/{run}").status_code == 404


def test_timing_gives_the_phases_in_seconds(api):
    record = api.run("import time\ntime.sleep(0.2)")
    timing = api.get(f"/execution/{record['execution_id']}/timing").json()["timing"]
    assert 0.2 <= timing["executingJob"] < 60
    phases = timing["phases"]
    assert phases["executingJob"]["start_time"] == record["start_time"]
    assert timing["total"] == pytest.approx(sum(phase["duration"] for phase in phases.values()))


def test_a_record_holds_up_to_4_mib_of_each_stream_and_says_what_it_leaves_out(api):
    code = "import sys\nfor i in range(50_000):\n    print(f'{i:099}')\nprint('small', file=sys.stderr)"
    run = api.start(code)
    whole = api.output(run)
    record = api.ended(run)
    assert len(whole) == 5_000_006
    assert (record["stdout"], record["stderr"], record["combined_output"]) == (None, "small\n", None)
    assert [warning.split()[0] for warning in record["warnings"]] == ["stdout", "combined_output"]
    assert "stream" in record["warnings"][0]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Return a folder with one tiny package in it, so that nothing comes from a network."""
    folder = tmp_path_factory.mktemp("packages")
    with zipfile.ZipFile(folder / "tinypkg-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinypkg.py", "ANSWER = 42\n")
        wheel.writestr("tinypkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n")
        wheel.writestr("tinypkg-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tinypkg-1.0.dist-info/RECORD", "tinypkg.py,,\n")
    return folder


def test_requirements_are_installed_once_beside_our_own_packages(api, packages):
    wanted = f"--no-index\n--find-links {packages}\ntinypkg\n"
    code = "import tinypkg, pydantic\nprint(tinypkg.ANSWER, tinypkg.__file__)"
    with ThreadPoolExecutor(3) as pool:
        records = list(pool.map(lambda _: api.run(code, requirements_content=wanted), range(3)))
    assert {record["status"] for record in records} == {"completed"}, records[0]["stderr"]
    assert {record["install_return_code"] for record in records} == {0}
    [place] = {record["stdout"] for record in records}
    assert place.startswith(f"42 {api.cloud.data}")
    assert "tinypkg" in records[0]["install_log"]


def test_requirements_that_cannot_be_installed_fail_the_run(api, packages):
    record = api.run("print('never')", requirements_content=f"--no-index\n--find-links {packages}\nnosuchpkg\n")
    assert (record["status"], record["stdout"], record["return_code"]) == ("failed", "", None)
    assert record["install_return_code"] != 0
    assert "nosuchpkg" in record["install_log"]
    assert record["errors"][0].startswith("the requirements could not be installed: ")


def test_abort_ends_an_install(api, packages, until):
    server = packages / "setup.py"
    server.write_text("import time\ntime.sleep(600)")
    run = api.start("1", requirements_content=f"--no-index\n--no-build-isolation\n{packages}\n")
    until(lambda: api.record(run)["status"] == "starting")
    api.post(f"/workloads/abort/{run}")
    assert api.ended(run)["status"] == "aborted"
    server.unlink()
