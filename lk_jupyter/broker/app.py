"""The web application of a broker: child keys, the operations that they may call, and the keys' own operations."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from lk_jupyter.api._endpoint import CLOUD_HEADER, EXTERNAL, LEASE_HEADER, OPENAI, V1, endpoint_of
from lk_jupyter.api.execution import Execution
from lk_jupyter.api.logs import Logs
from lk_jupyter.api.states import RUN_ID
from lk_jupyter.api.vms import Vms
from lk_jupyter.broker.files import S3_PATH, FileProxy, RefusedFile
from lk_jupyter.broker.grants import BILLION, Grant, GrantLimits, RefusedCall
from lk_jupyter.broker.hub import HubUsers
from lk_jupyter.broker.keeper import Keeper
from lk_jupyter.broker.ledger import ENDED, RENTAL, GrantLedger, RunRow
from lk_jupyter.broker.models import MODEL_FIELDS, ModelCaller, ModelStream
from lk_jupyter.broker.reads import READERS, Reads
from lk_jupyter.broker.rentals import VM_PATH, Rentals
from lk_jupyter.broker.signature import SignedRequest
from lk_jupyter.broker.spending import describe_run
from lk_jupyter.broker.starts import START_FIELDS, Starter
from lk_jupyter.broker.storage import BucketClient
from lk_jupyter.broker.upstream import Answer, OddAnswer, OrganizationClient, read_limited
from lk_jupyter.broker.visitors import SpendingPages
from lk_jupyter.protocol.json_limits import load_json

#: Most bytes of a request; and of a request that is parsed without a thread. A key sends one larger request at a time.
_MAX_REQUEST, _SMALL_REQUEST = 32 << 20, 1 << 20

#: Operations on a single run, which must belong to the key.
_RUN_PATHS = tuple(
    (method, re.compile(template.replace("ID", f"({RUN_ID})")))
    for method, template in (
        ("GET", "/execution/streaming/ID/status"),
        ("POST", "/execution/streaming/abort/ID"),
        ("POST", "/execution/streaming/complete/ID"),
        ("POST", "/execution/image/abort/ID"),
        ("POST", "/workloads/abort/ID"),
        ("POST", "/workloads/stop/ID"),
        ("GET", "/execution/ID"),
        ("DELETE", "/execution/ID"),
        ("GET", "/execution/ID/timing"),
        ("GET", "/execution/ID/metrics"),
        ("GET", "/logs/execution/ID"),
    )
)
_STREAM_PATH = re.compile(f"/stream/({RUN_ID})")

#: Seconds for which a revoked key may read its runs, so that clients can show the log and why the runs ended.
REVOKED_READ_SECONDS = 600.0

#: States of a run that was aborted, for which the broker adds its reason.
_STOPPED_STATES = frozenset({"aborted", "cancelled", "timeout"})

#: The consequence of an abort, which follows its reason.
_NO_TIME = "The abort gave the code no time to return variables"

#: Operations on a single VM, with the end of their path.
_VM_OPERATIONS = {("GET", "/status"), ("PATCH", None), ("DELETE", None)}

#: Method and path → parameters of the query that are forwarded.
_PARAMETERS = {
    (endpoint.method, endpoint.path): frozenset(endpoint.query_names)
    for endpoint in (endpoint_of(Execution.metrics), endpoint_of(Logs.execution), endpoint_of(Vms.list))
}

#: Characters of a query that is forwarded.
_QUERY = re.compile(r"[\w.~=&:+%-]{0,300}", re.ASCII)

#: Headers of each answer that isn't a page of the broker: its content, which others may have written, can't act on the
#: pages and the cookies of the broker in a browser.
_INERT = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


class PassedResponse(StreamingResponse):
    """An answer of the cloud that is passed as it arrives, and closed in any case.

    A client that disconnects before the first chunk never starts the iterator, so the iterator can't close the answer.
    """

    def __init__(
        self, close: Callable[[], Awaitable[Any]], chunks: AsyncIterator[bytes], status: int, headers: dict[str, str]
    ) -> None:
        super().__init__(chunks, status, headers)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, then close the connection to the cloud."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._close()


class Broker:
    """The operations of a broker.

    ``margin`` are the seconds that are reserved besides the time limit of a run; ``stream_secret`` signs the addresses
    of outputs, which stay valid when the broker restarts. ``hub_users`` are the users of a JupyterHub, if there is one.
    """

    def __init__(
        self,
        ledger: GrantLedger,
        upstream: OrganizationClient,
        margin: int,
        stream_secret: bytes,
        hub_users: HubUsers | None = None,
    ) -> None:
        self._ledger = ledger
        self._upstream = upstream
        self._starter = Starter(ledger, upstream, margin)
        self._models = ModelCaller(ledger, upstream)
        self._reads = Reads(ledger, upstream)
        self._stream_secret = stream_secret
        self._bucket = BucketClient(upstream)
        self._files = FileProxy(ledger, self._bucket, hmac.digest(stream_secret, b"files", "sha256"))
        self._large_requests: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._rentals = Rentals(ledger, upstream, margin, time.time())
        self.keeper = Keeper(ledger, upstream, time.time(), self._rentals)
        self._hub_users = hub_users
        self._pages = SpendingPages(ledger, self._authenticate, hub_users)

    async def close(self) -> None:
        """Close the connections to the storage and the hub."""
        await self._bucket.close()
        if self._hub_users is not None:
            await self._hub_users.close()

    async def answer(self, request: Request) -> Response:
        """Answer a request; a refusal states that nothing was forwarded.

        Each answer has the address of the cloud, which forwards the ports of runs, and the end of the key.
        """
        try:
            response = await self._dispatch(request)
        except RefusedCall as refusal:
            response = JSONResponse({"detail": refusal.detail, **refusal.fields}, refusal.status)
        except OddAnswer as problem:
            response = JSONResponse({"detail": str(problem)}, 502)
        for name, value in _INERT.items():
            response.headers.setdefault(name, value)
        response.headers[CLOUD_HEADER] = self._upstream.base_url
        if (lease_end := getattr(request.state, "lease_end", None)) is not None:
            response.headers[LEASE_HEADER] = str(int(lease_end))
        return response

    async def _dispatch(self, request: Request) -> Response:
        path = request.scope["path"]
        if path.startswith(f"{V1}/") and (match := _STREAM_PATH.fullmatch(path.removeprefix(V1))):
            return await self._stream_output(request, match[1])
        if path.startswith(f"{S3_PATH}/"):
            return await self._answer_s3(request)
        if (page := await self._pages.answer(request)) is not None:
            return page
        grant = await self._authenticate(request)
        if path.startswith("/broker/"):
            return await self._manage_keys(request, grant, path)
        if path.startswith(f"{OPENAI}/"):
            path = f"{EXTERNAL}/serverless{path.removeprefix(OPENAI)}"
        if not path.startswith(f"{EXTERNAL}/"):
            raise _refuse_operation(request.method, path)
        answer = await self._call_operation(request, grant, path.removeprefix(EXTERNAL))
        if isinstance(answer, ModelStream):
            kind = answer.response.headers.get("content-type", "text/event-stream")
            return PassedResponse(answer.close, answer.chunks(), answer.response.status_code, {"content-type": kind})
        headers = {"Retry-After": answer.retry_after} if answer.retry_after else None
        return JSONResponse(answer.content, answer.status, headers=headers)

    async def _authenticate(self, request: Request) -> Grant:
        """Return the grant of the key of a request. Raises RefusedCall."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        key = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        grant = self._ledger.find_grant(key) if key else None
        if grant is None and key and self._hub_users is not None:
            grant = await self._hub_users.find_grant(key)
        if grant is None:
            raise RefusedCall(401, "The key is missing or unknown. Nothing was done.")
        request.state.lease_end = grant.ends_at
        path = request.scope["path"]
        is_read = path.startswith(f"{V1}/stream/") or (request.method == "GET" and path.startswith(f"{EXTERNAL}/"))
        _require_readable(grant, is_read=is_read)
        return grant

    async def _call_operation(self, request: Request, grant: Grant, path: str) -> Answer | ModelStream:
        """Call an operation of the cloud for a grant. Raises RefusedCall for each operation that isn't listed here."""
        method = request.method
        if method == "POST" and path in START_FIELDS:
            return await self._start_run(request, grant, path)
        if method == "POST" and path in MODEL_FIELDS:
            return await self._models.call(grant, path, await self._read_json(request, grant))
        if method == "GET" and (reader := READERS.get(path)):
            return await reader(self._reads, grant, dict(request.query_params))
        if (method, path) == ("POST", "/storage/credentials"):
            return await self._issue_credentials(request, grant)
        if path.startswith("/vms/"):
            return await self._call_vms(request, grant, path)
        for run_method, pattern in _RUN_PATHS:
            if run_method == method and (match := pattern.fullmatch(path)):
                return await self._call_on_run(request, grant, path, match[1])
        raise _refuse_operation(method, path)

    async def _read_json(self, request: Request, grant: Grant) -> Any:
        """Return the JSON of a request. Raises RefusedCall, before it reads a body that is too large.

        A large body is parsed in a thread, so that other keys get answers. The next one of the key waits.
        """
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isdecimal() else _MAX_REQUEST  # a body in chunks may be large
        if size > _MAX_REQUEST:
            raise _refuse_size()
        if size <= _SMALL_REQUEST:
            return _parse_json(await self._read_body(request))
        async with self._large_requests.setdefault(grant.id, asyncio.Lock()):
            return await asyncio.to_thread(_parse_json, await self._read_body(request))

    async def _read_body(self, request: Request) -> bytes:
        content = await read_limited(request.stream(), _MAX_REQUEST)
        if content is None:
            raise _refuse_size()
        return content

    async def _start_run(self, request: Request, grant: Grant, path: str) -> Answer:
        grant.require("runs")
        answer = await self._starter.start(grant, path, await self._read_json(request, grant))
        self.keeper.wake()
        return self._set_stream_address(request, answer)

    async def _issue_credentials(self, request: Request, grant: Grant) -> Answer:
        """Return credentials of the organization's bucket, or of the files of a key. Raises RefusedCall."""
        if grant.allows("bucket"):
            return await self._upstream.send("POST", "/storage/credentials")
        grant.require("files")
        await self._bucket.name()  # a cloud without a storage refuses here, and not in the first transfer
        return Answer(200, self._files.credentials(grant, _build_base_url(request)))

    async def _call_vms(self, request: Request, grant: Grant, path: str) -> Answer:
        """Call an operation of VMs. Raises RefusedCall for an operation that isn't offered."""
        if (request.method, path) == ("POST", RENTAL):
            answer = await self._rentals.create(grant, await self._read_json(request, grant))
            self.keeper.wake()
            return answer
        if (request.method, path) == ("GET", "/vms/list"):
            return await self._rentals.list_vms(grant, _read_query(request, path))
        match = VM_PATH.fullmatch(path)
        if match is None or (request.method, match[2]) not in _VM_OPERATIONS:
            raise _refuse_operation(request.method, path)
        body = await self._read_json(request, grant) if request.method == "PATCH" else None
        answer = await self._rentals.call(grant, request.method, path, match[1], body)
        self.keeper.wake()
        return answer

    async def _call_on_run(self, request: Request, grant: Grant, path: str, execution_id: str) -> Answer:
        row = self._require_run(grant, execution_id)
        if request.method == "DELETE" and row.state != ENDED:
            raise RefusedCall(
                409, f"Run {execution_id} has no bill yet. Nothing was deleted. Wait for the end of the run."
            )
        answer = await self._upstream.send(request.method, path, query=_read_query(request, path, execution_id))
        status = answer.fields and answer.fields.get("status")
        if row.abort_reason and isinstance(status, str) and status.lower() in _STOPPED_STATES:
            details = f"{row.abort_reason}. {_NO_TIME}"
            return replace(answer, content={**answer.content, "status_details": details})
        return answer

    def _require_run(self, grant: Grant, execution_id: str) -> RunRow:
        row = self._ledger.find_run(grant, execution_id)
        if row is None:
            raise RefusedCall(404, f"This key has no run {execution_id}.")
        return row

    async def _stream_output(self, request: Request, execution_id: str) -> Response:
        """Pass the output of a run as it arrives, for its key or for the address in the answer to its start."""
        token = request.query_params.get("token")
        if token is not None:
            if not hmac.compare_digest(
                token.encode(errors="replace"), self._compute_stream_token(execution_id).encode()
            ):
                raise RefusedCall(401, "The address of this output isn't valid. Request a new address with the key.")
            row = self._ledger.run(execution_id)
            if row is None:
                raise RefusedCall(404, f"There is no run {execution_id}.")
            _require_readable(self._ledger.grant(row.grant_id), is_read=True)
        else:
            row = self._require_run(await self._authenticate(request), execution_id)
        response = await self._upstream.stream(row.stream, f"{V1}/stream/{execution_id}")
        kind = response.headers.get("content-type", "text/event-stream")
        return PassedResponse(response.aclose, response.aiter_raw(), response.status_code, {"content-type": kind})

    async def _answer_s3(self, request: Request) -> Response:
        """Answer an S3 request of a key; objects pass as they arrive."""
        path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
        signed = SignedRequest(request.method, path, query, dict(request.headers))
        try:
            answer = await self._files.answer(signed, request.stream())
        except RefusedFile as refusal:
            answer = refusal.answer
        if answer.source is None:
            return Response(answer.body, answer.status, answer.headers)
        source, headers = answer.source, dict(answer.headers)
        if not headers.get("content-disposition", "").lower().startswith("attachment"):
            headers["content-disposition"] = "attachment"  # to a browser, an object is a file and never a page
        return PassedResponse(source.close, source.chunks(), answer.status, headers)

    def _compute_stream_token(self, execution_id: str) -> str:
        return hmac.new(self._stream_secret, execution_id.encode(), hashlib.sha256).hexdigest()

    def _set_stream_address(self, request: Request, answer: Answer) -> Answer:
        """Return the answer to a start with the address of its output at this broker."""
        if answer.fields is None:
            return answer
        execution_id = str(answer.fields.get("execution_id", ""))
        address = (
            f"{_build_base_url(request)}{V1}/stream/{execution_id}?token={self._compute_stream_token(execution_id)}"
        )
        return Answer(answer.status, {**answer.fields, "streaming_url": address}, answer.retry_after)

    async def _manage_keys(self, request: Request, grant: Grant, path: str) -> Response:
        """Answer the operations on keys: show this key, list, issue and revoke the keys below it."""
        if (request.method, path) == ("GET", "/broker/key"):
            return JSONResponse(self._describe_key(grant))
        if (request.method, path) == ("GET", "/broker/runs"):
            return JSONResponse([describe_run(self._ledger, row) for row in self._ledger.runs_below(grant.id)])
        grant.require("lease")
        if (request.method, path) == ("GET", "/broker/keys"):
            return JSONResponse([self._describe_key(child) for child in self._ledger.grants_below(grant.id)])
        if (request.method, path) == ("POST", "/broker/keys"):
            return JSONResponse(self._issue_key(grant, await self._read_json(request, grant)), 201)
        key_id = path.removeprefix("/broker/keys/")
        if request.method == "DELETE" and key_id in {child.id for child in self._ledger.grants_below(grant.id)}:
            self._ledger.revoke(key_id)
            self.keeper.abort_revoked()
            return JSONResponse(self._describe_key(self._ledger.grant(key_id)))
        raise RefusedCall(404, "This key has no child key with that id. Nothing was changed.")

    def _issue_key(self, grant: Grant, fields: Any) -> dict[str, Any]:
        limits = GrantLimits.parse(fields, time.time())
        if not fields.get("scopes"):
            limits = replace(limits, scopes=tuple(filter(grant.allows, limits.scopes)))
        if missing := [scope for scope in limits.scopes if not grant.allows(scope)]:
            raise RefusedCall(
                403, f"This key can't grant the scope '{missing[0]}', which it lacks. Nothing was granted."
            )
        issued, key = self._ledger.add_grant(grant, limits)
        return {**self._describe_key(issued), "api_key": key}

    def _describe_key(self, grant: Grant) -> dict[str, Any]:
        """Return the limits of a key and what it has used, without the key."""
        limits, usage = grant.limits, self._ledger.usage(grant)
        is_revoked = grant.revoked_at is not None
        return {
            "id": grant.id,
            "name": limits.name,
            "project": limits.project,
            "credits": None if limits.credits is None else limits.credits / BILLION,
            "used": usage.credits / BILLION,
            "period": limits.period or None,
            "minutes": None if limits.seconds is None else limits.seconds / 60,
            "minutes_used": usage.seconds / 60,
            "machines": None if limits.machines is None else list(limits.machines),
            "parallel": limits.parallel,
            "active": usage.active,
            "ends_at": limits.ends_at,
            "upload_gib": None if limits.upload_bytes is None else limits.upload_bytes / (1 << 30),
            "uploaded_gib": self._ledger.uploaded_bytes(grant.id) / (1 << 30),
            "scopes": list(limits.scopes),
            "state": "revoked" if is_revoked else "blocked" if grant.blocked else "active",
            "reason": grant.blocked,
        }


def _require_readable(grant: Grant, *, is_read: bool) -> None:
    """Raise RefusedCall for a revoked key, unless a client reads why its runs ended."""
    is_recent = grant.revoked_at is not None and time.time() - grant.revoked_at < REVOKED_READ_SECONDS
    if grant.is_revoked and not (is_read and is_recent):
        raise RefusedCall(401, f"This key can't be used: {grant.end_reason}. Its runs are aborted. Nothing was done.")


def create_app(broker: Broker) -> Starlette:
    """Return the web application of a broker."""
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    return Starlette(routes=[Route("/{path:path}", broker.answer, methods=methods)])


def _build_base_url(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _read_query(request: Request, path: str, execution_id: str = "") -> str:
    """Return a query that is forwarded: the parameters that the operation declares. Raises RefusedCall."""
    query, names = request.url.query, request.query_params.keys()
    if not _QUERY.fullmatch(query):
        raise RefusedCall(422, "The query can't be read. Nothing was done.")
    template = path.replace(f"/{execution_id}", "/{execution_id}") if execution_id else path
    declared = _PARAMETERS.get((request.method, template), frozenset())
    if unknown := sorted(names - declared):
        accepted = ", ".join(sorted(declared)) or "no parameters"
        raise RefusedCall(
            422, f"{path} doesn't accept the parameter '{unknown[0]}'. Nothing was done. It accepts: {accepted}."
        )
    return query


def _refuse_size() -> RefusedCall:
    return RefusedCall(413, f"A request can have at most {_MAX_REQUEST >> 20} MiB. Nothing was done.")


def _parse_json(content: bytes) -> Any:
    """Return the value of JSON. Raises RefusedCall."""
    try:
        value = load_json(content.decode())
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        raise RefusedCall(422, "The body isn't JSON. Nothing was done.") from None
    return value


#: Start of a path → why child keys can't call it.
_REASONS = {
    "/execution/gpu_selection": "A GPU selection starts a run on each machine, each with its own time limit.",
    "/inference": "A deployment costs credits until someone stops it.",
    "/batches": "The price of a batch isn't known before its end.",
    "/storage/block": "A volume costs credits until someone deletes it.",
}


def _refuse_operation(method: str, path: str) -> RefusedCall:
    operation = path.removeprefix(EXTERNAL)
    reason = next((f" {text}" for start, text in _REASONS.items() if operation.startswith(start)), "")
    return RefusedCall(403, f"Child keys can't call {method} {path[:100]!r}.{reason} Nothing was forwarded.")
