"""A cloud with captured answers, one of which is changed, and the actions of a user on it.

The answers are those of ``tests/recorded``, and the examples of the API description for the operations that no
recording has. ``mutations`` lists every change of a status and of a field: missing, null, another type, another unit,
another nesting. The cloud knows the truth: which runs and VMs exist, and which of them are active.
"""

from __future__ import annotations

import copy
import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from api.scripted import answer
from localcloud.conftest import description
from stand_in import RECORDED, STREAM, StandIn, event, recorded

from lk_jupyter.api._client import Client
from lk_jupyter.api._endpoint import ENDPOINTS, PLACEHOLDER, V1, Endpoint, is_form

#: The value of a field that is removed.
REMOVED = object()


def constants(*values: Any) -> list[Callable[[Any], Any]]:
    """Return functions that replace any value by these values."""
    return [lambda _, value=value: value for value in values]


def changes_of_type(value: Any) -> list[Callable[[Any], Any]]:
    """Return changes to every other JSON type."""
    return constants(*(other for other in ("zorp", 7, 0.5, True, [], {}) if type(other) is not type(value)))


def changes_of_unit(value: Any) -> list[Callable[[Any], Any]]:
    """Return changes to the same quantity in another unit or notation, and to impossible quantities."""
    if isinstance(value, (bool, dict, list)) or value is None:
        return []
    if isinstance(value, (int, float)):
        factors = [lambda number, factor=factor: number and number * factor for factor in (100, 1000, -1)]
        return [*factors, str, lambda number: f"{number} EUR", *constants(1e308, 10**400)]
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return [
            float,
            *(lambda text, end=end: f"{text}{end}" for end in ("00", "E999", " EUR")),
            *constants("NaN", "-7"),
        ]
    if re.match(r"\d{4}-\d\d-\d\dT", value):
        moments = (1785754800, 1785754800000, "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00Z")
        return [*constants(*moments, "Mon, 03 Aug 2026 11:00:00 GMT"), lambda text: text and text[:10]]
    long, markup = (lambda text: text and text * 2000), (lambda text: f"{text}\n\x1b[2J<script>alert(1)</script>")
    return [*constants(""), lambda text: text and text.upper(), long, markup]


def changes_of_nesting(value: Any) -> list[Callable[[Any], Any]]:
    """Return changes to a value inside of a list, of an object and of JSON text, and to a list without its brackets."""
    inside = [lambda inner: [inner], lambda inner: {"value": inner}, json.dumps]
    return [*inside, lambda rows: rows[0] if rows else rows] if isinstance(value, list) and value else inside


@dataclass(frozen=True)
class Mutation:
    """One change of the answers to an operation: of its status, or of the value at a place in its body.

    With a status, ``text`` replaces the body; None leaves the body.
    """

    operation: str
    label: str
    place: tuple[str | int, ...] = ()
    change: Callable[[Any], Any] | None = None
    status: int | None = None
    text: str | None = None

    def __str__(self) -> str:
        return f"{self.operation}: {self.label}"

    def apply(self, body: Any) -> Any:
        """Return a changed copy of a body; the body itself if it lacks the place."""
        if not self.place:
            return self.change(body)
        changed = copy.deepcopy(body)
        *path, last = self.place
        parent = changed
        try:
            for step in path:
                parent = parent[step]
            value = self.change(parent[last])
        except (LookupError, TypeError, ValueError):  # this answer has no such place or no such value
            return body
        if value is REMOVED:
            del parent[last]
        else:
            parent[last] = value
        return changed


def wrapped(body: Any, how: str) -> Any:
    """Return a body in another nesting."""
    return {"data": {"data": body}, "list": [body], "text": json.dumps(body), "result": {"result": {"data": body}}}[how]


#: Answers in place of the captured answer: status, and body as text. A server that answers 4xx did nothing.
STATUSES = [
    (200, ""),
    (200, "<html>Sign in</html>"),
    (200, '{"execution_id": '),
    (201, None),
    (202, None),
    (204, ""),
    (302, ""),
    (304, ""),
    (400, '{"detail": "Bad request"}'),
    (401, '{"detail": "Session expired"}'),
    (402, '{"detail": "Insufficient credits"}'),
    (403, '{"detail": "Forbidden"}'),
    (404, '{"detail": "Not Found"}'),
    (404, '{"detail": "Execution not found"}'),
    (409, '{"error": {"message": ["Conflict"]}}'),
    (410, "[]"),
    (422, '{"detail": [{"loc": ["body", 7], "msg": null, "type": {}}]}'),
    (429, '{"detail": 7}'),
    (500, '{"detail": "boom"}'),
    (502, "<html>Bad gateway</html>"),
    (503, "null"),
    (504, ""),
    (599, '"text"'),
]


def places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every place of a body with its value; of a list the first element."""
    if place:
        yield place, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*place, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*place, 0))


def mutations(operation: str, body: Any) -> Iterator[Mutation]:
    """Yield every mutation of an operation with this answer."""
    for status, text in STATUSES:
        yield Mutation(operation, f"HTTP {status} {text!r:.40}", status=status, text=text)
    for how in ("data", "list", "text", "result"):
        yield Mutation(
            operation, f"the answer in another nesting: {how}", change=lambda body, how=how: wrapped(body, how)
        )
    for value in (None, [], {}, 7, "zorp", True):
        yield Mutation(operation, f"{json.dumps(value)} for the answer", change=lambda _, value=value: value)
    for place, value in places(body):
        kinds = {
            "missing": constants(REMOVED),
            "null": constants(None),
            "type": changes_of_type(value),
            "unit": changes_of_unit(value),
            "nesting": changes_of_nesting(value),
        }
        for kind, changes in kinds.items():
            for number, change in enumerate(changes):
                yield Mutation(operation, f"{'.'.join(map(str, place))}: {kind} {number}", place, change)


# Captured answers


def examples() -> dict[str, Any]:
    """Return operation → example of its answer in the API description."""
    found = {}
    for path, methods in description()["paths"].items():
        for method, operation in methods.items():
            contents = [
                content["example"]
                for status, response in (operation.get("responses", {}) if isinstance(operation, dict) else {}).items()
                if str(status).startswith("2")
                for content in response.get("content", {}).values()
                if "example" in content
            ]
            if contents:
                found[f"{method.upper()} {path}"] = contents[0]
    return found


def endpoint_of(method: str, path: str) -> Endpoint | None:
    """Return the declared operation of a request."""
    for endpoint in sorted(ENDPOINTS, key=lambda each: each.path.count("{")):
        for server in endpoint.servers:
            pattern = PLACEHOLDER.sub(
                "[^/]+", re.escape(server + endpoint.path).replace(r"\{", "{").replace(r"\}", "}")
            )
            if endpoint.method == method and re.fullmatch(pattern, path):
                return endpoint
    return None


def plain(operation: str) -> str:
    """Return an operation without the names of its placeholders."""
    return re.sub(r"{[^{}]*}", "{}", operation)


def captured() -> dict[str, Any]:
    """Return operation → the body of its first recorded answer of success, else of its example.

    A stream is the list of its events.
    """
    answers = {}
    for recording in sorted(RECORDED.glob("*.json")):
        for row in recorded(recording.stem):
            endpoint = endpoint_of(*row["request"].split(" "))
            if endpoint and row["status"] < 300:
                answers.setdefault(plain(str(endpoint)), row["answer"])
    for operation, example in examples().items():
        answers.setdefault(plain(operation), example)
    rows = (
        {**answers["GET /workloads/list"][0]}
        if answers["GET /workloads/list"]
        else examples()["GET /workloads/list"][0]
    )
    answers["GET /workloads/list"] = [rows]
    metrics = answers["GET /execution/{}/metrics"]
    for name in [name for name, points in metrics.items() if isinstance(points, list)][2:]:
        metrics[name] = metrics[name][:0]  # all series have one form
    answers["GET /inference/models"]["models"][0]["ready_timeout_s"] = 1
    stream = answers["POST /stream/{}"]
    answers["POST /stream/{}"] = [json.loads(line.removeprefix("data: ")) for line in stream.split("\n\n") if line]
    return answers


ANSWERS = captured()

#: Operation → example of its body in the API description.
BODIES = {
    plain(f"{method.upper()} {path}"): content["example"]
    for path, methods in description()["paths"].items()
    for method, operation in methods.items()
    if isinstance(operation, dict)
    for content in operation.get("requestBody", {}).get("content", {}).values()
    if "example" in content
}

#: The run of the recordings, whose id each started run replaces.
RECORDED_RUN = ANSWERS["POST /execution/streaming/start"]["execution_id"]
RECORDED_VM = ANSWERS["POST /vms/create"]["vm_id"]
RECORDED_DEPLOYMENT = ANSWERS["POST /inference/create"]["deployment_id"]

#: Operations that start runs, and all operations after which something is billed.
STARTS = {f"POST /execution/{kind}/start" for kind in ("streaming", "image", "compose", "gpu_selection")}
PAID = STARTS | {"POST /vms/create", "POST /inference/create"}

#: Operations about runs.
OF_RUNS = (
    "POST /execution/streaming/start", "GET /execution/streaming/{}/status", "GET /execution/{}", "POST /stream/{}",
    "GET /billing/history", "GET /workloads/list", "POST /workloads/abort/{}",
)  # fmt: skip


@dataclass
class CloudRun:
    """A run as the cloud knows it."""

    run_id: str
    request: dict[str, Any]
    state: str


class CapturedCloud(StandIn):
    """Answers as the captured service does, but for one mutation. ``truth`` is how its runs end, if they do."""

    def __init__(self, truth: str, mutation: Mutation | None) -> None:
        self.truth = truth
        self.mutation = mutation
        self.cloud_runs: dict[str, CloudRun] = {}
        self.rented: dict[str, str] = {}
        self.deployed_ids: dict[str, str] = {}
        self.objects: dict[str, bytes] = {}
        self.paid: Counter[str] = Counter()
        super().__init__()

    def _answer(self, request):
        path, _, query = request.path.partition("?")
        endpoint = endpoint_of(request.method, path)
        if endpoint is None:
            return self._store(request, path, query)
        operation = plain(str(endpoint))
        self.calls[operation] += 1
        mutation = self.mutation if self.mutation and self.mutation.operation == operation else None
        if mutation and mutation.status and 400 <= mutation.status < 500:
            return (answer(mutation.status, mutation.text or "", "application/json"),)
        body = self._body(operation, request, path)
        if body is None:
            return (answer(404, '{"detail": "Execution not found"}', "application/json"),)
        if mutation and mutation.status and mutation.text is not None:
            return (answer(mutation.status, mutation.text, "application/json"),)
        status = mutation.status if mutation and mutation.status else endpoint.status
        body = mutation.apply(body) if mutation and not mutation.status else body
        if endpoint.streams:
            events = body if isinstance(body, list) else [body]
            return (STREAM, *(each.encode() if isinstance(each, str) else event(each) for each in events))
        return (answer(status, json.dumps(body), "application/json"),)

    def _body(self, operation: str, request, path: str) -> Any:
        """Return the truthful answer, and do what the operation does."""
        if operation in PAID:
            return self._paid_body(operation, request)
        if "/execution/" in path or "/workloads/" in path or path.startswith(V1):
            return self._run_body(operation, path)
        if "/vms/" in path:
            return self._vm_body(operation, path)
        if "/inference/" in path:
            return self._deployment_body(operation, request)
        body = ANSWERS.get(operation)
        if operation == "GET /billing/history":
            runs = list(self.cloud_runs.values()) or [CloudRun(RECORDED_RUN, {}, self.truth)]
            rows = [self._row(body["executions"][0], each) for each in runs]
            body = {**body, "executions": rows, "total_executions": len(rows)}
        elif operation == "POST /storage/credentials":
            body = {**body, "endpoint": self.url, "expires_at": "2099-06-02T10:14:03Z"}
        return body

    def _paid_body(self, operation: str, request) -> Any:
        """Start a run, a VM or a deployment."""
        self.paid[operation] += 1
        new = str(uuid.uuid4())
        if operation in STARTS:
            self.cloud_runs[new] = CloudRun(new, request.json, self.truth)
            return with_id(ANSWERS["POST /execution/streaming/start"], RECORDED_RUN, new, self.url)
        if operation == "POST /inference/create":
            self.deployed_ids[new] = "created"
            return with_id(ANSWERS[operation], RECORDED_DEPLOYMENT, new, self.url)
        vm_id = new.replace("-", "")
        self.rented[vm_id] = "ready"
        name = request.json["display_name"]
        return {**with_id(ANSWERS[operation], RECORDED_VM, vm_id, self.url), "display_name": name}

    def _row(self, row: dict[str, Any], run: CloudRun) -> dict[str, Any]:
        """Return a row of a list of runs."""
        repeated = {name: run.request.get(name) for name in ("metadata", "file_name")}
        row = {**row, "execution_id": run.run_id, "status": word_of(run.state), **repeated}
        return row | {"billed": None if run.state == "running" else 0.0021} if "billed" in row else row

    def _run_body(self, operation: str, path: str) -> Any:
        of_recording = CloudRun(RECORDED_RUN, {}, self.truth) if RECORDED_RUN in path else None
        run = next((run for run_id, run in list(self.cloud_runs.items()) if run_id in path), of_recording)
        body = ANSWERS.get(operation)
        if operation == "GET /workloads/list":
            active = [each for each in list(self.cloud_runs.values()) if each.state == "running"]
            return [self._row({**body[0], "job_type": None}, each) for each in active]
        if run is None or body is None:
            return None
        body = with_id(body, RECORDED_RUN, run.run_id, self.url)
        if "/abort/" in path and run.state == "running":
            run.state = "aborted"
        if operation == "POST /stream/{}":
            return body[:-1] if run.state == "running" else [*body[:-1], ended(0 if run.state == "completed" else 1)]
        if operation == "GET /execution/streaming/{}/status":
            return {**body, "status": word_of(run.state)}
        if operation == "GET /execution/{}":
            repeated = {name: run.request.get(name) for name in ("metadata", "file_name")}
            body = {**body, "status": word_of(run.state), **repeated}
            if run.state == "running":
                body |= {"return_code": None, "end_time": None, "billed": None}
            elif run.state != "completed":
                body |= {"return_code": 1 if run.state == "failed" else None}
        return body

    def _vm_body(self, operation: str, path: str) -> Any:
        if operation in {"GET /vms/list", "GET /vms/availability"}:
            (row, *_) = ANSWERS["GET /vms/list"]["vms"]
            rows = [{**row, "vm_id": vm_id, "status": state} for vm_id, state in list(self.rented.items())]
            return ANSWERS[operation] if "availability" in path else {"vms": rows, "total": len(rows)}
        if RECORDED_RUN in path:
            return ANSWERS.get(operation)
        vm_id = next((each for each in list(self.rented) if each in path.replace("-", "")), None)
        if vm_id is None or operation not in ANSWERS:
            return None
        if operation.startswith("DELETE"):
            self.rented[vm_id] = "terminated"
        body = with_id(ANSWERS[operation], RECORDED_VM, vm_id, self.url)
        return {**body, "status": self.rented[vm_id], "ip_address": "127.0.0.1:1"} if "/status" in path else body

    def _deployment_body(self, operation: str, request) -> Any:
        known = next((each for each in list(self.deployed_ids) if each in f"{request.path} {request.body}"), None)
        if operation == "GET /inference/list":
            row = served(ANSWERS["GET /inference/get"])
            rows = [
                with_id(row, RECORDED_DEPLOYMENT, each, self.url) | {"status": state}
                for each, state in list(self.deployed_ids.items())
            ]
            return {"deployments": rows}
        is_unknown = known is None and RECORDED_RUN not in request.path and operation == "GET /inference/get"
        if is_unknown or operation not in ANSWERS:
            return None
        if known and operation == "DELETE /inference/stop":
            self.deployed_ids[known] = "stopped"
        body = ANSWERS[operation]
        body = served(body) if operation == "GET /inference/get" else body
        return with_id(body, RECORDED_DEPLOYMENT, known, self.url) if known else body

    def _store(self, request, path: str, query: str):
        """Answer as an object store does, as far as the actions here need it."""
        key = path.strip("/").partition("/")[2]
        if request.method == "PUT":
            self.objects[key] = request.body
            return (answer(200, "", "application/xml", ETag='"7"'),)
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return (answer(204, "", "application/xml"),)
        if "list-type" in query:
            rows = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(text)}</Size><ETag>7</ETag>"
                "<LastModified>2026-08-03T11:00:00.000Z</LastModified></Contents>"
                for name, text in self.objects.items()
            )
            page = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
            return (answer(200, page, "application/xml"),)
        if key and key in self.objects:
            text = self.objects[key].decode("latin-1")
            sizes = {"Content-Range": f"bytes 0-{len(text) - 1}/{len(text)}"} if "range" in request.headers else {}
            return (answer(206 if sizes else 200, text, "text/plain", ETag='"7"', **sizes),)
        return (answer(404 if key else 200, "", "application/xml"),)


def with_id(body: Any, old: str, new: str, url: str) -> Any:
    """Return a body with another id, whose stream is at this address."""
    return json.loads(json.dumps(body).replace(old, new).replace("https://stream.example", url))


def word_of(state: str) -> str:
    return "failed_user" if state == "failed" else state


def ended(code: int) -> dict[str, Any]:
    """Return the last event of a stream."""
    return {"jobFinished": {"job": {"result": {"returnCode": code}}}}


def served(deployment: dict[str, Any]) -> dict[str, Any]:
    """Return a deployment that serves."""
    replica = {"replica_id": RECORDED_DEPLOYMENT, "status": "running", "healthy": True, "last_health_check": None}
    return {**deployment, "status": "created", "current_replicas": 1, "replicas": [{**replica, "fail_reason": None}]}


# What a user does


@dataclass(frozen=True)
class Scene:
    """Cells that a user runs one after the other; ``{run}`` is the id of the first run.

    The cells of ``always`` run in each case, the other cells only if they send the request whose answer is changed.
    ``truths`` are how the runs of the cloud end, ``starts`` is how many runs the cells may start.
    """

    name: str
    cells: tuple[str, ...]
    always: tuple[str, ...] = ()
    truths: tuple[str, ...] = ("completed",)
    starts: int = 1


CLIENT = "from lk_jupyter import session\nclient = session.current().client\n"
RUN = "%%lk_run --machine gpu.l40s\nprint('epoch 1')"
FAN_OUT = RUN.replace("gpu.l40s", "gpu.l40s,gpu.a100")
DETACHED = RUN.replace("\n", " --detach\n", 1)
START = CLIENT + "run = session.current().run(\"print('epoch 1')\", machine='gpu.l40s')"
WAIT = """
try:
    print("wait returned", run.wait(timeout=0.3).status)
except TimeoutError as error:
    print(error)
"""
METRICS = (
    CLIENT
    + """
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.metrics import metrics
run = Run.attach(session.current(), "{run}")
print(metrics.read(run), run.logs(), run.bill(run.record))
"""
)
DEPLOY = "%lk_deploy small-chat --gpu A100 --yes"

SCENES = (
    Scene("run", (
        "%lk_machines --all", "%lk_status {run}", "%lk_logs {run}", "%lk_logs", "%lk_runs", "%lk_history",
        "%lk_attach {run}", METRICS, "%lk_abort {run}",
    ), always=(RUN,), truths=("completed", "failed")),
    Scene("limited run", ("%lk_balance",), always=(RUN.replace("\n", " --max-cost 0.02\n", 1),)),
    Scene("active run", (WAIT, "%lk_runs", "%lk_status {run}"), always=(START, "%lk_abort {run}"), truths=("running",)),
    Scene("money", (
        "%lk_balance", "%lk_whoami", "%lk_billing history", "%lk_billing activities", "%lk_billing invoices",
        "%lk_billing account", "%lk_pricing", "%lk_machines",
    )),
    Scene("vms", ("%lk_vm offers", "%lk_vm list --all", "%lk_vm status train", "%lk_vm ssh train", "%lk_volumes"),
          always=("%lk_vm create --gpu A100 --name train --yes", "%lk_vm delete train --yes")),
    Scene("models", ("%lk_models", "%lk_deployments", "%lk_deployments {deployment}"),
          always=(DEPLOY, "%lk_undeploy {deployment}")),
    Scene("storage", ("%lk_put a.txt data/", "%lk_ls", "%lk_get data/a.txt b.txt", "%lk_rm data/a.txt --yes")),
    Scene("bucket", ("%lk_bucket list", "%lk_files list", "%lk_secrets list", "%lk_keys list",
                     "%lk_mfa status", "%lk_org list", "%lk_org show", "%lk_org members", "%lk_sessions list")),
    Scene("fan-out", (), always=(FAN_OUT,), truths=("completed", "failed"), starts=2),
    Scene("detached", ("%lk_runs",), always=(DETACHED, "%lk_wait {run}"), truths=("completed", "failed")),
    Scene("container", (), always=("%%lk_docker python:3.11 --machine gpu.l40s\necho epoch 1",)),
    Scene("stack", (), always=("%%lk_compose --machine gpu.l40s\nservices:\n  app:\n    image: python:3.11",)),
    Scene("selection", (), always=("%%lk_select --yes\nprint('epoch 1')",), starts=2),  # if it can't select
    Scene("client", ("read('{operation}')",)),
)  # fmt: skip


def is_readable(operation: str) -> bool:
    """Return whether ``reader`` can send a request: nothing is billed, and its body, if it has one, is an example."""
    endpoint = next(each for each in ENDPOINTS if plain(str(each)) == operation)
    bodies = [name for name in endpoint.signature.parameters if endpoint.place(name) == "body"]
    forms = any(is_form(endpoint.signature.parameters[name].annotation) for name in bodies)
    return operation not in PAID and not forms and (not bodies or operation in BODIES)


def reader(client: Client, operation: str) -> None:
    """Send a request with the client and show the answer as a user would look at it."""
    endpoint = next(each for each in ENDPOINTS if plain(str(each)) == operation)
    group = next(
        group
        for name, kind in vars(Client).items()
        if hasattr(kind, "attrname") and type(group := getattr(client, name)) is endpoint.owner
    )
    required = {name: row for name, row in endpoint.signature.parameters.items() if row.default is row.empty}
    values = {name: BODIES[operation] if endpoint.place(name) == "body" else RECORDED_RUN for name in required}
    found = getattr(group, endpoint.name)(**values)
    print(found, list(found) if hasattr(found, "__iter__") else "")
    if hasattr(found, "df"):
        print(found.df)
