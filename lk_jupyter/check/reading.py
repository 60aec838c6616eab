"""The second level: all operations that only read, and on request starts that a server must refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
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
from lk_jupyter.api.vms import COMING_STATES, UP_STATES
from lk_jupyter.check.findings import Report
from lk_jupyter.check.lost_start import find_run_ids
from lk_jupyter.check.published import Description, is_in_group, list_body_fields
from lk_jupyter.config.assumptions import ABSENT, find_assumption
from lk_jupyter.config.read_only import is_read_only
from lk_jupyter.connection.connection import Connection
from lk_jupyter.errors import LkError, OutcomeUnknown
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import add_token_to_name
from lk_jupyter.runs.abort import abort_soon
from lk_jupyter.runs.submit.start import longest_named
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._sign import Request

#: Requests without a required field, for operations that start nothing.
_INCOMPLETE: dict[str, dict[str, Any]] = {"POST /serverless/route": {}, "POST /voucher/validate": {}}

#: Starts without a required field. The refusal contains the limit of the server. A server that accepts such a start
#: bills the run, so these requests need the user's consent. A mark of each start finds a run without an answer.
_TOO_LONG = 100_000_000
_INCOMPLETE_STARTS: dict[str, dict[str, Any]] = {
    "POST /execution/streaming/start": {"timeout": _TOO_LONG},
    "POST /execution/image/start": {"timeout": _TOO_LONG, "job_type": "customer_notebook"},
    "POST /execution/compose/start": {},
    "POST /execution/gpu_selection/start": {},
}

#: Number of VMs whose ids are checked, the form of an id, and the time by which clocks may differ.
_SAMPLED_VMS = 3
_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")
_CLOCKS = timedelta(minutes=5)

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
    _check_prices(report)
    _check_vm_ids(report)
    _check_account(report)
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


def _read_exchange(report: Report, path: str) -> Any:
    """Return the last successful answer of a read operation as JSON; None without an answer."""
    answers = [
        each.body
        for each in report.exchanges
        if (each.method, each.path) == ("GET", EXTERNAL + path) and each.status == 200
    ]
    return answers[-1] if answers else None


#: Operation → the list in its answer, the field with the name of a row, and the field with the price.
_PRICED = {
    "/machine-types": ("machine_types", "hardware_profile", "price_per_hour"),
    "/vms/availability": ("available_instance_variants", "hardware_profile", "price_per_hour"),
    "/inference/models": ("models", "serving_name", "price_per_hour"),
}


def _iterate_prices(report: Report) -> Iterator[tuple[str, Decimal]]:
    """Yield operation and price of everything with a price per hour."""
    for path, (key, _, field) in _PRICED.items():
        for row in _iterate_rows(_read_exchange(report, path), key):
            with suppress(InvalidOperation, ValueError):
                price = Decimal(str(row[field])) if row.get(field) is not None else None
                if price is not None and price.is_finite():
                    yield path, price


def _iterate_rows(content: Any, key: str) -> Iterator[dict[str, Any]]:
    rows = content.get(key) if isinstance(content, dict) else content
    yield from (row for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()


#: A price per hour above this limit, in credits, has another unit.
_HIGHEST_PRICE = 200


def _check_prices(report: Report) -> None:
    """Record prices that can't be prices: budgets and estimates rely on them."""
    odd: dict[str, list[Decimal]] = {}
    for path, price in _iterate_prices(report):
        if not 0 < price < _HIGHEST_PRICE:
            odd.setdefault(path, []).append(price)
    for path, prices in odd.items():
        report.add_difference(
            f"GET {path}",
            "a price above 0, in credits per hour",
            f"{len(prices)} prices such as {prices[0]:f}",
            "A cost that is computed with this price is wrong",
            "Treats a price of 0 as unknown.",
        )


def _check_vm_ids(report: Report) -> None:
    """Record VMs whose id has an unusual form, or isn't accepted in a request."""
    rows = [row for row in _iterate_rows(_read_exchange(report, "/vms/list"), "vms") if row.get("vm_id")]
    for row in rows[:_SAMPLED_VMS]:
        vm_id = str(row["vm_id"])
        form = "" if _UUID.fullmatch(vm_id) else "an id in another form"
        try:
            answer = report.probe("GET", f"{EXTERNAL}/vms/{quote(vm_id, safe='')}/status")
        except LkError:  # a lost answer shows nothing about ids
            continue
        other_id = answer.json.get("vm_id") if isinstance(answer.json, dict) else None
        if answer.status >= 300 and str(row.get("status")).lower() in UP_STATES | COMING_STATES:
            form = f"HTTP {answer.status} for the id in the list"
        elif answer.status < 300 and other_id is not None and other_id != vm_id:
            form = "another form of the id in the status of the VM"
        if form:
            report.add_difference(
                "GET /vms/list",
                "a UUID that other operations accept",
                form,
                "The ids of VMs have another form",
                "Sends each id exactly as the server wrote it.",
            )
            return


def _check_account(report: Report) -> None:
    """Record an account without an id, and a server whose clock differs."""
    account = _read_exchange(report, "/user/status")
    if isinstance(account, dict) and not account.get("user_id"):
        report.add_difference(
            "GET /user/status",
            "a user_id",
            "none",
            "The server doesn't show whose key this is",
            "If the answer to a start is lost, lk_jupyter reports the run, but doesn't follow it.",
        )
    ahead = report.client.utc_now - datetime.now(timezone.utc)
    if abs(ahead) > _CLOCKS:
        report.add_difference(
            "every operation",
            "the clock of this computer",
            f"{ahead.total_seconds() / 60:+.0f} minutes",
            "The clocks of this computer and the server differ",
            "Uses the clock of the server.",
        )


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
        token = uuid4().hex
        marked = _mark_start(endpoint, body, token) if str(endpoint) in _INCOMPLETE_STARTS else body
        try:
            answer = report.probe(endpoint.method, endpoint.server + endpoint.path, marked)
        except OutcomeUnknown as lost:
            answer = RawAnswer(0, "", str(lost).partition("\n")[0].encode())
        if answer.is_absent:
            absent.append(str(endpoint))
        elif not 300 <= answer.status < 500:
            words = "The server accepted a request without a required field."
            outcome = f"HTTP {answer.status}" if answer.status else answer.content.decode()
            if answer.status >= 300 or not answer.status:
                words = "The server didn't refuse a request without a required field"
            report.add_difference(
                str(endpoint),
                "HTTP 422",
                outcome,
                words,
                _abort_started_runs(report, answer, token, is_start=marked is not body),
            )
        name = "notebook_limit" if "job_type" in body else "longest_run"
        if "timeout" in body and (longest := longest_named(answer.content.decode(errors="replace"))):
            report.set_assumption(name, str(longest), str(endpoint))
        if endpoint.path == "/execution/gpu_selection/start":
            report.set_assumption("gpu_selection", ABSENT if answer.is_absent else "offered")
    return absent


def _mark_start(endpoint: Endpoint, body: dict[str, Any], token: str) -> dict[str, Any]:
    """Return a start with a mark, in the fields that the operation has."""
    marks = {"file_name": add_token_to_name("lk_check.py", token), "metadata": {REQUEST_KEY: token}}
    return {**body, **{name: value for name, value in marks.items() if name in list_body_fields(endpoint)}}


def _abort_started_runs(report: Report, answer: RawAnswer, token: str, *, is_start: bool) -> str:
    """Abort the runs in an answer, otherwise with the mark of a start, and return the results in words."""
    run_ids = dict.fromkeys(_iterate_run_ids(answer.json))
    outcomes = []
    for run_id in run_ids or (find_run_ids(report.client, token) if is_start else ()):
        abort = abort_soon(report.client, run_id)
        outcomes.append(f"Aborted run {run_id}." if abort.wait() else abort.words)
    report.notes += outcomes
    if outcomes or not is_start:
        return " ".join(outcomes) or "Shows the reason from the server."
    return (
        f"No list has a run with the mark of this start. If one is active, it costs {_describe_price(report)}. List "
        "active runs: %lk_runs Stop one: %lk_abort ID"
    )


def _describe_price(report: Report) -> str:
    """Return the highest price of a machine, in words: a start without a machine may have any."""
    prices = [price for _, price in _iterate_prices(report)]
    return f"at most {max(prices):f} credits per hour" if prices else "an unknown price"


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
