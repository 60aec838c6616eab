"""Every error of the package, written for the person who reads it.

::

    LkError                     all of ours
    ├── UsageError              a slip in a magic's line or an argument: nothing was sent
    ├── NotSignedIn             no key, or none that fits the server
    ├── ConnectionFailed        the server could not be reached: nothing was done
    ├── OutcomeUnknown          sent, but the answer was lost
    ├── BadAnswer               an answer that is not this API's (HTML, a proxy's page)
    ├── LocalCloudError         the local cloud did not start or stop
    ├── DeploymentFailed        a model on GPUs of one's own does not serve
    ├── StorageError            an object of the bucket could not be read or written
    │   ├── NoSuchObject        there is none of that key
    │   └── DoesNotFit          it is larger than the free memory
    ├── ApiError                the server refused; carries status, detail, request_id
    │   ├── BadRequest          400
    │   ├── Unauthorized        401
    │   ├── PaymentRequired     402
    │   ├── Forbidden           403
    │   ├── NotFound            404
    │   ├── Conflict            409
    │   ├── Invalid             422
    │   ├── RateLimited         429
    │   └── ServerError         5xx
    └── RunError                a run that did not go well; carries execution_id
        ├── RunFailed           the code failed, or its time was up, or the platform failed
        ├── RunAborted          somebody stopped it
        └── RunDetached         nobody waits for it any more; it goes on

A message says what happened, then what to do. None shows a Python traceback in a notebook:
the reader's code is not at fault in these files.
"""

from __future__ import annotations

import os
import re
import sys

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


class LkError(Exception):
    """Base of all errors of this package."""

    def _render_traceback_(self) -> list[str]:
        """Lines that IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class UsageError(LkError):
    """A slip in a magic's line or in an argument; nothing was sent."""


class NotSignedIn(LkError):
    """No API key, or none that fits the server."""


class ConnectionFailed(LkError):
    """The server could not be reached; nothing was done."""


class OutcomeUnknown(LkError):
    """The request was sent and its answer was lost, so it may have taken effect."""


class BadAnswer(LkError):
    """The server answered with something that is not this API's."""


class LocalCloudError(LkError):
    """The local cloud did not start, or did not stop."""


class DeploymentFailed(LkError):
    """A model on GPUs of one's own does not serve."""


class StorageError(LkError):
    """An object of the bucket could not be read or written."""


class NoSuchObject(StorageError):
    """There is no object of that key."""


class DoesNotFit(StorageError):
    """An object is larger than the free memory."""


class ApiError(LkError):
    """The server refused a request.

    ``status`` is the HTTP status, ``detail`` the server's own words, ``request_id`` its name for
    the request when it gave one.
    """

    next_step = ""

    def __init__(self, status: int, detail: str, request_id: str | None = None) -> None:
        self.status = status
        self.detail = detail
        self.request_id = request_id
        super().__init__(status, detail, request_id)

    def __str__(self) -> str:
        said = f"{self.detail.rstrip('.')} (HTTP {self.status}"
        said += f", request {self.request_id})." if self.request_id else ")."
        return f"{said}\n{self.next_step}" if self.next_step else said


class BadRequest(ApiError):
    """400: understood and refused."""


class Unauthorized(ApiError):
    """401: the key is missing, unknown, expired or switched off."""

    next_step = "Sign in again: %lk_login, or set LK_API_KEY. %lk_whoami shows which key is used and from where."


class PaymentRequired(ApiError):
    """402: not enough credits to start."""

    next_step = "Top up in the dashboard (Billing), then run the cell again. %lk_balance shows what is left."


class Forbidden(ApiError):
    """403: a valid key without the role, membership or quota."""

    next_step = "%lk_machines lists the machines that you may use; %lk_whoami the organization that you act as."


class NotFound(ApiError):
    """404: no such object for this organization."""

    next_step = "%lk_runs lists your runs; %lk_whoami the server and organization that were asked."


class Conflict(ApiError):
    """409: the value is already taken."""


class Invalid(ApiError):
    """422: a field does not fit; the detail names it."""


class RateLimited(ApiError):
    """429: too many requests, still after the retries."""

    next_step = "Wait a minute and try again."


class ServerError(ApiError):
    """5xx: the server failed, still after the retries where a retry is safe."""

    next_step = "The fault is the server's. Try again in a minute."


STATUS_ERRORS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    402: PaymentRequired,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: Invalid,
    429: RateLimited,
}


def error_for(status: int, detail: str, request_id: str | None = None) -> ApiError:
    """Return the error that stands for an HTTP status."""
    kind = STATUS_ERRORS.get(status, ServerError if status >= 500 else BadRequest)
    return kind(status, detail, request_id)


class RunError(LkError):
    """A run that did not go well; ``execution_id`` names it."""

    def __init__(self, message: str, *, execution_id: str) -> None:
        super().__init__(message)
        self.execution_id = execution_id


class RunFailed(RunError):
    """The code failed, its time was up, or the platform failed.

    ``return_code`` is the exit code when the code ran to one; ``traceback`` the remote traceback
    as text, with the line numbers of the cell, or an empty string. ``shown`` is the same as a
    notebook shows it, with colours and the lines around, where the run made that.
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
        shown = self.shown if _in_colour() else _COLOUR.sub("", self.shown)
        return [*shown.splitlines(), *super()._render_traceback_()]


class RunAborted(RunError):
    """Somebody stopped the run before it ended by itself."""


class RunDetached(RunError):
    """Somebody let the cell go that waited for the run, which goes on."""


def _in_colour() -> bool:
    """Whether errors may have colours, as the environment and the IPython that shows them are set."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return not os.environ.get("NO_COLOR") and str(getattr(shell, "colors", "")).lower() != "nocolor"
