"""A scripted cloud with one run, whose stream breaks as the test says."""

from __future__ import annotations

import json

import pytest
from api.scripted import KEY, ScriptedServer, answer

from lk_jupyter.api._client import Client
from lk_jupyter.runs import follow
from lk_jupyter.runs.log import RunLog

RUN = "3f0c2a9e-5b1d-4c7e-9a52-6d1f8e0b7a44"
CREATED = "2026-06-02T09:14:03Z"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
DONE = b'data: {"jobFinished":{"job":{"result":{"returnCode":0}}}}\n\n'


def output(*chunks):
    """Return the bytes of these chunks as a server sends them."""
    return b"".join(b"data: " + json.dumps({"output": {"content": chunk}}).encode() + b"\n\n" for chunk in chunks)


class ScriptedRun:
    """Answers the calls about one run. ``connections`` are the streams, one after the other."""

    def __init__(self):
        self.connections = []
        self.statuses = ["running"]
        self.record = {"execution_id": RUN, "status": "completed", "created_at": CREATED}
        self.stored = []

    def __call__(self, request):
        if "/stream/" in request.path:
            return self.connections.pop(0) if self.connections else not_found("Stream not found")
        if request.path.endswith("/status"):
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
            return ok({"execution_id": RUN, "status": status})
        if "/logs/" in request.path:
            return ok({"logs": self.stored, "total": len(self.stored)})
        return ok(self.record)

    def store(self, *lines):
        """Let the stored log hold these lines."""
        self.stored = [{"timestamp": f"2026-06-02T09:14:{at:02}Z", "message": line} for at, line in enumerate(lines)]


def ok(body):
    return (answer(200, json.dumps(body), "application/json"),)


def not_found(detail):
    return (answer(404, json.dumps({"detail": detail}), "application/json"),)


@pytest.fixture
def scripted_run():
    return ScriptedRun()


@pytest.fixture
def server(scripted_run):
    scripted = ScriptedServer(handler=scripted_run)
    yield scripted
    scripted.close()


@pytest.fixture
def client(server):
    with Client(server.url, KEY, backoff=0) as client:
        yield client


@pytest.fixture
def follower(client, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "PAUSES", (0.0,))
    follower = follow.Follower(client, RUN, RunLog(tmp_path / "run.log"))
    yield follower
    follower.log.close()
