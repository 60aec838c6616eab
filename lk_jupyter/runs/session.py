"""A session: what an account on a server can do there, and the one that all magics share."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lk_jupyter.config import LOOPBACK
from lk_jupyter.connection import Connection, Target, find_target
from lk_jupyter.errors import ApiError
from lk_jupyter.runs.machines import Catalogue

if TYPE_CHECKING:
    from lk_jupyter.api.storage import StorageCredentials
    from lk_jupyter.options import RunOptions
    from lk_jupyter.runs.account import Balance, Identity
    from lk_jupyter.runs.lanes import FanOut
    from lk_jupyter.runs.offers import Offer
    from lk_jupyter.runs.run import Run
    from lk_jupyter.storage.storage import Storage

CATALOGUE_SECONDS = 60.0


class Session(Connection):
    """An account on a server, and what it can do there. A context manager; ``close`` ends its connections."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._storage: Storage | None = None
        self._catalogue: Catalogue | None = None
        self._read = 0.0

    def speaks_to(self, base_url: str) -> bool:
        """Whether this is the address of the server; a local cloud may have another port each time."""
        return base_url == self.base_url or (self.is_local and (urlsplit(base_url).hostname or "") in LOOPBACK)

    @property
    def storage(self) -> Storage:
        """The bucket of the organization that the session acts for, on temporary credentials."""
        from lk_jupyter.storage.storage import Storage  # noqa: PLC0415 (most sessions never need it)

        self._storage = self._storage or Storage(self._credentials)
        return self._storage

    def _credentials(self) -> StorageCredentials:
        return self.client.storage.credentials()

    def machines(self) -> Catalogue:
        """Return the machine types with price per hour in credits, and which this account may launch.

        Kept for a minute, so that it can be asked for often.
        """
        if self._catalogue is None or time.monotonic() - self._read > CATALOGUE_SECONDS:
            self._catalogue = Catalogue.of(self.client.machine_types.list(), self._available())
            self._read = time.monotonic()
        return self._catalogue

    def offers(self) -> list[Offer]:
        """Return every machine type with what of it this account may launch and what is free now."""
        from lk_jupyter.runs.offers import offers_of  # noqa: PLC0415 (few need it)

        sold = None
        with suppress(ApiError):
            sold = self.client.vms.availability()
        return offers_of(self.machines(), sold)

    def _available(self) -> list[str]:
        """Profiles that the account may launch; empty when nothing is restricted, or the server does not tell."""
        with suppress(ApiError):
            return self.client.user.available_hardware().available_hardware_profiles
        return []

    def whoami(self) -> Identity:
        """Tell the account, organization and server, and where the key comes from."""
        from lk_jupyter.runs.account import identity  # noqa: PLC0415 (it needs this module)

        return identity(self)

    def balance(self) -> Balance:
        """Tell the credits that are left and what the runs that go on use of them."""
        from lk_jupyter.runs.account import balance  # noqa: PLC0415 (it needs this module)

        return balance(self)

    def run(
        self,
        code: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Iterable[str] = (),
        **options: Any,
    ) -> Run:
        """Start code on the cloud; the options are those of ``%%lk_run``, such as ``gpu="A100"``.

        ``inputs`` are variables that the code finds set (with ``in_all=True`` those of them that it
        reads), ``outputs`` the names of those that ``run.outputs()`` brings back.

        Raises UsageError for what does not fit, before anything is sent.
        """
        from lk_jupyter.runs.run import Run  # noqa: PLC0415 (it needs this module)

        return Run.start(self, code, _run_options(inputs, outputs, options), inputs)

    def run_image(self, image: str, script: str | list[str] = "", **options: Any) -> Run:
        """Start a container image, with a script of its shell or with a command and its arguments as a list.

        Without either it runs its own command. The options are those of ``%%lk_docker``, such as ``gpu="A100"``,
        ``env=["MODE=test", "HF_TOKEN"]`` (the second has its value from the environment here) and ``port=[8000]``.

        Raises UsageError for what does not fit, before anything is sent.
        """
        from lk_jupyter.runs.containers import start_image  # noqa: PLC0415 (it needs this module)

        return start_image(self, image, script, options)

    def run_compose(self, text: str, **options: Any) -> Run:
        """Start a stack of containers, given the text of its compose file; the options are those of ``%%lk_compose``.

        Raises UsageError for what does not fit, before anything is sent.
        """
        from lk_jupyter.runs.containers import start_compose  # noqa: PLC0415 (it needs this module)

        return start_compose(self, text, options)

    def run_notebook(self, path: str, **options: Any) -> Run:
        """Start a whole notebook; the options are those of ``%lk_run_notebook``, such as ``parameter={"lr": "0.1"}``.

        ``%lk_attach`` follows it and writes the executed notebook, cell by cell. Raises UsageError for what does not
        fit, before anything is sent.
        """
        from lk_jupyter.options import NotebookRunOptions, check  # noqa: PLC0415 (it needs this module)
        from lk_jupyter.runs.notebook import start_notebook_run  # noqa: PLC0415

        return start_notebook_run(self, check(NotebookRunOptions, {**options, "notebook": path}))

    def start_notebook(self, **options: Any) -> Run:
        """Start a hosted Jupyter server, such as ``gpu="A100"``; the options are those of ``%lk_notebook start``.

        ``lk_jupyter.runs.notebooks.wait_for_server(run)`` waits until it answers. Raises UsageError for what does
        not fit, before anything is sent.
        """
        from lk_jupyter.options import ServerOptions, check  # noqa: PLC0415 (it needs this module)
        from lk_jupyter.runs.notebooks import start_server  # noqa: PLC0415

        return start_server(self, check(ServerOptions, options))

    def fan_out(
        self,
        code: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Iterable[str] = (),
        **options: Any,
    ) -> FanOut:
        """Start code as several runs, such as ``gpu="A100,H100"`` or ``sweep=["lr=0.1,0.01"]``; return at once.

        The options are those of ``%%lk_run``, ``inputs`` and ``outputs`` those of ``run``. The answer has
        ``wait()``, ``table()``, ``variables()`` and ``abort()``. Raises UsageError for what does not fit, before
        anything is sent.
        """
        from lk_jupyter.runs.lanes import FanOut  # noqa: PLC0415 (it needs this module)

        fan = FanOut.of(self, code, _run_options(inputs, outputs, options), inputs)
        fan.check()
        return fan.start()

    def get(self, execution_id: str) -> Run:
        """Return a run that was started before, by its id or the first characters of it."""
        from lk_jupyter.runs.run import Run  # noqa: PLC0415 (it needs this module)

        return Run.attach(self, execution_id)

    def history(self, *text: str, **options: Any) -> Any:
        """Return your runs as a DataFrame, newest first (a list of rows where pandas is missing).

        The options are those of ``%lk_history``: words that a run has, ``machine``, ``state``,
        ``label``, ``since`` (7d, 12h, a date), ``notebook``, ``limit``.
        """
        from lk_jupyter.options import HistoryOptions, check  # noqa: PLC0415 (it needs this module)
        from lk_jupyter.runs.history import history  # noqa: PLC0415

        return history(self, check(HistoryOptions, {"text": list(text), **options})).table()


def _run_options(inputs: Mapping[str, Any] | None, outputs: Iterable[str], options: dict[str, Any]) -> RunOptions:
    """Return the options of runs that bring these variables. Raises UsageError."""
    from lk_jupyter.options import RunOptions, check  # noqa: PLC0415 (when a run is started)

    brought = [] if options.get("in_all") else list(inputs or ())
    names = [outputs] if isinstance(outputs, str) else list(outputs)
    checked: RunOptions = check(RunOptions, {**options, "inputs": brought, "outputs": names})
    return checked


def connect(base_url: str | None = None, api_key: str | None = None, org: str | None = None) -> Session:
    """Return a session; what is not given comes from the settings.

    ``base_url="local"`` is the local cloud on this machine, started when it does not run.
    Raises NotSignedIn when there is no key for the server, UsageError when a value does not fit.
    """
    return Session(find_target(base_url, api_key, org))


_lock = threading.Lock()
_current: list[Session] = []


def current(*, start: bool = True) -> Session:
    """Return the session that all magics share; a new one when the settings have changed.

    ``start`` is whether the local cloud is started when it is the server and does not run.
    """
    with _lock:
        target = find_target(start=start)
        if not _current or _current[-1].target != target:
            _current.append(Session(target))  # runs that go on keep the older one
        return _current[-1]


def history(*text: str, **options: Any) -> Any:
    """Return your runs as a DataFrame, newest first, as ``Session.history`` does for the configured server."""
    return current().history(*text, **options)


@atexit.register
def close_all() -> None:
    """Close every session that ``current`` has made."""
    with _lock:
        while _current:
            _current.pop().close()
