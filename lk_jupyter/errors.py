"""All errors of the package.

::

    LkError                     base of all errors
    ├── UsageError              a mistake in a magic's line or an argument: nothing was sent
    │   └── ReadOnlyMode        read-only mode is on: nothing was sent
    ├── NotSignedIn             no key for the server
    ├── ConnectionFailed        the server can't be reached: nothing was done
    ├── OutcomeUnknown          sent, but the answer was lost
    ├── InvalidResponse         the answer isn't from this API (HTML, a proxy's page)
    ├── LocalCloudError         the local cloud didn't start or stop
    ├── DeploymentFailed        a deployed model doesn't serve
    ├── StorageError            a file of the bucket can't be read or written
    │   ├── NoSuchObject        no file has that key
    │   ├── ObjectExists        another file has that key
    │   └── InsufficientMemory  the file is larger than the free memory
    ├── ApiError                the server refused; has status, detail, request_id
    │   ├── BadRequest          400
    │   ├── Unauthorized        401
    │   ├── PaymentRequired     402
    │   ├── Forbidden           403
    │   ├── NotFound            404
    │   │   └── OperationNotAvailable  the server has no such operation
    │   ├── Conflict            409
    │   ├── Invalid             422
    │   ├── RateLimited         429
    │   └── ServerError         5xx
    └── RunError                a run didn't complete; has execution_id
        ├── RunFailed           the code failed, ran out of time, or the platform failed
        │   └── CellFailed      the code of a cell in a session failed
        ├── RunAborted          the run was stopped before its end
        └── RunDetached         the cell stopped waiting; the run is still active

A message states the problem, the remaining state, and the fix. A notebook shows no traceback of
this package, since the author's code isn't at fault. A docstring is the error's section of the documentation:
meaning, state, and "Fix:" with an instruction. ``%lk_help NAME`` shows the docstring.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from lk_jupyter._lazy import renamed

#: Characters of a line of a message: a server can name a thing of any length.
_LONGEST_LINE = 1000


def _clean_message(text: str) -> str:
    """Return a foreign text as a message, without control sequences, and with long lines cut."""
    from lk_jupyter.text.terminal import only_colors  # noqa: PLC0415 (this module is imported first)

    lines = only_colors(text).split("\n")
    return "\n".join(line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in lines)


class LkError(Exception):
    """Base of all errors of this package."""

    def __str__(self) -> str:
        return _clean_message(super().__str__())  # a message may quote foreign names

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback, with a link to the error's page."""
        name = type(self).__name__
        return [f"{name}: {self}", f"More: {page_address('errors', name)}"]


class UsageError(LkError):
    """A magic's line or an argument is wrong.

    Nothing was sent.

    Fix: correct what the message quotes. Add a question mark to see all options: ``%%lk_run?``.
    """

    def _render_traceback_(self) -> list[str]:
        """Return the message alone, with the help of its magic, which is more specific than this error's page."""
        return super()._render_traceback_()[:1]


class ReadOnlyMode(UsageError):
    """Read-only mode is on, and the operation spends, writes or deletes.

    Nothing was sent. Aborting a run or a batch stays possible: it ends a bill.

    Fix: ``%lk_config read_only off``. If the variable ``LK_READ_ONLY`` of the environment switches the mode on, change
    the variable and restart the kernel.
    """


class NotSignedIn(LkError):
    """No API key is known for the server.

    Nothing was sent.

    Fix: run ``%lk_login``, or ``%lk_login --local`` for the local cloud, which needs no key. In automation, set
    ``LK_API_KEY``. ``%lk_whoami`` shows the server and where a key comes from.
    """


class ConnectionFailed(LkError):
    """The server can't be reached.

    Nothing was done.

    Fix: check the network and the proxy. ``%lk_whoami`` shows the server; ``LK_BASE_URL`` or
    ``%lk_config base_url`` sets another one.
    """

    #: Whether the server has accepted the request before the connection broke, such as a chat.
    is_accepted = False


class OutcomeUnknown(LkError):
    """The request was sent, and the answer was lost.

    The request may have taken effect: a run may be active.

    Fix: check before you repeat the request. ``%lk_runs`` lists active runs, ``%lk_abort ID`` ends a run.
    """

    #: Whether the server has accepted the request.
    is_accepted = False


class InvalidResponse(LkError):
    """The answer isn't from this API, for example a proxy's sign-in page.

    The request may have reached nothing at all.

    Fix: open the address of the server in a browser once, and check the proxy and ``LK_BASE_URL``.
    """


class LocalCloudError(LkError):
    """The local cloud didn't start, or didn't stop.

    No run was submitted.

    Fix: read the output of the local cloud below. ``pip install 'lk-jupyter[local]'`` installs the requirements.
    """


class DeploymentFailed(LkError):
    """A model that was deployed on dedicated GPUs doesn't serve.

    The deployment may still exist and cost credits.

    Fix: ``%lk_deployments ID`` shows replicas and logs, ``%lk_undeploy ID`` ends the deployment and its bill.
    """


class StorageError(LkError):
    """A file of the bucket can't be read or written.

    Files that were transferred before the failure are complete.

    Fix: run the line again. The transfer continues and skips complete files. If the network blocks storage, use
    ``%lk_bucket``.
    """


class NoSuchObject(StorageError):
    """No file of the bucket has that key.

    Nothing was changed.

    Fix: ``%lk_ls FOLDER`` lists the keys of a folder.
    """


class ObjectExists(StorageError):
    """Another file of the bucket has that key.

    Nothing was overwritten.

    Fix: choose another key, or delete the file first: ``%lk_rm KEY``.
    """


class InsufficientMemory(StorageError):
    """A file is larger than the free memory.

    Nothing was loaded.

    Fix: load less with ``%lk_load KEY --columns A,B`` or ``--sample N``, or read it in a run.
    """


class ApiError(LkError):
    """The server refused a request.

    The state depends on the status: see the errors below.

    Fix: the message contains the server's reason. ``status`` is the HTTP status, ``detail`` the server's message, and
    ``request_id`` the id of the request, for a support question.
    """

    next_step = ""

    #: Seconds that the server requests before another attempt, at most a minute; None without a request.
    pause: float | None = None

    def __init__(self, status: int, detail: str, request_id: str | None = None) -> None:
        self.status = status
        self.detail = detail
        self.request_id = request_id
        super().__init__(status, detail, request_id)

    def __str__(self) -> str:
        text = f"{self.detail.rstrip('.')} (HTTP {self.status}"
        text += f", request {self.request_id})." if self.request_id else ")."
        return _clean_message(f"{text}\n{self.next_step}" if self.next_step else text)


class BadRequest(ApiError):
    """The server understood the request and refused it (HTTP 400).

    Nothing was done.

    Fix: change the value in the server's reason.
    """


class Unauthorized(ApiError):
    """The key is missing, unknown, expired or switched off (HTTP 401).

    Nothing was done.

    Fix: run ``%lk_login``, or set ``LK_API_KEY``. ``%lk_whoami`` shows which key is in use and where it comes from.
    """

    next_step = "Run %lk_login, or set LK_API_KEY. %lk_whoami shows which key is in use and where it comes from."


class PaymentRequired(ApiError):
    """The credits aren't enough to start (HTTP 402).

    Nothing was started or charged.

    Fix: ``%lk_billing checkout CREDITS`` opens the page where credits are paid. ``%lk_balance`` shows the remaining
    credits. For a local cloud, start it with a new data folder.
    """

    next_step = "Nothing was charged. Buy credits: %lk_billing checkout 50. %lk_balance shows what is left."


class Forbidden(ApiError):
    """The key is valid, but lacks the role, the membership or the quota (HTTP 403).

    Nothing was done.

    Fix: ``%lk_machines`` marks the machine types that you may use. ``%lk_whoami`` shows your organization, and
    ``%lk_org use SLUG`` changes it.
    """

    next_step = "%lk_machines marks the machine types that you may use; %lk_whoami shows your organization."


class NotFound(ApiError):
    """The organization has nothing with that name or id (HTTP 404).

    Nothing was done.

    Fix: ``%lk_runs`` lists your runs. ``%lk_whoami`` shows the server and the organization in use.
    """

    next_step = "%lk_runs lists your runs; %lk_whoami shows the server and the organization in use."


class OperationNotAvailable(NotFound):
    """The server doesn't have this operation for any request.

    Nothing was done.

    Fix: ``%lk_check`` shows the operations of this server.
    """

    next_step = "Nothing was done. To see which operations this server has: %lk_check"

    def __init__(self, operation: str, host: str, status: int = 404, request_id: str | None = None) -> None:
        self.operation = operation
        super().__init__(status, f"{host} doesn't have the operation '{operation}'", request_id)


class Conflict(ApiError):
    """The name or value is already taken (HTTP 409).

    Nothing was changed.

    Fix: choose another name or value.
    """


class Invalid(ApiError):
    """A value doesn't fit (HTTP 422); the detail names the field.

    Nothing was done.

    Fix: change the value that the message quotes.
    """


class RateLimited(ApiError):
    """The server got too many requests, even after the retries (HTTP 429).

    Nothing was done.

    Fix: wait a minute and try again. ``--parallel N`` lowers the number of concurrent runs.
    """

    next_step = "Wait a minute and try again."


class ServerError(ApiError):
    """The server failed, even after the retries where a retry is safe (HTTP 408, 425, 5xx).

    The request may have taken effect.

    Fix: try again in a minute. After a start, look at ``%lk_runs`` first.
    """

    next_step = "The server failed. Try again in a minute. After a failed start, first check your active runs: %lk_runs"


STATUS_ERRORS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    402: PaymentRequired,
    403: Forbidden,
    404: NotFound,
    408: ServerError,
    409: Conflict,
    422: Invalid,
    425: ServerError,
    429: RateLimited,
}


def error_for(status: int, detail: str, request_id: str | None = None) -> ApiError:
    """Return the error for an HTTP status."""
    kind = STATUS_ERRORS.get(status, ServerError if status >= 500 else BadRequest)
    return kind(status, detail, request_id)


class RunError(LkError):
    """A run didn't complete; ``execution_id`` is the run's id.

    The log is stored.

    Fix: ``%lk_logs ID`` prints the log, ``%lk_status ID`` shows state and cost.
    """

    def __init__(self, message: str, *, execution_id: str) -> None:
        super().__init__(message)
        self.execution_id = execution_id


class RunFailed(RunError):
    """The code of a run failed, ran out of time, or the platform failed.

    The run has ended, and so has its bill.

    Fix: the message quotes the traceback in the line numbers of your cell, or the end of pip's log if the
    installation failed (correct ``-r``). If time ran out, raise ``--timeout``; if memory ran out, take a larger
    machine. A line below shows a certain fix.

    ``return_code`` is the exit code if the code ran to one. ``traceback`` is the remote traceback as text, or an empty
    string. ``shown`` is the traceback with colors and context, if the run made that.
    """

    def __init__(
        self,
        message: str,
        *,
        execution_id: str,
        return_code: int | None = None,
        traceback: str = "",
        shown: str = "",
    ) -> None:
        super().__init__(message, execution_id=execution_id)
        self.return_code = return_code
        self.traceback = traceback
        self.shown = shown or traceback

    def _render_traceback_(self) -> list[str]:
        """Return the traceback of the run and the message, which quotes the error only where no traceback does."""
        from lk_jupyter.text.terminal import only_colors, plain  # noqa: PLC0415 (as above)

        traceback = (only_colors if _uses_color() else plain)(self.shown)
        cause = self.traceback.rstrip().rpartition("\n")[2]
        summary, *page = super()._render_traceback_()
        return [*traceback.splitlines(), summary.replace(f" ({cause})", "") if cause else summary, *page]


class CellFailed(RunFailed):
    """The code of a cell in a session raised an error.

    The session is still active with its variables, and costs credits.

    Fix: correct the line that the traceback shows and run the cell again. ``%lk_sessions stop NAME`` ends the session.
    """


class RunAborted(RunError):
    """The run was stopped before its end, by a user, a program or a cost limit.

    The run has ended, and so has its bill.

    Fix: run the cell again, or ``%lk_rerun ID``.
    """


class RunDetached(RunError):
    """A user clicked Detach, so the cell stopped waiting.

    The run is still active and costs credits.

    Fix: ``%lk_attach ID`` follows the run again, ``%lk_abort ID`` ends the run.
    """


def page_address(page: str, anchor: str = "") -> str:
    """Return the address of a page of the reference: on the documentation site of the package, or in %lk_help."""
    from importlib.metadata import PackageNotFoundError, metadata  # noqa: PLC0415 (only where an error is shown)

    with suppress(PackageNotFoundError):
        for url in metadata("lk-jupyter").get_all("Project-URL") or ():
            label, _, site = url.partition(", ")
            if label == "Documentation":
                return f"{site.rstrip('/')}/reference/{page}.html" + (f"#{anchor.lower()}" if anchor else "")
    return f"%lk_help {anchor or 'WORD'}"


def _uses_color() -> bool:
    """Return whether errors may have colors: as set in the environment and in IPython, and never in a file or pipe."""
    if sys.stdout is sys.__stdout__ and not (sys.stdout and sys.stdout.isatty()):  # a kernel's is another
        return False
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return not os.environ.get("NO_COLOR") and str(getattr(shell, "colors", "")).lower() != "nocolor"


if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"BadAnswer": "InvalidResponse", "DoesNotFit": "InsufficientMemory"})
