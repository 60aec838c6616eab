"""Machines that stay between the calls of an executor: each is a session, which calls one function after another."""

from __future__ import annotations

import json
import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

from lk_jupyter._threads import start
from lk_jupyter.api.execution import is_final
from lk_jupyter.config.read_only import refuse_if_read_only
from lk_jupyter.errors import ConnectionFailed, LkError, NotFound, RunAborted, RunFailed, UsageError
from lk_jupyter.machines.catalogue import machine_cost, machine_name
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.metadata import SESSION_KEY
from lk_jupyter.runs.clock import now
from lk_jupyter.runs.functions.call import FunctionCall, read_payload
from lk_jupyter.runs.interrupts import call_in_background
from lk_jupyter.runs.notebooks.machine_packages import requirements_text
from lk_jupyter.runs.notebooks.servers import connect_server, wait_for_server
from lk_jupyter.runs.notebooks.session_machine import LIMIT_MARGIN, prepare_warm_python
from lk_jupyter.runs.notebooks.warm_python import ENDED, WarmPython
from lk_jupyter.runs.notebooks.warm_pythons import start_warm_python
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.runs.submit.upload import call_links
from lk_jupyter.text.terminal import plain
from lk_jupyter.text.units import credits_label, duration_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection

#: Seconds before the start of the saving time at which a machine gets no more calls.
_LAST_CALL = 10.0

#: Seconds before a short time limit at which a machine ends.
_LEAST_MARGIN = 20.0


@dataclass(eq=False)
class Worker:
    """A machine that makes calls: the submission of its run, and its Python once the machine is ready.

    ``initialized`` is the count of the Python's deaths when the initializer was called. ``ended_at`` is the time of the
    end on the clock of ``clock.now``.
    """

    submission: Submission
    warm: WarmPython | None = None
    initialized: int = -1
    ended_at: float | None = None
    is_aborted: bool = False

    def abort_soon(self) -> None:
        """Abort the machine in the background."""
        self.is_aborted = True
        self.submission.abort_soon()

    @property
    def remainder(self) -> str:
        """Describe the machine that may still be active during an abort; empty without an abort."""
        return self.submission.remainder if self.is_aborted else ""

    @property
    def is_stuck(self) -> bool:
        """Whether the end of the machine during an abort may take long."""
        return self.submission.is_stuck

    @property
    def is_usable(self) -> bool:
        """Whether the machine can make another call: it is connected, and its time limit is far enough away."""
        if not self.warm or self.is_aborted or not self.warm.channel.is_connected:
            return False
        margin = min(LIMIT_MARGIN, max(_LEAST_MARGIN, self.warm.limit / 4))  # as in ``script.session``
        return self.warm.remaining_seconds > margin + _LAST_CALL

    @property
    def was_aborted_elsewhere(self) -> bool:
        """Whether a user has aborted the run of the machine, such as in the panel."""
        return self.warm is not None and not self.is_aborted and self.warm.end_state in {"aborted", "cancelled"}

    def cost_until(self, moment: float) -> Decimal:
        """Return the cost until the end or the time limit of the machine, at most until a moment; 0 without a price.

        The moment is on the clock of ``clock.now``.
        """
        bundle, end = self.submission.bundle, moment if self.ended_at is None else self.ended_at
        seconds = min(end - self.submission.submitted_at, bundle.timeout)
        return machine_cost(bundle.machine, max(seconds, 0)) or Decimal(0)


@dataclass(frozen=True)
class CallHandlers:
    """The functions that a pool calls: with the worker of a call, after the call, and with text that the call prints.

    ``on_start`` is called twice, and may raise: the call isn't made.
    """

    on_start: Callable[[Worker], object]
    on_end: Callable[[], object]
    on_text: Callable[[str], object]


def is_busy(session: Connection, run_id: str) -> bool | None:
    """Return whether the run with this id is active and may make a call: a machine that makes a call isn't idle.

    Return None if the machine doesn't answer.
    """
    run = Run(session, run_id)
    try:
        if is_final(run.status):
            return False
        with closing(connect_server(run)) as server:
            return any(kernel["execution_state"] == "busy" for kernel in server.kernels())
    except UsageError:  # not a machine, but the run of a single call
        return True
    except NotFound:
        return False
    except LkError:
        return None


@dataclass(eq=False)
class WorkerPool:
    """Start at most ``size`` machines, one for each active call, and keep the machines for later calls.

    A machine ends ``options.keep`` seconds after its last call, before its time limit, and with the pool. A call whose
    machine is lost is made once more. ``initializer`` is called first on each machine.
    """

    session: Connection
    options: RunOptions
    group: str
    size: int
    initializer: FunctionCall | None = None
    workers: list[Worker] = field(default_factory=list)  # all machines, also ended machines

    def __post_init__(self) -> None:
        idle_minutes = (self.options.keep or 0) / 60
        self.options = self.options.model_copy(update={"idle": idle_minutes, "keep": None, "requirements": []})
        self._numbers = count(1)
        self._idle: deque[Worker] = deque()
        self._is_closed = threading.Event()
        self._starting = threading.Lock()
        self._bundle = prepare_warm_python(self.session, self._build_named_options())  # invalid options fail now

    @property
    def price_label(self) -> str:
        """The count and the type of the machines, and their maximum price.

        Without a maximum cost, a machine that reaches its time limit is replaced, so the price is for that time.
        """
        machines = f"{self.size} × {machine_name(self._bundle.machine.hardware_profile)}"  # noqa: RUF001 (a count)
        amount = machine_cost(self._bundle.machine, self._bundle.timeout)
        if amount is None:
            return f"{machines}, price unknown"
        limit = "" if self._bundle.max_cost is not None else f" in {duration_label(self._bundle.timeout)}"
        return f"{machines}, at most {credits_label(amount * self.size)}{limit}"

    def call(self, call: FunctionCall, bundle: Bundle, handlers: CallHandlers) -> list[Any]:
        """Make a call and return the answers; ``bundle`` has the files and packages of the call.

        Raises the error of the function, and as ``read_answer``; ConnectionFailed if the machine was lost twice. A call
        whose answer is stored is made once: its chunk repeats only items without a result.
        """
        refuse_if_read_only("spends")
        try:
            return self._call_once(call, bundle, handlers)
        except ConnectionFailed:
            if self._is_closed.is_set() or call.stored:
                raise
        return self._call_once(call, bundle, handlers)

    def stop(self) -> None:
        """Stop all machines and their bills, and wait. Further calls are refused."""
        self._is_closed.set()
        active = [worker for worker in self.workers if worker.ended_at is None]
        threads = [threading.Thread(target=self._stop_machine, args=(worker,)) for worker in active]
        for thread in threads:
            start(thread)
        for thread in threads:
            if thread.ident:
                thread.join()

    def abort_soon(self) -> None:
        """Abort all machines in the background, also those with an active call. Further calls are refused."""
        self._is_closed.set()
        for worker in list(self.workers):
            if worker.ended_at is None:
                worker.abort_soon()

    def _call_once(self, call: FunctionCall, bundle: Bundle, handlers: CallHandlers) -> list[Any]:
        worker = self._find_idle() or self._create_worker()
        try:
            handlers.on_start(worker)
            warm = worker.warm or self._start_worker(worker)
            handlers.on_start(worker)  # the run is known now
            warm.prepare()
            warm.install(requirements_text(bundle))
            warm.bring(bundle, None)
            self._initialize_worker(worker, warm, handlers)
            payload = self._send_call(warm, call, handlers)
        except BaseException as error:
            handlers.on_end()
            was_aborted = worker.was_aborted_elsewhere or (isinstance(error, RunAborted) and not worker.is_aborted)
            self._release_worker(worker)
            if was_aborted:
                self._is_closed.set()  # otherwise calls that wait would start another machine
            if was_aborted and isinstance(error, ConnectionFailed) and worker.warm:
                run = worker.warm.run
                problem = f"Machine {run.short_id} was aborted, so this executor starts no more machines."
                raise RunAborted(problem, execution_id=run.execution_id) from None
            if worker.warm and worker.warm.end_state and isinstance(error, ConnectionFailed):
                raise ConnectionFailed(self._describe_loss(worker.warm, call)) from None
            raise
        handlers.on_end()  # first: an abort of this call must not abort the next call of the machine
        self._idle.append(worker)
        return read_payload(warm.run, call, payload, lambda: self.session.storage)

    def _describe_loss(self, warm: WarmPython, call: FunctionCall) -> str:
        """Describe a machine that ended during a call, and the cost of all machines so far."""
        machine = warm.run.short_id
        cost = credits_label(self._compute_cost_until(now()))
        return (
            f"Machine {machine} ended during {call.name}: {ENDED.get(warm.end_state, warm.end_state)}. The machines of "
            f"this executor cost {cost} so far. Read the log: %lk_logs {machine}"
        )

    def _compute_cost_until(self, moment: float) -> Decimal:
        """Return the cost of all machines, of active machines at most until a moment."""
        return sum((worker.cost_until(moment) for worker in self.workers), Decimal(0))

    def _send_call(self, warm: WarmPython, call: FunctionCall, handlers: CallHandlers) -> Mapping[str, Any]:
        """Send a call to a machine and return the answer."""
        settings = call.part().settings
        links = call_links(self.session, settings, timedelta(seconds=warm.remaining_seconds))
        if call.stored:
            call.stored.on_send(warm.run.execution_id)
        add_message = call.stored.add_message if call.stored else None
        answer = warm.call("call", json.dumps({**settings, **links}), handlers.on_text, add_message).get("call")
        if not isinstance(answer, dict) or not answer:
            raise RunFailed(
                f"Run {warm.run.short_id} returned no result for a function call.", execution_id=warm.run.execution_id
            )
        if "interrupted" in answer:
            raise ConnectionFailed(
                f"{call.name} took longer than the machine's time limit of {duration_label(warm.limit)}. "
                f"Raise it: Executor(keep=..., timeout={round(2 * warm.limit)})"
            )
        return answer

    def _initialize_worker(self, worker: Worker, warm: WarmPython, handlers: CallHandlers) -> None:
        """Call the initializer once for each Python. Raises BrokenExecutor if the initializer fails."""
        died = warm.channel.died
        if self.initializer is None or worker.initialized == died:
            return
        payload = self._send_call(warm, self.initializer, handlers)
        try:
            read_payload(warm.run, self.initializer, payload, lambda: self.session.storage)
        except Exception as error:
            raise BrokenExecutor(f"The initializer {self.initializer.name} failed: {error}") from error
        worker.initialized = died

    def _find_idle(self) -> Worker | None:
        """Return an idle worker that can make a call, and stop other idle workers."""
        while self._idle:
            with suppress(IndexError):  # another thread was faster
                worker = self._idle.pop()
                if worker.is_usable:
                    return worker
                call_in_background(partial(self._stop_machine, worker), "lk-stop")
        return None

    def _create_worker(self) -> Worker:
        self._refuse_if_closed()
        bundle = prepare_warm_python(self.session, self._build_named_options(), self.price_label)
        with self._starting:  # two starts must not both fit below the maximum cost
            self._refuse_above_cap(bundle)
            worker = Worker(Submission(self.session, bundle, self.group))
            self.workers.append(worker)  # before the start, so that an abort includes the machine
        return worker

    def _refuse_above_cap(self, bundle: Bundle) -> None:
        """Raise UsageError if another machine could cost more than the maximum of the machines of the pool."""
        cost = machine_cost(bundle.machine, bundle.timeout)
        if bundle.max_cost is None or cost is None:
            return
        cap, spent = self.size * bundle.max_cost, self._compute_cost_until(inf)
        if spent + cost > cap:
            raise UsageError(
                f"Another machine could exceed the maximum cost of {credits_label(cap)}: the machines of this executor "
                f"cost {credits_label(spent)}. No machine was started. Raise max_cost: Executor(keep=..., max_cost="
                f"{2 * bundle.max_cost:f})"
            )

    def _start_worker(self, worker: Worker) -> WarmPython:
        """Start the machine of a worker, and wait until the machine can make calls."""
        if self._is_closed.is_set():
            worker.abort_soon()
        run = Run.from_submission(self.session, worker.submission)
        server = wait_for_server(run, lambda _: self._refuse_if_closed())
        name = str((worker.submission.bundle.request.metadata or {})[SESSION_KEY])
        worker.warm = start_warm_python(name, run, server, self.options.idle or 0)
        worker.warm.saves = False
        return worker.warm

    def _refuse_if_closed(self) -> None:
        if self._is_closed.is_set():
            raise UsageError("The machines of this executor have ended. Create another executor.")

    def _build_named_options(self) -> RunOptions:
        return self.options.model_copy(update={"session": f"pool-{self.group[:8]}-{next(self._numbers)}"})

    def _release_worker(self, worker: Worker) -> None:
        """Keep a machine whose Python was restarted; abort a machine that can't make another call."""
        if worker.is_usable and not self._is_closed.is_set():
            self._idle.append(worker)
            return
        worker.abort_soon()
        if worker.warm:
            worker.warm.close()
        worker.ended_at = now()

    def _stop_machine(self, worker: Worker) -> None:
        """Stop an idle machine and its bill, and wait; a warning reports a machine that may still be active."""
        try:
            if worker.warm:
                worker.warm.stop()
            else:
                worker.abort_soon()
        except LkError as problem:
            warnings.warn(plain(str(problem)), stacklevel=2)
        worker.ended_at = now()
