"""A session: the operations of an account on a server, and the session that all magics share."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any

from lk_jupyter._fork import call_in_child
from lk_jupyter._threads import start as start_thread
from lk_jupyter.connection.connection import Connection, find_target
from lk_jupyter.errors import ApiError, LkError
from lk_jupyter.journal.charges import has_overdue_charges
from lk_jupyter.text.terminal import plain

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lk_jupyter.account.active import ActiveList
    from lk_jupyter.account.balance import AccountBalance, Identity
    from lk_jupyter.account.spending import Spending
    from lk_jupyter.machines.offers import MachineOffer
    from lk_jupyter.options._keywords import (
        ComposeKeywords,
        FanOutKeywords,
        HistoryKeywords,
        ImageKeywords,
        NotebookKeywords,
        RunKeywords,
        ServerKeywords,
        WarmPythonKeywords,
    )
    from lk_jupyter.options.runs import RunOptions
    from lk_jupyter.runs.fanout.fanout import FanOut
    from lk_jupyter.runs.notebooks.warm_python import WarmPython
    from lk_jupyter.runs.run import Run

_log = logging.getLogger("lk_jupyter")


class Session(Connection):
    """An account on a server, and its operations. A context manager; ``close`` closes the network connections.

    ``client`` is the typed client, ``storage`` the bucket, ``machines()`` the catalogue. Get one with
    ``lk_jupyter.connect()``. May be used from several threads.

    Example:
        >>> session = lk_jupyter.connect()
        >>> session.whoami().organization_source
        '...'
        >>> session.balance().credits > 0
        True
        >>> cheapest = session.offers()[0]
        >>> run = session.run("total = sum(numbers)", gpu="A100", inputs={"numbers": [1, 2]}, outputs=["total"])
        >>> run.outputs()["total"]
        3
        >>> session.get(run.short_id).status
        'completed'
        >>> session.history(machine="a100", limit=1).iloc[0]["state"]
        'completed'
        >>> fan = session.fan_out("print('loss =', 1 / lr)", sweep=["lr=1,2"], metric=["loss"])
        >>> fan.wait()
        True
        >>> list(fan.table()["loss"])
        [1.0, 0.5]

        Containers, notebooks and Jupyter servers are runs too:

        >>> run = session.run_image("python:3.11", "python -c 'print(6 * 7)'", timeout=120)
        >>> run.abort()
        >>> run = session.run_compose("services: {app: {image: python:3.11}}")
        >>> run.abort()
        >>> run = session.run_notebook(notebook)
        >>> run.wait().status
        'completed'
        >>> run = session.start_notebook(gpu="A100")
        >>> run.stop()
        >>> session.close()
    """

    def close(self) -> None:
        """Close the connections, if any were opened.

        Connections that an abort in the background needs are closed once that abort has ended.
        """
        from lk_jupyter.runs.abort import close_when_idle  # noqa: PLC0415 (nothing is aborted before a run is started)

        opened, self._client = self._client, None
        if opened:
            close_when_idle(opened, opened.close)

    def offers(self) -> list[MachineOffer]:
        """Return every machine type with its price, whether this account may launch the type, and present availability.

        Returns:
            A list of Offer, cheapest first. Prices are in credits per hour.

        Source: ``GET /machine-types``, ``GET /user/quotas/available-hardware``, ``GET /vms/availability``
        """
        from lk_jupyter.machines.offers import build_offers  # noqa: PLC0415 (few need it)

        sold = None
        with suppress(ApiError):
            sold = self.client.vms.availability()
        return build_offers(self.machines(), sold)

    def whoami(self) -> Identity:
        """Return the account, the organization and the server, and where each is set.

        Returns:
            An Identity: six texts.

        Source: ``GET /user/status``, ``GET /user/org``
        """
        from lk_jupyter.account.balance import read_identity  # noqa: PLC0415 (it needs this module)

        return read_identity(self)

    def balance(self) -> AccountBalance:
        """Return the remaining credits and the resources that spend credits now.

        Returns:
            An AccountBalance, in credits and credits per hour.

        Source: ``GET /billing/credits``, ``GET /workloads/list``, ``GET /vms/list``
        """
        from lk_jupyter.account.balance import read_balance  # noqa: PLC0415 (it needs this module)

        return read_balance(self, self.active())

    def active(self) -> ActiveList:
        """Return everything that the account pays for by time: runs, relays, VMs, volumes and deployments.

        Returns:
            An ActiveList, with the cost per hour of each resource in credits, and the lists that couldn't be read.

        Example:
            >>> session.active().problems
            ()

        Source: ``GET /workloads/list``, ``GET /vms/list``, ``GET /storage/block``, ``GET /inference/list``
        """
        from lk_jupyter.stop import read_active  # noqa: PLC0415 (few sessions need it)

        return read_active(self)

    def spending(self, days: int = 30) -> Spending:
        """Return what the organization has spent in the last days, today included.

        Args:
            days: Number of days, 1 to 3660. Default: 30.

        Returns:
            A Spending, with ``df``, ``total`` and sums by day, kind and hardware, in credits.

        Raises:
            UsageError: ``days`` isn't in this range.

        Source: ``GET /orgs/{slug}/transactions``, ``GET /billing/activities``

        Example:
            >>> session.spending(days=1).total >= 0
            True
        """
        from lk_jupyter.account.spending import read_spending  # noqa: PLC0415 (few need it)

        return read_spending(self, days)

    def run(
        self,
        code: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Iterable[str] = (),
        **options: Unpack[RunKeywords],
    ) -> Run:
        """Start code on the cloud; return after the submission.

        Args:
            code: Python source. IPython's ``!`` and ``%`` lines work too.
            inputs: Variables that the code finds set: name → value. With ``in_all=True`` or ``sync=True`` only those
                that the code reads are uploaded. Default: none.
            outputs: Names of variables that ``run.outputs()`` returns. Default: none.
            options: The options of ``%%lk_run``, such as ``gpu="A100"``, ``timeout=300`` (seconds), ``max_cost=1``
                (credits).

        Returns:
            The Run. ``run.result()`` waits for the end, ``run.follow()`` streams the output.

        Raises:
            UsageError: An option or a value doesn't fit. Nothing was sent.
            OutcomeUnknown: The answer was lost. The run may be active: the message shows how to find the run.

        Cost: the price per hour of the machine, by the second, from the start of the code to its end.

        Source: ``POST /execution/streaming/start``
        """
        from lk_jupyter.code.source import Source  # noqa: PLC0415
        from lk_jupyter.runs.package.prepare import prepare  # noqa: PLC0415
        from lk_jupyter.runs.reattach import find_previous_run  # noqa: PLC0415
        from lk_jupyter.runs.run import Run  # noqa: PLC0415 (it needs this module)

        chosen = _run_options("session.run", inputs, outputs, {**options})
        bundle = prepare(self, Source(code, namespace=inputs or {}), chosen)
        return (chosen.attach == "auto" and find_previous_run(self, bundle)) or Run.submit(self, bundle)

    def run_image(self, image: str, script: str | list[str] = "", **options: Unpack[ImageKeywords]) -> Run:
        """Start a container image, with a shell script or with a command and its arguments as a list.

        Args:
            image: Image, such as ``python:3.11``.
            script: Text of a shell script, or a list of a command and its arguments. Default: the image's own command.
            options: The options of ``%%lk_docker``, such as ``gpu="A100"``, ``port=[8000]`` and
                ``env=["MODE=test", "HF_TOKEN"]``. A name without a value is read from the environment here.

        Returns:
            The Run.

        Raises:
            UsageError: An option or a value doesn't fit. Nothing was sent.

        Cost: as a run.

        Source: ``POST /execution/image/start``
        """
        from lk_jupyter.runs.containers.containers import start_image  # noqa: PLC0415 (it needs this module)

        return start_image(self, image, script, {**options})

    def run_compose(self, text: str, **options: Unpack[ComposeKeywords]) -> Run:
        """Start a stack of containers.

        Args:
            text: Text of the compose file, which is checked before the upload.
            options: The options of ``%%lk_compose``, such as ``gpu="A100"``.

        Returns:
            The Run.

        Raises:
            UsageError: The file, an option or a value doesn't fit. Nothing was sent.

        Cost: as a run.

        Source: ``POST /execution/compose/start``
        """
        from lk_jupyter.runs.containers.containers import start_compose  # noqa: PLC0415 (it needs this module)

        return start_compose(self, text, {**options})

    def run_notebook(self, path: str, **options: Unpack[NotebookKeywords]) -> Run:
        """Start an entire notebook. ``%lk_attach`` follows the run and writes the executed notebook, cell by cell.

        Args:
            path: Path of the notebook.
            options: The options of ``%lk_run_notebook``, such as ``parameter={"lr": "0.1"}``.

        Returns:
            The Run.

        Raises:
            UsageError: The file, an option or a value doesn't fit. Nothing was sent.

        Cost: as a run.

        Source: ``POST /execution/streaming/start``
        """
        from lk_jupyter.options.calls import check_call  # noqa: PLC0415 (when runs are started)
        from lk_jupyter.runs.notebooks.notebook import start_notebook_run  # noqa: PLC0415

        return start_notebook_run(self, check_call("session.run_notebook", {**options, "notebook": path}))

    def start_notebook(self, **options: Unpack[ServerKeywords]) -> Run:
        """Start a hosted Jupyter server.

        ``lk_jupyter.runs.notebooks.servers.wait_for_server(run)`` waits until the server answers.

        Args:
            options: The options of ``%lk_notebook start``, such as ``gpu="A100"``.

        Returns:
            The Run. ``run.stop()`` ends the server.

        Raises:
            UsageError: An option or a value doesn't fit. Nothing was sent.

        Cost: as a run, until the server is stopped or the time limit is reached.

        Source: ``POST /execution/image/start``
        """
        from lk_jupyter.options.calls import check_call  # noqa: PLC0415 (when runs are started)
        from lk_jupyter.runs.notebooks.servers import start_server  # noqa: PLC0415

        return start_server(self, check_call("session.start_notebook", {**options}))

    def warm_python(self, name: str, **options: Unpack[WarmPythonKeywords]) -> WarmPython:
        """Return the session of this name, a Python process on one machine, as for ``%%lk_run --session NAME``.

        A missing session is started. ``run_code`` runs code in the session, ``stop`` ends the session.

        Args:
            name: letters, digits, ``-`` and ``_``.
            options: ``gpu``, ``machine``, ``timeout``, ``max_cost``, ``idle`` and ``image``, as in ``%%lk_run``.

        Cost: the price of the machine from its start until ``stop``, ``idle`` minutes without work, or its limit.

        Returns:
            The WarmPython.

        Raises:
            UsageError: An option or a value doesn't fit. Nothing was sent.

        Source: ``POST /execution/image/start``

        Example:
            >>> warm = session.warm_python("train", gpu="A100")  # doctest: +SKIP
            >>> warm.run_code("x = 6 * 7", outputs=["x"])  # doctest: +SKIP
            >>> session.warm_python("two words")
            Traceback (most recent call last):
            lk_jupyter.errors.UsageError: ...
        """
        from lk_jupyter.runs.notebooks.warm_pythons import open_warm_python  # noqa: PLC0415 (it needs this module)

        return open_warm_python(self, name, {**options})

    def fan_out(
        self,
        code: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Iterable[str] = (),
        **options: Unpack[FanOutKeywords],
    ) -> FanOut:
        """Start code as several runs, such as ``gpu="A100,H100"`` or ``sweep=["lr=0.1,0.01"]``; don't wait.

        Args:
            code: Python source.
            inputs: Variables that the code finds set, as for ``run``. Default: none.
            outputs: Names of variables to download. Default: none.
            options: The options of ``%%lk_run``, such as ``metric=["loss"]``, ``parallel=4``, ``stop_on_first=True``.

        Returns:
            A FanOut with ``wait()``, ``table()``, ``variables()`` and ``abort()``.

        Raises:
            UsageError: An option or a value doesn't fit, or a budget doesn't allow all runs. Nothing was sent.

        Cost: the cost of each run. ``max_cost`` limits all together, in credits.

        Source: ``POST /execution/streaming/start``, once for each run
        """
        from lk_jupyter.runs.fanout.fanout import FanOut  # noqa: PLC0415 (it needs this module)

        chosen = _run_options("session.fan_out", inputs, outputs, {**options})
        fan = FanOut.prepare(self, code, chosen, inputs)
        if chosen.attach == "auto":
            fan.attach()
        fan.check()
        for notice in fan.notices:
            warnings.warn(plain(notice.text), UserWarning, stacklevel=2)
        with fan.aborted_by_interrupt():
            return fan.start()

    def get(self, execution_id: str) -> Run:
        """Return a run that was started before.

        Args:
            execution_id: Id of the run, or the first characters.

        Returns:
            The Run. A run that was started on this machine is known without a request.

        Raises:
            UsageError: No run starts with these characters, or several do.

        Source: ``GET /workloads/list``, ``GET /billing/history``
        """
        from lk_jupyter.runs.run import Run  # noqa: PLC0415 (it needs this module)

        return Run.attach(self, execution_id)

    def history(self, *text: str, **options: Unpack[HistoryKeywords]) -> Any:
        """Return your runs as a DataFrame, newest first.

        Args:
            text: Words to search for in code, names, labels, notebooks and errors. Default: all runs.
            options: The options of ``%lk_history``: ``machine``, ``state``, ``label``, ``since`` (``7d``, ``12h``, a
                date), ``notebook``, ``limit``. ``audit=True`` returns changes of keys, members, VMs, deployments and
                secrets, and deletions, with the columns ``time`` (in UTC), ``operation``, ``target``, ``organization``,
                ``status``, ``source`` and ``server``.

        Returns:
            A pandas DataFrame with a row for each run (a list of rows without pandas). Index ``run`` (str): the first
            characters of the id. Columns: ``started`` (datetime64, UTC), ``state`` (str), ``machine`` (str),
            ``seconds`` (float64), ``cost`` (float64, credits), ``cost_is`` (str, only if a cost isn't billed),
            ``name`` (str), ``labels`` (str), ``notebook`` (str), ``cell`` (str), ``code`` (str, a hash), ``group``
            (str), one (float64) for each known figure of its metrics, and ``execution_id`` (str).

        Raises:
            UsageError: An option doesn't fit.

        Source: ``GET /billing/history``, ``GET /workloads/list``
        """
        from lk_jupyter.options.calls import check_call  # noqa: PLC0415 (few need it)
        from lk_jupyter.runs.history.audit import audit_table  # noqa: PLC0415
        from lk_jupyter.runs.history.history import history  # noqa: PLC0415

        chosen = check_call("session.history", {"text": list(text), **options})
        return audit_table(chosen) if chosen.audit else history(self, chosen).table()


def _run_options(
    call: str, inputs: Mapping[str, Any] | None, outputs: Iterable[str], options: dict[str, Any]
) -> RunOptions:
    """Return the options of runs that bring these variables. Raises UsageError."""
    from lk_jupyter.options.calls import check_call  # noqa: PLC0415 (when a run is started)

    selects = any(options.get(name) for name in ("in_all", "sync", "carry"))
    brought = [] if selects else list(inputs or ())
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    checked: RunOptions = check_call(call, {**options, "inputs": brought, "outputs": names})
    return checked


def connect(base_url: str | None = None, api_key: str | None = None, org: str | None = None) -> Session:
    """Return a session. Values that you don't give come from the settings.

    Args:
        base_url: Address of the server, or ``"local"`` for the local cloud, which is started if it doesn't run.
        api_key: API key. Default: ``LK_API_KEY``, or the key that ``%lk_login`` stored.
        org: Slug of the organization to act as. Default: your default organization.

    Returns:
        A Session. Nothing is sent until you use it.

    Raises:
        NotSignedIn: No key for the server is known.
        UsageError: A value doesn't fit.

    Example:
        >>> with lk_jupyter.connect() as session:
        ...     session.run("print(6 * 7)").result().stdout.strip()
        '42'
    """
    return Session(find_target(base_url, api_key, org))


_lock = threading.Lock()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 (a thread of the parent may have held it)
    _lock = threading.Lock()


call_in_child(_after_fork)
_current: list[Session] = []


def current(*, start: bool = True) -> Session:
    """Return the session that all magics share; a new session after a change of the settings.

    ``start`` is whether to start the local cloud if it is the server and isn't running.
    """
    with _lock:
        target = find_target(start=start)
        if not _current or _current[-1].target != target:
            _current.append(Session(target))  # active runs keep the older session
        session = _current[-1]
    _release_ended_rentals(session)
    return session


#: Seconds between two looks for rentals whose end has passed, and the moment of the next look.
_LOOK_SECONDS = 30.0
_next_look = 0.0


def _release_ended_rentals(session: Session) -> None:
    """Delete rentals of this computer whose stated end has passed, in a thread, and report each."""
    global _next_look  # noqa: PLW0603 (all sessions share the rentals)
    if time.monotonic() < _next_look:
        return
    _next_look = time.monotonic() + _LOOK_SECONDS
    if has_overdue_charges():
        thread = threading.Thread(target=_report_ended_rentals, args=(copy(session),), name="lk-ends", daemon=True)
        start_thread(thread)


def _report_ended_rentals(session: Session) -> None:
    from lk_jupyter.vms.rentals import release_rentals  # noqa: PLC0415 (few users rent anything)

    with suppress(LkError):
        for line in release_rentals(session):
            _log.warning(line)


def history(*text: str, **options: Unpack[HistoryKeywords]) -> Any:
    """Return your runs as a DataFrame, newest first, as ``Session.history`` does for the configured server.

    Args:
        text: Words to search for.
        options: The options of ``%lk_history``.

    Returns:
        The DataFrame of ``Session.history``.

    Raises:
        UsageError: An option doesn't fit.

    Source: ``GET /billing/history``, ``GET /workloads/list``

    Example:
        >>> lk_jupyter.history(since="7d", limit=5).index.name
        'run'
    """
    return current().history(*text, **options)


@atexit.register
def close_all() -> None:
    """Close every session that ``current`` has made, once the server has heard of each abort."""
    if _current:
        from lk_jupyter.runs.abort import wait_for_aborts  # noqa: PLC0415 (nothing is aborted before a run is started)

        wait_for_aborts()  # wait until an interrupt of the exit has registered its aborts, which need the client
    with _lock:
        while _current:
            _current.pop().close()
