"""Hosted Jupyter servers: a run of an image whose port is guarded by a token that nobody can guess.

The token is kept nowhere here: the record of the run has it, and only its organization can read that.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from lk_jupyter.api._polling import BROKEN, advised, check_patience
from lk_jupyter.api.execution import DockerExecutionRequest, is_final
from lk_jupyter.api.hosted import HostedServer
from lk_jupyter.api.workloads import Workload
from lk_jupyter.code.source import Source
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.options.runs import ServerOptions
from lk_jupyter.protocol.metadata import PORTS_KEY, REQUEST_KEY
from lk_jupyter.runs.containers.containers import IMAGE, machine_of, package
from lk_jupyter.runs.outcome import failure_of
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.ports import address
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.start import JOB_TYPE, longest_notebook

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

PORT = 8888

#: Seconds between two looks whether a server answers.
_PACE = 0.3

#: Seconds that a server gets to end by itself.
_GRACE = 5

_TOKEN = re.compile(r"--\w+\.token=([\w-]+)")


def prepare_server(
    session: Connection, options: ServerOptions, marks: Mapping[str, str] | None = None, flags: Sequence[str] = ()
) -> Bundle:
    """Put together a hosted Jupyter server with its own token. Raises UsageError for what would not run.

    ``marks`` are more metadata of its run, ``flags`` more words of its command.
    """
    if not IMAGE.fullmatch(options.image):
        raise UsageError(f"'{options.image}' isn't an image. Nothing was sent. Example: jupyter/base-notebook:latest")
    token = secrets.token_urlsafe(32)
    request = DockerExecutionRequest(
        docker_image_ref=options.image,
        docker_run_cmd=[*_command(token), *flags],
        job_type=JOB_TYPE,
        execution_type=machine_of(session, options).hardware_profile,
        enable_s3_mount=options.mount is not False,
        file_name="notebook",
        graceful_timeout=_GRACE,
        run_name=options.name,
        metadata={**(marks or {}), PORTS_KEY: str(PORT), REQUEST_KEY: uuid.uuid4().hex},
    )
    options = options.model_copy(update={"timeout": options.timeout or longest_notebook(session.assumptions)})
    return package(session, Source("", "notebook"), options, request, hidden=(token,))


def _command(token: str) -> list[str]:
    """Return the command of the cloud's own tool; output is not held back, since the user's own server may do that."""
    server = ["start-notebook.sh", f"--NotebookApp.token={token}", f"--port={PORT}", "--ip=0.0.0.0", "--no-browser"]
    return [*server, "--ZMQChannelsWebsocketConnection.limit_rate=False"]


def start_server(session: Connection, options: ServerOptions) -> Run:
    """Start a hosted Jupyter server; it answers some time later."""
    return Run.submit(session, prepare_server(session, options))


def server_of(run: Run) -> HostedServer:
    """Return the Jupyter server of a run. Raises UsageError when it is none."""
    command = getattr(run.bundle.request, "docker_run_cmd", None) if run.bundle else run.record.docker_run_cmd
    words = command if isinstance(command, list) else str(command or "").split()
    token = next((found[1] for word in words if (found := _TOKEN.search(word))), None)
    if token is None:
        raise UsageError(f"Run {run.short_id} isn't a Jupyter server. Active servers: %lk_notebook list")
    return HostedServer(address(run, (*run.ports, PORT)[0]), token)


def wait_for_server(run: Run, watch: Callable[[str], object] | None = None) -> HostedServer:
    """Wait until the Jupyter server of a run answers, and return it.

    ``watch`` gets the state of the run meanwhile. Raises RunError when the run ends before, and
    ConnectionFailed when the cloud is out of reach for 15 minutes.
    """
    server, heard, state = server_of(run), time.monotonic(), "pending"
    while not server.is_ready():
        try:
            state = run.status
            heard = time.monotonic()
        except BROKEN as error:
            check_patience(error, heard, f"The server may still be active. Stop it: %lk_abort {run.short_id}")
        if is_final(state):
            server.close()
            raise failure_of(run.record)
        if watch:  # while the cloud is out of reach too: it may be wanted no more
            watch(state)
        time.sleep(_PACE)
    return server


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
