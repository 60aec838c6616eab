"""The backend ``lk`` of joblib: ``GridSearchCV``, ``cross_val_score`` and ``Parallel`` on machines of the cloud.

joblib is not a dependency of the package: without joblib, only ``register_joblib`` fails.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from lk_jupyter._extras import build_install_command
from lk_jupyter._fork import call_in_child
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import UsageError
from lk_jupyter.executor import AUTO, Executor
from lk_jupyter.options.calls import CALLS
from lk_jupyter.runs.interrupts import is_interrupt
from lk_jupyter.text.terminal import plain

_BASES: tuple[type, ...] = ()
with suppress(ImportError):
    from joblib.parallel import (
        AutoBatchingMixin,
        FallbackToBackend,
        ParallelBackendBase,
        SequentialBackend,
        register_parallel_backend,
    )

    _BASES = (AutoBatchingMixin, ParallelBackendBase)

NAME = "lk"

#: Time for which a machine stays without a call, unless the user gives ``keep``.
KEEP = "1m"

#: The options of an executor that a call of ``Parallel`` can have.
_EXECUTOR_OPTIONS = {"initializer", "initargs", *(name for name, _ in CALLS["Executor"].fields())}

#: Options and number of machines → the executor whose machines stay between calls of ``Parallel``.
_executors: dict[tuple[str, int], Executor] = {}
call_in_child(_executors.clear)  # a forked process has no threads that make the calls


class LkBackend(*_BASES):  # type: ignore[misc]  # joblib has no types
    """Make the calls of ``joblib.Parallel`` on at most ``n_jobs`` machines, which stay for later calls.

    Args:
        options: The options of ``Executor``, such as ``gpu`` and ``keep``. Default: ``keep="1m"`` and the installed
            versions of the packages that the functions import.
    """

    supports_retrieve_callback = True
    supports_sharedmem = False
    uses_threads = False

    def __init__(
        self, nesting_level: int | None = None, inner_max_num_threads: int | None = None, **options: Any
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._options = {"keep": KEEP, "requirements": [AUTO], **options}
        self._executor: Executor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return the number of machines: 1 for None as in joblib, the setting ``parallel`` for a negative number."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        n_jobs = self.default_n_jobs if n_jobs is None else n_jobs
        return n_jobs if n_jobs > 0 else int(setting("parallel"))

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Find or create the executor for this number of machines, and print its maximum price.

        joblib makes the calls of one job in this process. So does a process of a pool: its pool may end it at any time,
        and its machines would stay.
        """
        self.parallel = parallel
        machines = self.effective_n_jobs(n_jobs)
        is_in_pool = multiprocessing.current_process().daemon
        if machines == 1 or is_in_pool:
            cause = (
                "inside a multiprocessing worker"
                if is_in_pool
                else "for one job. To use machines, set n_jobs=2 or more"
            )
            warnings.warn(
                f"The calls run in this process, because the backend lk starts no machines {cause}.", stacklevel=2
            )
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        chosen = {name: options[name] for name in options.keys() & _EXECUTOR_OPTIONS}  # the others are joblib's
        self._executor = _find_executor({**self._options, **chosen}, machines)
        return machines

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], object] | None = None) -> Future[Any]:
        """Make a call on a machine."""
        if self._executor is None:
            self.configure(self.parallel.n_jobs if self.parallel else 1, self.parallel)
        assert self._executor is not None  # noqa: S101 (set by configure)
        future = self._executor.submit(func)
        if callback:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return the result of a call that has ended."""
        return out.result()

    def terminate(self) -> None:
        """Forget the durations of the calls, which set the size of batches; the machines stay for later calls."""
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 (as its base has it)
        """Abort the active calls with their machines, after an interrupt all machines."""
        if self._executor is None:
            return
        if is_interrupt(sys.exc_info()[1]):
            self._executor.abort()
            self._executor = None
        else:
            self._executor.abort_calls()


def _find_executor(options: dict[str, Any], machines: int) -> Executor:
    key = json.dumps(options, default=str, sort_keys=True), machines
    executor = _executors.get(key)
    if executor is None or executor.is_closed:
        executor = _executors[key] = Executor(machines, **options)
        print(plain(f"joblib on {executor.price_label}"))  # noqa: T201 (the price comes before the machines)
    return executor


def register_joblib() -> None:
    """Register the backend ``lk`` of joblib; ``%load_ext lk_jupyter`` does so in a notebook.

    Raises:
        UsageError: joblib is missing.

    Example:
        >>> lk_jupyter.register_joblib()
        >>> with joblib.parallel_config(backend="lk", n_jobs=2):  # doctest: +SKIP
        ...     search.fit(X, y)
    """
    if not _BASES:
        raise UsageError(f"register_joblib needs joblib: {build_install_command('joblib')}")
    register_parallel_backend(NAME, LkBackend)
