"""The catalogue of odd answers: for each kind of object, what the cloud may answer at each step.

A row of the catalogue is a dimension, a label, the actions of a user that meet it, and a function that returns the
changes of ``odd_server``. ``scenarios`` draws one action for each row.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from random import Random
from typing import Any

from odd_server import (
    PROXY_PAGE,
    Answer,
    Change,
    Forward,
    RenamedIds,
    Request,
    at,
    delay,
    drop,
    edit,
    edit_rows,
    execute,
    lose,
    refuse,
)


@dataclass(frozen=True)
class Kind:
    """A kind of object: the field of its id, the field of its state, and its operations by step."""

    name: str
    key: str
    word: str
    steps: dict[str, str]
    #: Step → the actions that send its request.
    actions: dict[str, tuple[str, ...]]
    #: Words for an active object, and for an object that has ended, as the cloud writes them.
    active: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    #: Fields of a price, and of a bill; the operation that answers with the prices.
    prices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    bills: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("list", "status")
    #: The steps that end an object.
    ends: tuple[str, ...] = ("delete",)


@dataclass(frozen=True)
class Row:
    """A row of the catalogue."""

    kind: str
    dimension: str
    label: str
    actions: tuple[str, ...]
    build: Callable[[], list[Change]]


@dataclass(frozen=True)
class Scenario:
    """An action of a user, and an odd answer that it meets."""

    row: Row
    action: str

    def __str__(self) -> str:
        return f"{self.row.kind} · {self.action} · {self.row.dimension} · {self.row.label}"


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "vm", "vm_id", "status",
            {
                "create": "POST /vms/create", "list": "GET /vms/list", "status": "GET /vms/{}/status",
                "delete": "DELETE /vms/{}", "key creation": "POST /auth/api-keys/",
                "key revocation": "DELETE /auth/api-keys/{}", "offers": "GET /vms/availability",
                "credentials": "POST /storage/credentials",
            },
            {
                "create": ("create", "cell", "call"), "list": ("create", "cell", "delete", "abort"),
                "status": ("create", "cell", "abort"), "delete": ("delete", "cell", "abort"),
                "key creation": ("cell", "call"), "key revocation": ("cell", "abort"), "offers": ("create", "cell"),
                "credentials": ("cell", "abort"),
            },
            ("running", "ready", "pending", "provisioning"), ("terminated",),
            {"GET /vms/availability": ("price_per_hour",)}, ("billed", "croesus_billed"),
        ),
        Kind(
            "volume", "volume_id", "status",
            {
                "list": "GET /storage/block", "delete": "DELETE /storage/block/{}", "create": "POST /vms/create",
                "status": "GET /vms/{}/status",
            },
            {
                "list": ("delete volume", "cell with volume", "create with volume"), "delete": ("delete volume",),
                "create": ("create with volume",), "status": ("cell with volume", "create with volume"),
            },
            ("available", "attached"), (), {}, (),
        ),
        Kind(
            "deployment", "deployment_id", "status",
            {
                "create": "POST /inference/create", "list": "GET /inference/list", "status": "GET /inference/get",
                "delete": "DELETE /inference/stop", "models": "GET /inference/models",
            },
            {
                "create": ("deploy",), "list": ("deploy", "undeploy"), "status": ("deploy",), "delete": ("undeploy",),
                "models": ("deploy",),
            },
            ("created", "pending", "running"), ("stopped",),
            {"GET /machine-types": ("price_per_hour",)}, (),
        ),
        Kind(
            "batch", "id", "status",
            {
                "create": "POST /batches", "list": "GET /batches", "status": "GET /batches/{}", "upload": "POST /files",
                "content": "GET /files/{}/content", "delete": "POST /batches/{}/cancel",
            },
            {
                "create": ("batch",), "list": ("batch",), "status": ("batch", "cancel batch"), "upload": ("batch",),
                "content": ("batch",), "delete": ("cancel batch",),
            },
            ("validating", "in_progress", "finalizing"), ("completed",), {}, (),
        ),
        Kind(
            "container", "execution_id", "status",
            {
                "create": "POST /execution/image/start", "list": "GET /workloads/list", "status": "GET /execution/{}",
                "stop": "POST /workloads/abort/{}", "stream": "POST /stream/{}", "logs": "GET /logs/execution/{}",
                "history": "GET /billing/history",
            },
            {
                "create": ("docker", "compose"), "list": ("docker",), "status": ("docker", "stop container"),
                "stop": ("stop container",), "stream": ("docker",), "logs": ("docker",), "history": ("docker",),
            },
            ("running", "pending"), ("completed", "failed"), {"GET /machine-types": ("price_per_hour",)}, ("billed",),
            ("list", "status", "history"), ("stop",),
        ),
        Kind(
            "session", "execution_id", "status",
            {
                "create": "POST /execution/image/start", "list": "GET /workloads/list", "status": "GET /execution/{}",
                "stop": "POST /workloads/stop/{}", "abort": "POST /workloads/abort/{}",
                "state": "GET /execution/streaming/{}/status", "secrets": "GET /environment-variables/",
            },
            {
                "create": ("session",), "list": ("session", "stop session"), "status": ("session", "stop session"),
                "stop": ("stop session",), "abort": ("stop session",), "state": ("session", "stop session"),
                "secrets": ("session",),
            },
            ("running", "pending"), ("completed", "aborted", "cancelled"),
            {"GET /machine-types": ("price_per_hour",)}, ("billed",), ("list", "status", "state"),
            ("stop", "abort"),
        ),
        Kind(
            "run", "execution_id", "status",
            {
                "create": "POST /execution/streaming/start", "list": "GET /workloads/list",
                "status": "GET /execution/{}", "state": "GET /execution/streaming/{}/status",
                "abort": "POST /workloads/abort/{}", "stream": "POST /stream/{}", "logs": "GET /logs/execution/{}",
                "credentials": "POST /storage/credentials", "history": "GET /billing/history",
            },
            {
                "create": ("run", "lk run"), "list": ("run",), "status": ("run", "lk run", "abort run"),
                "state": ("run", "abort run"), "abort": ("abort run",), "stream": ("run", "lk run"), "logs": ("run",),
                "credentials": ("upload", "run with files"), "history": ("run",),
            },
            ("running", "pending"), ("completed", "failed"),
            {"GET /machine-types": ("price_per_hour",)}, ("billed",), ("list", "status", "state", "history"),
            ("abort",),
        ),
    )
}  # fmt: skip


# What goes wrong with a request

#: Label → effect on one request.
FAILURES: dict[str, Change] = {
    "404": refuse(404, {"detail": "Not Found"}),
    "404 as of an unknown object": refuse(404, {"detail": "Object not found"}),
    "403": refuse(403, {"detail": "Forbidden"}),
    "410": refuse(410, {"detail": "Gone"}),
    "429": refuse(429, {"detail": "Too many requests"}),
    "500": refuse(500, {"detail": "Internal error"}),
    "502 with a page": refuse(502, PROXY_PAGE),
    "503": refuse(503, {"detail": "Service unavailable"}),
    "200 with a page": refuse(200, "<html>Sign in</html>"),
    "202 without effect": refuse(202, {"status": "accepted"}),
    "dropped": drop,
    "late by 2 s": delay(2.0),
    "executed, answer lost": lose,
    "executed, answered 500": execute(500, {"detail": "Internal error"}),
    "executed, answered 502 with a page": execute(502, PROXY_PAGE),
    "executed, answered 403": execute(403, {"detail": "Forbidden"}),
    "executed, answered 404": execute(404, {"detail": "Not Found"}),
    "executed, answered {}": execute(200, {}),
    "executed, answered null": execute(200, None),
}

#: Failures that only a request that creates something meets.
CREATE_FAILURES: dict[str, Change] = {
    "400": refuse(400, {"detail": "The instance request was invalid. Please check it and try again."}),
    "402": refuse(402, {"detail": "Insufficient credits"}),
    "500 without capacity": refuse(500, {"detail": "The instance could not be provisioned right now. Try again."}),
    "executed, answered 500 without capacity": execute(
        500, {"detail": "The instance could not be provisioned right now. Try again later."}
    ),
    "executed, answered 409": execute(409, {"detail": "Conflict"}),
    "executed, answered 429": execute(429, {"detail": "Too many requests"}),
    "executed, answered 401": execute(401, {"detail": "Session expired"}),
}

#: Failures that would refuse everything, so no request has an effect.
_EXECUTED = "executed"


def failure_rows(kind: Kind) -> Iterator[Row]:
    """Yield each failure at each step, once and always."""
    for step, operation in kind.steps.items():
        failures = FAILURES | (CREATE_FAILURES if step == "create" else {})
        for number, (label, effect) in enumerate(failures.items()):
            times = (1, None) if number % 2 else (None, 1)
            for count in times[:1] if step in {"offers", "models", "logs", "history", "secrets"} else times:
                often = "always" if count is None else "once"
                yield Row(
                    kind.name, f"{step} fails", f"{label}, {often}", kind.actions[step],
                    lambda operation=operation, effect=effect, count=count: [at(operation, effect, times=count)],
                )  # fmt: skip


# State words

FINAL_WORDS = (
    "stopped",
    "reclaimed",
    "deallocated",
    "Terminated",
    "PREEMPTED",
    "evicted",
    "failed",
    "error",
    "deleted",
)
ODD_WORDS = ("zorp", "angehalten", "", None, 7, "RUNNING", "Ready ", "unknown", "degraded", {"state": "running"})
ENDED_WORDS = (
    "Terminated",
    "TERMINATED",
    "deleted",
    "deallocated",
    "gone",
    "archived",
    "gelöscht",
    None,
    0,
    "destroyed",
)


def state_rows(kind: Kind) -> Iterator[Row]:
    """Yield other words for active objects, too early, and for objects that have ended."""
    actions = tuple(dict.fromkeys(each for step in kind.reads if step in kind.actions for each in kind.actions[step]))

    def replace(words: tuple[str, ...], other: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda row: {**row, kind.word: other} if row.get(kind.word) in words else row

    def build(words: tuple[str, ...], other: Any, nth: int) -> list[Change]:
        effect = edit_rows(kind.key, replace(words, other))
        return [at(kind.steps[step], effect, nth=nth) for step in kind.reads if step in kind.steps]

    for number, word in enumerate((*FINAL_WORDS, *ODD_WORDS)):
        nth = 1 + number % 3
        label = f"{word!r} for active from answer {nth} on"
        yield Row(kind.name, "state", label, actions, lambda word=word, nth=nth: build(kind.active, word, nth))
    for word in ENDED_WORDS if kind.ended else ():
        yield Row(kind.name, "state", f"{word!r} for ended", actions, lambda word=word: build(kind.ended, word, 1))


# Ids

ID_FORMS: dict[str, Callable[[str], str | int]] = {
    "dashed": lambda raw: str(uuid.UUID(raw.replace("-", "")[-32:].rjust(32, "0"))) if _is_hex(raw) else f"{raw}-x-y",
    "undashed": lambda raw: raw.replace("-", ""),
    "uppercase": lambda raw: raw.upper(),
    "with a prefix": lambda raw: f"cloud-eu:{raw}",
    "long": lambda raw: f"{raw}{'0a' * 40}",
    "with slashes": lambda raw: f"org/{raw}",
    "with a percent sign": lambda raw: f"{raw}%2F7",
    "with a space": lambda raw: f"{raw[:8]} {raw[8:]}",
    "number": lambda raw: int(raw.replace("-", "")[-12:], 16) if _is_hex(raw[-12:]) else abs(hash(raw)) % 10**12,
    "short": lambda raw: raw[-4:],
    "beginning with zeros": lambda raw: f"00000000{raw}",
}


def _is_hex(raw: str) -> bool:
    return bool(raw) and all(letter in "0123456789abcdef" for letter in raw.replace("-", ""))


def id_rows(kind: Kind, actions: tuple[str, ...]) -> Iterator[Row]:
    """Yield other forms of ids, which alone the cloud accepts."""
    for label, form in ID_FORMS.items():
        yield Row(kind.name, "id", label, actions, lambda form=form: [RenamedIds(kind.key, form)])


# Lists


def list_rows(kind: Kind) -> Iterator[Row]:
    """Yield odd lists."""
    operation, actions = kind.steps["list"], kind.actions["list"]

    def with_rows(change: Callable[[list[Any]], list[Any]]) -> Callable[[Any], Any]:
        def apply(content: Any) -> Any:
            if isinstance(content, list):
                return change(content)
            return {name: change(value) if isinstance(value, list) else value for name, value in content.items()}

        return apply

    def others(rows: list[Any]) -> list[Any]:
        foreign = {"user_id": "another-user", "display_name": "odd", "hf_model_id": "local/echo", "metadata": None}
        return [*({**row, kind.key: f"ffff{row[kind.key]}"[:40], **foreign} for row in rows[:1]), *rows]

    changes: dict[str, Callable[[Any], Any]] = {
        "empty": with_rows(lambda _: []),
        "first row missing": with_rows(lambda rows: rows[1:]),
        "each row twice": with_rows(lambda rows: [*rows, *rows]),
        "reversed": with_rows(lambda rows: rows[::-1]),
        "a row of another user first": with_rows(others),
        "a null among the rows": with_rows(lambda rows: [None, *rows]),
        "rows as an object by id": lambda content: {
            name: {str(row[kind.key]): row for row in value} if isinstance(value, list) else value
            for name, value in (content if isinstance(content, dict) else {"items": content}).items()
        },
        "without its field": lambda content: {"total": 0} if isinstance(content, dict) else {},
        "inside of data": lambda content: {"data": content},
        "inside of result.items": lambda content: {"result": {"items": content}},
        "null": lambda _: None,
        "with a page that never ends": lambda content: (
            {**content, "next": "abc", "has_more": True, "total": 10**6} if isinstance(content, dict) else content
        ),
    }
    for number, (label, change) in enumerate(changes.items()):
        for count in (1, None) if label in {"empty", "null", "first row missing"} else ((None, 1)[number % 2],):
            often = "always" if count is None else "once"
            yield Row(
                kind.name, "list", f"{label}, {often}", actions,
                lambda change=change, count=count: [at(operation, edit(change), times=count)],
            )  # fmt: skip


# Numbers, times, fields

ODD_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "0": lambda _: 0,
    "null": lambda _: None,
    "negative": lambda value: -abs(float(value or 1)),
    "in cents": lambda value: float(value or 0) * 100,
    "a hundredth": lambda value: float(value or 0) / 100,
    "text with a currency": lambda value: f"{value} EUR",
    "text with a comma": lambda value: str(value).replace(".", ","),
    "NaN": lambda _: "NaN",
    "huge": lambda _: 1e18,
}


def number_rows(kind: Kind, actions: tuple[str, ...]) -> Iterator[Row]:
    """Yield wrong prices and bills."""

    def change(names: tuple[str, ...], number: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        def apply(row: dict[str, Any]) -> dict[str, Any]:
            present = [name for name in names if row.get(name) is not None]
            return {**row, **{name: number(row[name]) for name in present}}

        return apply

    for operation, names in kind.prices.items():
        for label, number in ODD_NUMBERS.items():
            effect = edit_rows(names[0], change(names, number))
            yield Row(
                kind.name, "price", label, actions, lambda operation=operation, effect=effect: [at(operation, effect)]
            )
    for label, number in ODD_NUMBERS.items() if kind.bills else ():
        effects = edit_rows(kind.key, change(kind.bills, number))
        yield Row(
            kind.name, "bill", label, actions,
            lambda effects=effects: [at(kind.steps[step], effects) for step in kind.reads],
        )  # fmt: skip


def _shift(seconds: float) -> Callable[[Any], str]:
    return lambda _: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


ODD_TIMES: dict[str, Callable[[Any], Any]] = {
    "without a zone": lambda value: str(value).partition("+")[0].removesuffix("Z"),
    "an hour ahead": _shift(3600),
    "an hour behind": _shift(-3600),
    "in another year": lambda _: "2124-01-01T00:00:00Z",
    "as a number": lambda _: time.time(),
    "as milliseconds": lambda _: int(time.time() * 1000),
    "as words": lambda _: "yesterday",
    "null": lambda _: None,
}


def time_rows(kind: Kind, actions: tuple[str, ...]) -> Iterator[Row]:
    """Yield odd times of objects, and a clock of the server that is wrong."""

    def change(moment: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
        names = ("created_at", "start_time", "end_time", "completed_at", "expires_at")
        return lambda row: {**row, **{name: moment(row[name]) for name in names if row.get(name)}}

    steps = [kind.steps[step] for step in ("create", *kind.reads) if step in kind.steps]
    for label, moment in ODD_TIMES.items():
        yield Row(
            kind.name, "time", label, actions,
            lambda moment=moment: [at(step, edit_rows(kind.key, change(moment))) for step in steps],
        )  # fmt: skip
    for hours in (-1, 1):
        yield Row(kind.name, "time", f"clock of the server {hours:+} h", actions, lambda hours=hours: [_skew(hours)])


def _skew(hours: int) -> Change:
    def change(request: Request, forward: Forward) -> Answer | None:
        answer = forward(request)
        if answer is not None:
            moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + hours * 3600))
            answer.headers = {**{name: row for name, row in answer.headers.items() if name != "date"}, "date": moment}
        return answer

    return change


def field_rows(kind: Kind, actions: tuple[str, ...]) -> Iterator[Row]:
    """Yield answers with missing, null and further fields."""

    def only(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda row: {name: value for name, value in row.items() if name in names}

    def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda row: {name: value for name, value in row.items() if name not in names}

    markup = "<b onclick=alert(1)>\x1b[2Jodd\u202e\n" * 20
    changes = {
        "only id and state": only(kind.key, kind.word, "ip_address", "volumes", "attached_vm_id"),
        "without a state": without(kind.word),
        "without user and organization": without("user_id", "org_id"),
        "another user": lambda row: {**row, "user_id": "someone-else"} if "user_id" in row else row,
        "without names": without("display_name", "name", "run_name", "file_name"),
        "other names": lambda row: {**row, "display_name": "cloud-7f", "name": "cloud-7f", "file_name": "x.py"},
        "without metadata": without("metadata"),
        "all else null": lambda row: {name: row[name] if name in {kind.key, kind.word} else None for name in row},
        "further fields": lambda row: {**row, "id2": 7, "extra": {"nested": [None]}, "message": markup},
        "names with markup": lambda row: {**row, "name": markup, "machine_name": markup},
        "id under another name": lambda row: {**without(kind.key)(row), "identifier": row[kind.key]},
    }
    steps = [kind.steps[step] for step in ("create", *kind.reads) if step in kind.steps]
    for label, change in changes.items():
        yield Row(
            kind.name, "fields", label, actions,
            lambda change=change: [at(step, edit_rows(kind.key, change)) for step in steps],
        )  # fmt: skip
    yield Row(
        kind.name, "fields", "id under another name when created", kind.actions.get("create", actions),
        lambda: [at(kind.steps["create"], edit_rows(kind.key, changes["id under another name"]))],
    )  # fmt: skip


# What only some kinds have


def vm_rows() -> Iterator[Row]:
    """Yield addresses of VMs, and two machines for one request."""
    kind, actions = KINDS["vm"], ("create", "cell", "call")
    status = kind.steps["status"]

    def address(change: Callable[[Any], Any]) -> Change:
        return edit_rows("vm_id", lambda row: {**row, "ip_address": change(row.get("ip_address"))})

    forms: dict[str, tuple[Callable[[Any], Any], int | None]] = {
        "null for a while": (lambda _: None, 8),
        "null always": (lambda _: None, None),
        "empty": (lambda _: "", 6),
        "with a scheme": (lambda value: value and f"ssh://lyceum@{value}", None),
        "with spaces": (lambda value: value and f" {value} ", None),
        "without its port": (lambda value: value and value.partition(":")[0], None),
        "documentation": (lambda value: value and "203.0.113.10:22", None),
        "a list": (lambda value: [value], None),
        "an object": (lambda value: {"public": value}, None),
        "IPv6": (lambda value: value and "[::1]:9", None),
        "an option of ssh": (lambda value: value and "-oProxyCommand=true", None),
    }
    for label, (change, times) in forms.items():
        yield Row(
            "vm", "address", label, actions,
            lambda change=change, times=times: [at(status, address(change), times=times)],
        )  # fmt: skip
    yield Row("vm", "create", "two machines for one request", ("create", "cell"), lambda: [
        at(kind.steps["create"], _twice, times=1)
    ])  # fmt: skip


def end_rows(kind: Kind) -> Iterator[Row]:
    """Yield ends that are late, ignored or hidden."""
    ends, reads = ([kind.steps[step] for step in steps] for steps in (kind.ends, kind.reads))
    actions = tuple(dict.fromkeys(action for step in kind.ends for action in kind.actions[step]))
    accepted = refuse(200, {"status": kind.ended[0] if kind.ended else "deleted", "message": "accepted"})

    def ignore(times: int | None) -> list[Change]:
        return [at(operation, accepted, times=times) for operation in ends]

    def hide(nth: int = 1, times: int | None = None) -> Change:
        return at(kind.steps["list"], edit(_remove_rows), nth=nth, times=times)

    variants: dict[str, Callable[[], list[Change]]] = {
        "accepted and ignored once": lambda: ignore(1),
        "accepted and ignored 3 times": lambda: ignore(3),
        "always ignored": lambda: ignore(None),
        "ignored, and hidden for a while": lambda: [*ignore(None), hide(nth=2, times=3)],
        "ignored, and unknown to its own state": lambda: [
            *(at(operation, FAILURES["404"]) for operation in ends),
            *(at(operation, FAILURES["404"], times=2) for operation in reads if operation != kind.steps["list"]),
        ],
        "refused, then ignored": lambda: [*(at(each, FAILURES["503"], times=1) for each in ends), *ignore(None)],
    }
    if "status" in kind.reads and kind.name != "volume":  # without a state, a hidden object can't be known
        variants["ignored, then hidden"] = lambda: [*ignore(None), hide()]
    if kind.active and kind.ended:
        variants["shown as active for 4 s after its end"] = lambda: [_late_end(kind, ends, reads)]
    for label, build in variants.items():
        yield Row(kind.name, "end", label, actions, build)
    if kind.name == "vm":
        yield Row("vm", "end", "hidden while active", ("cell", "abort"), lambda: [
            at(kind.steps["list"], edit(_remove_rows)), at(kind.steps["status"], FAILURES["404"], nth=4),
        ])  # fmt: skip


def _remove_rows(content: Any) -> Any:
    """Return a list without rows, in the form of the cloud."""
    if isinstance(content, list):
        return []
    return {name: [] if isinstance(value, list) else value for name, value in content.items()}


def _twice(request: Request, forward: Forward) -> Answer | None:
    """Let a proxy send a request twice."""
    forward(request)
    return forward(request)


def _late_end(kind: Kind, ends: list[str], reads: list[str]) -> Change:
    """Return a change: for four seconds after an end, the object is shown as active."""
    ended_at: list[float] = []

    def revive(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, kind.word: kind.active[-1]} if time.monotonic() - ended_at[0] < 4 else row

    def change(request: Request, forward: Forward) -> Answer | None:
        if request.operation in ends and not ended_at:
            ended_at.append(time.monotonic())
        is_late = ended_at and request.operation in reads
        return edit_rows(kind.key, revive)(request, forward) if is_late else forward(request)

    return change


def batch_rows() -> Iterator[Row]:
    """Yield odd results of batches."""
    content, status = KINDS["batch"].steps["content"], KINDS["batch"].steps["status"]

    def lines(change: Callable[[list[bytes]], list[bytes]]) -> Change:
        def effect(request: Request, forward: Forward) -> Answer | None:
            answer = forward(request)
            if answer and answer.status == 200:
                answer.body = b"".join(change(answer.body.splitlines(keepends=True)))
            return answer

        return at(content, effect)

    changes: dict[str, Callable[[list[bytes]], list[bytes]]] = {
        "a row missing": lambda rows: rows[1:],
        "all rows missing": lambda _: [],
        "cut in the middle of a row": lambda rows: [b"".join(rows)[:-40]],
        "each row twice": lambda rows: [*rows, *rows],
        "status codes as text": lambda rows: [row.replace(b'"status_code": 200', b'"status_code": "200"').replace(
            b'"status_code":200', b'"status_code":"200"') for row in rows],
        "without custom ids": lambda rows: [row.replace(b"custom_id", b"line") for row in rows],
        "other custom ids": lambda rows: [row.replace(b'"row-', b'"line-') for row in rows],
        "with a page among the rows": lambda rows: [*rows[:1], b"<html>Bad gateway</html>\n", *rows[1:]],
        "body null": lambda rows: [row.replace(b'"body"', b'"content"') for row in rows],
        "reversed, with carriage returns": lambda rows: [row.replace(b"\n", b"\r\n") for row in rows[::-1]],
        "a row more": lambda rows: [*rows, rows[0].replace(b"row-0", b"row-99")] if rows else rows,
    }  # fmt: skip
    for label, change in changes.items():
        yield Row("batch", "content", label, ("batch",), lambda change=change: [lines(change)])
    for label, fields in {
        "completed without a file": {"output_file_id": None},
        "counts of 0": {"request_counts": {"total": 0, "completed": 0, "failed": 0}},
        "counts missing": {"request_counts": None},
        "counts as text": {"request_counts": {"total": "3", "completed": "3", "failed": "0"}},
        "errors as text": {"errors": "none"},
        "usage in another form": {"usage": "3"},
    }.items():
        yield Row("batch", "result", label, ("batch",), lambda fields=fields: [
            at(status, edit(lambda row: {**row, **fields}))
        ])  # fmt: skip


def log_rows(kind: str) -> Iterator[Row]:
    """Yield streams, records and logs of runs that are late or incomplete."""
    steps, action = KINDS[kind].steps, "docker" if kind == "container" else "run"

    def cut(size: int) -> Change:
        def effect(request: Request, forward: Forward) -> Answer | None:
            answer = forward(request)
            if answer and answer.pieces is not None:
                answer.pieces = iter([b"".join(answer.pieces)[:size]])
            return answer

        return effect

    def record(**changes: Any) -> Change:
        return at(steps["status"], edit_rows("execution_id", lambda row: {**row, **changes}))

    def no_log(times: int | None = None) -> Change:
        return at(steps["logs"], edit(lambda _: {"logs": []}), times=times)

    def variants() -> dict[str, list[Change]]:
        no_stream = at(steps["stream"], refuse(404, {"detail": "Stream not found"}))
        return {
            "no stream": [no_stream],
            "no stream, no log, no stdout": [no_stream, no_log(), record(stdout=None, stderr=None)],
            "no stream, late log, no stdout": [no_stream, no_log(2), record(stdout=None)],
            "empty stream": [at(steps["stream"], cut(0))],
            "stream cut after 40 bytes": [at(steps["stream"], cut(40))],
            "stream cut after 40 bytes, no log, no stdout": [
                at(steps["stream"], cut(40)),
                no_log(),
                record(stdout=None),
            ],
            "log without lines": [no_log()],
            "record without exit code": [record(return_code=None)],
            "record with another exit code": [record(return_code=3)],
            "record of another machine": [record(hardware_profile="gpu.b300", machine="gpu.b300")],
            "record without times": [record(start_time=None, end_time=None, created_at=None)],
            "failed in the record, completed in the stream": [record(status="failed")],
        }

    for label in variants():
        yield Row(kind, "output", label, (action,), lambda label=label: variants()[label])


# All


def rows() -> list[Row]:
    """Return the catalogue."""
    every: list[Row] = []
    common = {
        "vm": ("create", "cell", "call", "abort", "delete"), "volume": ("delete volume", "cell with volume"),
        "deployment": ("deploy", "undeploy"), "batch": ("batch",), "container": ("docker",), "session": ("session",),
        "run": ("run", "lk run", "abort run"),
    }  # fmt: skip
    for kind in KINDS.values():
        actions = common[kind.name]
        every += [*failure_rows(kind), *state_rows(kind), *id_rows(kind, actions), *list_rows(kind)]
        every += [*number_rows(kind, actions), *time_rows(kind, actions), *field_rows(kind, actions), *end_rows(kind)]
    return [*every, *vm_rows(), *batch_rows(), *log_rows("container"), *log_rows("run")]


#: Kind → its share of the scenarios, if it isn't 1: nothing ends a VM but its deletion.
SHARES = {"vm": 3}


def scenarios(seed: int = 1, count: int | None = None, kind: str | None = None) -> list[Scenario]:
    """Return scenarios, each row of the catalogue with one of its actions: at most ``count``.

    Kinds take turns, and the dimensions of a kind take turns; otherwise the order is random.
    """
    random = Random(seed)
    groups: dict[str, dict[str, list[Scenario]]] = {}
    for row in rows():
        if kind in {None, row.kind}:
            scenario = Scenario(row, random.choice(row.actions))
            groups.setdefault(row.kind, {}).setdefault(row.dimension, []).append(scenario)
    for dimensions in groups.values():
        for group in dimensions.values():
            random.shuffle(group)
    turns = {name: _take_turns(list(dimensions.values())) for name, dimensions in groups.items()}
    shared = [turns[name][number :: SHARES.get(name, 1)] for name in turns for number in range(SHARES.get(name, 1))]
    return _take_turns(shared)[:count]


def all_scenarios() -> dict[str, Scenario]:
    """Return name → scenario, for each action of each row."""
    every = (Scenario(row, action) for row in rows() for action in row.actions)
    return {str(scenario): scenario for scenario in every}


def _take_turns(groups: list[list[Scenario]]) -> list[Scenario]:
    """Return the members of all groups, one of each group in turn."""
    return [each for turn in zip_longest(*groups) for each in turn if each is not None]
