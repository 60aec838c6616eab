"""The second level: all operations that only read, and on request starts that a server must refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, ValidationError

from lk_jupyter.api._answers import RawAnswer
from lk_jupyter.api._endpoint import ENDPOINTS, EXTERNAL, IRIS, PLACEHOLDER, Endpoint, endpoint_of
from lk_jupyter.api._models import Listing, Page
from lk_jupyter.api._tolerant import read
from lk_jupyter.api.orgs import Orgs
from lk_jupyter.api.states import is_run_id
from lk_jupyter.api.user import User
from lk_jupyter.check.findings import Report
from lk_jupyter.check.published import Description, is_in_group, list_body_fields
from lk_jupyter.config.assumptions import ABSENT, find_assumption
from lk_jupyter.config.read_only import is_read_only
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import LkError
from lk_jupyter.runs.abort import abort_soon
from lk_jupyter.runs.submit.start import longest_named
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._sign import Request

#: Requests without a required field, for operations that start nothing.
_INCOMPLETE: dict[str, dict[str, Any]] = {"POST /serverless/route": {}, "POST /voucher/validate": {}}

#: Starts without a required field. The refusal contains the limit of the server. A server that accepts such a start
#: bills the run, so these requests need the user's consent.
_TOO_LONG = 100_000_000
_INCOMPLETE_STARTS: dict[str, dict[str, Any]] = {
    "POST /execution/streaming/start": {"timeout": _TOO_LONG},
    "POST /execution/image/start": {"timeout": _TOO_LONG, "job_type": "customer_notebook"},
    "POST /execution/compose/start": {},
    "POST /execution/gpu_selection/start": {},
}

#: Fields with the id of a run in a successful answer.
_RUN_IDS = {"execution_id", "executionId", "run_id", "job_id", "id"}

#: Operations with the id of an object in the query.
_BY_ID = {"/inference/get": "deployment_id"}

#: Queries of operations that require a query.
_QUERIES = {"/orgs/{slug}/transactions/aggregate": "?category=executions&group_by=hardware_profile"}

#: Operations that answer with streams or files, or that other checks request.
_NOT_READ = re.compile(r"/inference/streaming/|/storage/download/|/content$|/mfa/")


def check_reads(connection: Connection, report: Report, description: Description | None, *, probe_starts: bool) -> None:
    """Send all requests that only read, and starts that must be refused if ``probe_starts``.

    Raises: Unauthorized: The key isn't accepted.
    """
    _check_key(report)
    slug, is_known_organization = _find_slug(report)
    absent: list[str] = []
    for endpoint in _iterate_read_endpoints():
        answer = _probe_endpoint(report, endpoint, slug)
        if answer is None:
            continue
        if _is_missing(endpoint, answer, description):
            absent.append(str(endpoint))
        elif _is_comparable(endpoint, is_known_organization=is_known_organization):
            read_answer(report, endpoint, answer)
    if not is_known_organization:
        report.add_missing("GET /orgs/{slug}", "the organization of the key", "The server returned no organization")
    _probe_prefix(report, "chat_prefix", "/models")
    _probe_prefix(report, "batch_prefix", "/batches")
    if is_read_only():
        report.notes.append(
            "Read-only mode is on, so only read requests were sent. Test more: %lk_config read_only off"
        )
    else:
        absent += _probe_incomplete_requests(
            report, description, _INCOMPLETE | (_INCOMPLETE_STARTS if probe_starts else {})
        )
    if not probe_starts:
        report.notes.append(
            "Requests that start runs weren't tested. Test these requests too: %lk_check --probe-starts"
        )
    grouped = {str(endpoint) for endpoint in ENDPOINTS if is_in_group(endpoint)}
    named = report.values.get("absent_operations", "")
    if description is None or not named:
        report.add_to_assumption("absent_operations", [each for each in absent if each not in grouped])
    _probe_bucket(connection, report)


def _check_key(report: Report) -> None:
    """Return an operation that shows whether the key is accepted. Raises Unauthorized."""
    lookups = find_assumption("signin_lookup")
    for operation in (lookups.default, *lookups.alternatives):
        method, _, path = operation.partition(" ")
        answer = report.probe(method, EXTERNAL + path)
        if answer.status == 401:
            report.client.user.status()  # raises the usual error
        if not answer.is_absent:
            report.set_assumption("signin_lookup", operation)
            return


def _find_slug(report: Report) -> tuple[str, bool]:
    """Return the slug of the key's organization and True; without an organization, a random slug and False."""
    for owner, name in ((User, "org"), (Orgs, "list")):
        endpoint = endpoint_of(getattr(owner, name))
        response = report.probe("GET", endpoint.server + endpoint.path)
        with suppress(ValidationError):
            answer, _ = read(endpoint.answer_type, endpoint.returns, response.content)
            for organization in answer if isinstance(answer, Page) else [answer]:
                if organization.slug and response.status == 200:
                    return organization.slug, True
    return f"lk-{uuid4().hex[:8]}", False


def _iterate_read_endpoints() -> Iterator[Endpoint]:
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET" and not _NOT_READ.search(endpoint.path) and endpoint.server != IRIS:
            yield endpoint


def _probe_endpoint(report: Report, endpoint: Endpoint, slug: str) -> RawAnswer | None:
    path = PLACEHOLDER.sub(lambda match: quote(slug, safe="") if match[1] == "slug" else str(uuid4()), endpoint.path)
    query = f"?{_BY_ID[endpoint.path]}={uuid4()}" if endpoint.path in _BY_ID else _QUERIES.get(endpoint.path, "")
    try:
        return report.probe("GET", endpoint.server + path + query)
    except LkError as lost:
        report.add_difference(
            str(endpoint), "an answer", str(lost).partition("\n")[0], "The server didn't answer", "Tries again."
        )
    return None


def _is_missing(endpoint: Endpoint, answer: RawAnswer, description: Description | None) -> bool:
    """Return whether an answer reports a missing operation.

    A description that lists the operation overrides the answer.
    """
    if not answer.is_absent:
        return False
    is_described = description is not None and (endpoint.method, endpoint.server + endpoint.path) in description
    return not (is_described and PLACEHOLDER.search(endpoint.path))


def _is_comparable(endpoint: Endpoint, *, is_known_organization: bool) -> bool:
    """Return whether the request concerns existing objects, so that the answer shows the form of the operation."""
    placeholders = {name for name, _ in PLACEHOLDER.findall(endpoint.path)}
    return endpoint.path not in _BY_ID and (not placeholders or (is_known_organization and placeholders == {"slug"}))


def read_answer(report: Report, endpoint: Endpoint, raw: RawAnswer) -> Any:
    """Read an answer as the client does, record unreadable parts, and return the answer, or None."""
    operation = str(endpoint)
    if raw.status >= 300:
        if raw.status not in {402, 403}:
            words = f"HTTP {raw.status}"
            report.add_difference(
                operation,
                "HTTP 200",
                words,
                "The server refused the request or failed",
                "Shows the reason from the server.",
            )
        return None
    if operation == "GET /pricing" and isinstance(raw.json, dict):
        report.set_assumption("pricing_count", "sent" if "count" in raw.json else ABSENT)
    answer = None
    try:
        answer, odd = read(endpoint.answer_type, endpoint.returns, raw.content)
    except ValidationError as error:
        odd = f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
    if odd:
        report.add_difference(
            operation,
            "the documented form",
            odd,
            "The answer differs from its documented form",
            "Reads only rows in the documented form.",
        )
    elif _is_empty(answer):
        report.add_missing(operation, "the documented form", "The list is empty")
    else:
        report.remove_missing(operation)
    return answer


def _is_empty(answer: Any) -> bool:
    """Return whether an answer is a list without elements, or an object with only empty lists."""
    if isinstance(answer, (Listing, Page)):
        return len(answer) == 0
    values = [value for _, value in answer if value is not None] if isinstance(answer, BaseModel) else []
    return bool(values) and all(value == [] for value in values)


def _probe_prefix(report: Report, name: str, path: str) -> None:
    assumption = find_assumption(name)
    for prefix in (assumption.default, *assumption.alternatives):
        if prefix.startswith("/"):
            answer = report.probe("GET", prefix + path)
            if not answer.is_absent and answer.status != 404:
                report.set_assumption(name, prefix)
                return
    if ABSENT in assumption.alternatives:
        report.set_assumption(name, ABSENT)


def _probe_incomplete_requests(
    report: Report, description: Description | None, requests: dict[str, dict[str, Any]]
) -> list[str]:
    """Send requests that a server must refuse, and return the operations that the server lacks.

    If a server starts a run anyway, abort the run immediately and report the run.
    """
    absent = []
    for endpoint in ENDPOINTS:
        body = requests.get(str(endpoint))
        if body is None or not _is_refused(endpoint, body, description):
            continue
        answer = report.probe(endpoint.method, endpoint.server + endpoint.path, body)
        if answer.is_absent:
            absent.append(str(endpoint))
        elif answer.status < 300:
            words = "The server accepted a request without a required field."
            report.add_difference(
                str(endpoint), "HTTP 422", f"HTTP {answer.status}", words, _abort_started_runs(report, answer)
            )
        name = "notebook_limit" if "job_type" in body else "longest_run"
        if "timeout" in body and (longest := longest_named(answer.content.decode(errors="replace"))):
            report.set_assumption(name, str(longest), str(endpoint))
        if endpoint.path == "/execution/gpu_selection/start":
            report.set_assumption("gpu_selection", ABSENT if answer.is_absent else "offered")
    return absent


def _abort_started_runs(report: Report, answer: RawAnswer) -> str:
    """Abort the runs in an answer, and return the results in words."""
    outcomes = []
    for run_id in dict.fromkeys(_iterate_run_ids(answer.json)):
        abort = abort_soon(report.client, run_id)
        outcomes.append(f"Aborted run {run_id}." if abort.wait() else abort.words)
    report.notes += outcomes
    return " ".join(outcomes) or "A run may have been started, and the server returned no id. Check: %lk_runs"


def _iterate_run_ids(answer: object) -> Iterator[str]:
    """Yield the ids of runs in an answer, at any depth."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name in _RUN_IDS and isinstance(value, str) and is_run_id(value):
                yield value
            else:
                yield from _iterate_run_ids(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from _iterate_run_ids(value)


def _is_refused(endpoint: Endpoint, body: dict[str, Any], description: Description | None) -> bool:
    """Return whether a body lacks a field that our description and the server's description require."""
    required = {name for name, field in list_body_fields(endpoint).items() if field.required}
    theirs = description.fields(endpoint.method, endpoint.server + endpoint.path) if description else {}
    needed = required & {name for name, field in theirs.items() if field.required} if theirs else required
    return bool(needed - set(body))


def _probe_bucket(connection: Connection, report: Report) -> None:
    """Request credentials, and check once whether the bucket exists."""
    try:
        wire = Wire(Credentials(connection.client.storage.credentials), pauses=())  # the check creates no bucket
        status = wire.ask(Request("HEAD", "")).status
        report.set_assumption("bucket_creation", "missing" if status == 404 else "there")
    except LkError as refusal:
        words = str(refusal).partition("\n")[0]
        report.add_difference(
            "POST /storage/credentials", "HTTP 200", words, "The bucket can't be reached", "Storage magics fail."
        )
