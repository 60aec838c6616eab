"""Python functions as runs, behind the interface of ``concurrent.futures``."""

from __future__ import annotations

import concurrent.futures
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from lk_jupyter._fork import call_in_child
from lk_jupyter._threads import run_before_exit
from lk_jupyter.code.packages import installed_requirements
from lk_jupyter.code.source import Source
from lk_jupyter.config.files import working_folder
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.options.calls import check_call
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.frames import split
from lk_jupyter.runs.abort import LET_GO
from lk_jupyter.runs.functions.call import Arguments, FunctionCall, RemoteTraceback, read_answer, read_item
from lk_jupyter.runs.functions.items import SLICE_SECONDS, Chunk, ItemMap, ItemPolicy
from lk_jupyter.runs.functions.stored_answers import StoredAnswers
from lk_jupyter.runs.interrupts import AtInterrupt, call_in_background, is_interrupt, true_interrupts
from lk_jupyter.runs.notebooks.worker_pool import CallHandlers, Worker, WorkerPool, is_busy
from lk_jupyter.runs.outcome import list_problems
from lk_jupyter.runs.package import secret_scan
from lk_jupyter.runs.package.prepare import prepare
from lk_jupyter.runs.run import Run
from lk_jupyter.runs.submit.submission import Submission
from lk_jupyter.session import Session, current
from lk_jupyter.text.terminal import plain

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from lk_jupyter.options._keywords import ExecutorKeywords

T = TypeVar("T")

FILE_NAME = "function.py"

#: Requirements value: derive the requirements of a function from its imports.
AUTO = "auto"

#: Seconds between two checks for remaining calls.
_TICK = 0.05


class RunFuture(Future[T]):
    """The future of a call, as ``Executor.submit`` returns it.

    ``run`` is the Run of the call once started, None before.

    Example:
        >>> with lk_jupyter.Executor() as executor:
        ...     future = executor.submit(print, "hello")
        ...     future.result()
        >>> future.output.strip()
        'hello'
        >>> future.run.status
        'completed'
        >>> future.abort_soon()
    """

    def __init__(self) -> None:
        super().__init__()
        self.run: Run | None = None
        self._printed: list[str] | None = None  # on a machine that stays between calls
        self.sending: Submission | Worker | None = None
        self.unwanted_at: float | None = None

    def result(self, timeout: float | None = None) -> T:
        """Return the result of the call. An interrupt while it waits aborts the run.

        Args:
            timeout: Seconds to wait. Default: no limit.

        Returns:
            The value that the function returned.

        Raises:
            TimeoutError: The call takes longer. The run is still active.
            RunFailed: The run failed before or after the function. An error of the function itself is raised unchanged.
            RunAborted: The run was aborted.
        """
        ended: SimpleQueue[Future[T]] = SimpleQueue()  # an interrupted wait in Future can leave its lock locked
        with _aborted_by_interrupt(lambda: [self]):
            self.add_done_callback(ended.put)
            with suppress(Empty):
                ended.get(timeout=None if timeout is None else max(timeout, 0))
        return super().result(0)

    def _start_on(self, worker: Worker) -> None:
        """Record the machine that makes the call; an abort of the call aborts the machine."""
        self.sending, self._printed = worker, []
        if worker.warm:
            self.run = worker.warm.run
        if self.unwanted_at:  # abort requested a moment ago
            worker.abort_soon()
            raise CancelledError

    def _leave_machine(self) -> None:
        """Forget the machine, which makes the next call."""
        self.sending = None

    def _write(self, text: str) -> None:
        """Add text that the call printed."""
        if self._printed is not None:
            self._printed.append(text)

    def abort_soon(self) -> None:
        """Abort the run of this call in the background; cancel a call that waits."""
        self.unwanted_at = self.unwanted_at or time.monotonic()
        if self.sending:  # the run first: cancel may wait for a lock
            self.sending.abort_soon()
        self.cancel()

    @property
    def output(self) -> str:
        """The output of the function so far."""
        if self._printed is not None:
            return "".join(self._printed)
        if self.run is None or not self.run.log_path.exists():
            return ""
        return split(self.run.log_path.read_text(encoding="utf-8", errors="replace"), self.run.messages.nonce)[0]


class Executor(concurrent.futures.Executor):
    """Call functions on the cloud, each in a separate run, ``max_workers`` in parallel.

    With ``keep``, a machine makes one call after another: it starts with its first call, and ends that time after its
    last call, before its time limit, and with the executor. A call whose machine is lost is made once more. With
    ``max_cost``, all machines cost at most ``max_workers`` times this amount.

    The class follows ``concurrent.futures.Executor``. Functions and values are sent with cloudpickle, so both sides
    need the same version of Python. A function from a module of the working folder takes the module along. An interrupt
    in the ``with`` block aborts active runs.

    Args:
        max_workers: Runs that are active at the same time; more wait here. Default: the setting ``parallel``.
        session: Session to use. Default: the configured one.
        initializer: Function that is called first on each machine, such as to load a model; needs ``keep``.
        initargs: Arguments of ``initializer``.
        options: The options of ``%%lk_run``, for each call: ``gpu``, ``timeout`` (seconds), ``requirements``,
            ``max_cost`` (credits), and others. ``keep`` keeps machines between calls, ``image`` is their image.

    Raises:
        UsageError: An option or a value doesn't fit. Nothing was sent.
        ValueError: ``max_workers`` is below 1.

    Example:
        >>> with lk_jupyter.Executor(gpu="A100", max_workers=2) as executor:
        ...     future = executor.submit(pow, 2, 5)
        ...     print(future.result(timeout=60), list(executor.map(abs, [-1, -2])))
        32 [1, 2]
        >>> executor.abort_calls()
        >>> executor.price_label, executor.is_closed
        ('', True)
        >>> executor.shutdown()
        >>> executor.abort()
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        session: Session | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        **options: Unpack[ExecutorKeywords],
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        without_machines = {} if initializer is None or options.get("keep") else {"initializer": initializer}
        self._options: RunOptions = check_call("Executor", {**options, **without_machines})
        self._session = session or current()
        if self._options.image and not self._options.keep:
            raise UsageError(
                "image works only together with keep, such as Executor(keep='1m', image=...). Nothing was sent."
            )
        self._call_options = self._options.model_copy(update={"keep": None, "image": None})
        trial = FunctionCall.pack(abs, [], working_folder())  # its modules are packed now, and not in several threads
        prepare(self._session, Source("pass"), self._call_options, [trial.part()])  # invalid options fail now
        self._max_workers: int = max_workers or setting("parallel")  # dask and joblib read this attribute
        self._threads = ThreadPoolExecutor(self._max_workers, thread_name_prefix="lk-call")
        self._group = uuid.uuid4().hex
        self._futures: set[RunFuture[Any]] = set()
        self._pool: WorkerPool | None = None
        if self._options.keep:
            first = FunctionCall.pack(initializer, [(initargs, {})], working_folder()) if initializer else None
            self._pool = WorkerPool(self._session, self._options, self._group, self._max_workers, first)
        self._is_shut_down = False
        self._aborting = False
        self._interrupts = AtInterrupt(lambda _: self.abort())
        _EXECUTORS.add(self)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> RunFuture[T]:
        """Call a function on the cloud; return the future of its result.

        Args:
            fn: Any callable: a function, a bound method, a ``partial``, an instance with ``__call__``.
            args: Positional arguments of the call.
            kwargs: Keyword arguments of the call.

        Returns:
            A future. It raises what the function raised, with the remote traceback as the cause; RunFailed,
            RunAborted, or an error of the API otherwise.

        Raises:
            UsageError: The function or an argument can't be pickled. Nothing was sent.

        Cost: one run, billed by the second.
        """
        call = FunctionCall.pack(fn, [(args, kwargs)], working_folder())
        return self._submit(lambda future: self._make_call(future, call)[0])

    def map(  # noqa: PLR0913 (the parameters of its base, and what happens to items that fail)
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_errors: bool = False,
        retries: int = 0,
        resume: str | None = None,
    ) -> Iterator[T]:
        """Call a function on the cloud for each item; return an iterator of the results, in the order of the items.

        Args:
            fn: Any callable.
            iterables: The arguments, as the built-in ``map`` takes them; the shortest ends the map.
            timeout: Seconds from now until the next result must be there. Default: no limit.
            chunksize: Items that share a run. Default: 1; with ``keep``, four chunks for each machine, whose results
                arrive every second.
            buffersize: Runs that may be submitted ahead of the results that were taken. Default: all.
            return_errors: Return the error of an item as its result, and continue. Default: the error ends the map.
            retries: Times to call the function again for an item that failed. Default: 0.
            resume: Name under which this machine stores each result for 30 days. Another map with this name returns
                the stored results of this function and these items, waits for calls that an ended process left active,
                and calls the function for the other items.

        Raises:
            TimeoutError: A result was not there in time, raised by the iterator.
            ValueError: ``chunksize`` or ``buffersize`` is below 1, or ``retries`` below 0.

        Cost: one run for each chunk, billed by the second; with ``keep``, the machines.
        """
        for name, number in (("chunksize", chunksize), ("buffersize", buffersize)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be >= 1.")
        if retries < 0:
            raise ValueError("retries must be >= 0.")
        end = None if timeout is None else time.monotonic() + timeout
        arguments: Iterator[Arguments] = ((args, {}) for args in zip(*iterables, strict=False))
        before, ahead = set(self._futures), deque[RunFuture[list[Any]]]()
        if self._pool or return_errors or retries or resume is not None:
            policy = ItemPolicy(fn, working_folder(), SLICE_SECONDS if self._pool else None, retries, return_errors)
            with _aborted_by_interrupt(lambda: list(self._futures - before)):
                answers = StoredAnswers(lambda: self._session.storage, partial(is_busy, self._session))
                items = ItemMap(policy, arguments, resume, answers, is_listed=buffersize is None)
                chunks = items.chunks(chunksize, self._max_workers if self._pool else None)
                more = (self._submit(partial(self._call_chunk, chunk)) for chunk in chunks)
                ahead.extend(islice(more, buffersize))
            return items.merge(_results(ahead, more, end))
        calls = iter(lambda: list(islice(arguments, chunksize or 1)), [])
        more = (self._submit_chunk(FunctionCall.pack(fn, chunk, working_folder())) for chunk in calls)
        with _aborted_by_interrupt(lambda: list(self._futures - before)):
            ahead.extend(islice(more, buffersize))
        return _results(ahead, more, end)

    def _submit_chunk(self, call: FunctionCall) -> RunFuture[list[Any]]:
        return self._submit(lambda future: self._make_call(future, call)[::-1])

    def _call_chunk(self, chunk: Chunk, future: RunFuture[Any]) -> list[Any]:
        """Return the results of the items of a chunk, the last first."""

        def read(entry: Any) -> Any:
            assert future.run is not None  # noqa: S101 (an entry is of a run)
            return read_item(future.run, entry)

        return chunk.run(lambda call: self._make_call(future, call), read)[::-1]

    def abort(self) -> None:
        """Abort active runs and cancel waiting calls. No more calls can be submitted."""
        self._aborting = True
        if self._pool:
            self._pool.abort_soon()
        _abort(list(self._futures))
        self.shutdown(wait=False)

    def abort_calls(self) -> None:
        """Abort active calls with their machines, and cancel waiting calls. More calls can be submitted."""
        _abort(list(self._futures))

    @property
    def is_closed(self) -> bool:
        """Whether no more calls can be submitted."""
        return self._aborting or self._is_shut_down

    @property
    def price_label(self) -> str:
        """The maximum price of the machines with ``keep``, such as 1.06 credits for 4 machines; else empty."""
        return self._pool.price_label if self._pool else ""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 (as its base has it)
        """Take no more calls.

        Args:
            wait: Wait for active runs. Default: True.
            cancel_futures: Cancel calls that wait. Default: False.
        """
        self._is_shut_down = True
        self._threads.shutdown(wait=False)
        if cancel_futures:
            for future in list(self._futures):
                future.cancel()
        if wait:
            self._end()
        elif self._pool:
            call_in_background(self._end, "lk-shutdown")

    def _end(self) -> None:
        """Wait for active calls, and stop the machines."""
        self._threads.shutdown(wait=True)
        if self._pool:
            self._pool.stop()

    def __enter__(self) -> Self:
        self._interrupts = AtInterrupt(lambda _: self.abort())
        self._interrupts.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            with true_interrupts():
                remainder = self._describe_aborts() if is_interrupt(error) else ""
                if not remainder:
                    return super().__exit__(kind, error, traceback)
        except KeyboardInterrupt:
            remainder = self._describe_aborts()
        finally:
            self._interrupts.__exit__(kind, error, traceback)
        raise KeyboardInterrupt(remainder) from None

    def _describe_aborts(self) -> str:
        return _describe_aborts(self._interrupts, list(self._futures), self._pool.workers if self._pool else ())

    def _submit(self, work: Callable[[RunFuture[Any]], Any]) -> RunFuture[Any]:
        """Do work of a call in a thread; return the future of the result."""
        future: RunFuture[Any] = RunFuture()
        self._futures.add(future)  # before the thread starts: an interrupt aborts the registered calls
        future.add_done_callback(self._futures.discard)
        with _aborted_by_interrupt(lambda: [future]):
            try:  # the journal reads the cell from the context
                self._threads.submit(copy_context().run, self._run_call, future, work)
            except RuntimeError:  # the pool is closed
                future.abort_soon()
                if self._interrupts.is_marked:
                    raise KeyboardInterrupt("The calls of this executor were aborted.") from None
                raise
            except BaseException:
                # The pool may have queued the call before the interrupt, so cancel the call rather than forget it.
                future.abort_soon()
                raise
        return future

    def _run_call(self, future: RunFuture[Any], work: Callable[[RunFuture[Any]], Any]) -> None:
        if self._aborting:
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work(future))
        except BaseException as error:  # noqa: BLE001 (it is the future's)
            is_explained = isinstance(error, LkError) or isinstance(error.__cause__, RemoteTraceback)
            future.set_exception(error.with_traceback(None) if is_explained else error)

    def _make_call(self, future: RunFuture[Any], call: FunctionCall) -> list[Any]:
        """Make a call in a separate run, and return the answers."""
        requirements = [
            installed_requirements(call.imports, self._options.requirements) if what == AUTO else [what]
            for what in self._options.requirements
        ]
        options = self._call_options.model_copy(
            update={"name": self._options.name or call.name, "requirements": [*chain(*requirements)]}
        )
        parts = [] if self._pool else [call.part()]
        bundle = prepare(self._session, Source(call.code, FILE_NAME), options, parts)
        bundle = replace(bundle, secrets=(*bundle.secrets, *call.secrets))
        secret_scan.require_consent([bundle])
        if call.is_large:
            call.store(self._session.storage)
        if self._pool:
            handlers = CallHandlers(future._start_on, future._leave_machine, future._write)
            return self._pool.call(call, bundle, handlers)
        future.sending = Submission(self._session, bundle, self._group)
        if self._aborting or future.unwanted_at:  # abort requested a moment ago
            future.sending.abort_soon()
        future.run = run = Run.from_submission(self._session, future.sending)
        if call.stored:
            call.stored.on_send(run.execution_id)
        for _ in run.follow():
            pass
        for problem in list_problems(run.wait(), run.log_problem):
            warnings.warn(plain(f"Run {run.short_id}: {problem}"), UserWarning, stacklevel=1)
        return read_answer(run, call, lambda: self._session.storage)


#: Executors whose calls Python must wait for during its exit.
_EXECUTORS: WeakSet[Executor] = WeakSet()
call_in_child(_EXECUTORS.clear)  # a forked process has no threads that end the calls


def _finish_calls() -> None:
    """Wait for the calls of all executors while Python still accepts new threads; abort on interrupt.

    The standard library waits for these threads too, but only after all pools are closed.
    """
    executors = list(_EXECUTORS)

    def abort_all(_: object) -> None:
        for executor in executors:
            executor.abort()

    with AtInterrupt(abort_all):
        while any(executor._futures for executor in executors):
            time.sleep(_TICK)
        for executor in executors:
            if executor._pool:
                executor._end()


run_before_exit(_finish_calls)


def _abort(futures: list[RunFuture[Any]]) -> None:
    for future in sorted(futures, key=lambda future: future.sending is None):
        future.abort_soon()


@contextmanager
def _aborted_by_interrupt(futures: Callable[[], list[RunFuture[Any]]]) -> Iterator[None]:
    """Abort the runs of calls at an interrupt of the block, and show whether they may still be active."""
    with AtInterrupt(lambda _: _abort(futures())) as interrupts:
        try:
            with true_interrupts():
                yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_describe_aborts(interrupts, futures())) from None


def _describe_aborts(interrupts: AtInterrupt, futures: list[RunFuture[Any]], machines: Iterable[Worker] = ()) -> str:
    """Wait for the ends of aborted runs, and describe the runs that may be active; empty if no run is.

    ``machines`` are kept machines. The wait is short, and another interrupt ends the wait. No lock is needed: an
    interrupt would leave a lock locked.
    """
    interrupts.mark()
    submissions: set[Submission | Worker] = {*machines, *(future.sending for future in futures if future.sending)}
    end = LET_GO + min((future.unwanted_at for future in futures if future.unwanted_at), default=time.monotonic())
    with suppress(KeyboardInterrupt), true_interrupts():
        while (
            any(submission.remainder and not submission.is_stuck for submission in submissions)
            and time.monotonic() < end
        ):
            time.sleep(_TICK)
    return "\n".join(filter(None, (submission.remainder for submission in submissions)))


def _results(
    ahead: deque[RunFuture[list[Any]]], more: Iterator[RunFuture[list[Any]]], end: float | None
) -> Iterator[Any]:
    """Yield the results of futures, and drop each yielded result; submit ``more`` as results are taken."""
    try:
        while ahead:
            future = ahead[0]
            with _aborted_by_interrupt(lambda: list(ahead)):
                results = future.result(None if end is None else end - time.monotonic())
            ahead.popleft()
            del future  # the future refers to the results too
            ahead.extend(islice(more, 1))
            while results:
                yield results.pop()
    except (Exception, GeneratorExit):  # an interrupt cancels the futures in its own thread
        for future in ahead:
            future.cancel()
        raise
