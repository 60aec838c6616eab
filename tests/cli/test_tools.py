"""The tools for agents: functions that MCP servers offer."""

from __future__ import annotations

import asyncio
import sys

import pytest

from lk_jupyter.cli import tools
from lk_jupyter.cli.tools import (
    TOOLS,
    lk_balance,
    lk_fetch,
    lk_files,
    lk_logs,
    lk_machines,
    lk_plan,
    lk_start,
    lk_stop,
    lk_wait,
)


def test_an_agent_plans_starts_once_waits_fetches_and_aborts(signed_in):
    async def work():
        plan = await lk_plan("total = 42", gpu="A100", timeout="60s")
        assert plan["records"][0]["max_cost"] == pytest.approx(0.026942)
        starts = [await lk_start("-1; total = 42", "agent", gpu="A100", outputs=["total"]) for _ in range(3)]
        (run,) = {start["records"][0]["id"] for start in starts}
        assert (await lk_wait(run))["exit_code"] == 0
        assert (await lk_fetch(run))["records"][0]["value"] == 42
        sleeping = (await lk_start("import time; time.sleep(600)", "sleep"))["records"][0]["id"]
        assert (await lk_wait(sleeping, seconds=0))["exit_code"] == 3
        assert (await lk_stop([sleeping]))["records"][0]["state"] == "aborted"
        assert (await lk_balance())["records"][0]["credits"] > 0
        assert (await lk_machines())["records"]
        assert (await lk_wait("zz zz"))["records"][0]["exit_code"] == 2

    asyncio.run(work())


@pytest.mark.parametrize("word", ["--help", "-h", "--all", "--yes", "--json", "--gpu=A100", "--", "-", "help"])
def test_an_argument_that_looks_like_an_option_is_a_value_and_ends_no_server(signed_in, word):
    started = asyncio.run(lk_start("import time; time.sleep(600)", f"option {word}"))["records"][0]["id"]
    calls = [
        lk_wait(word),
        lk_logs(word),
        lk_fetch(word, [word]),
        lk_fetch(started, [word]),
        lk_stop([word]),
        lk_files(word),
    ]
    answers = [asyncio.run(call) for call in calls]
    assert all(isinstance(answer["exit_code"], int) for answer in answers)
    assert not [record for answer in answers for record in answer["records"] if record["event"] == "help"]
    assert asyncio.run(lk_wait(started, seconds=0))["exit_code"] == 3
    assert asyncio.run(lk_stop([started]))["exit_code"] == 0


def test_a_call_that_takes_too_long_returns_the_command_that_waits(signed_in, monkeypatch):
    started = asyncio.run(lk_start("import time; time.sleep(600)", "slow"))["records"][0]["id"]
    with monkeypatch.context() as limits:
        limits.setattr(tools, "LIMIT_SECONDS", 0.0)
        answer = asyncio.run(lk_wait(started, seconds=1))
    assert (answer["exit_code"], answer["records"][0]["event"]) == (3, "running")
    assert asyncio.run(lk_stop([started]))["exit_code"] == 0


def test_no_tool_is_about_keys_members_or_payments():
    names = " ".join(TOOLS)
    assert not [word for word in ("key", "member", "bill", "secret", "delete", "voucher") if word in names]


@pytest.mark.nightly
def test_an_mcp_client_calls_the_tools_over_stdio(signed_in):
    mcp = pytest.importorskip("mcp")
    stdio = pytest.importorskip("mcp.client.stdio")

    async def work():
        env = {"LK_BASE_URL": signed_in.base_url, "LK_API_KEY": signed_in.api_key}
        server = mcp.StdioServerParameters(command=sys.executable, args=["-m", "lk_jupyter.cli.mcp"], env=env)
        async with stdio.stdio_client(server) as (read, write), mcp.ClientSession(read, write) as session:
            await session.initialize()
            listed = await session.list_tools()
            assert {tool.name for tool in listed.tools} == {tool.partition(":")[2] for tool in TOOLS}
            assert [tool.name for tool in listed.tools if tool.annotations.destructive_hint] == ["lk_stop"]
            called = await session.call_tool("lk_start", {"code": "print(1)", "key": "stdio"})
            run = called.structured_content["records"][0]["id"]
            again = await session.call_tool("lk_start", {"code": "print(1)", "key": "stdio"})
            assert again.structured_content["records"][0]["id"] == run
            ended = await session.call_tool("lk_wait", {"run": run})
            assert ended.structured_content["exit_code"] == 0

    asyncio.run(work())
