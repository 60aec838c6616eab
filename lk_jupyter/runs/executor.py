"""Python functions as runs, behind the interface of ``concurrent.futures``."""

from __future__ import annotations

import concurrent.futures
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

from lk_jupyter.config import setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.interrupts import is_interrupt
from lk_jupyter.options import RunOptions, check
from lk_jupyter.runs import guard
from lk_jupyter.runs.bundle import Source
from lk_jupyter.runs.call import Arguments, Call, RemoteTraceback, answer_of
from lk_jupyter.runs.frames import split
from lk_jupyter.runs.imports import installed_requirements
from lk_jupyter.runs.run import Run, prepare
from lk_jupyter.runs.session import Session, current

T = TypeVar("T")

FILE_NAME = "function.py"

#: The requirements of a function that its imports tell.
AUTO = "auto"

#: Options of a cell that make no sense for a function.
_NOT_HERE = (
    *("arg", "save", "detach", "quiet", "plan", "sweep", "score", "first", "strict", "parallel"),
    *("inputs", "in_all", "outputs", "pickle", "attach", "on_interrupt", "resume"),
)


class RunFuture(Future[T]):
    """The future of a call; ``run`` is its Run as soon as it is started, None before."""

    def __init__(self) -> None:
        super().__init__()
        self.run: Run | None = None

    @property
    def output(self) -> str:
        """What the function has printed so far."""
        if self.run is None or not self.run.log_path.exists():
            return ""
        return split(self.run.log_path.read_text(encoding="utf-8", errors="replace"), self.run.nonce)[0]


class Executor(concurrent.futures.Executor):
    """Calls functions on the cloud, each in a run of its own, ``max_workers`` at once.

    ::

        with lk_jupyter.Executor(gpu="A100", max_workers=4) as executor:
            print(list(executor.map(train, [0.1, 0.01])))

    The options are those of ``%%lk_run`` (``timeout``, ``requirements``, ``max_cost`` …), and hold for
    each call. Functions and values travel with cloudpickle, so both sides have the same version of
    Python; a function of a module in the working folder takes the module along. An interrupt in the
    ``with`` block aborts what goes on; ``max_workers`` is the setting parallel by default.
    """

    def __init__(self, *, max_workers: int | None = None, session: Session | None = None, **options: Any) -> None:
        for name in _NOT_HERE:
            if name in options:
                raise UsageError(f"Executor: {name} is an option of a cell, not of a function.")
        if max_workers is not None and max_workers < 1:
            raise ValueError("max_workers must be greater than 0")
        self._options: RunOptions = check(RunOptions, options)
        self._session = session or current()
        prepare(self._session, Source("pass"), self._options)  # what does not fit is told now
        self._threads = ThreadPoolExecutor(max_workers or setting("parallel"), thread_name_prefix="lk-call")
        self._group = uuid.uuid4().hex
        self._futures: set[RunFuture[Any]] = set()
        self._aborting = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> RunFuture[T]:
        """Call a function on the cloud; return the future of what it returns.

        Raises UsageError for what cannot travel. The future raises what the function raised, with the
        traceback from over there as the cause; RunFailed, RunAborted, or an error of the API otherwise.
        """
        if isinstance(fn, _Many):
            return self._submit(fn.function, args[0], lambda answers: answers)
        return self._submit(fn, [(args, kwargs)], lambda answers: answers[0])

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **_: Any,
    ) -> Iterator[T]:
        """Return what the function returns for each item, in their order; ``chunksize`` items share a run.

        Raises TimeoutError when the next is not there ``timeout`` seconds from now.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        items: Iterator[Arguments] = ((args, {}) for args in zip(*iterables, strict=False))
        chunks = iter(lambda: list(islice(items, chunksize)), [])
        return chain.from_iterable(super().map(cast("Callable[..., list[T]]", _Many(fn)), chunks, timeout=timeout))

    def abort(self) -> None:
        """Abort what goes on, and cancel what waits; no more can be submitted."""
        self._aborting = True
        self.shutdown(wait=False, cancel_futures=True)
        for future in list(self._futures):
            if future.run and not future.done():
                future.run.abort_soon()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 (as its base has it)
        """Take no more calls, and wait for those that go on; ``cancel_futures`` cancels those that wait."""
        self._threads.shutdown(wait=False)
        if cancel_futures:
            for future in list(self._futures):
                future.cancel()
        self._threads.shutdown(wait=wait)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if is_interrupt(error):
            self.abort()
        return super().__exit__(kind, error, traceback)

    def _submit(
        self, function: Callable[..., Any], calls: list[Arguments], take: Callable[[list[Any]], Any]
    ) -> RunFuture[Any]:
        call = Call.of(function, calls, Path.cwd())
        future: RunFuture[Any] = RunFuture()
        self._threads.submit(copy_context().run, self._go, future, call, take)  # the journal knows the cell by it
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def _go(self, future: RunFuture[Any], call: Call, take: Callable[[list[Any]], Any]) -> None:
        if self._aborting:
            future.cancel()
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(take(self._made(future, call)))
        except BaseException as error:  # noqa: BLE001 (it is the future's)
            is_told = isinstance(error, LkError) or isinstance(error.__cause__, RemoteTraceback)
            future.set_exception(error.with_traceback(None) if is_told else error)

    def _made(self, future: RunFuture[Any], call: Call) -> list[Any]:
        """Make a call in a run of its own, and return the answers."""
        wanted = [
            installed_requirements(call.imports) if what == AUTO else [what] for what in self._options.requirements
        ]
        options = self._options.model_copy(
            update={"name": self._options.name or call.name, "requirements": [*chain(*wanted)]}
        )
        package = prepare(self._session, Source(call.code, FILE_NAME), options, [call.part()])
        package = replace(package, secrets=(*package.secrets, *call.secrets))
        guard.permitted([package])
        if call.is_large:
            call.store(self._session.storage)
        future.run = run = Run.submit(self._session, package, group=self._group)
        if self._aborting:  # asked for while the start was on its way
            run.abort_soon()
        for _ in run.follow():
            pass
        run.wait()
        return answer_of(run, call, lambda: self._session.storage)


class _Many:
    """A function that is called once for each of several items in one run."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
