"""Just enough of the cloud to flood a reader: made beforehand, sent as fast as a socket takes it.

    python benchmarks/flood_server.py SIZE...

The number in the run's ``print_lines(…)`` is the number of log events that it sends; it is one of the sizes. Prints its
address when ready.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from itertools import count
from typing import Any

CHUNK = 1 << 16
MACHINE = "gpu.l40s"
CREATED = "2026-01-01T00:00:00Z"


def line(number: int) -> str:
    """Return one line of the log."""
    return f"line {number:07} loss 0.4242 accuracy 0.9001\n"


def _events(lines: int) -> bytes:
    outputs = [json.dumps({"output": {"content": line(number)}}, separators=(",", ":")) for number in range(lines)]
    end = json.dumps({"jobFinished": {"job": {"result": {"returnCode": 0}}}})
    return "".join(f"data: {event}\n\n" for event in [*outputs, end]).encode()


class Run:
    """One run: how much it prints, and whether it has."""

    def __init__(self, execution_id: str, events: bytes) -> None:
        self.execution_id = execution_id
        self.events = events
        self.status = "running"

    def record(self) -> dict[str, Any]:
        """Return what the cloud keeps of it."""
        return {
            "execution_id": self.execution_id,
            "status": self.status,
            "created_at": CREATED,
            "start_time": CREATED,
            "hardware_profile": MACHINE,
            "return_code": 0,
            "billed": 0.01,
        }


class FloodServer:
    """Answers the calls that ``%%lk_run`` makes."""

    def __init__(self, sizes: list[int]) -> None:
        self.events = {size: _events(size) for size in sizes}
        self.runs: dict[str, Run] = {}
        self._numbers = count()

    async def serve(self) -> None:
        """Listen on a free port and print the address."""
        server = await asyncio.start_server(self._converse, "127.0.0.1")
        self.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        print(self.address, flush=True)
        await server.serve_forever()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.readline():
                _, target, _ = request.decode().split()
                body = await _body(reader)
                await self._answer(target.partition("?")[0], body, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        if "/stream/" in path:
            await _send_events(self.runs[path.rpartition("/")[2]], writer)
        else:
            await _send_json(self._json(path, body), writer)

    def _json(self, path: str, body: bytes) -> Any:
        if path.endswith("/execution/streaming/start"):
            return self._start(json.loads(body))
        if path.endswith("/metrics"):
            return {"executionId": path.split("/")[-2]}
        if path.endswith("/status") and "/execution/" in path:
            run = self.runs[path.split("/")[-2]]
            return {"execution_id": run.execution_id, "status": run.status}
        if (run := self.runs.get(path.rpartition("/")[2])) is not None:
            return {"logs": [], "total": 0} if "/logs/" in path else run.record()
        return FACTS[path.partition("/external")[2]]

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        sent = request["code"] + (request.get("import_files") or "")
        size = int(re.findall(r"print(?:_lines)?\((\d+)\)", sent)[-1])
        run = Run(f"00000000-0000-4000-8000-{next(self._numbers):012}", self.events[size])
        self.runs[run.execution_id] = run
        return {
            "execution_id": run.execution_id,
            "status": "running",
            "streaming_url": f"{self.address}/api/v1/stream/{run.execution_id}",
        }


#: What the cloud answers to the calls that are not about one run.
FACTS: dict[str, Any] = {
    "/storage/block": [],
    "/machine-types": {"machine_types": [{"hardware_profile": MACHINE, "price_per_hour": 1.0}], "count": 1},
    "/user/quotas": {MACHINE: True},
    "/user/quotas/available-hardware": {"available_hardware_profiles": [MACHINE]},
    "/user/org": {"org_id": "1", "slug": "bench", "name": "Bench", "is_personal": True, "is_key_scoped": True},
    "/user/status": {"user_id": "1", "email": "bench@example.org"},
    "/workloads/list": [],
    "/vms/list": {"vms": [], "total": 0},
    "/inference/list": {"deployments": []},
    "/billing/credits": {
        "available_credits": 100,
        "used_credits": 0,
        "total_credits_used": 0,
        "remaining_credits": 100,
    },
}


async def _body(reader: asyncio.StreamReader) -> bytes:
    length = 0
    while (header := await reader.readline()) not in {b"\r\n", b""}:
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return await reader.readexactly(length)


async def _send_json(answer: Any, writer: asyncio.StreamWriter) -> None:
    body = json.dumps(answer).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def _send_events(run: Run, writer: asyncio.StreamWriter) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {len(run.events)}\r\n\r\n"
    writer.write(head.encode())
    for start in range(0, len(run.events), CHUNK):
        writer.write(run.events[start : start + CHUNK])
        await writer.drain()
    run.status = "completed"


if __name__ == "__main__":
    asyncio.run(FloodServer([int(size) for size in sys.argv[1:]]).serve())
