"""The second level: every operation that only reads, and on request starts that a server has to refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from lk_jupyter.api._endpoint import ENDPOINTS, EXTERNAL, IRIS, PLACEHOLDER, Endpoint, endpoint_of
from lk_jupyter.api._http import Seen
from lk_jupyter.api._models import Listing, Page
from lk_jupyter.api._tolerant import read
from lk_jupyter.api.orgs import Orgs
from lk_jupyter.api.states import is_run_id
from lk_jupyter.api.user import User
from lk_jupyter.check.findings import Report
from lk_jupyter.check.published import Description, carried, in_group
from lk_jupyter.config.assumptions import ABSENT, row
from lk_jupyter.config.read_only import is_read_only
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import LkError
from lk_jupyter.runs.abort import abort_soon
from lk_jupyter.runs.submit.start import longest_named
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._sign import Request

#: Requests that lack a required field, to operations that start nothing.
_INCOMPLETE: dict[str, dict[str, Any]] = {"POST /serverless/route": {}, "POST /voucher/validate": {}}

#: Starts that lack a required field, so that a server refuses them; the refusal names the limit that they exceed.
#: A server that accepts one bills it, so they are sent only with the user's consent.
_TOO_LONG = 100_000_000
_INCOMPLETE_STARTS: dict[str, dict[str, Any]] = {
    "POST /execution/streaming/start": {"timeout": _TOO_LONG},
    "POST /execution/image/start": {"timeout": _TOO_LONG, "job_type": "customer_notebook"},
    "POST /execution/compose/start": {},
    "POST /execution/gpu_selection/start": {},
}

#: Names of the id of a run in an answer of success.
_RUN_IDS = {"execution_id", "executionId", "run_id", "job_id", "id"}

#: Operations that name an object in their query.
_BY_ID = {"/inference/get": "deployment_id"}

#: Queries of operations that require one.
_QUERIES = {"/orgs/{slug}/transactions/aggregate": "?category=executions&group_by=hardware_profile"}

#: Their answers are streams or files; or they are asked elsewhere here.
_NOT_READ = re.compile(r"/inference/streaming/|/storage/download/|/content$|/mfa/")


def look(connection: Connection, report: Report, description: Description | None, *, probe_starts: bool) -> None:
    """Send every request that only reads, and starts that must be refused if ``probe_starts``.

    Raises:
        Unauthorized: The key isn't accepted.
    """
    _look_for_key(report)
    slug, is_own = _slug(report)
    absent: list[str] = []
    for endpoint in _reads():
        seen = _seen(report, endpoint, slug)
        if seen is None:
            continue
        if _is_missing(endpoint, seen, description):
            absent.append(str(endpoint))
        elif _is_comparable(endpoint, is_own=is_own):
            read_answer(report, endpoint, seen)
    if not is_own:
        report.not_seen("GET /orgs/{slug}", "the organization of the key", "The server names no organization")
    _look_at_prefix(report, "chat_prefix", "/models")
    _look_at_prefix(report, "batch_prefix", "/batches")
    if is_read_only():
        report.notes.append("Read-only mode is on: only reads were sent. Probe more: %lk_config read_only off")
    else:
        absent += _probe_incomplete(report, description, _INCOMPLETE | (_INCOMPLETE_STARTS if probe_starts else {}))
    if not probe_starts:
        report.notes.append("Starts weren't probed. Probe them too: %lk_check --probe-starts")
    grouped = {str(endpoint) for endpoint in ENDPOINTS if in_group(endpoint)}
    named = report.values.get("absent_operations", "")
    if description is None or not named:
        report.add_to("absent_operations", [each for each in absent if each not in grouped])
    _look_at_bucket(connection, report)


def _look_for_key(report: Report) -> None:
    """Find an operation that shows whether the key is accepted. Raises Unauthorized."""
    lookups = row("signin_lookup")
    for operation in (lookups.default, *lookups.alternatives):
        method, _, path = operation.partition(" ")
        seen = report.probe(method, EXTERNAL + path)
        if seen.status == 401:
            report.client.user.status()  # raises it, in the words of any other request
        if not seen.is_absent:
            report.assumed("signin_lookup", operation)
            return


def _slug(report: Report) -> tuple[str, bool]:
    """Return the slug of the organization that the key acts as, and True; without one, a random slug and False."""
    for owner, name in ((User, "org"), (Orgs, "list")):
        endpoint = endpoint_of(getattr(owner, name))
        response = report.probe("GET", endpoint.server + endpoint.path)
        with suppress(ValidationError):
            answer, _ = read(endpoint.answer_type, endpoint.returns, response.content)
            for organization in answer if isinstance(answer, Page) else [answer]:
                if organization.slug and response.status == 200:
                    return organization.slug, True
    return f"lk-{uuid4().hex[:8]}", False


def _reads() -> Iterator[Endpoint]:
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET" and not _NOT_READ.search(endpoint.path) and endpoint.server != IRIS:
            yield endpoint


def _seen(report: Report, endpoint: Endpoint, slug: str) -> Seen | None:
    path = PLACEHOLDER.sub(lambda match: quote(slug, safe="") if match[1] == "slug" else str(uuid4()), endpoint.path)
    query = f"?{_BY_ID[endpoint.path]}={uuid4()}" if endpoint.path in _BY_ID else _QUERIES.get(endpoint.path, "")
    try:
        return report.probe("GET", endpoint.server + path + query)
    except LkError as lost:
        report.odd(str(endpoint), "an answer", str(lost).partition("\n")[0], "The server didn't answer", "Tries again.")
    return None


def _is_missing(endpoint: Endpoint, seen: Seen, description: Description | None) -> bool:
    """Whether an answer says that there is no such operation; a description that has it knows better."""
    if not seen.is_absent:
        return False
    is_told = description is not None and (endpoint.method, endpoint.server + endpoint.path) in description
    return not (is_told and PLACEHOLDER.search(endpoint.path))


def _is_comparable(endpoint: Endpoint, *, is_own: bool) -> bool:
    """Return whether the request names things that exist, so that the answer shows the form of the operation."""
    placeholders = {name for name, _ in PLACEHOLDER.findall(endpoint.path)}
    return endpoint.path not in _BY_ID and (not placeholders or (is_own and placeholders == {"slug"}))


def read_answer(report: Report, endpoint: Endpoint, seen: Seen) -> Any:
    """Read an answer as the client does, record what can't be read, and return the answer; None without one."""
    operation = str(endpoint)
    if seen.status >= 300:
        if seen.status not in {402, 403}:
            words = f"HTTP {seen.status}"
            report.odd(operation, "HTTP 200", words, "The server refused or failed", "Shows what the server said.")
        return None
    if operation == "GET /pricing" and isinstance(seen.json, dict):
        report.assumed("pricing_count", "sent" if "count" in seen.json else ABSENT)
    answer = None
    try:
        answer, odd = read(endpoint.answer_type, endpoint.returns, seen.content)
    except ValidationError as error:
        odd = f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
    if odd:
        report.odd(operation, "the documented form", odd, "The answer has another form", "Reads the rows that fit.")
    elif _is_empty(answer):
        report.not_seen(operation, "the documented form", "The list is empty")
    else:
        report.forget_not_seen(operation)
    return answer


def _is_empty(answer: Any) -> bool:
    """Return whether an answer is a list without elements, or an object whose lists are all empty."""
    if isinstance(answer, (Listing, Page)):
        return len(answer) == 0
    values = [value for _, value in answer if value is not None] if isinstance(answer, BaseModel) else []
    return bool(values) and all(value == [] for value in values)


def _look_at_prefix(report: Report, name: str, path: str) -> None:
    wanted = row(name)
    for prefix in (wanted.default, *wanted.alternatives):
        if prefix.startswith("/"):
            seen = report.probe("GET", prefix + path)
            if not seen.is_absent and seen.status != 404:
                report.assumed(name, prefix)
                return
    if ABSENT in wanted.alternatives:
        report.assumed(name, ABSENT)


def _probe_incomplete(
    report: Report, description: Description | None, requests: dict[str, dict[str, Any]]
) -> list[str]:
    """Send requests that a server has to refuse, and return the operations that it doesn't have.

    If a server starts a run anyway, the run is aborted immediately and reported.
    """
    absent = []
    for endpoint in ENDPOINTS:
        body = requests.get(str(endpoint))
        if body is None or not _is_refused(endpoint, body, description):
            continue
        seen = report.probe(endpoint.method, endpoint.server + endpoint.path, body)
        if seen.is_absent:
            absent.append(str(endpoint))
        elif seen.status < 300:
            words = "It accepted a request that lacks a field."
            report.odd(str(endpoint), "HTTP 422", f"HTTP {seen.status}", words, _abort_started(report, seen))
        name = "notebook_limit" if "job_type" in body else "longest_run"
        if "timeout" in body and (longest := longest_named(seen.content.decode(errors="replace"))):
            report.assumed(name, str(longest), str(endpoint))
        if endpoint.path == "/execution/gpu_selection/start":
            report.assumed("gpu_selection", ABSENT if seen.is_absent else "offered")
    return absent


def _abort_started(report: Report, seen: Seen) -> str:
    """Abort the runs that an answer names, and return what became of them."""
    outcomes = []
    for run_id in dict.fromkeys(_run_ids(seen.json)):
        abort = abort_soon(report.client, run_id)
        outcomes.append(f"Aborted run {run_id}." if abort.wait() else abort.words)
    report.notes += outcomes
    return " ".join(outcomes) or "It may have started a run and named no id. Check: %lk_runs"


def _run_ids(answer: object) -> Iterator[str]:
    """Yield the ids of runs in an answer, at any depth."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name in _RUN_IDS and isinstance(value, str) and is_run_id(value):
                yield value
            else:
                yield from _run_ids(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from _run_ids(value)


def _is_refused(endpoint: Endpoint, body: dict[str, Any], description: Description | None) -> bool:
    """Whether a body lacks a field that is required, by our description and by the server's description."""
    ours = {name for name, field in carried(endpoint).items() if field.required}
    theirs = description.fields(endpoint.method, endpoint.server + endpoint.path) if description else {}
    needed = ours & {name for name, field in theirs.items() if field.required} if theirs else ours
    return bool(needed - set(body))


def _look_at_bucket(connection: Connection, report: Report) -> None:
    """Ask for credentials, and once whether the bucket is there."""
    try:
        wire = Wire(Credentials(connection.client.storage.credentials), pauses=())  # it is not made here
        status = wire.ask(Request("HEAD", "")).status
        report.assumed("bucket_creation", "missing" if status == 404 else "there")
    except LkError as refusal:
        words = str(refusal).partition("\n")[0]
        report.odd(
            "POST /storage/credentials", "HTTP 200", words, "The bucket can't be reached", "Storage magics fail."
        )
