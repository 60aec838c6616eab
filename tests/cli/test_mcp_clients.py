"""Clients of MCP that aren't ours call the tools: two versions of the protocol, and two libraries."""

from __future__ import annotations

import pytest
from mcp_client import call_tools, install_clients

from lk_jupyter.cli.tools import TOOLS

pytestmark = pytest.mark.nightly  # they are installed first

CLIENTS = [
    ("mcp", "legacy", "2025-11-25"),
    ("mcp", "2026-07-28", "2026-07-28"),
    ("fastmcp", "legacy", "2025-11-25"),
    ("fastmcp", "2026-07-28", "2026-07-28"),
]

#: Seconds after which agents give up a call.
LIMIT = 45


@pytest.fixture(scope="module")
def python():
    return install_clients()


def list_runs(cloud):
    rows = cloud.http.get("/billing/history", params={"limit": 1000}).json()["executions"]
    return [row["execution_id"] for row in [*rows, *cloud.http.get("/workloads/list").json()]]


@pytest.mark.parametrize(("library", "mode", "protocol"), CLIENTS)
def test_one_start_key_gives_one_run_in_100_parallel_calls_within_45_seconds(
    library, mode, protocol, python, signed_in
):
    key, earlier = f"{library} {mode}", set(list_runs(signed_in))
    start = {"code": "answer = 6 * 7; print(answer)", "key": key, "outputs": ["answer"]}
    answered = call_tools(python, library, mode, [["lk_start", start]] * 100)
    assert answered["protocol"] == protocol
    assert sorted(answered["tools"]) == sorted(tool.partition(":")[2] for tool in TOOLS)
    assert [call["answer"]["exit_code"] for call in answered["calls"]] == [0] * 100
    assert max(call["seconds"] for call in answered["calls"]) < LIMIT
    (run,) = {call["answer"]["records"][0]["id"] for call in answered["calls"]}
    calls = [
        ["lk_machines", {}],
        ["lk_balance", {}],
        ["lk_plan", {"code": "print(1)", "gpu": "A100"}],
        ["lk_wait", {"run": run}],
        ["lk_logs", {"run": run}],
        ["lk_runs", {}],
        ["lk_files", {}],
    ]
    later = call_tools(python, library, mode, calls)["calls"]
    assert [call["answer"]["exit_code"] for call in later] == [0] * len(calls)
    last = [["lk_fetch", {"run": run}], ["lk_stop", {"ids": [run]}], ["lk_start", {**start, "code": "print(1)"}]]
    later += call_tools(python, library, mode, last)["calls"]
    fetched, aborted, refused = (call["answer"] for call in later[-3:])
    assert (fetched["exit_code"], fetched["records"][0]["value"]) == (0, 42)
    assert aborted["records"][0]["state"] == "completed"  # an abort after the end changes nothing
    assert [call["is_error"] for call in later] == [False] * (len(later) - 1) + [True]
    assert (refused["exit_code"], "other code" in refused["records"][0]["message"]) == (2, True)
    assert max(call["seconds"] for call in later) < LIMIT
    assert set(list_runs(signed_in)) - earlier == {run}
