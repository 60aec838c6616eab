"""Answer as a recorded cloud: absent operations, texts of refusals, delays, fields, and forms of values and ids."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lk_jupyter.api._endpoint import Endpoint, describe_path, find_endpoint
from lk_jupyter.config.assumptions import ROUTE, ROUTERS
from lk_jupyter.localcloud.recorded import Operation, RecordedStep, Recording
from lk_jupyter.localcloud.shapes import STATES, Forms, Shape, fill_pseudonyms, fit_container
from lk_jupyter.protocol.id_forms import IdForm, write_id

#: Maximum bytes of a request body in which ids are replaced.
_MOST_BYTES = 4 << 20

#: Between ids in a path or a query.
_SEPARATOR = re.compile(r"([/?&=])")

_JSON = "application/json"
_CHAT = "/chat/completions"


class Ids:
    """The ids that were written in another form, in both directions."""

    def __init__(self) -> None:
        self._local: dict[str, str] = {}
        self._written: dict[str, str] = {}

    def write(self, local: str, form: IdForm) -> IdForm:
        """Return an id of this cloud in another form."""
        written = write_id(local, form)
        self._local[str(written)] = local
        self._written.setdefault(local, str(written))
        return written

    def read(self, text: str) -> str:
        """Return the id of this cloud for a written id. A form that the server hasn't written is unknown to it."""
        if text in self._local:
            return self._local[text]
        return str(uuid4()) if text in self._written else text

    def read_path(self, text: str) -> str:
        """Return a path or a query with the ids of this cloud."""
        if not self._local:
            return text
        return "".join(
            part if _SEPARATOR.fullmatch(part) or (local := self.read(unquote(part))) == unquote(part) else quote(local)
            for part in _SEPARATOR.split(text)
        )

    def read_json(self, value: Any) -> Any:
        """Return the content of a request with the ids of this cloud."""
        if isinstance(value, dict):
            return {name: self.read_json(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.read_json(inner) for inner in value]
        return self._local.get(str(value), value) if isinstance(value, (str, int)) else value

    def write_addresses(self, value: Any) -> Any:
        """Return the content of an answer whose addresses contain written ids."""
        if isinstance(value, dict):
            return {name: self.write_addresses(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.write_addresses(inner) for inner in value]
        if isinstance(value, str) and re.match(r"(?:https?|wss?)://", value):
            return "".join(self._written.get(part, part) for part in _SEPARATOR.split(value))
        return value

    @property
    def is_used(self) -> bool:
        """Whether an id has another form."""
        return bool(self._local)


class Replay:
    """The application with the recorded behavior. ``speed`` divides the delays."""

    def __init__(self, app: ASGIApp, recording: Recording, speed: float = 1.0) -> None:
        self._app = app
        self._operations = recording.operations
        self._speed = speed
        self._router = recording.values.get("router_prefix", "")
        self._ids = Ids()
        self._forms = Forms(recording.ids, self._ids.write)
        self._shapes: dict[str, Shape] = {}
        self._refusals: dict[int, RecordedStep] = {}
        for request, operation in self._operations.items():
            for step in operation.steps:
                if step.is_success:
                    self._forms.learn(step.answer)
                    self._shapes.setdefault(request, Shape()).add(step.answer)
                elif not step.is_absent:
                    self._refusals.setdefault(step.status, step)
            if shape := self._shapes.get(request):
                method, _, path = request.partition(" ")
                shape.mark_declared(_list_declared_fields(find_endpoint(method, path)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        method, path = scope.get("method", "GET"), scope["path"]
        endpoint = find_endpoint(method, path)
        request = f"{method} {describe_path(method, path) or path}"
        operation = self._operations.get(request)
        if operation:
            await asyncio.sleep(operation.seconds / self._speed)
        id_text = _find_id(endpoint, path)
        scope = self._read_scope(scope)
        if scope["type"] != "http" or _is_unchanged(endpoint, path):
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive) if _is_json(scope) else None
        if operation and (refusal := operation.lasting_refusal) and (refusal.is_absent or _is_complete(endpoint, body)):
            await _build_refusal(refusal, id_text)(scope, receive, send)
            return
        if self._lacks_router(path, body):
            response = JSONResponse({"detail": "model not found"}, HTTPStatus.NOT_FOUND)
            step = operation.find_refusal(HTTPStatus.NOT_FOUND) if operation else None
            await (_build_refusal(step, "") if step else response)(scope, receive, send)
            return
        if body is not None:
            scope, receive = self._read_content(scope, receive, body)
        await self._app(
            scope, receive, _Answer(send, lambda *answer: self._change(request, operation, id_text, *answer))
        )

    def _lacks_router(self, path: str, body: bytes | None) -> bool:
        """Return whether a request is for a router, but its path has only models."""
        is_chat = path.endswith(_CHAT) and body is not None
        if not is_chat or self._router in {"", ROUTE, path.removesuffix(_CHAT)}:
            return False
        with suppress(ValueError, RecursionError):
            content = json.loads(body or b"")
            return isinstance(content, dict) and str(content.get("model")).startswith(ROUTERS)
        return False

    def _read_scope(self, scope: Scope) -> Scope:
        if not self._ids.is_used:
            return scope
        raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
        path = self._ids.read_path(raw_path.decode("latin-1"))
        query = self._ids.read_path(scope["query_string"].decode("latin-1"))
        encoded = {"raw_path": path.encode("latin-1"), "query_string": query.encode("latin-1")}
        return {**scope, "path": unquote(path), **encoded}

    def _read_content(self, scope: Scope, receive: Receive, body: bytes) -> tuple[Scope, Receive]:
        """Return a request whose content has the ids of this cloud."""
        if self._ids.is_used:
            with suppress(ValueError, RecursionError):
                content = json.loads(body)
                changed = self._ids.read_json(content)
                body = body if changed == content else json.dumps(changed).encode()
        headers = [row for row in scope["headers"] if row[0] not in {b"content-length", b"transfer-encoding"}]
        length = (b"content-length", str(len(body)).encode())
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_changed() -> Message:
            return messages.pop() if messages else await receive()

        return {**scope, "headers": [*headers, length]}, receive_changed

    def _change(
        self, request: str, operation: Operation | None, id_text: str, status: int, content: Any
    ) -> tuple[int, Any]:
        """Return status and content of an answer as recorded."""
        if status >= 400:
            return self._change_refusal(operation, id_text, status, content)
        shape = self._shapes.get(request)
        changed = self._ids.write_addresses(self._forms.change(fit_container(content, shape), shape))
        if request.endswith(("/start", "/create")) and shape and isinstance(changed, dict):
            changed |= _read_first_states(shape)
        return (operation.success_status if operation else None) or status, changed

    def _change_refusal(self, operation: Operation | None, id_text: str, status: int, content: Any) -> tuple[int, Any]:
        step = operation.find_refusal(status) if operation else None
        step = step or (self._refusals.get(status) if status in {401, 402, 403, 429} else None)
        if step is None or content in ({"detail": "Not Found"}, {"detail": "Method Not Allowed"}):
            return status, content
        rows, recorded_rows = _list_rows(content), _list_rows(step.answer)
        if recorded_rows:
            return status, {
                **content,
                "detail": [_replace_message(row, recorded_rows) for row in rows],
            } if rows else content
        if rows and not any(row.get("type") == "missing" for row in rows):
            return status, content  # the check sends only requests without a required field
        return step.status, fill_pseudonyms(step.answer, id_text)


def _find_id(endpoint: Endpoint | None, path: str) -> str:
    """Return the value of the first placeholder in a path, or the last part of a path without placeholders."""
    declared = endpoint.path.split("/") if endpoint else []
    pairs = zip(reversed(declared), reversed(path.split("/")), strict=False)
    values = [part for name, part in pairs if name.startswith("{")]
    return values[-1] if values else path.rpartition("/")[2]


def _list_declared_fields(endpoint: Endpoint | None) -> frozenset[str]:
    """Return the names of the fields in the declared answer of an operation."""
    if endpoint is None or endpoint.streams or endpoint.downloads:
        return frozenset()
    schema = endpoint.answer_type.json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    return frozenset(name for part in parts for name in part.get("properties", {}))


def _is_unchanged(endpoint: Endpoint | None, path: str) -> bool:
    """Return whether an answer isn't JSON of the API."""
    if endpoint is None:
        return not path.endswith("/openapi.json")
    return endpoint.streams or endpoint.downloads


def _is_json(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    is_small = int(headers.get(b"content-length") or _MOST_BYTES) < _MOST_BYTES
    return headers.get(b"content-type", b"").startswith(_JSON.encode()) and is_small


async def _read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _is_complete(endpoint: Endpoint | None, body: bytes | None) -> bool:
    """Return whether a request has all required fields of its content."""
    if endpoint is None or body is None:
        return True
    with suppress(ValueError, RecursionError):
        content = json.loads(body)
        models = [
            row.annotation for name, row in endpoint.signature.parameters.items() if endpoint.place(name) == "body"
        ]
        required = {
            field.alias or name
            for model in models
            for name, field in getattr(model, "model_fields", {}).items()
            if field.is_required()
        }
        return isinstance(content, dict) and required <= set(content)
    return False


def _build_refusal(step: RecordedStep, id_text: str) -> Response:
    return JSONResponse(fill_pseudonyms(step.answer, id_text), step.status)


def _read_first_states(shape: Shape) -> dict[str, str]:
    """Return the state that all recorded answers to a start have."""
    return {
        name: str(child.examples[0])
        for name, child in shape.fields.items()
        if name in STATES and len(set(map(str, child.examples))) == 1 and not str(child.examples[0]).startswith("<")
    }


def _list_rows(content: Any) -> list[dict[str, Any]]:
    rows = content.get("detail") if isinstance(content, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _replace_message(row: dict[str, Any], recorded: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a row of a refusal with the recorded message for the same field and problem."""
    same = (each for each in recorded if (each.get("loc"), each.get("type")) == (row.get("loc"), row.get("type")))
    message = next(same, {}).get("msg")
    is_public = isinstance(message, str) and "<" not in message
    return {**row, "msg": message} if is_public else row


class _Answer:
    """A wrapper that collects an answer of JSON and sends the changed answer."""

    def __init__(self, send: Send, change: Any) -> None:
        self._send = send
        self._change = change
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _can_change(message):
            self._start = message
        elif self._start is None or message["type"] != "http.response.body":
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_changed(self._start)

    async def _send_changed(self, start: Message) -> None:
        status, content = self._change(start["status"], json.loads(self._body) if self._body else None)
        has_body = self._body and status != HTTPStatus.NO_CONTENT
        body = json.dumps(content, ensure_ascii=False).encode() if has_body else b""
        headers = [row for row in start["headers"] if row[0].lower() != b"content-length"]
        if status != HTTPStatus.NO_CONTENT:
            headers.append((b"content-length", str(len(body)).encode()))
        await self._send({**start, "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _can_change(start: Message) -> bool:
    headers = {name.lower(): value for name, value in start["headers"]}
    return headers.get(b"content-type", b"").startswith(_JSON.encode()) and b"content-encoding" not in headers
