"""The MCP server as a process: no message and no argument ends it, and each request has an answer."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import threading
from itertools import count

import pytest

from lk_jupyter.cli.tools import EFFECTS, lk_stop, lk_wait

pytest.importorskip("mcp")

#: Seconds within which an agent expects an answer.
LIMIT = 45

#: Text that a model, or the page that it read, may write into an argument.
TEXTS = [
    "",
    " ",
    "-",
    "--",
    "--help",
    "-h",
    "--version",
    "--all",
    "--yes",
    "--json",
    "--gpu=A100",
    "help",
    "@/etc/passwd",
    "../../etc/passwd",
    "lk://",
    "%lk_stop --all",
    "$(id)",
    "{0.__class__}",
    "a\x00b",
    "a\nb",
    "a\x1b]0;title\x07b",
    "\x9b31m",
    "a\u202eb\u061c\u2066c",
    "\U000e0041",
    "💥" * 500,
    "x" * 100_000,
    "NaN",
    "1e999",
    "null",
    "[]",
]

#: Values of other types than the schema has, as JSON.
OTHERS = ["null", "true", "0", "-1", "1.5", "1e999", str(10**30), "9" * 5000, '"5"', "NaN", "Infinity", "-Infinity"]
OTHERS += ["[]", "[[]]", "[null]", '["--help"]', '["a", 1]', "{}", '{"a": {}}', '{"__class__": "x"}']
OTHERS += ["[" * 150 + "]" * 150, "[" * 100_000 + "]" * 100_000, '"\\ud800"', '["\\udfff"]', '"\\u0000"']

#: Lines that are no requests, with the id in the answer.
BROKEN_LINES = [
    (b"{{{", None),
    (b"\xff\xfe\x00", None),
    (b"[" * 100_000, None),
    (b'{"a":' * 50_000, None),
    (b"5", None),
    (b"null", None),
    (b'"text"', None),
    (b"[]", None),
    (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', None),
    (b"{}", None),
    (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', None),
    (b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "ping"}', None),
    (b'{"jsonrpc": "2.0", "id": [1], "method": "ping"}', None),
    (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', None),
    (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', None),
    (b'{"jsonrpc": "2.0", "id": ' + b"9" * 30 + b', "method": "ping"}', None),
    (b'{"jsonrpc": "2.0", "id": ' + b"9" * 5000 + b', "method": "ping"}', None),
    (b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}', None),
    (b'{"jsonrpc": "1.0", "id": 8, "method": "ping"}', 8),
    (b'{"id": 8, "method": "ping"}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": 5}', 8),
    (b'{"jsonrpc": "2.0", "id": 8}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "ping", "params": []}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": [1]}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {}}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": 5}}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "lk_wait", "arguments": []}}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "lk_wait", "arguments": "x"}}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "--help", "arguments": {}}}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "main", "arguments": {}}}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": {"name": "call_tool", "arguments": {}}}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "no/method"}', 8),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "initialize", "params": {}}', 8),
    (b'{"jsonrpc": "2.0", "method": "notifications/progress", "params": 5}', None),
    (b'{"jsonrpc": "2.0", "id": 8, "method": "ping"' + b" " * (40 << 20) + b"}", None),
]

#: Lines without an answer: notifications, and answers to no request.
SILENT_LINES = [
    b"",
    b"   ",
    b'{"jsonrpc": "2.0", "id": 99, "result": {}}',
    b'{"jsonrpc": "2.0", "id": {"a": 1}, "result": {}}',
    b'{"jsonrpc": "2.0", "id": 99, "error": {"code": 1, "message": "x"}}',
    b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {"a": 1}}}',
    b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 12345}}',
    b'{"jsonrpc": "2.0", "method": "--help"}',
]


class Server:
    """A server process with the client's side of JSON-RPC."""

    def __init__(self, *command: str) -> None:
        words = command or ("-m", "lk_jupyter.cli.mcp")
        self.process = subprocess.Popen(
            [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.ids = count(1000)
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.request("initialize", client)
        self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)

    def send(self, line):
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def receive(self):
        return json.loads(self._lines.get(timeout=LIMIT))

    def request(self, method, params=None):
        request = {"jsonrpc": "2.0", "id": next(self.ids), "method": method, "params": params or {}}
        self.send(json.dumps(request).encode())
        answer = self.receive()
        assert answer["id"] == request["id"]
        return answer

    def call(self, name, arguments):
        """Return the result of a tool for arguments, which may be JSON text that no Python value has."""
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        params = f'{{"name": {json.dumps(name)}, "arguments": {text}}}'
        request_id = next(self.ids)
        self.send(f'{{"jsonrpc": "2.0", "id": {request_id}, "method": "tools/call", "params": {params}}}'.encode())
        answer = self.receive()
        assert answer["id"] in {request_id, None}
        return answer

    def assert_alive(self):
        assert self.request("ping")["result"] == {}
        assert len(self.request("tools/list")["result"]["tools"]) == len(EFFECTS)

    def stop(self):
        self.process.stdin.close()
        try:
            return self.process.wait(LIMIT)
        finally:
            self.process.kill()
            self.process.stdout.close()


@pytest.fixture
def server(signed_in):
    server = Server()
    yield server
    server.process.kill()
    server.process.wait()
    for stream in (server.process.stdin, server.process.stdout):
        stream.close()


def has_failed(answer):
    return answer["result"]["isError"] if "result" in answer else "error" in answer


def start(server, code, key, **options):
    answer = server.call("lk_start", {"code": code, "key": key, **options})
    return answer["result"]["structuredContent"]["records"][0]["id"]


def read_message(answer):
    return answer["result"]["structuredContent"]["records"][0]["message"]


def test_each_tool_states_its_effects_and_its_schema_is_closed(server):
    tools = {tool["name"]: tool for tool in server.request("tools/list")["result"]["tools"]}
    assert list(tools) == list(EFFECTS)
    hints = {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
    for tool in tools.values():
        assert tool["annotations"].keys() == hints
        assert all(isinstance(hint, bool) for hint in tool["annotations"].values())
        assert tool["inputSchema"]["additionalProperties"] is False
    changing = {name for name, tool in tools.items() if not tool["annotations"]["readOnlyHint"]}
    assert changing == {"lk_start", "lk_stop"}
    assert [name for name, tool in tools.items() if tool["annotations"]["destructiveHint"]] == ["lk_stop"]


def test_no_argument_of_a_tool_ends_the_server(server, signed_in):
    ended, active = start(server, "print(1)", "ended"), start(server, "import time; time.sleep(600)", "active")
    asyncio.run(lk_wait(ended))
    known = {"code": "print(1)", "key": "ended", "run": ended, "ids": [ended]}
    texts = [json.dumps(text) for text in TEXTS]
    calls = 0
    for tool in server.request("tools/list")["result"]["tools"]:
        properties = tool["inputSchema"]["properties"]
        base = {name: json.dumps(known[name]) for name in tool["inputSchema"].get("required", ())}
        for name in properties:
            for value in [*texts, *(f"[{text}]" for text in texts), *OTHERS]:
                pairs = {**base, name: value}
                arguments = "{" + ", ".join(f'"{key}": {inner}' for key, inner in pairs.items()) + "}"
                answer = server.call(tool["name"], arguments)
                calls += 1
                events = [
                    record["event"]
                    for record in answer.get("result", {}).get("structuredContent", {}).get("records", ())
                ]
                assert ("error" in events) <= has_failed(answer), (tool["name"], name, value)
                assert not {"help", "version"} & {*events}, (tool["name"], name, value)
    print(f"{calls} calls")
    server.assert_alive()
    assert asyncio.run(lk_wait(active, seconds=0))["exit_code"] == 3
    assert asyncio.run(lk_stop([active]))["exit_code"] == 0


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "lk_wait",
            {"run": "a", "secs": 1},
            "Argument 'secs' is unknown. Nothing was sent. lk_wait accepts: run, seco",
        ),
        ("lk_machines", {"--help": 1}, "Argument '--help' is unknown. Nothing was sent. lk_machines accepts: no argum"),
        ("lk_wait", {}, "Argument 'run' is missing."),
        ("lk_wait", {"run": 5}, "Argument 'run' must be text, got 5."),
        ("lk_wait", {"run": "a", "seconds": "5"}, "Argument 'seconds' must be a whole number, got '5'."),
        ("lk_wait", {"run": "a", "seconds": True}, "Argument 'seconds' must be a whole number, got True."),
        ("lk_wait", {"run": "a", "seconds": 41}, "Argument 'seconds' must be 40 or less, got 41."),
        ("lk_stop", {"ids": "abc"}, "Argument 'ids' must be a list, got 'abc'."),
        ("lk_stop", {"ids": '["abc"]'}, "Argument 'ids' must be a list"),
        ("lk_stop", {"ids": ["abc", 1]}, "Argument 'ids.1' must be text, got 1."),
        ("lk_stop", {"ids": []}, "Give ids"),
        ("lk_start", {"code": "1", "key": "k", "max_cost": "1"}, "Argument 'max_cost' must be a number"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name_and_the_accepted_names(server, name, arguments, message):
    answer = server.call(name, arguments)
    assert answer["result"]["isError"]
    assert answer["result"]["structuredContent"]["exit_code"] == 2
    assert read_message(answer).startswith(message)


def test_a_line_that_is_no_request_has_an_error_as_its_answer(server):
    for line, request_id in BROKEN_LINES:
        server.send(line)
        answer = server.receive()
        assert answer["id"] == request_id, line[:200]
        assert answer["error"]["code"] in {-32700, -32600, -32601, -32602}, line[:200]
    for line in SILENT_LINES:
        server.send(line)
        server.assert_alive()


@pytest.mark.parametrize(
    "rest", [b"", b'{"jsonrpc": "2.0", "id": 3, "meth', b'{"jsonrpc": "2.0", "id": 3, "method": "ping"}']
)
def test_the_end_of_stdin_ends_the_server_also_inside_a_message(server, rest):
    server.process.stdin.write(rest)
    assert server.stop() == 0


@pytest.mark.parametrize(
    "error", ["SystemExit(2)", "KeyboardInterrupt()", "GeneratorExit()", "MemoryError()", "RecursionError()"]
)
def test_an_exception_inside_a_command_is_the_answer_of_its_call(signed_in, error):
    program = (
        "from lk_jupyter.cli import account, mcp\n"
        f"def machines(*_): raise {error}\n"
        "account.machines = machines\n"
        "mcp.main()"
    )
    server = Server("-c", program)
    try:
        assert server.call("lk_machines", {})["result"]["isError"]
        server.assert_alive()
    finally:
        assert server.stop() == 0


def test_text_of_a_run_that_no_message_can_carry_is_cleaned(server, signed_in):
    text = "a\\ud800b\\x1b]0;title\\x07c\\u202ed\\u061ce\\x9bf"
    code = f"import sys; sys.stdout.reconfigure(errors='surrogatepass'); x = {{'{text}': ['{text}']}}; print('{text}')"
    run = start(server, code, "odd text", outputs=["x"])
    for name in ("lk_wait", "lk_logs", "lk_fetch"):
        answer = server.call(name, {"run": run})["result"]
        texts = list(iterate_texts([answer["structuredContent"], json.loads(answer["content"][0]["text"])]))
        assert not [text for text in texts for sign in "\ud800\x1b\x07\u202e\u061c\x9b" if sign in text], name
    server.assert_alive()


def iterate_texts(value):
    """Yield each text of a JSON value, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from iterate_texts(inner)
