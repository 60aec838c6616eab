"""The decorator ``lk_jupyter.remote``: a function whose calls are made on the cloud."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from lk_jupyter._fork import renew_in_child
from lk_jupyter.executor import Executor, RunFuture
from lk_jupyter.options.calls import check_call
from lk_jupyter.session import Session, current

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lk_jupyter.options._keywords import ExecutorKeywords

P = ParamSpec("P")
T = TypeVar("T")


class RemoteFunction(Generic[P, T]):
    """A function whose calls are made on the cloud, as ``lk_jupyter.remote`` returns it.

    A call waits for the result. ``__wrapped__`` is the function itself, which ``double.__wrapped__(1)`` calls in this
    process. In a run, the name of the function means the function itself, so recursion starts no further run.

    The first call creates an executor. After an interrupt or a shutdown, the next call creates another executor.

    Example:
        >>> @lk_jupyter.remote(gpu="A100")
        ... def double(number):
        ...     return 2 * number
        >>> double(21)
        42
        >>> double.submit(4).result(), list(double.map([1, 2]))
        (8, [2, 4])
        >>> double.shutdown()
    """

    __wrapped__: Callable[P, T]

    def __init__(
        self, function: Callable[P, T], max_workers: int | None, session: Session | None, options: ExecutorKeywords
    ) -> None:
        check_call("Executor", {**options})  # invalid options fail at the definition
        self._max_workers, self._session, self._options = max_workers, session, options
        self._executor: Executor | None = None
        self._account: Session | None = None
        self._creation = threading.Lock()
        renew_in_child(self)
        update_wrapper(self, function)

    def __repr__(self) -> str:
        return f"<RemoteFunction {self.__wrapped__!r}>"

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Pickle the function itself: a run has no account that could start further runs."""
        return copy, (self.__wrapped__,)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function on the cloud and wait for the result. Raises as ``RunFuture.result``."""
        return self.submit(*args, **kwargs).result()

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> RunFuture[T]:
        """Call the function on the cloud; return the future of the result.

        Args:
            args: Positional arguments of the call.
            kwargs: Keyword arguments of the call.

        Returns:
            A future, as ``Executor.submit`` returns it.

        Raises:
            UsageError: An argument can't be pickled. Nothing was sent.

        Cost: one run, billed by the second; with ``keep``, the machine.
        """
        return self._find_executor().submit(self.__wrapped__, *args, **kwargs)

    def map(self, *iterables: Iterable[Any], **policy: Any) -> Iterator[T]:
        """Call the function on the cloud for each item; return an iterator of the results, in the order of the items.

        Args:
            iterables: The arguments, as the built-in ``map`` takes them; the shortest ends the map.
            policy: ``timeout``, ``chunksize``, ``buffersize``, ``return_errors``, ``retries`` and ``resume``, as in
                ``Executor.map``.

        Raises:
            TimeoutError: A result was not there in time, raised by the iterator.

        Cost: one run for each chunk, billed by the second; with ``keep``, the machines.
        """
        return self._find_executor().map(self.__wrapped__, *iterables, **policy)

    def shutdown(self) -> None:
        """Wait for active calls, and stop the machines that ``keep`` keeps. Another call starts again."""
        with self._creation:
            executor = self._executor
            self._executor = None
        if executor:
            executor.shutdown()

    def after_fork(self) -> None:
        """Forget the executor: a forked process lacks the threads that make the calls."""
        self._creation = threading.Lock()
        self._executor = None

    def _find_executor(self) -> Executor:
        """Return the executor; create another after an interrupt or a sign-in to another account."""
        session = self._session or current()
        with self._creation:
            if self._executor is None or self._executor.is_closed or self._account is not session:
                self._executor = Executor(self._max_workers, session=session, **self._options)
                self._account = session
            return self._executor


@overload
def remote(function: Callable[P, T], /) -> RemoteFunction[P, T]: ...


@overload
def remote(
    *, max_workers: int | None = ..., session: Session | None = ..., **options: Unpack[ExecutorKeywords]
) -> Callable[[Callable[P, T]], RemoteFunction[P, T]]: ...


def remote(
    function: Callable[P, T] | None = None,
    /,
    *,
    max_workers: int | None = None,
    session: Session | None = None,
    **options: Unpack[ExecutorKeywords],
) -> Any:  # as the overloads state
    """Decorate a function, so that its calls are made on the cloud.

    Nothing is sent before the first call. Calls, ``.submit`` and ``.map`` share an executor.

    Args:
        function: The function, for a decorator without options.
        max_workers: Calls that are active at the same time; more wait here. Default: the setting ``parallel``.
        session: Session to use. Default: the configured one.
        options: The options of ``Executor``, such as ``gpu``, ``timeout`` and ``max_cost``. With ``keep="5m"``,
            machines stay between calls.

    Returns:
        A RemoteFunction, or a decorator that returns a RemoteFunction.

    Raises:
        UsageError: An option or a value doesn't fit. Nothing was sent.

    Example:
        >>> @lk_jupyter.remote(gpu="A100", max_workers=2)
        ... def fit(alpha):
        ...     return alpha**2
        >>> fit(3)
        9
        >>> fit.shutdown()
    """

    def decorate(function: Callable[P, T]) -> RemoteFunction[P, T]:
        return RemoteFunction(function, max_workers, session, options)

    return decorate if function is None else decorate(function)
