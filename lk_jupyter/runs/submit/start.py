"""Starting a run exactly once, even when the answer to the start is lost.

A start is sent once and never again: a list that does not have the run is no proof that it will not start.
"""

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from lk_jupyter.api._client import Client
from lk_jupyter.api.execution import (
    DockerComposeExecutionRequest,
    DockerExecutionRequest,
    ExecutionRecord,
    StartRequest,
    StreamingExecutionRequest,
    StreamingStartResponse,
)
from lk_jupyter.api.user import is_same_user
from lk_jupyter.api.workloads import Workload  # also what aborts a run: no interrupt waits for its import
from lk_jupyter.config.assumptions import DEFAULT, Assumptions
from lk_jupyter.config.settings import setting
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import BadRequest, Invalid, InvalidResponse, LkError, OutcomeUnknown, ServerError
from lk_jupyter.protocol.metadata import REQUEST_KEY
from lk_jupyter.protocol.parts import KEY, MARK, PREFIX, SETTINGS, is_internal, own_name
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.text.secrets import MARK as REDACTED

if TYPE_CHECKING:
    from lk_jupyter.api.billing import ExecutionSummary

#: Looks for a run whose start was not answered: the request may still be on its way.
LOOKS = 3
LOOK_PAUSE = 1.0

#: Fields of a start that its record repeats. No other field, such as a password, is compared.
REPEATED = {"code", "metadata"}

#: Runs with one mark whose records are read, the oldest first: copies are younger than the run.
_MOST_RECORDS = 10

#: How far a server's clock may be behind this one, where runs are told apart by their time.
_CLOCKS = timedelta(minutes=2)


#: What a run of a hosted Jupyter server is called by the API.
JOB_TYPE = "customer_notebook"

#: A refusal of a time limit: "timeout: Input should be less than or equal to 600".
_LONGEST = re.compile(
    r"timeout.{0,200}?(?:less than or equal to|at most|no more than|exceed|up to|max(?:imum)?)\D{0,20}(\d+)",
    re.IGNORECASE | re.DOTALL,
)

#: Puts the folder of a run in front of what is imported: that of the same token as the script's name, else the newest.
#: The same text for every run, so that two runs of one code have one code; it leaves no name behind.
_FIND = (
    "__import__('sys').path.insert(0, (lambda os, at: (lambda own: own if os.path.isdir(own) else max("
    f"(each.path for each in os.scandir(os.path.dirname(at)) if each.name.startswith({PREFIX!r}) and each.is_dir()), "
    f"key=os.path.getmtime))(os.path.join(os.path.dirname(at), {PREFIX!r} + os.path.splitext(at)[0][-{MARK}:])))"
    "(__import__('os'), __import__('os').path.abspath(globals().get('__file__', './_'))))"
)
#: The author's files are apart from ours, in the folder where the code works.
_FILES = "files"
_ENTER = (
    f"; __import__('sys').path.insert(0, __import__('sys').path[0] + '/{_FILES}')"
    "; __import__('os').makedirs(__import__('sys').path[0], exist_ok=True)"
    "; __import__('os').chdir(__import__('sys').path[0])"
)

#: The answer to a start of one kind.
Started = TypeVar("Started")


def start_once(client: Client, bundle: Bundle) -> StreamingStartResponse:
    """Start the run and return the answer; a start whose answer was lost is looked up.

    Raises OutcomeUnknown when neither the answer nor the lookup came through.
    """
    name = own_name(bundle.request.file_name or bundle.source.file_name, bundle.token)
    request = bundle.request.model_copy(update={"file_name": name})
    if isinstance(request, StreamingExecutionRequest):
        request = _in_own_folder(request, bundle.token)
    return sent_once(
        client,
        bundle.token,
        lambda: _start(client, request, limited_by_cost=bundle.cost_binds),
        request.model_dump(include=REPEATED),
    )


def _in_own_folder(request: StreamingExecutionRequest, token: str) -> StreamingExecutionRequest:
    """Return a request with its files in a separate folder, where its code finds them.

    Runs may share a working folder. Code that brings files of its author works in that folder.
    """
    files: dict[str, str] = json.loads(request.import_files or "{}")
    if not files:
        return request
    if SETTINGS in files:  # the driver is uploaded too
        files[KEY] = signing_key(token).hex()
    folder = f"{PREFIX}{token[:MARK]}"
    line = _FIND
    if not all(map(is_internal, files)):
        line += _ENTER
    stay = {name for name in files if is_internal(name) or name.startswith("cloudpickle/")}
    places = {name: name if name in stay else f"{_FILES}/{name}" for name in files}
    packed = json.dumps({f"{folder}/{places[name]}": text for name, text in files.items()})
    return request.model_copy(update={"import_files": packed, "code": _before(request.code, line)})


def _before(code: str, line: str) -> str:
    """Put a line in front of code so that no line of it moves, where its first statement allows that."""
    tree = ast.parse(code)
    future = [each for each in tree.body if isinstance(each, ast.ImportFrom) and each.module == "__future__"]
    if future:
        lines = code.splitlines(keepends=True)
        last = (future[-1].end_lineno or 1) - 1
        lines[last] = f"{lines[last].partition('#')[0].rstrip()}; {line}\n"
        return "".join(lines)
    if code.startswith("\n"):
        return line + code
    is_simple = tree.body and tree.body[0].lineno == 1 and not hasattr(tree.body[0], "body")
    return f"{line}; {code}" if is_simple else f"{line}\n{code}"


def sent_once(
    client: Client, token: str, send: Callable[[], Started], request: Mapping[str, Any]
) -> Started | StreamingStartResponse:
    """Send a start that carries this token; look the run up where the answer does not show what became of it.

    ``request`` has what the record repeats. Raises OutcomeUnknown when neither the answer nor the lookup came
    through, or when the cloud doesn't show whose run it is; else the errors of the API.
    """
    asked = client.utc_now
    try:
        return send()
    except (OutcomeUnknown, InvalidResponse, ServerError) as error:
        lost = error
    runs, is_known = MarkedRuns(), False
    for attempt in range(LOOKS):
        if attempt:
            time.sleep(LOOK_PAUSE)
        with suppress(LkError):
            runs = find_marked(client, token, request)
            is_known = True
        if runs.own:
            return runs.own
    candidates = runs.advice or _candidates(client, asked)
    if isinstance(lost, ServerError) and is_known and not candidates:  # it says that it failed, and has no such run
        raise lost
    raise OutcomeUnknown(
        f"{str(lost).partition(chr(10))[0]}\nThe run may be active and billed. It was not sent "
        f"again.{candidates}\nCheck before you start it again: %lk_runs"
    )


def _start(client: Client, request: StartRequest, *, limited_by_cost: bool) -> StreamingStartResponse:
    if isinstance(request, DockerExecutionRequest):
        is_longest = limited_by_cost or request.timeout == longest_notebook(client.assumptions)
        if request.job_type == JOB_TYPE and is_longest:
            return _start_as_long_as_allowed(client, request)
        return StreamingStartResponse.model_validate(client.execution.start_image(request).model_dump())
    if isinstance(request, DockerComposeExecutionRequest):
        return StreamingStartResponse.model_validate(client.execution.start_compose(request).model_dump())
    return client.execution.start_streaming(request)


def longest_named(refusal: str) -> int | None:
    """Return the longest time limit in seconds that a refusal names, if it does."""
    found = _LONGEST.search(refusal)
    return int(found[1]) if found else None


def longest_notebook(assumed: Assumptions) -> int:
    """Return the seconds that a hosted Jupyter server may take, as far as that is known."""
    found = assumed.resolve("notebook_limit")
    return int(setting("max_timeout") if found.source == DEFAULT else found.value)


def _start_as_long_as_allowed(client: Client, request: DockerExecutionRequest) -> StreamingStartResponse:
    """Start a server that nobody gave a time limit, with the longest that a refusal names."""
    try:
        answer = client.execution.start_image(request)
    except (Invalid, BadRequest) as refusal:
        longest = longest_named(refusal.detail)
        if not longest or longest >= request.timeout:
            raise
        answer = client.execution.start_image(request.model_copy(update={"timeout": longest}))
        client.assumptions.learn("notebook_limit", str(longest))
    return StreamingStartResponse.model_validate(answer.model_dump())


@dataclass(frozen=True)
class MarkedRuns:
    """The runs of the organization that carry the mark of one start.

    Every member can read the mark and start a copy. ``own`` is the run of this user, ``unclear`` are the ids of runs
    whose records don't show who started them, ``foreign`` the ids of runs of other users.
    """

    own: StreamingStartResponse | None = None
    unclear: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @property
    def advice(self) -> str:
        """The lines of an error about runs that aren't followed; empty without any."""
        lines = []
        if self.unclear:
            first, ids = self.unclear[0], ", ".join(self.unclear)
            lines = [
                f"May be yours: {ids}. The cloud doesn't show who started it, so it isn't followed.",
                f"Show its log: %lk_attach {first}. Abort it: %lk_abort {first}",
            ]
        if self.foreign:
            lines.append(f"Started with the mark of this run by another user: {', '.join(self.foreign)}.")
        return "".join(f"\n{line}" for line in lines)


def find_marked(client: Client, token: str, request: Mapping[str, Any]) -> MarkedRuns:
    """Look for the mark of a request among the active runs, then among the ended runs. Raises LkError."""
    active = _marked(client.workloads.list(), token)
    runs = _sorted_by_owner(client, active, request)
    if runs.own:
        return runs
    ended = {run_id: at for run_id, at in _marked(client.billing.history(), token).items() if run_id not in active}
    more = _sorted_by_owner(client, ended, request)
    return more if more.own else MarkedRuns(None, runs.unclear + more.unclear, runs.foreign + more.foreign)


def _marked(runs: Iterable[Workload | ExecutionSummary], token: str) -> dict[str, datetime | None]:
    """Return the ids of runs with this mark, and when each was created."""
    return {
        run.execution_id: run.created_at
        for run in runs
        if (run.metadata or {}).get(REQUEST_KEY) == token or token[:MARK] in run.model_dump_json()
    }


def _sorted_by_owner(client: Client, marked: dict[str, datetime | None], request: Mapping[str, Any]) -> MarkedRuns:
    """Read the records of runs, the oldest first, until one is the user's run. Raises LkError."""
    if not marked:
        return MarkedRuns()
    latest = datetime.max.replace(tzinfo=timezone.utc)
    user_id, unclear, foreign = client.user.status().user_id, [], []
    for run_id in sorted(marked, key=lambda run_id: marked[run_id] or latest)[:_MOST_RECORDS]:
        record = None
        with suppress(LkError):  # some servers have no record yet
            record = client.execution.get(run_id)
        if record is None or not user_id or not record.user_id:
            unclear.append(run_id)
        elif not is_same_user(record.user_id, user_id):
            foreign.append(run_id)
        elif _is_copy_of(request, record):
            return MarkedRuns(StreamingStartResponse(execution_id=run_id, status=record.status, streaming_url=""))
        else:
            unclear.append(run_id)
    return MarkedRuns(None, tuple(unclear), tuple(foreign))


def _is_copy_of(request: Mapping[str, Any], record: ExecutionRecord) -> bool:
    """Return whether a record repeats the code and metadata of a request, as far as it shows them."""
    metadata, sent = record.metadata or {}, request.get("metadata") or {}
    if any(metadata.get(name, value) != value for name, value in sent.items() if REDACTED not in str(value)):
        return False
    code = str(request.get("code") or "")
    if record.python_code is None or REDACTED in code or "__future__" in code:  # a start adds a line to those imports
        return True
    return "".join(code.split()) in "".join(record.python_code.split())


def _candidates(client: Client, asked: datetime) -> str:
    """Return in words which unmarked runs began at that time: one of them may be it."""
    try:
        runs = [run for run in client.workloads.list() if run.created_at and run.created_at >= asked - _CLOCKS]
    except LkError:
        return ""
    ids = [run.execution_id for run in runs if REQUEST_KEY not in (run.metadata or {})]
    return f"\nStarted around that time: {', '.join(ids[:3])}." if ids else ""
