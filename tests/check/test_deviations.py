"""``%lk_check --spend`` names each deviation that would cost money or lines, on a cloud with that deviation only."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from check.deviating import Cloud
from stand_in import IDS, KEY, STREAM, finished, said

from lk_jupyter import session
from lk_jupyter.check import ended_run, spending
from lk_jupyter.check.levels import Check, LevelRequest

START, STATE, RECORD = (
    "POST /execution/streaming/start",
    "GET /execution/streaming/{}/status",
    "GET /execution/{}",
)
LOG, OUTPUT, ABORT, LIST = (
    "GET /logs/execution/{}",
    "POST /stream/{}",
    "POST /workloads/abort/{}",
    "GET /workloads/list",
)
HISTORY, CREDITS, MACHINES = "GET /billing/history", "GET /billing/credits", "GET /machine-types"


def put(**fields):
    """Return a change that sets fields of an object."""
    return lambda content, _: {**content, **fields} if isinstance(content, dict) else content


def leave_out(*names):
    """Return a change that removes fields from each object."""
    return lambda content, _: remove(content, names)


def remove(content, names):
    if isinstance(content, dict):
        return {name: remove(value, names) for name, value in content.items() if name not in names}
    return [remove(value, names) for value in content] if isinstance(content, list) else content


def of_kind(kind, change):
    """Return a change that concerns the runs of one kind."""
    return lambda content, run: change(content, run) if run is not None and run.kind == kind else content


def shift(hours):
    def change(content, _):
        names = [name for name in content if name in {"created_at", "start_time", "end_time"}]
        return {
            **content,
            **{name: (datetime.fromisoformat(content[name]) + timedelta(hours=hours)).isoformat() for name in names},
        }

    return change


def bill(factor=1, *, seconds=None):
    """Return a change of the bill in a record: another unit, or other seconds."""

    def change(content, run):
        if not content.get("billed"):
            return content
        counted = seconds(run.seconds) if seconds else run.seconds
        return {**content, "billed": round(factor * 1.59 / 3600 * counted, 6)}

    return change


def log_lines(change):
    return lambda content, _: {"logs": change(content["logs"])}


def text_of(change):
    """Return a change of the text in a stream."""
    return of_kind("looks", lambda _, run: (STREAM, said(change(run.text)), finished(returnCode=0)))


def not_ended(run):
    return lambda content, each: {**content, "status": "running"} if each and each.kind == run else content


ABSENT = (404, {"detail": "Execution not found"})
GONE = (404, {"detail": "Stream not found"})

#: Deviation → its changes of operations, and words of the row that names it.
DEVIATIONS = {
    "a start without an id": ({START: lambda *_: (202, {"status": "accepted"})}, "start_answer"),
    "a start that answers 500 and starts": ({START: lambda content, _: (500, {"detail": "boom"})}, "start_answer"),
    "a start that is refused": ({START: lambda *_: (402, {"detail": "Insufficient credits"})}, "HTTP 402"),
    "a start without an address of its stream": ({START: leave_out("streaming_url")}, "no streaming_url"),
    "a start with the id of the first run": ({START: put(execution_id=IDS[0])}, "the id of an earlier run"),
    "another machine": ({RECORD: put(hardware_profile="gpu.b300")}, "'gpu.b300'"),
    "another time limit": ({RECORD: put(timeout=600)}, "600 s instead of"),
    "metadata dropped": ({RECORD: leave_out("metadata"), HISTORY: leave_out("metadata")}, "metadata_echo"),
    "file name dropped": ({RECORD: leave_out("file_name")}, "no file_name"),
    "no user_id in records": ({RECORD: leave_out("user_id")}, "no user_id"),
    "another user_id in records": ({RECORD: put(user_id=IDS[7])}, "another user"),
    "no user_id of the account": ({"GET /user/status": lambda *_: {"email": "a@b.example"}}, "whose key this is"),
    "record with another form of the id": (
        {RECORD: lambda content, run: {**content, "execution_id": run.run_id.upper()}},
        "the id in another form",
    ),
    "list with another form of the id": (
        {LIST: lambda rows, _: [{**row, "execution_id": row["execution_id"].replace("-", "")} for row in rows]},
        "the id in another form",
    ),
    "history with another form of the id": (
        {
            HISTORY: lambda content, _: {
                "executions": [
                    {**row, "execution_id": row["execution_id"].replace("-", "").upper()}
                    for row in content["executions"]
                ]
            }
        },
        "the id in another form",
    ),
    "no record": ({RECORD: lambda *_: ABSENT}, "HTTP 404"),
    "a record that fails": ({RECORD: lambda *_: (500, {"detail": "boom"})}, "HTTP 500"),
    "a status without a state": ({STATE: lambda *_: {}}, "''"),
    "a status that lags": ({STATE: lambda *_: {"status": "running"}}, "'running', but 'completed'"),
    "states that are never final": (
        {STATE: not_ended("looks"), RECORD: not_ended("looks")},
        "'running' after the end of the run",
    ),
    "an unknown final word": ({RECORD: of_kind("looks", put(status="halted"))}, "halted=completed"),
    "a failed run that completed": ({RECORD: of_kind("fails", put(status="completed"))}, "'completed'"),
    "a run that completed at its limit": ({RECORD: of_kind("counts", put(status="completed"))}, "'completed'"),
    "an aborted run that completed": (
        {
            RECORD: of_kind(
                "waits",
                lambda content, run: {**content, "status": "completed"} if run.aborted.is_set() else content,
            )
        },
        "'completed'",
    ),
    "no exit code": (
        {RECORD: leave_out("return_code"), OUTPUT: of_kind("looks", lambda reply, _: reply[:2])},
        "no exit",
    ),
    "exit code 0 of a failed run": ({RECORD: of_kind("fails", put(return_code=0))}, "exit code 0"),
    "a time limit that is ignored": (
        {
            OUTPUT: of_kind(
                "counts", lambda *_: (STREAM, said("".join(f"tick {second}\n" for second in range(15))), finished())
            )
        },
        "the code ran for more than",
    ),
    "times in local time": ({RECORD: shift(2)}, "minutes from the clock"),
    "no created_at": ({RECORD: leave_out("created_at")}, "no created_at"),
    "times in the wrong order": (
        {RECORD: lambda content, _: {**content, "end_time": content["created_at"], "start_time": content["end_time"]}},
        "an end before the start",
    ),
    "a stream without the run": ({OUTPUT: lambda *_: GONE}, "Stream not found"),
    "a stream without an end": ({OUTPUT: of_kind("looks", lambda reply, _: reply[:2])}, "no end of the run"),
    "a stream with another exit code": (
        {OUTPUT: of_kind("looks", lambda reply, _: (*reply[:2], finished(returnCode=9)))},
        "exit code 9",
    ),
    "a stream without output": ({OUTPUT: text_of(lambda _: "")}, "no output"),
    "a stream that loses the last line": (
        {OUTPUT: text_of(lambda text: text.replace("\nend", ""))},
        "lines are missing",
    ),
    "a stream that repeats its lines": ({OUTPUT: text_of(lambda text: text + text)}, "appear more than once"),
    "a stream that cuts long lines": ({OUTPUT: text_of(lambda text: text.replace("x" * 20_000, "x" * 99))}, "is cut"),
    "a stream without control characters": ({OUTPUT: text_of(lambda text: text.replace("\x1b", ""))}, "frames"),
    "a stream that stays open": (
        {OUTPUT: of_kind("looks", lambda reply, _: (*reply[:2], "wait until the client leaves"))},
        "an open stream",
    ),
    "a stored log without lines": ({LOG: log_lines(lambda _: [])}, "no output"),
    "a stored log that repeats lines": ({LOG: log_lines(lambda rows: rows + rows)}, "appear more than once"),
    "a stored log that loses lines": ({LOG: log_lines(lambda rows: rows[1:])}, "lines are missing"),
    "a stored log in reverse order": (
        {LOG: log_lines(lambda rows: [{**row, "timestamp": None} for row in reversed(rows)])},
        "another order",
    ),
    "a record without output": ({RECORD: put(stdout="")}, "no output"),
    "a record that loses lines": (
        {RECORD: lambda content, _: {**content, "stdout": content["stdout"][: len(content["stdout"]) // 2]}},
        "lines are missing",
    ),
    "an abort without effect": ({ABORT: lambda content, run: run.aborted.clear() or content}, "still active"),
    "an abort that is refused": ({ABORT: lambda *_: (403, {"detail": "no"})}, "HTTP 403"),
    "a run that isn't listed": ({LIST: lambda *_: []}, "no such run"),
    "an ended run that is listed": ({LIST: lambda rows, _: [*rows, ended_row()]}, "a run that is running"),
    "a run without history": ({HISTORY: lambda *_: {"executions": []}}, "no such run"),
    "no bill": ({RECORD: leave_out("billed"), HISTORY: leave_out("billed")}, "no bill within"),
    "a bill of 0": ({RECORD: put(billed=0)}, "no bill within"),
    "bills in cents": ({RECORD: bill(100)}, "cents for"),
    "bills in cents that look like an hour": ({RECORD: bill(1800)}, "for 2.0 seconds and"),
    "bills for a fixed time": ({RECORD: bill(seconds=lambda _: 60)}, "rounded up to 60 seconds"),
    "bills at twice the price": ({RECORD: bill(2)}, "at 1.59 credits per hour"),
    "a balance that doesn't fall": ({CREDITS: put(remaining_credits=5)}, "the same balance"),
    "a price of 0": (
        {
            MACHINES: lambda content, _: {
                "machine_types": [*content["machine_types"], {"hardware_profile": "gpu.h100", "price_per_hour": 0}]
            }
        },
        "prices such as 0",
    ),
    "prices in cents": (
        {
            MACHINES: lambda content, _: {
                "machine_types": [*content["machine_types"], {"hardware_profile": "gpu.h100", "price_per_hour": 279}]
            }
        },
        "prices such as 279",
    ),
    "ids of VMs in another form": (
        {"GET /vms/list": lambda *_: {"vms": [{"vm_id": "VM-7A", "status": "ready"}]}},
        "for the id in the list",
    ),
    "files that a run can't import": ({OUTPUT: text_of(lambda text: text.replace("true", "false"))}, "not found"),
    "metrics of another run": ({"GET /execution/{}/metrics": lambda *_: {"executionId": IDS[9]}}, "another run"),
}


def ended_row():
    return {"execution_id": IDS[0], "status": "running"}


@pytest.fixture
def cloud(home, monkeypatch):
    """A cloud, and a check that waits only as long as a socket on this machine takes."""
    for module, name, seconds in [
        (spending, "_PATIENCE", 1.0),
        (spending, "_ABORT_PATIENCE", 0.5),
        (spending, "_STREAM_PATIENCE", 0.1),
        (spending, "_LOG_PATIENCE", 0.0),
        (spending, "_GLANCE", 0.2),
        (spending, "_PACE", 0.01),
        (spending, "_LOOK", 0.05),
        (ended_run, "BILL_PATIENCE", 0.1),
        (ended_run, "_PACE", 0.01),
    ]:
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr("lk_jupyter.check.lost_start.LOOK_PAUSE", 0.01)
    monkeypatch.setattr("lk_jupyter.runs.abort.LET_GO", 0.2)
    monkeypatch.setattr("lk_jupyter.runs.follow.UNREADABLE", 0.05)
    monkeypatch.setattr("lk_jupyter.runs.follow.LAGGING", 0.05)
    server = Cloud()
    server.on("GET /execution/{}/metrics", {}).on("GET /execution/{}/timing", {"timing": {}})
    yield server
    server.close()


def check(cloud, **wish):
    with session.connect(cloud.url, KEY) as connected:
        work = Check(connected.client, connected, LevelRequest(spend=True, **wish))
        work.run(lambda _: None)
    return work.report


def rows(report):
    """Return the deviating rows as text, without figures of the clock."""
    return {f"{each.operation} [{each.name}] {each.found}: {each.meaning}" for each in report.deviations}


def test_a_cloud_that_keeps_its_promises_has_no_row_about_runs(cloud):
    about_runs = (
        "GET /execution/{",
        "POST /execution",
        "POST /stream",
        "GET /workloads",
        "POST /workloads",
        "GET /logs/ex",
    )
    assert [row for row in rows(check(cloud)) if row.startswith(about_runs)] == []
    assert len(cloud.kinds) == spending.RUNS


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_is_named(cloud, name):
    changes, words = DEVIATIONS[name]
    for operation, change in changes.items():
        if operation not in cloud._scripts:
            cloud.on(operation, cloud._own(operation))
        cloud.change(operation, change)
    report = check(cloud)
    assert any(words in row for row in rows(report)), rows(report)


def test_the_table_has_more_deviations_than_the_check_missed():
    assert len(DEVIATIONS) >= 33


# Starts whose answer is lost


def lose(cloud, is_lost, *, starts=True):
    """Lose the answer to starts: some requests arrive, and nothing is answered."""

    def start(request):
        if not is_lost(request):
            return cloud.start(request)
        if starts:
            cloud.start(request) if "code" in request.json else start_incomplete(cloud, request)
        return (b"",)

    return start


def start_incomplete(cloud, request):
    request.body = json.dumps({**request.json, "code": "time.sleep(SECONDS)", "execution_type": "gpu.a100"}).encode()
    cloud.start(request)


def active(cloud):
    return [run.run_id for run in cloud.kinds.values() if run.is_active]


def test_a_run_of_an_incomplete_start_whose_answer_is_lost_is_found_by_its_mark_and_aborted(cloud):
    cloud.on(START, lose(cloud, lambda request: "code" not in request.json))
    report = check(cloud)
    assert active(cloud) == []
    assert any(note.startswith("Aborted run ") for note in report.notes), report.notes
    assert any("didn't refuse a request without a required field" in row for row in rows(report))


def test_a_run_of_an_incomplete_start_that_no_list_shows_is_named_with_its_cost_and_command(cloud):
    cloud.on(START, lose(cloud, lambda request: "code" not in request.json))
    cloud.change(LIST, lambda *_: []).change(HISTORY, lambda *_: {"executions": []})
    report = check(cloud)
    [row] = [each for each in report.deviations if "didn't refuse" in each.meaning]
    assert "at most 2.79 credits per hour" in row.does
    assert "%lk_runs" in row.does
    assert "%lk_abort" in row.does


def test_a_run_whose_start_has_no_answer_and_no_list_shows_is_named_with_its_cost_and_command(cloud):
    cloud.on(START, lose(cloud, lambda request: "code" in request.json))
    cloud.change(LIST, lambda *_: []).change(HISTORY, lambda *_: {"executions": []})
    report = check(cloud)
    [row] = [each for each in report.deviations if "can't be found" in each.meaning]
    assert "1.59 credits per hour" in row.does
    assert "%lk_abort" in row.does


def test_a_run_whose_start_has_no_answer_is_found_and_ended(cloud):
    cloud.on(START, lose(cloud, lambda request: "code" in request.json))
    check(cloud)
    assert len(cloud.kinds) == spending.RUNS
    assert active(cloud) == []


def test_a_run_that_is_reported_as_ended_and_listed_as_active_is_aborted(cloud):
    cloud.change(LIST, lambda rows, _: [*rows, ended_row()])
    check(cloud)
    assert cloud.kinds[IDS[0]].aborted.is_set()
