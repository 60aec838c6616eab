"""Stored lines."""

from __future__ import annotations

import sqlite3

import pytest

from lk_jupyter.localcloud.clock import now


def messages(answer):
    return [row["message"] for row in answer.json()["logs"]]


def test_each_line_is_an_entry_with_its_stream_and_time(api):
    record = api.run("import sys\nprint('a\\nb')\nprint('c', file=sys.stderr)\nprint('d', end='')")
    ended = now()  # a line is dated when it is read, which can be a moment after its process has ended
    logs = api.get(f"/logs/execution/{record['execution_id']}").json()
    lines = {"stdout": [], "stderr": []}  # two pipes, of which none knows what came through the other before it
    for row in logs["logs"]:
        lines[row["labels"]["stream"]].append(row["message"])
    assert lines == {"stdout": ["a", "b", "d"], "stderr": ["c"]}
    assert logs["total"] == 4
    times = [row["timestamp"] for row in logs["logs"]]
    assert times == sorted(times)
    assert record["start_time"] <= times[0]
    assert times[-1] <= ended


def test_streams_do_not_break_each_others_lines(api):
    code = "import sys\nfor part in ('on', 'e', '\\n'):\n    print(part, end='')\n    print('e', file=sys.stderr)"
    logs = api.get(f"/logs/execution/{api.run(code)['execution_id']}").json()["logs"]
    assert [row["message"] for row in logs if row["labels"]["stream"] == "stdout"] == ["one"]
    assert [row["message"] for row in logs if row["labels"]["stream"] == "stderr"] == ["e"] * 3


def test_a_limit_gives_the_newest_lines(api):
    run = api.run("print(*range(10500), sep='\\n')")["execution_id"]
    assert messages(api.get(f"/logs/execution/{run}", limit=2)) == ["10498", "10499"]
    assert messages(api.get(f"/logs/execution/{run}", limit=10000)) == [str(i) for i in range(500, 10500)]
    assert len(messages(api.get(f"/logs/execution/{run}"))) == 1000


def test_the_lines_of_all_runs_come_mixed(make_api):
    api = make_api()
    runs = [api.run(f"print({i})")["execution_id"] for i in range(3)]
    logs = api.get("/logs/user").json()["logs"]
    assert [(row["execution_id"], row["message"]) for row in logs] == [(run, str(i)) for i, run in enumerate(runs)]
    assert messages(api.get("/logs/user", limit=1)) == ["2"]


def test_the_window_counts_back_from_now(make_api):
    api = make_api()
    run = api.run("print('old')")["execution_id"]
    database = sqlite3.connect(api.cloud.data / "cloud.sqlite")
    with database:
        database.execute("UPDATE chunks SET time = time - 2 * 3600")
    database.close()
    assert messages(api.get(f"/logs/execution/{run}", hours=1)) == []
    assert messages(api.get(f"/logs/execution/{run}", hours=3)) == ["old"]
    assert messages(api.get("/logs/user")) == []


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/logs/execution/x", {"limit": 0}),
        ("/logs/execution/x", {"limit": 10001}),
        ("/logs/execution/x", {"hours": 169}),
        ("/logs/user", {"limit": 5001}),
        ("/logs/user", {"hours": 25}),
    ],
)
def test_limits_are_those_of_the_description(api, path, query):
    answer = api.get(path, **query)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", *query]


def test_the_logs_of_an_unknown_run_are_404(api):
    assert api.get("/logs/execution/nobody").status_code == 404
