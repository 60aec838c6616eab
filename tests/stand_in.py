"""A stand-in of the cloud over a real socket, whose answer to each operation can be scripted, or was recorded.

Its own answers are terse ones that the API allows: identifying fields, and little else. ``on`` scripts an operation:
a body, ``(status, body)``, bytes of a whole HTTP answer in a tuple, or a function of the request that returns one.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote, unquote

from api.scripted import KEY, ScriptedServer, answer

from lk_jupyter.api._endpoint import EXTERNAL

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

#: Runs, machines and deployments get these ids in turn.
IDS = [f"{number:08x}-5b1d-4c7e-9a52-6d1f8e0b7a44" for number in range(1, 100)]

#: The user of the account, whose id each record shows.
USER = "7d5e0c1a-93b4-4f6d-8a2e-1b0c9d8e7f60"

#: What is sold: card, kind, price for one GPU and hour, GPUs of a machine; unsorted, as the live service lists it.
_SOLD = [
    ("h100", "on-demand", 2.79, [8, 1, 4, 2]),
    ("a100", "spot", 0.8, [1, 2]),
    ("a100", "on-demand", 1.59, [4, 2, 1, 8]),
]
_FIELDS = ("hardware_profile", "instance_type", "price_per_hour", "allowed_gpus_per_instance")
VARIANTS = [dict(zip(_FIELDS, row, strict=True)) for row in _SOLD]


def event(payload):
    """Return the bytes of one event of a stream."""
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def said(text):
    return event({"output": {"content": text}})


def finished(**result):
    return event({"jobFinished": {"job": {"result": result}}})


NO_VM = (404, {"detail": "VM not found"})

#: What a run streams where the test says nothing else.
DONE = (STREAM, said("hello\n"), finished(returnCode=0))


class StandIn:
    """One account on a cloud. ``calls`` counts what was sent, by ``"METHOD /path"`` with ids as ``{}``."""

    def __init__(self):
        self.server = ScriptedServer(handler=self._answer)
        self.calls = Counter()
        self.bodies = defaultdict(list)
        self.runs = {}
        self.vms = {}
        self.vm_ids = [each.replace("-", "") for each in IDS]
        self.deployments = {}
        self.batches = {}
        self.word = "completed"
        self.record = {}
        self.echoed = ("metadata", "file_name")
        self.stream = DONE
        self._scripts = {}

    @property
    def url(self):
        return self.server.url

    def on(self, operation, reply):
        """Script an operation, such as ``"POST /vms/create"``."""
        self._scripts[operation] = reply
        return self

    def taken(self, request):
        """Take a start as the cloud does, and return its id."""
        execution_id = IDS[len(self.runs)]
        self.runs[execution_id] = request.json
        return execution_id

    def _answer(self, request):
        path = request.path.partition("?")[0].removeprefix(EXTERNAL)
        ids = [quote(each, safe="") for each in (*self.vm_ids, *IDS)]
        operation = f"{request.method} {re.sub('|'.join(map(re.escape, ids)), '{}', path)}"
        operation = re.sub(r"/api/v1(?=/stream)", "", operation)
        self.calls[operation] += 1
        if "json" in request.headers.get("content-type", ""):
            self.bodies[operation].append(request.json)
        reply = self._scripts.get(operation, self._own(operation))
        reply = reply(request) if callable(reply) else reply
        if isinstance(reply, tuple) and (not reply or isinstance(reply[0], bytes)):
            return reply
        status, body = reply if isinstance(reply, tuple) else (200, reply)
        return (answer(status, body if isinstance(body, str) else json.dumps(body), "application/json"),)

    def _own(self, operation):
        return {
            "GET /user/status": {"user_id": USER},
            "GET /machine-types": {"machine_types": [{"hardware_profile": "gpu.a100", "price_per_hour": 1.59}]},
            "GET /user/quotas/available-hardware": {},
            "GET /workloads/list": [],
            "GET /billing/history": lambda _: {"executions": [self._row(each) for each in self.runs]},
            "GET /billing/credits": {"remaining_credits": 5},
            "POST /execution/streaming/start": lambda request: {"execution_id": self.taken(request)},
            "POST /execution/image/start": lambda request: {"execution_id": self.taken(request)},
            "POST /execution/compose/start": lambda request: {"execution_id": self.taken(request)},
            "POST /execution/gpu_selection/start": lambda request: {"execution_id": self.taken(request)},
            "GET /execution/streaming/{}/status": lambda _: {"status": self.word},
            "GET /execution/gpu_selection/{}/status": lambda _: {"status": self.word},
            "GET /execution/{}": lambda request: {**self._row(request.path.rpartition("/")[2]), **self.record},
            "GET /logs/execution/{}": {"logs": []},
            "POST /stream/{}": lambda _: self.stream,
            "GET /vms/availability": {"available_instance_variants": VARIANTS},
            "GET /vms/list": lambda _: {"vms": list(self.vms.values())},
            "POST /vms/create": self._rented,
            "GET /vms/{}/status": lambda request: self.vms.get(unquote(request.path.split("/")[-2]), NO_VM),
            "DELETE /vms/{}": lambda request: self._ended(unquote(request.path.rpartition("/")[2])),
            "GET /inference/models": {"models": [{"serving_name": "local/echo", "gpu_type": "A100"}]},
            "GET /inference/list": lambda _: {"deployments": list(self.deployments.values())},
            "POST /inference/create": self.deployed,
            "POST /workloads/abort/{}": {"message": "ok"},
        }.get(operation, (404, {"detail": "Not Found"}))

    def _row(self, execution_id):
        sent = self.runs.get(execution_id, {})
        echo = {name: sent[name] for name in self.echoed if name in sent}
        now = datetime.now(timezone.utc).isoformat()
        return {"execution_id": execution_id, "status": self.word, "created_at": now, "user_id": USER, **echo}

    def _rented(self, request):
        """Rent as the live service answers: undashed id, no zone, nulls at the top level."""
        vm_id = self.vm_ids[len(self.vms)]
        specs = {"gpu_type": request.json["hardware_profile"], **request.json["instance_specs"]}
        self.vms[vm_id] = {
            "vm_id": vm_id,
            "status": "pending",
            "ip_address": None,
            "created_at": "2026-07-31T09:14:03.120000",
            "instance_specs": specs,
            "hardware_profile": None,
            "gpu_count": None,
            "instance_type": request.json["instance_type"],
            "name": "cloud-7f",
            "display_name": request.json["display_name"],
            "billed": None,
            "croesus_billed": None,
            "user_id": USER,
        }
        return self.vms[vm_id]

    def _ended(self, vm_id):
        if vm_id not in self.vms:
            return NO_VM
        self.vms[vm_id]["status"] = "terminated"
        return {"vm_id": vm_id, "status": "terminated"}

    def deployed(self, request):
        deployment_id = IDS[len(self.deployments)]
        row = {"deployment_id": deployment_id, "hf_model_id": request.json["hf_model_id"], "status": "pending"}
        self.deployments[deployment_id] = row
        return {"deployment_id": deployment_id}

    def close(self):
        self.server.close()


RECORDED = Path(__file__).parent / "recorded"

#: Where recorded streams are: the stand-in has them at its own address.
_STREAM_HOST = "https://stream.example"


def recorded(name):
    """Return what a recording has seen, in order: request, status and answer."""
    return json.loads((RECORDED / f"{name}.json").read_text("utf-8"))["seen"]


class Replay(StandIn):
    """Answers as a recording does: each operation in the order of its answers, the last of them again and again."""

    def __init__(self, name):
        self._rows = defaultdict(list)
        for row in recorded(name):
            self._rows[re.sub(r"\\{\w+\\}", "[^/]+", re.escape(row["request"]))].append(row)
        super().__init__()

    def _answer(self, request):
        asked = f"{request.method} {request.path.partition('?')[0]}"
        self.calls[asked] += 1
        rows = next((rows for pattern, rows in self._rows.items() if re.fullmatch(pattern, asked)), None)
        if rows is None:
            return (answer(404, '{"detail": "Not Found"}', "application/json"),)
        row = rows.pop(0) if len(rows) > 1 else rows[0]
        if isinstance(row["answer"], str):
            return STREAM, row["answer"].encode()
        text = json.dumps(row["answer"]).replace(_STREAM_HOST, self.url)
        return (answer(row["status"], text, "application/json"),)


__all__ = [
    "DONE",
    "IDS",
    "KEY",
    "RECORDED",
    "STREAM",
    "VARIANTS",
    "Replay",
    "StandIn",
    "event",
    "finished",
    "recorded",
    "said",
]
