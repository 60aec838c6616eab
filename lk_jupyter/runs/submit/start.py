"""Start a run exactly once, even if the answer to the start is lost.

A start is sent once and never again: a list without the run doesn't prove that the run won't start.
"""

from __future__ import annotations

import ast
import json
import logging
import math
import re
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from lk_jupyter.api._client import Client
from lk_jupyter.api._creation import Candidates, create_once
from lk_jupyter.api._models import Model
from lk_jupyter.api.execution import (
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    ExecutionRecord,
    StartRequest,
    StreamingExecutionRequest,
    StreamingStartResponse,
)
from lk_jupyter.api.user import is_same_user
from lk_jupyter.api.workloads import (
    Workload,
)  # also aborts runs: imported now, so that no interrupt waits for the import
from lk_jupyter.config.assumptions import DEFAULT, IGNORED, SEPARATOR, Assumptions
from lk_jupyter.config.settings import setting
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import ApiError, BadRequest, Invalid, LkError
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import KEY, MARK, PREFIX, SETTINGS, add_token_to_name, is_internal
from lk_jupyter.remote.sign import NO_FILES
from lk_jupyter.runs.outcome import NO_FILES_TEXT
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.text.secrets import MARK as REDACTED

if TYPE_CHECKING:
    from lk_jupyter.api.billing import ExecutionSummary

#: Seconds until a start with a shorter time limit reaches the cloud, by which a lease is shorter then.
_START_SECONDS = 5

#: Fields of a start that its record repeats. No other field, such as a password, is compared.
REPEATED = {"code", "metadata"}

#: The maximum number of records to read of runs with the same mark, oldest first: copies are newer than the run.
_MAX_RECORDS = 10

#: The maximum delay of a server's clock, when runs are distinguished by their time.
_CLOCKS = timedelta(minutes=2)

#: The job type of hosted Jupyter servers in the API.
JOB_TYPE = "customer_notebook"

#: A refusal of a time limit: "timeout: Input should be less than or equal to 600".
_LONGEST = re.compile(
    r"timeout.{0,200}?(?:less than or equal to|at most|no more than|exceed|up to|max(?:imum)?)\D{0,20}(\d+)",
    re.IGNORECASE | re.DOTALL,
)

#: Code that puts the folder of a run first in ``sys.path``: the folder with the token of the script's name, else the
#: newest folder. Without a folder, the run ends before the user's code, with a mark in its output. The text is the same
#: for every run, so that equal code stays equal, and it binds no name.
_FIND = (
    "__import__('sys').path.insert(0, (lambda os, at: (lambda own: own if os.path.isdir(own) else max("
    f"(each.path for each in os.scandir(os.path.dirname(at)) if each.name.startswith({PREFIX!r}) and each.is_dir()), "
    f"key=os.path.getmtime, default='') or (print({NO_FILES_TEXT!r}, file=__import__('sys').stderr), "
    f"__import__('sys').exit({NO_FILES})))"
    f"(os.path.join(os.path.dirname(at), {PREFIX!r} + os.path.splitext(at)[0][-{MARK}:])))"
    "(__import__('os'), __import__('os').path.abspath(globals().get('__file__', './_'))))"
)
#: The folder of the author's files, separate from files of lk_jupyter; the code runs in this folder.
_FILES = "files"
_ENTER = (
    f"; __import__('sys').path.insert(0, __import__('sys').path[0] + '/{_FILES}')"
    "; __import__('os').makedirs(__import__('sys').path[0], exist_ok=True)"
    "; __import__('os').chdir(__import__('sys').path[0])"
)

#: Code that writes the files of a run into a new folder, and puts the folder first in ``sys.path``: for a server that
#: ignores the files of a request.
_WRITE = """import base64, json, os, sys, tempfile, zlib
root = tempfile.mkdtemp(prefix=folder + "-")
for name, text in json.loads(zlib.decompress(base64.b64decode(packed))).items():
    path = os.path.join(root, *name.split("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
sys.path.insert(0, root)
"""

#: The answer of a start operation.
StartResponse = TypeVar("StartResponse")

#: A request that starts something.
Request = TypeVar("Request", bound=Model)

#: Fields that no start needs → what the server doesn't show without the field.
_OPTIONAL_FIELDS = {"metadata": "metadata of a run", "labels": "labels of a run", "run_name": "name of a run"}

_log = logging.getLogger("lk_jupyter")


def start_once(client: Client, bundle: Bundle) -> StreamingStartResponse:
    """Start the run and return the answer; look the run up if the answer was lost.

    Raises OutcomeUnknown if neither the answer nor the lookup succeeds.
    """
    name = add_token_to_name(bundle.request.file_name or bundle.source.file_name, bundle.token)
    request = bundle.request.model_copy(update={"file_name": name})
    if isinstance(request, StreamingExecutionRequest):
        if client.assumptions["import_files"] == IGNORED:
            request = put_files_in_code(request, bundle)
        else:
            request = use_separate_folder(request, bundle.token, bundle.frames_token)
    return send_once(
        client,
        bundle.token,
        lambda: send_accepted_fields(
            client.assumptions,
            request,
            lambda accepted: _send_start_request(client, accepted, limited_by_cost=bundle.cost_binds),
        ),
        request.model_dump(include=REPEATED),
    )


def send_accepted_fields(
    assumptions: Assumptions, request: Request, send: Callable[[Request], StartResponse]
) -> StartResponse:
    """Send a start without optional fields that the server refuses; a refusal of a field shows that nothing started.

    The mark by which a start is found again is also part of the file's name. Raises the errors of ``send``.
    """
    refused = set(filter(None, assumptions["refused_fields"].split(SEPARATOR)))
    while True:
        omissions = {name: None for name in refused if name in type(request).model_fields}
        accepted = request.model_copy(update=omissions)
        try:
            return send(accepted)
        except (Invalid, BadRequest) as refusal:
            field = _find_refused_field(refusal, accepted)
            if field is None:
                raise
            refused.add(field)
            assumptions.store_finding("refused_fields", SEPARATOR.join(sorted(refused)))
            _log.warning(
                "lk_jupyter: The server refuses the field '%s' of a start, so starts are sent without this field. Its "
                "lists and records don't contain the %s.",
                field,
                _OPTIONAL_FIELDS[field],
            )


def _find_refused_field(refusal: ApiError, request: Request) -> str | None:
    """Return the optional field of a request that a refusal names; None if the refusal names none."""
    set_fields = request.model_dump(exclude_none=True)
    named = (name for name in _OPTIONAL_FIELDS if set_fields.get(name))
    return next((name for name in named if re.search(rf"(?<!\w){name}(?!\w)", refusal.detail)), None)


def use_separate_folder(
    request: StreamingExecutionRequest, token: str, frames_token: str = ""
) -> StreamingExecutionRequest:
    """Return a request whose code imports its files from a separate folder, since runs may share a working folder.

    Code with files of its author runs in the separate folder. ``frames_token`` is the token of the key that signs
    frames, if it isn't ``token``.
    """
    files: dict[str, str] = json.loads(request.import_files or "{}")
    if not files:
        return request
    if SETTINGS in files:  # the driver is uploaded too
        files[KEY] = signing_key(frames_token or token).hex()
    folder = f"{PREFIX}{token[:MARK]}"
    packed = json.dumps({f"{folder}/{path}": text for path, text in _place_files(files).items()})
    code = _prepend_line(request.code, _FIND + _enter_folder(files))
    return request.model_copy(update={"import_files": packed, "code": code})


def put_files_in_code(request: StreamingExecutionRequest, bundle: Bundle) -> StreamingExecutionRequest:
    """Return a request whose code contains its files.

    The record of a run contains the code. So the key that signs frames is included only if the user allows secrets.
    """
    files: dict[str, str] = json.loads(request.import_files or "{}")
    if not files:
        return request
    if SETTINGS in files and bundle.allows_secrets:
        files[KEY] = signing_key(bundle.frames_token or bundle.token).hex()
    packed = b64encode(zlib.compress(json.dumps(_place_files(files)).encode(), 9)).decode()
    facts = {"packed": packed, "folder": f"{PREFIX}{bundle.token[:MARK]}"}
    code = _prepend_line(request.code, f"exec({_WRITE!r}, {facts!r}){_enter_folder(files)}")
    return request.model_copy(update={"import_files": None, "code": code})


def _place_files(files: Mapping[str, str]) -> dict[str, str]:
    """Return the files of a run, with the author's files in a separate folder."""
    return {
        name if is_internal(name) or name.startswith("cloudpickle/") else f"{_FILES}/{name}": text
        for name, text in files.items()
    }


def _enter_folder(files: Iterable[str]) -> str:
    """Return code that runs the script in the folder of its author's files; empty without such files."""
    return "" if all(map(is_internal, files)) else _ENTER


def _prepend_line(code: str, line: str) -> str:
    """Put a line in front of code without moving lines of the code, if the first statement allows this."""
    tree = ast.parse(code)
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    if future:
        lines = code.splitlines(keepends=True)
        last = (future[-1].end_lineno or 1) - 1
        lines[last] = f"{lines[last].partition('#')[0].rstrip()}; {line}\n"
        return "".join(lines)
    if code.startswith("\n"):
        return line + code
    is_simple = tree.body and tree.body[0].lineno == 1 and not hasattr(tree.body[0], "body")
    return f"{line}; {code}" if is_simple else f"{line}\n{code}"


def send_once(
    client: Client, token: str, send: Callable[[], StartResponse], request: Mapping[str, Any]
) -> StartResponse | StreamingStartResponse:
    """Send a start that contains this token; look the run up if the answer doesn't show whether the run started.

    ``request`` has the fields that the record repeats. Raises OutcomeUnknown if neither the answer nor the lookup
    succeeds, or if the cloud doesn't show whose run was started; otherwise the errors of the API.
    """
    requested_at = client.utc_now

    def find() -> Candidates[StartResponse | StreamingStartResponse]:
        runs = find_marked(client, token, request)
        return Candidates(runs.user_run, runs.advice)

    def describe_loss() -> str:
        candidates = _describe_candidates(client, requested_at)
        return (
            f"The run may be active and billed. It was not sent again.{candidates}\n"
            "Check before you start it again: %lk_runs"
        )

    return create_once(
        send, find, describe_loss, trusts_failure=lambda _: not _describe_candidates(client, requested_at)
    )


def _send_start_request(client: Client, request: StartRequest, *, limited_by_cost: bool) -> StreamingStartResponse:
    if isinstance(request, DockerExecutionRequest):
        is_longest = limited_by_cost or request.timeout == longest_notebook(client.assumptions)
        if request.job_type == JOB_TYPE and is_longest:
            return _start_as_long_as_allowed(client, request)
        return StreamingStartResponse.model_validate(client.execution.start_image(request).model_dump())
    if isinstance(request, DockerComposeExecutionRequest):
        return StreamingStartResponse.model_validate(client.execution.start_compose(request).model_dump())
    return client.execution.start_streaming(request)


def longest_named(refusal: str) -> int | None:
    """Return the longest time limit in a refusal, in seconds; None without a limit."""
    match = _LONGEST.search(refusal)
    return int(match[1]) if match else None


def shorter_limit(refusal: ApiError, timeout: int) -> int | None:
    """Return the time limit, in seconds, that a refusal of a start allows in place of ``timeout``; None without one."""
    longest = longest_named(refusal.detail)
    return longest if longest and longest < timeout else None


def key_seconds(client: Client) -> float:
    """Return the seconds until the key of a broker ends; infinite for other keys."""
    return math.inf if client.lease_end is None else client.lease_end - client.now()


def limit_before_lease_end(client: Client, seconds: int) -> int:
    """Return a time limit, in seconds, with which a run that is started now ends before the key of a broker."""
    return max(1, int(min(seconds, key_seconds(client) - _START_SECONDS)))


def longest_notebook(assumptions: Assumptions) -> int:
    """Return the longest known time limit of a hosted Jupyter server, in seconds."""
    assumption = assumptions.resolve("notebook_limit")
    return int(setting("max_timeout") if assumption.source == DEFAULT else assumption.value)


def _start_as_long_as_allowed(client: Client, request: DockerExecutionRequest) -> StreamingStartResponse:
    """Start a server with the longest limit that the cloud allows, since the user set none."""
    try:
        answer = client.execution.start_image(request)
    except (Invalid, BadRequest) as refusal:
        longest = shorter_limit(refusal, request.timeout)
        if longest is None:
            raise
        limit = limit_before_lease_end(client, longest)
        answer = client.execution.start_image(request.model_copy(update={"timeout": limit}))
        if client.lease_end is None:  # the limit of a key isn't a limit of the cloud
            client.assumptions.store_finding("notebook_limit", str(longest))
    return StreamingStartResponse.model_validate(answer.model_dump())


@dataclass(frozen=True)
class MarkedRuns:
    """The runs of the organization with the mark of the same start.

    Every member can read the mark and start a copy. ``user_run`` is the run of this user, ``unclear`` are the ids of
    runs whose records don't show their user, ``foreign`` the ids of runs of other users.
    """

    user_run: StreamingStartResponse | None = None
    unclear: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def advice(self) -> str:
        """Return the lines of an error about runs that aren't followed; empty without such runs."""
        lines = []
        if self.unclear:
            first, ids = self.unclear[0], ", ".join(self.unclear)
            lines = [
                f"This run may be yours: {ids}. The cloud doesn't show who started it, so this cell doesn't follow it.",
                f"Show its log: %lk_attach {first}. Abort it: %lk_abort {first}",
            ]
        if self.foreign:
            lines.append(f"A run of another user has the same token as this run: {', '.join(self.foreign)}.")
        return "".join(f"\n{line}" for line in lines)


def find_marked(client: Client, token: str, request: Mapping[str, Any]) -> MarkedRuns:
    """Find runs with the mark of a request, active runs first, then ended runs. Raises LkError."""
    active = _find_marked_ids(client.workloads.list(), token)
    runs = _sort_by_owner(client, active, request)
    if runs.user_run:
        return runs
    ended = {
        run_id: at for run_id, at in _find_marked_ids(client.billing.history(), token).items() if run_id not in active
    }
    more = _sort_by_owner(client, ended, request)
    return more if more.user_run else MarkedRuns(None, runs.unclear + more.unclear, runs.foreign + more.foreign)


def _find_marked_ids(runs: Iterable[Workload | ExecutionSummary], token: str) -> dict[str, datetime | None]:
    """Return the ids of runs with this mark, and the time of creation of each."""
    return {
        run.execution_id: run.created_at
        for run in runs
        if (run.metadata or {}).get(REQUEST_KEY) == token or token[:MARK] in run.model_dump_json()
    }


def _sort_by_owner(client: Client, marked: dict[str, datetime | None], request: Mapping[str, Any]) -> MarkedRuns:
    """Read the records of runs, oldest first, until a record is the user's run. Raises LkError."""
    if not marked:
        return MarkedRuns()
    latest = datetime.max.replace(tzinfo=timezone.utc)
    user_id, unclear, foreign = client.user.status().user_id, [], []
    for run_id in sorted(marked, key=lambda run_id: marked[run_id] or latest)[:_MAX_RECORDS]:
        record = None
        with suppress(LkError):  # some servers have no record yet
            record = client.execution.get(run_id)
        if record is None or not user_id or not record.user_id:
            unclear.append(run_id)
        elif not is_same_user(record.user_id, user_id):
            foreign.append(run_id)
        elif _repeats_request(request, record):
            return MarkedRuns(StreamingStartResponse(execution_id=run_id, status=record.status, streaming_url=""))
        else:
            unclear.append(run_id)
    return MarkedRuns(None, tuple(unclear), tuple(foreign))


def _repeats_request(request: Mapping[str, Any], record: ExecutionRecord) -> bool:
    """Return whether a record repeats the code and the metadata of a request, as far as the record contains both."""
    metadata, expected = record.metadata or {}, request.get("metadata") or {}
    if any(metadata.get(name, value) != value for name, value in expected.items() if REDACTED not in str(value)):
        return False
    code = str(request.get("code") or "")
    if (
        record.python_code is None or REDACTED in code or "__future__" in code
    ):  # a start adds a line after __future__ imports
        return True
    return "".join(code.split()) in "".join(record.python_code.split())


def _describe_candidates(client: Client, requested_at: datetime) -> str:
    """Describe the runs without a mark that started at that time: the run may be among these."""
    try:
        runs = [run for run in client.workloads.list() if run.created_at and run.created_at >= requested_at - _CLOCKS]
    except LkError:
        return ""
    ids = [run.execution_id for run in runs if REQUEST_KEY not in (run.metadata or {})]
    return f"\nRuns that started at about the same time: {', '.join(ids[:3])}." if ids else ""
