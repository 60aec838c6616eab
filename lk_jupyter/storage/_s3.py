"""Open the bucket with the S3 library, and translate the library's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore import exceptions
from obstore.store import S3Store
from tenacity import Retrying, retry_if_exception_type, stop_after_delay

from lk_jupyter._fork import call_in_child
from lk_jupyter.api._retry import random_pause
from lk_jupyter.config.files import LOOPBACK
from lk_jupyter.errors import LkError, NoSuchObject, StorageError
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._s3_http import NO_BUCKET
from lk_jupyter.storage._sign import server_address

#: Whether this process was forked after the library was loaded: the library's threads don't outlive a fork.
is_copied = False


def _after_fork() -> None:
    global is_copied  # noqa: PLW0603 (a fact of the process)
    is_copied = True


call_in_child(_after_fork)

#: Retries outlast a minute without a network: time limits them, not their number. The library draws each pause at
#: random between ``init_backoff`` and ``base`` times the last pause, so with a small base pauses would hardly grow.
_RETRIES: Any = {
    "max_retries": 1000,
    "retry_timeout": timedelta(seconds=90),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 4},
}


#: Part of the library's messages for requests without an answer.
_NO_ANSWER = " - HTTP error: "

#: Part of the library's messages for an object that changed while its content was sent again.
_CHANGED = "Request precondition failure"


class Denied(StorageError):
    """The bucket refused the credentials; renewed credentials may work."""


class NoBucket(StorageError):
    """The bucket doesn't exist."""


class Unanswered(StorageError):
    """The bucket sent no answer."""


#: Retries after a connection that closes between its creation and the request, which the library doesn't retry.
persistent = Retrying(
    retry=retry_if_exception_type(Unanswered),
    wait=random_pause(0.1, 1),
    stop=stop_after_delay(_RETRIES["retry_timeout"]),
    reraise=True,
)


#: Exception of the library → our exception and message for a key.
_WORDS: tuple[tuple[type[Exception], type[StorageError], str], ...] = (
    (FileNotFoundError, NoSuchObject, "No file {key!r} in the bucket."),
    (exceptions.PermissionDeniedError, Denied, "The bucket doesn't let you use {key!r}."),
    (exceptions.UnauthenticatedError, Denied, "The bucket refused the credentials from the cloud for {key!r}."),
    (exceptions.PreconditionError, StorageError, "{key!r} changed while it was read. Try again."),
    (exceptions.InvalidPathError, StorageError, "{key!r} isn't a key. Give a relative path such as data/train.csv."),
    (ValueError, StorageError, "{key!r} isn't a key. Give a relative path such as data/train.csv."),
    (exceptions.BaseError, StorageError, "The bucket failed at {key!r}: {reason}"),
)


def open_store(credentials: Credentials) -> S3Store:
    """Return the bucket, opened with the present credentials.

    The library doesn't renew the credentials: a thread of the library would call Python, and abort a process that ends.
    """
    current = credentials.current_credentials()
    endpoint = server_address(current)
    return S3Store(
        current.bucket_name,
        endpoint=endpoint,
        region=current.region,
        virtual_hosted_style_request=False,
        client_options=_build_connection_options(endpoint),
        retry_config=_RETRIES,
        access_key_id=current.access_key,
        secret_access_key=current.secret_key,
        session_token=current.session_token or "",
    )


def _build_connection_options(endpoint: str) -> Any:
    options: dict[str, Any] = {"timeout": "10 minutes", "connect_timeout": "10 seconds"}
    if (urlsplit(endpoint).hostname or "") in LOOPBACK:
        # Proxies of the environment are for remote hosts; the library only excludes hosts if a proxy is set.
        options |= {"allow_http": True, "proxy_url": endpoint, "proxy_excludes": "127.0.0.1,localhost"}
    return options


def read_range(store: S3Store, key: str, etag: str, start: int, end: int) -> memoryview:
    """Return a range of an object. Raises StorageError if the object's content no longer has this ETag."""
    options: Any = {"range": (start, end)}
    if etag:
        options["if_match"] = f'"{etag}"'
    return memoryview(obstore.get(store, key, options=options).bytes())


@contextmanager
def translate_errors(key: str) -> Iterator[None]:
    """Translate exceptions of the library into our errors; our own errors pass unchanged."""
    try:
        yield
    except LkError:
        raise
    except Exception as error:
        if NO_BUCKET in str(error):
            raise NoBucket("The bucket doesn't exist and couldn't be created.") from None
        if _CHANGED in str(error):
            raise StorageError(f"{key!r} changed while it was read. Try again.") from None
        for kind, kind_of_error, words in _WORDS:
            if isinstance(error, kind):
                raised = Unanswered if _NO_ANSWER in str(error) else kind_of_error
                raise raised(words.format(key=key, reason=_find_innermost_reason(error))) from None
        raise


def _find_innermost_reason(error: Exception) -> str:
    """Return the innermost cause in one line; messages of the library nest causes and requests."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].rpartition(": ")[2].strip('"').rstrip(".")[:200] + "."
