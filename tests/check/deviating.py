"""A cloud that keeps every promise about a run, over a real socket; a change of an operation breaks a promise."""

from __future__ import annotations

import ast
import json
import re
from datetime import datetime, timedelta, timezone
from threading import Event
from urllib.parse import unquote

from stand_in import IDS, STREAM, USER, StandIn, finished, said

from lk_jupyter.check.spending import FAILED_CODE, SHORT_LIMIT

#: Price of the machine, in credits per hour, and seconds of the first run.
PRICE, FIRST_SECONDS = 1.59, 2

#: What each run of the check contains → its kind.
_KINDS = {"SystemExit(": "fails", "time.sleep(SECONDS)": "waits", "tick {": "counts"}


def read_constants(code):
    """Return the constants that a run of the check starts with."""
    values = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                values[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                break
    return values


class Run:
    """A run of the check: what it printed, when, and how it ended."""

    def __init__(self, run_id, request):
        code = request["code"]
        names = read_constants(code)
        self.run_id, self.request = run_id, request
        self.kind = next((kind for part, kind in _KINDS.items() if part in code), "looks")
        self.aborted = Event()
        self.facts = {"bucket": ["/mnt/s3"], "imported": True, "found": False}
        first = f"lk_check {json.dumps(self.facts)}\n"
        self.text = {
            "looks": lambda: first + names["BLANK_LINES"] + names["CANARY"] + "\n" + names["LONG_LINE"] + "\nend\n",
            "waits": lambda: first,
            "fails": str,
            "counts": lambda: "".join(f"tick {second}\n" for second in range(1, SHORT_LIMIT + 1)),
        }[self.kind]()
        self.seconds = {"looks": FIRST_SECONDS, "waits": 1, "fails": 1, "counts": SHORT_LIMIT}[self.kind]
        self.state = {"looks": "completed", "waits": "running", "fails": "failed", "counts": "timeout"}[self.kind]
        self.code = {"looks": 0, "fails": FAILED_CODE}.get(self.kind)
        self.started_at = datetime.now(timezone.utc)

    @property
    def is_active(self):
        return self.kind == "waits" and not self.aborted.is_set()

    @property
    def billed(self):
        return 0 if self.is_active else round(self.seconds * PRICE / 3600, 6)


class Cloud(StandIn):
    """``changes`` maps operations to functions of status, body and run that return another status and body."""

    def __init__(self):
        super().__init__()
        self.kinds = {}
        self.changes = {}
        self.streams = {}
        for kind in ("image", "compose", "gpu_selection"):
            self.on(f"POST /execution/{kind}/start", (422, {"detail": [{"loc": ["body"], "msg": "Field required"}]}))
        self.on("POST /execution/streaming/start", self.start)
        self.on("POST /workloads/abort/{}", self.abort)
        self.on("GET /execution/streaming/{}/status", lambda request: {"status": self.state(self.find(request))})
        self.on("GET /execution/{}", lambda request: self.build_record(self.find(request)))
        self.on("GET /logs/execution/{}", lambda request: self.build_log(self.find(request)))
        self.on("POST /stream/{}", lambda request: self.open_stream(self.find(request)))
        self.on("GET /workloads/list", lambda _: [self.build_row(run) for run in self.kinds.values() if run.is_active])
        self.on(
            "GET /billing/history",
            lambda _: {"executions": [self.build_row(run) for run in self.kinds.values() if not run.is_active]},
        )
        self.on(
            "GET /billing/credits", lambda _: {"remaining_credits": 5 - sum(run.billed for run in self.kinds.values())}
        )

    def _own(self, operation):
        reply = super()._own(operation)
        is_absent = reply == (404, {"detail": "Not Found"}) and operation.startswith("GET /execution/")
        return (404, {"detail": "Execution not found"}) if is_absent else reply

    def change(self, operation, change):
        self.changes[operation] = change
        return self

    def find(self, request):
        match = re.search("|".join(IDS), unquote(request.path))
        return self.kinds.get(match[0]) if match else None

    def start(self, request):
        if "code" not in request.json:
            return 422, {"detail": [{"loc": ["body", "code"], "msg": "Field required", "type": "missing"}]}
        run_id = self.taken(request)
        self.kinds[run_id] = Run(run_id, request.json)
        return {"execution_id": run_id, "status": "pending", "streaming_url": f"{self.url}/api/v1/stream/{run_id}"}

    def abort(self, request):
        self.find(request).aborted.set()
        return {"message": "ok"}

    def state(self, run):
        return "aborted" if run.kind == "waits" and run.aborted.is_set() else run.state

    def build_row(self, run):
        echo = {name: run.request[name] for name in ("metadata", "file_name")}
        billed = {} if run.is_active else {"billed": run.billed}
        return {
            "execution_id": run.run_id,
            "status": self.state(run),
            "created_at": run.started_at.isoformat(),
            "hardware_profile": run.request["execution_type"],
            "user_id": USER,
            **echo,
            **billed,
        }

    def build_record(self, run):
        end = run.started_at + timedelta(seconds=run.seconds)
        times = {"start_time": run.started_at.isoformat(), "end_time": end.isoformat()}
        return {
            **self.build_row(run),
            **times,
            "stdout": run.text,
            "return_code": run.code,
            "timeout": run.request["timeout"],
        }

    def build_log(self, run):
        stamp = run.started_at.isoformat()
        return {"logs": [{"timestamp": stamp, "message": line, "level": "info"} for line in run.text.split("\n")]}

    def open_stream(self, run):
        if run.kind == "waits":
            return STREAM, said(run.text), run.aborted, finished(returnCode=137)
        end = {"error": "time limit"} if run.kind == "counts" else {"returnCode": run.code}
        return STREAM, said(run.text), finished(**end)

    def on(self, operation, reply):
        """Script an operation; a change of the operation applies to its reply."""

        def changed(request):
            content = reply(request) if callable(reply) else reply
            change = self.changes.get(operation)
            return change(content, self.find(request)) if change else content

        return super().on(operation, changed)
