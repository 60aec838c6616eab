"""Runs whose stream is missing, and whose output is stored after their end, or never."""

import json
from datetime import datetime, timedelta, timezone

import pytest
from stand_in import IDS, KEY, STREAM, StandIn, finished, said

from lk_jupyter import session
from lk_jupyter.api.logs import INCOMPLETE
from lk_jupyter.cli import main
from lk_jupyter.runs import follow
from lk_jupyter.runs.run import Run

LINES = [f"epoch {number}\n" for number in range(4)]
STACK = "services:\n  a:\n    image: python:3.11\n"


def entries(lines):
    return [{"timestamp": f"2026-12-03T08:00:0{at}Z", "message": line} for at, line in enumerate(lines)]


@pytest.fixture
def cloud(home, monkeypatch):
    """A cloud without streams, whose records lack the output; ``stored`` lists the stored lines at each request."""
    cloud = StandIn()
    cloud.stream = (404, {"detail": "Stream not found"})
    cloud.stored = [LINES]
    cloud.on("GET /logs/execution/{}", lambda _: {"logs": entries(next_of(cloud.stored))})
    monkeypatch.setattr(follow, "PAUSES", (0.0,))
    monkeypatch.setattr(follow, "_PACE", 0.01)
    monkeypatch.setenv("LK_BASE_URL", cloud.url)
    monkeypatch.setenv("LK_API_KEY", KEY)
    yield cloud
    cloud.close()


def next_of(rows):
    """Return the rows in turn, the last again and again."""
    return rows.pop(0) if len(rows) > 1 else rows[0]


def finish_long_ago(cloud):
    cloud.record["end_time"] = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()


@pytest.fixture
def connected(cloud):
    with session.connect(cloud.url, KEY) as connected:
        yield connected


STARTS = {
    "python": lambda connected: connected.run("print()", gpu="A100"),
    "image": lambda connected: connected.run_image("python:3.11", "true", gpu="A100"),
    "compose": lambda connected: connected.run_compose(STACK, gpu="A100"),
}


def read_output(run):
    return "".join(getattr(event, "content", "") for event in run.follow())


@pytest.mark.parametrize("kind", STARTS)
@pytest.mark.parametrize("stdout", [None, ""])
def test_a_log_that_no_answer_confirms_is_reported_and_a_later_attach_shows_it(cloud, connected, kind, stdout):
    cloud.stored, cloud.record = [[]], {"stdout": stdout}
    run = STARTS[kind](connected)
    assert read_output(run) == ""
    assert run.lacks_output
    assert run.log_problem.startswith(INCOMPLETE)
    cloud.stored = [LINES]
    finish_long_ago(cloud)
    later = Run.attach(connected, run.execution_id)
    assert read_output(later) == "".join(LINES)
    assert not later.log_problem


@pytest.mark.parametrize("kind", STARTS)
def test_lines_that_are_stored_after_the_end_are_awaited(cloud, connected, kind, monkeypatch):
    monkeypatch.setattr(follow, "LATE", 0.5)
    cloud.stored = [[], [], LINES[:1], LINES[:3], LINES]
    run = STARTS[kind](connected)
    assert read_output(run) == "".join(LINES)
    assert run.log_path.read_text() == "".join(LINES)
    assert run.lacks_output  # nothing shows that these are all lines


def test_a_record_that_contains_the_output_later_completes_a_broken_stream(cloud, connected, monkeypatch):
    monkeypatch.setattr(follow, "LATE", 60)
    cloud.stored = [[]]
    cut_stream = STREAM.replace(b"Connection: close", b"Content-Length: 1000000\r\nConnection: close")
    cloud.stream = (cut_stream, said("".join(LINES[:2])[:-3]))
    outputs = [None, None, None, "".join(LINES)]
    cloud.on(
        "GET /execution/{}",
        lambda request: {**cloud._row(request.path.rpartition("/")[2]), "stdout": next_of(outputs)},
    )
    run = STARTS["python"](connected)
    assert read_output(run) == "".join(LINES)
    assert not run.log_problem


def test_stored_lines_of_a_run_that_ended_long_ago_are_its_log(cloud, connected):
    finish_long_ago(cloud)
    run = STARTS["image"](connected)
    assert read_output(run) == "".join(LINES)
    assert not run.log_problem


def test_a_stream_that_reaches_its_end_needs_no_other_confirmation(cloud, connected):
    cloud.stored, cloud.stream = [[]], (STREAM, said("".join(LINES)), finished(returnCode=0))
    run = STARTS["image"](connected)
    assert read_output(run) == "".join(LINES)
    assert not run.log_problem


def test_the_command_line_reports_a_log_that_may_be_incomplete(cloud, capsys):
    cloud.stored = [[]]
    main(["run", "--gpu", "A100", "--code", "print()", "--json"])
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[-1]["warning"].startswith(INCOMPLETE)
    assert IDS[0][:8] in records[-1]["warning"]
