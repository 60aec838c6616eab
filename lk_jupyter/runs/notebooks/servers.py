"""Hosted Jupyter servers: a run of an image whose port is protected by a password that only this machine knows.

The record of the run, which the organization can read, contains a salted hash of the password. The password is derived
from a secret of this user, so every kernel of the user on this machine can sign in, and nothing else.
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
from typing import TYPE_CHECKING

from lk_jupyter.api._polling import BROKEN, advised, check_patience
from lk_jupyter.api.execution import DockerExecutionRequest, is_final
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.workloads import Workload
from lk_jupyter.code.source import Source
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.protocol.metadata import PORTS_KEY, REQUEST_KEY
from lk_jupyter.runs.containers.containers import IMAGE, build_bundle, resolve_machine
from lk_jupyter.runs.interrupts import AtInterrupt, is_interrupt, true_interrupts
from lk_jupyter.runs.outcome import build_error
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.ports import address
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.start import JOB_TYPE, longest_notebook
from lk_jupyter.text.secrets import never_show

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

PORT = 8888

#: Seconds between two looks whether a server answers.
_PACE = 0.3

#: Seconds that a server gets to end by itself.
_GRACE = 5

_TOKEN = re.compile(r"--\w+\.token=[\w-]+")
_HASH = re.compile(r"--\w+\.(?:hashed_)?password=(sha256:([0-9a-f]+):[0-9a-f]+)")

#: Options for the password's hash and for the token, by version: each class of Jupyter knows both or neither of its
#: two, so a version that ignores the hash ignores the empty token too, and makes up a token that no one knows.
_SIGN_IN = (
    ("PasswordIdentityProvider.hashed_password", "PasswordIdentityProvider.token"),  # Jupyter Server 2
    ("ServerApp.password", "ServerApp.token"),  # Jupyter Server 1
    ("NotebookApp.password", "NotebookApp.token"),  # Notebook 6
)


def prepare_server(
    session: Connection, options: ServerOptions, marks: Mapping[str, str] | None = None, flags: Sequence[str] = ()
) -> Bundle:
    """Put together a hosted Jupyter server with its own password. Raises UsageError for what would not run.

    ``marks`` are more metadata of its run, ``flags`` more words of its command.
    """
    if not IMAGE.fullmatch(options.image):
        raise UsageError(f"'{options.image}' isn't an image. Nothing was sent. Example: jupyter/base-notebook:latest")
    token = uuid.uuid4().hex
    hashed = hashed_password(server_password(token), secrets.token_hex(16))
    request = DockerExecutionRequest(
        docker_image_ref=options.image,
        docker_run_cmd=[*_command(hashed), *flags],
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
    never_show(password)
    return password


def hashed_password(password: str, salt: str) -> str:
    """Return the hash of a password as every version of Jupyter reads it.

    SHA-256 suits a random password, and unlike Argon2 it contains no ``$``, which a shell expands.
    """
    return f"sha256:{salt}:{hashlib.sha256((password + salt).encode()).hexdigest()}"


def _command(hashed: str) -> list[str]:
    """Return the command of the cloud's own tool; output is not held back, since the user's own server may do that."""
    sign_in = [f"--{name}={value}" for pair in _SIGN_IN for name, value in zip(pair, (hashed, ""), strict=True)]
    server = ["start-notebook.sh", *sign_in, f"--port={PORT}", "--ip=0.0.0.0", "--no-browser"]
    return [*server, "--ZMQChannelsWebsocketConnection.limit_rate=False"]


def start_server(session: Connection, options: ServerOptions) -> Run:
    """Start a hosted Jupyter server; it answers some time later."""
    return Run.submit(session, prepare_server(session, options))


def server_of(run: Run) -> HostedServer:
    """Return the Jupyter server of a run, to sign in to.

    Raises UsageError if it isn't a server, or wasn't started by this user on this machine.
    """
    return HostedServer(address(run, (*run.ports, PORT)[0]), password_of(run))


def password_of(run: Run) -> str:
    """Return the password of the Jupyter server of a run. Raises UsageError as ``server_of`` does.

    It is returned only if the journal of this machine has the run, and the hash in the record is right: a member can
    copy the request of a server, and would learn the password of the original from who signs in to the copy.
    """
    hashes = [match for word in command_of(run) if (match := _HASH.fullmatch(word))]
    if not hashes:
        raise UsageError(
            f"Run {run.short_id} was started by an earlier version of lk_jupyter or by another tool, and its record "
            "contains its token: each member of the organization can enter. Nothing was opened. "
            f"Stop it: %lk_abort {run.short_id}"
        )
    token = token_of(run)
    password = server_password(token) if token else ""
    if any(match[1] != hashed_password(password, match[2]) for match in hashes):
        raise UsageError(
            f"Run {run.short_id} was started on another machine or by another member, and only that machine knows its "
            f"password. Nothing was opened. Open it there, or stop it: %lk_abort {run.short_id}"
        )
    return password


def token_of(run: Run) -> str:
    """Return the token of the request of a run, as this machine recorded it; empty if it didn't start the run."""
    entry = None if run.bundle else journal().get(run.execution_id)
    return run.bundle.token if run.bundle else entry.token if entry else ""


def command_of(run: Run) -> list[str]:
    """Return the command of a hosted Jupyter server. Raises UsageError if the run isn't one."""
    command = getattr(run.bundle.request, "docker_run_cmd", None) if run.bundle else run.record.docker_run_cmd
    words = command if isinstance(command, list) else str(command or "").split()
    if not any(_HASH.fullmatch(word) or _TOKEN.fullmatch(word) for word in words):
        raise UsageError(f"Run {run.short_id} isn't a Jupyter server. Active servers: %lk_notebook list")
    return words


def wait_for_server(run: Run, watch: Callable[[str], object] | None = None) -> HostedServer:
    """Wait until the Jupyter server of a run answers, and return it.

    ``watch`` gets the state of the run meanwhile. Raises RunError when the run ends before, and
    ConnectionFailed when the cloud is out of reach for 15 minutes.
    """
    server = server_of(run)
    try:
        _wait_until_ready(server, run, watch)
    except BaseException:
        server.close()
        raise
    return server


def _wait_until_ready(server: HostedServer, run: Run, watch: Callable[[str], object] | None) -> None:
    heard, state = time.monotonic(), "pending"
    while not server.is_ready():
        try:
            state = run.status
            heard = time.monotonic()
        except BROKEN as error:
            check_patience(error, heard, f"The server may still be active. Stop it: %lk_abort {run.short_id}")
        if is_final(state):
            raise build_error(run.record)
        if watch:  # while the cloud is out of reach too: it may be wanted no more
            watch(state)
        time.sleep(_PACE)


def stop_server(run: Run, because: BaseException | None = None) -> None:
    """End a hosted Jupyter server and its bill, as far as it takes: kill it when it does not end as it is asked to.

    An error that it is ended for is given what is known of the server, where that may still be active.
    """
    if not _stopped(run):
        abort = run.abort_soon()  # it is repeated in the background
        if not abort.wait(_GRACE) and isinstance(because, LkError):
            advised(because, abort.words)
    with suppress(LkError):
        _ = run.record  # so that the journal knows, if it has ended already


@contextmanager
def ended_on_failure(run: Run) -> Iterator[None]:
    """End a hosted Jupyter server and its bill if the block fails.

    An interrupt aborts it in the background, and shows whether it may still be active.
    """
    with AtInterrupt(lambda _: run.abort_soon()):
        try:
            with true_interrupts():
                try:
                    yield
                except BaseException as error:
                    if not is_interrupt(error):
                        stop_server(run, error)
                    raise
        except KeyboardInterrupt:
            raise KeyboardInterrupt(run.describe_abort()) from None


def _stopped(run: Run) -> bool:
    """Ask a server to end, wait for that, and return whether it has ended."""
    with suppress(LkError):
        run.stop()
        end = time.monotonic() + 2 * _GRACE
        while not is_final(run.status):
            if time.monotonic() > end:
                return False
            time.sleep(_PACE)
        return True
    return False


def servers(session: Connection) -> list[Workload]:
    """Return the active hosted Jupyter servers."""
    return [run for run in session.client.workloads.list() if run.job_type == JOB_TYPE]
