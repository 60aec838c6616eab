"""Start and stop hosted Jupyter servers: runs of an image, with a password that only this machine can derive.

The record of the run, which the organization can read, contains a salted hash of the password. The password is derived
from a secret of this user, so only kernels of the user on this machine can sign in.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from lk_jupyter.api._lifecycle import EndProof, Sighting
from lk_jupyter.api._polling import BROKEN, add_advice, check_patience
from lk_jupyter.api.execution import DockerExecutionRequest, is_final
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.workloads import Workload
from lk_jupyter.code.source import Source
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import ApiError, ConnectionFailed, LkError, NotFound, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.protocol.metadata import PORTS_KEY, REQUEST_KEY
from lk_jupyter.runs.containers.containers import build_bundle, resolve_machine
from lk_jupyter.runs.interrupts import AtInterrupt, is_interrupt, true_interrupts
from lk_jupyter.runs.outcome import build_error
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.package.image import IMAGE
from lk_jupyter.runs.ports import address
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.start import JOB_TYPE, key_seconds, longest_notebook
from lk_jupyter.text.secrets import register_secrets
from lk_jupyter.text.units import limit_label, moment_label

if TYPE_CHECKING:
    from lk_jupyter.api._client import Client
    from lk_jupyter.connection.connection import Connection

PORT = 8888

#: Seconds between requests to a server that doesn't answer yet.
_PACE = 0.3

#: Seconds that a server may take to end before it is killed.
_GRACE = 5

_TOKEN = re.compile(r"--\w+\.token=[\w-]+")
_HASH = re.compile(r"--\w+\.(?:hashed_)?password=(sha256:([0-9a-f]+):[0-9a-f]+)")

#: Options for the password's hash and for the token, by version. A Jupyter class supports both options or neither, so
#: a version that ignores the hash ignores the empty token too, and creates a random token.
_SIGN_IN = (
    ("PasswordIdentityProvider.hashed_password", "PasswordIdentityProvider.token"),  # Jupyter Server 2
    ("ServerApp.password", "ServerApp.token"),  # Jupyter Server 1
    ("NotebookApp.password", "NotebookApp.token"),  # Notebook 6
)


def prepare_server(
    session: Connection, options: ServerOptions, marks: Mapping[str, str] | None = None, flags: Sequence[str] = ()
) -> Bundle:
    """Return the bundle of a hosted Jupyter server with a new password. Raises UsageError for invalid options.

    ``marks`` are further metadata of the run, ``flags`` further words of the command.
    """
    if not IMAGE.fullmatch(options.image):
        raise UsageError(f"'{options.image}' isn't an image. Nothing was sent. Example: jupyter/base-notebook:latest")
    token = uuid.uuid4().hex
    hashed = hashed_password(server_password(token), secrets.token_hex(16))
    request = DockerExecutionRequest(
        docker_image_ref=options.image,
        docker_run_cmd=[*_build_command(hashed), *flags],
        job_type=JOB_TYPE,
        execution_type=resolve_machine(session, options).hardware_profile,
        enable_s3_mount=options.mount is not False,
        file_name="notebook",
        graceful_timeout=_GRACE,
        run_name=options.name,
        metadata={**(marks or {}), PORTS_KEY: str(PORT), REQUEST_KEY: token},
    )
    options = options.model_copy(update={"timeout": options.timeout or longest_notebook(session.assumptions)})
    return build_bundle(session, Source("", "notebook"), options, request, hidden=(hashed,))


def server_password(token: str) -> str:
    """Return the password of the server whose request has this token: 256 bits that only this user can derive."""
    password = urlsafe_b64encode(signing_key(f"server {token}")).decode().rstrip("=")
    register_secrets(password)
    return password


def hashed_password(password: str, salt: str) -> str:
    """Return the hash of a password in the format of every version of Jupyter.

    SHA-256 suits a random password. Unlike Argon2, the text contains no ``$``, which a shell expands.
    """
    return f"sha256:{salt}:{hashlib.sha256((password + salt).encode()).hexdigest()}"


def _build_command(hashed: str) -> list[str]:
    """Return the command of the cloud's own tool, without a limit of output, which the user's server may limit."""
    sign_in = [f"--{name}={value}" for pair in _SIGN_IN for name, value in zip(pair, (hashed, ""), strict=True)]
    server = ["start-notebook.sh", *sign_in, f"--port={PORT}", "--ip=0.0.0.0", "--no-browser"]
    return [*server, "--ZMQChannelsWebsocketConnection.limit_rate=False"]


def start_server(session: Connection, options: ServerOptions, marks: Mapping[str, str] | None = None) -> Run:
    """Start a hosted Jupyter server, without waiting for the first answer. ``marks`` are further metadata."""
    return Run.submit(session, prepare_server(session, options, marks))


def release_label(idle: float, limit: float, client: Client | None = None) -> str:
    """Return when a machine is released that nobody stops: after ``idle`` minutes without work or ``limit`` seconds.

    A session is released before the key of its ``client`` ends.
    """
    label = limit_label(limit)
    end = f"at its time limit of {label}"
    if client and key_seconds(client) < limit:
        limit = key_seconds(client)
        end = f"before the key ends at {lease_end_label(client)}"
    return end if 60 * idle >= limit else f"after {limit_label(60 * idle)} without work, or {end}"


def lease_end_label(client: Client) -> str:
    """Return when the key of a broker ends, in local time; empty for other keys."""
    end = client.lease_end
    return "" if end is None else moment_label(datetime.fromtimestamp(end, timezone.utc), "%H:%M")


def connect_server(run: Run) -> HostedServer:
    """Return a client of the Jupyter server that a run is.

    Raises UsageError if the run isn't a server, or wasn't started by this user on this machine.
    """
    return HostedServer(address(run, (*run.ports, PORT)[0]), read_password(run))


def idle_seconds(run: Run) -> float | None:
    """Return the seconds without work: 0 for a busy session, None if the session doesn't answer."""
    try:
        server = connect_server(run)
    except (UsageError, ApiError):  # the session can only be stopped, or its record can't be read now
        return None
    try:
        kernels = server.kernels()
    except ConnectionFailed:
        return None
    finally:
        server.close()
    if not kernels:
        return None
    if kernels[0]["execution_state"] == "busy":
        return 0.0
    last = datetime.fromisoformat(str(kernels[0]["last_activity"]).replace("Z", "+00:00"))
    return max(0.0, run.session.client.now() - last.timestamp())


def read_password(run: Run) -> str:
    """Return the password of the Jupyter server that a run is. Raises UsageError like ``connect_server``.

    The journal of this machine must contain the run, and the hash in the record must match: a member can copy the
    request of a server, and would get the password of the original from a user who signs in to the copy.
    """
    hashes = [match for word in read_command(run) if (match := _HASH.fullmatch(word))]
    if not hashes:
        raise UsageError(
            f"Run {run.short_id} was started by an earlier version of lk_jupyter or by another tool, and its record "
            "contains the token: each member of the organization can open the server. Nothing was opened. "
            f"Stop it: %lk_abort {run.short_id}"
        )
    token = read_token(run)
    password = server_password(token) if token else ""
    if any(match[1] != hashed_password(password, match[2]) for match in hashes):
        raise UsageError(
            f"Run {run.short_id} was started on another machine or by another member, and only that machine knows its "
            f"password. Nothing was opened. Open it there, or stop it: %lk_abort {run.short_id}"
        )
    return password


def read_token(run: Run) -> str:
    """Return the token of a run's request from the journal; empty if this machine didn't start the run."""
    entry = None if run.bundle else journal().get(run.execution_id)
    return run.bundle.token if run.bundle else entry.token if entry else ""


def read_command(run: Run) -> list[str]:
    """Return the command of a hosted Jupyter server. Raises UsageError if the run isn't a server."""
    command = getattr(run.bundle.request, "docker_run_cmd", None) if run.bundle else run.record.docker_run_cmd
    words = command if isinstance(command, list) else str(command or "").split()
    if not any(_HASH.fullmatch(word) or _TOKEN.fullmatch(word) for word in words):
        raise UsageError(f"Run {run.short_id} isn't a Jupyter server. Active servers: %lk_notebook list")
    return words


def wait_for_server(run: Run, watch: Callable[[str], object] | None = None) -> HostedServer:
    """Wait until the Jupyter server that a run is answers, and return a client.

    ``watch`` is called with the state of the run meanwhile. Raises RunError if the run ends before the first answer,
    and ConnectionFailed if the cloud doesn't answer for 15 minutes.
    """
    server = connect_server(run)
    try:
        _wait_until_ready(server, run, watch)
    except BaseException:
        server.close()
        raise
    return server


def _wait_until_ready(server: HostedServer, run: Run, watch: Callable[[str], object] | None) -> None:
    last_answer, state = time.monotonic(), "pending"
    while not server.is_ready():
        try:
            state = run.status
            last_answer = time.monotonic()
        except BROKEN as error:
            check_patience(error, last_answer, f"The server may still be active. Stop it: %lk_abort {run.short_id}")
        if is_final(state):
            raise build_error(run.record)
        if watch:  # also while the cloud doesn't answer: watch may cancel the wait
            watch(state)
        time.sleep(_PACE)


def stop_server(run: Run, because: BaseException | None = None) -> None:
    """Stop a hosted Jupyter server and its bill; kill a server that doesn't end in time.

    If the server may still be active, ``because``, the error that led to the stop, gets advice about the server.
    Raises ConnectionFailed if the server may still be active, and there is no such error.
    """
    if not _stop_gently(run):
        abort = run.abort_soon()  # repeated in the background
        if not abort.wait(_GRACE if because else None):
            if because is None:
                raise ConnectionFailed(f"Run {run.short_id} may still be active and billed. {abort.words}")
            if isinstance(because, LkError):
                add_advice(because, abort.words)
    with suppress(LkError):
        _ = run.record  # records the end in the journal


@contextmanager
def stop_on_failure(run: Run) -> Iterator[None]:
    """Stop a hosted Jupyter server and its bill if the block fails.

    If the connection failed because the server reached its time limit, that is the error.
    An interrupt aborts the server in the background, and the error shows whether the server may still be active.
    """
    with AtInterrupt(lambda _: run.abort_soon()):
        try:
            with true_interrupts():
                try:
                    yield
                except BaseException as error:
                    if not is_interrupt(error):
                        stop_server(run, error)
                        if isinstance(error, ConnectionFailed) and _is_timed_out(run):
                            raise build_error(run.record) from error
                    raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(run.describe_abort()) from None


def _is_timed_out(run: Run) -> bool:
    """Return whether a server has reached its time limit, which also ends its connections."""
    with suppress(LkError):
        return run.status == "timeout"
    return False


def _stop_gently(run: Run) -> bool:
    """Request the end of a server, wait, and return whether the server has ended."""
    with suppress(LkError):
        run.stop()
        end = time.monotonic() + 2 * _GRACE
        while not is_final(run.status):
            if time.monotonic() > end:
                return False
            time.sleep(_PACE)
        return True
    return False


#: Seconds after its start in which a server may be active whose record reports an end.
_LONGEST_SECONDS = 7 * 24 * 3600.0

#: Id of a run → the answers of the cloud without the run.
_absences: dict[str, EndProof] = {}


def list_marked(session: Connection, key: str, value: str | None = None) -> Iterator[tuple[str, Run]]:
    """Yield the mark and the run of each server that this machine started and that may be active, newest first.

    ``key`` is the key of the mark in the metadata of the run. ``value`` selects servers with this mark, whose proof of
    an end is awaited. A record may report an end too early, so the list of active runs decides.
    """
    active_ids: set[str] | None = None
    for entry in journal().entries(since=time.time() - _LONGEST_SECONDS):
        mark = entry.metadata.get(key)
        if not (mark and value in {None, mark} and entry.execution_id and session.speaks_to(entry.base_url)):
            continue
        if not entry.going_on:
            active_ids = _list_active_ids(session) if active_ids is None else active_ids
            if entry.execution_id in active_ids:
                yield mark, Run(session, entry.execution_id)
            continue
        run = Run(session, entry.execution_id)
        is_active = _is_active(session, run)
        while is_active and value and run.execution_id in _absences:
            time.sleep(_PACE)
            is_active = _is_active(session, run)
        if is_active:
            yield mark, run


def _list_active_ids(session: Connection) -> set[str]:
    """Return the ids of the active runs; none if they can't be read."""
    with suppress(LkError):
        return {each.execution_id for each in session.client.workloads.list() if not is_final(each.status)}
    return set()


def _is_active(session: Connection, run: Run) -> bool:
    """Return whether the machine of a server may be active.

    A 404 means that the record was deleted, belongs to another local cloud, or is temporarily unavailable. A second
    machine would be billed next to an active machine, so only several answers without the run prove its end.
    """
    has_record = False
    with suppress(NotFound):
        if not is_final(run.status):
            _absences.pop(run.execution_id, None)
            return True
        has_record = True
    rows = (workload for workload in session.client.workloads.list() if workload.execution_id == run.execution_id)
    if any(not is_final(workload.status) for workload in rows):
        _absences.pop(run.execution_id, None)
        return True
    if has_record or _absences.setdefault(run.execution_id, EndProof()).add(Sighting.ABSENT):
        _absences.pop(run.execution_id, None)
        if not has_record:
            journal().update(run.execution_id, state="failed", reason="The server no longer knows this run.")
        return False
    return True


def servers(session: Connection) -> list[Workload]:
    """Return the active hosted Jupyter servers."""
    return [run for run in session.client.workloads.list() if run.job_type == JOB_TYPE]
