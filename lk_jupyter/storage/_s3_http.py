"""Send S3 requests that the library doesn't support, or whose redirects it must not follow.

The library counted a redirected PUT as done, and sent a session token to any host of a redirect.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import weakref
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from hashlib import md5
from os.path import commonprefix
from typing import NoReturn
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from lk_jupyter._fork import renew_in_child
from lk_jupyter.api._audit import record
from lk_jupyter.api._proxy import find_proxy
from lk_jupyter.api.storage import StorageCredentials
from lk_jupyter.config.files import LOOPBACK
from lk_jupyter.config.read_only import is_read_only, refuse_if_read_only
from lk_jupyter.errors import ConnectionFailed, NoSuchObject, ObjectExists, ReadOnlyMode, ServerError, StorageError
from lk_jupyter.protocol.bucket import FOLDER
from lk_jupyter.storage._credentials import Credentials
from lk_jupyter.storage._parts import AT_ONCE, FILES_AT_ONCE, LOCAL_PARALLEL
from lk_jupyter.storage._sign import Request, canonical_query, quote_text, server_address, sign_headers
from lk_jupyter.storage._upload_state import serialize_creation
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage.objects import ObjectInfo

#: Seconds before each further try; a minute without a network is waited out.
PAUSES = (0.1, 0.3, 1.0, 3.0, 6.0, 10.0, 20.0, 20.0)

_TIMEOUT = 60.0
_WEARY = {429, 500, 502, 503, 504}
_DENIED = {401, 403}
_CONFLICTS = {409, 412}
_NO_CONDITION = {400, 501}
#: Whitespace that XML parsers normalize: without this, the server would delete another object.
_BLANKS = {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}

_NO_BULK = {400, 405, 501}
_MISSING = {"NoSuchKey", "NoSuchUpload"}

#: Method of S3 → effect: everything else than a read changes the bucket.
_EFFECTS = {"GET": "reads", "HEAD": "reads", "PUT": "writes", "POST": "writes", "DELETE": "deletes"}

#: The server's error code for a missing bucket.
NO_BUCKET = "NoSuchBucket"

#: An error that comes with status 200, after the blanks by which servers keep a connection while they work.
_ERROR = re.compile(rb"\s*(<\?xml[^>]*>)?\s*<Error[\s>]")

#: Failed connections of a request after which the storage may have moved.
_MOVED_AFTER = 2

_UNREACHABLE = (OSError, http.client.HTTPException, ConnectionFailed, ServerError)


@dataclass(frozen=True)
class S3Response:
    """An answer of the server, with header names in lower case; ``code`` is the error code, or empty.

    ``tries`` counts the requests: after more than one, an earlier request may have had the same effect.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    tries: int = 1

    @property
    def xml(self) -> ET.Element:
        """The body as ET, names without their namespace. Raises StorageError."""
        try:
            root = ET.fromstring(self.body)  # noqa: S314 (from the storage that the API named)
        except ET.ParseError as error:
            raise StorageError(f"The bucket's answer can't be read (HTTP {self.status}: {error}).") from None
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    @property
    def code(self) -> str:
        """The server's error code; some errors have status 200."""
        return self._read_error_field("Code") or (str(self.status) if self.status >= 300 else "")

    @property
    def message(self) -> str:
        """The server's error message."""
        return self._read_error_field("Message") or f"HTTP {self.status}"

    def _read_error_field(self, name: str) -> str:
        if self.status < 300 and not _ERROR.match(self.body):
            return ""
        try:
            return self.xml.findtext(name, "")
        except StorageError:
            return ""


class Wire:
    """A sender of signed requests to a bucket, on persistent connections; may be used from several threads."""

    def __init__(self, credentials: Credentials, pauses: tuple[float, ...] = PAUSES) -> None:
        self._credentials = credentials
        self._pauses = pauses
        self._idle: list[tuple[str, http.client.HTTPConnection]] = []  # by the address of the server
        weakref.finalize(self, _close_all, self._idle)
        renew_in_child(self)

    def after_fork(self) -> None:
        """Leave the connections to the parent."""
        _close_all(self._idle)

    @property
    def bucket(self) -> str:
        """The globally unique name of the bucket: endpoint and name."""
        credentials = self._credentials.current_credentials()
        return f"{credentials.endpoint}/{credentials.bucket_name}"

    @property
    def bucket_name(self) -> str:
        """The name of the bucket on its server."""
        return self._credentials.current_credentials().bucket_name

    @property
    def at_once(self) -> int:
        """The number of parts of an upload that are sent in parallel."""
        host = urlsplit(server_address(self._credentials.current_credentials())).hostname or ""
        return LOCAL_PARALLEL if host in LOOPBACK else AT_ONCE

    def copy_without_retries(self) -> Wire:
        """Return a copy without retries, for a caller who waits for the end."""
        return Wire(self._credentials, pauses=())

    def ask(self, request: Request, halt: CancelToken | None = None) -> S3Response:
        """Return the answer, after retries if they may help. Raises StorageError.

        The storage may refuse credentials before they expire: new credentials are tried once. A storage that can't be
        reached twice may have a new address, which new credentials name. Raises ReadOnlyMode before anything is sent.
        """
        refuse_if_read_only(_EFFECTS[request.method])
        refused, has_bucket = None, False
        for tries, pause in enumerate((*self._pauses, None), 1):
            try:
                credentials = self._credentials.current_credentials()
                answer = self._send_signed(request, credentials)
            except _UNREACHABLE as error:
                _close_all(self._idle)
                if tries >= _MOVED_AFTER:
                    self._credentials.renew()
                if pause is None:
                    proxy = find_proxy(server_address(credentials))
                    path = f" through the {proxy}" if proxy else ""
                    raise StorageError(f"Can't reach the storage{path} ({_format_error(error)}). Try again.") from None
            else:
                if answer.status in _DENIED and refused is None and pause is not None:
                    refused = credentials
                    self._credentials.forget(credentials)
                    continue
                if answer.code == NO_BUCKET and not has_bucket and pause is not None:
                    has_bucket = self.make_bucket()
                    if has_bucket:
                        continue
                if answer.status not in _WEARY or pause is None:
                    return replace(answer, tries=tries)
            (halt or CancelToken()).pause(pause)
        raise AssertionError  # the last try returns or raises

    def make_bucket(self) -> bool:
        """Create the bucket, which may be missing before its first use; return whether the bucket exists now."""
        if is_read_only():
            return False
        answer = self._send_signed(Request("PUT", ""), self._credentials.current_credentials())
        return answer.status < 300 or answer.code in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}

    def ensure_bucket(self) -> None:
        """Create the bucket if missing: an upload by a link can't create a bucket."""
        if self.ask(Request("HEAD", "")).status == 404:
            self.make_bucket()

    def need(self, request: Request, halt: CancelToken | None = None) -> S3Response:
        """Return a successful answer. Raises NoSuchObject, StorageError."""
        answer = self.ask(request, halt)
        if answer.code:
            raise_error_answer(request.key, answer)
        return answer

    def head(self, key: str) -> ObjectInfo:
        """Return size, time and ETag of an object. Raises NoSuchObject, StorageError."""
        answer = self.ask(Request("HEAD", key))
        if answer.status == 404:
            raise NoSuchObject(f"No file {key!r} in the bucket.")
        if answer.code:
            raise_error_answer(key, answer)
        headers = answer.headers
        written = None
        with suppress(ValueError, TypeError, OverflowError):
            written = parsedate_to_datetime(headers.get("last-modified", ""))
        return ObjectInfo(key, int(headers.get("content-length", "0")), written, headers.get("etag", "").strip('"'))

    def put(self, key: str, content: bytes) -> None:
        """Store some bytes."""
        self.need(_add_checksum(Request("PUT", key, body=content)))

    def copy(self, key: str, to: str) -> None:
        """Copy an object on the server."""
        source = quote_text(f"/{self.bucket_name}/{key}", "/")
        self.need(Request("PUT", to, headers={"x-amz-copy-source": source}))

    def remove(self, key: str) -> None:
        """Delete an object. Raises NoSuchObject, StorageError."""
        with self._record_deletion([key]):
            self.need(Request("DELETE", key))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete up to 1,000 objects with one request, or with a request each if the server has no bulk delete."""
        with self._record_deletion(keys):
            self._delete_many(keys)

    @contextmanager
    def _record_deletion(self, keys: Sequence[str]) -> Iterator[None]:
        """Record a deletion in the audit log, by number and prefix; not of objects that only runs use."""
        status = "failed"
        try:
            yield
            status = "deleted"
        except ReadOnlyMode:
            status = ""
            raise
        finally:
            if status and not keys[0].startswith(FOLDER):
                prefix = commonprefix(keys)  # noqa: RUF071 (of the text, as S3 has prefixes)
                what = keys[0] if len(keys) == 1 else f"{len(keys)} objects, {prefix}*"
                record("Storage.remove", [what], status, server=self.bucket)

    def _delete_many(self, keys: Sequence[str]) -> None:
        rows = "".join(f"<Object><Key>{escape(key, _BLANKS)}</Key></Object>" for key in keys)
        body = f"<Delete><Quiet>true</Quiet>{rows}</Delete>".encode(errors="replace")
        answer = self.ask(_add_checksum(Request("POST", "", {"delete": ""}, body)))
        if answer.status in _NO_BULK:  # also for a key that XML can't contain
            call_for_each(keys, lambda key: self.need(Request("DELETE", key)), FILES_AT_ONCE, halt=CancelToken())
        elif answer.code:
            raise_error_answer("", answer)
        for refused in answer.xml.iter("Error") if answer.status < 300 and answer.body else ():
            if refused.findtext("Code", "") not in _MISSING:
                why = refused.findtext("Message", "") or refused.findtext("Code", "")
                raise StorageError(f"The bucket didn't delete {refused.findtext('Key', '')!r}: {why.rstrip('.')}.")

    def create(self, request: Request, etag: str) -> S3Response:
        """Create an object with content of this ETag. Raises ObjectExists if the object exists.

        Servers without conditional writes get a HEAD request first; senders on this machine take turns.
        """
        with serialize_creation(self.bucket, request.key):
            if self.ask(Request("HEAD", request.key)).status < 300:
                raise exists_error(request.key)
            request = _add_checksum(request)
            answer = self.ask(replace(request, headers={**request.headers, "if-none-match": "*"}))
            if answer.status in _NO_CONDITION:
                return self.need(request)
            if answer.status in _CONFLICTS:
                stored_etag = self.ask(Request("HEAD", request.key)).headers.get("etag", "").strip('"')
                if answer.tries == 1 or stored_etag != etag:  # else an earlier try has created the object
                    raise exists_error(request.key)
            elif answer.code:
                raise_error_answer(request.key, answer)
            return answer

    def _send_signed(self, request: Request, credentials: StorageCredentials) -> S3Response:
        host, path = urlsplit(server_address(credentials)).netloc, request.path(credentials)
        headers = sign_headers(request, host, credentials, self._credentials.now())
        connection = self._borrow_connection(server_address(credentials))
        try:
            target = f"{path}?{canonical_query(request.query)}" if request.query else path
            connection.request(request.method, target, request.body, headers)
            reply = connection.getresponse()
            answer = S3Response(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        except BaseException:
            connection.close()
            raise
        self._idle.append((server_address(credentials), connection))
        return answer

    def _borrow_connection(self, address: str) -> http.client.HTTPConnection:
        """Return an idle or a new connection to this server; renewed credentials may have another server."""
        while self._idle:
            server, connection = self._idle.pop()
            if server == address:
                return connection
            connection.close()
        return _open_connection(address)


def _add_checksum(request: Request) -> Request:
    """Add a checksum of the body: without a checksum, some servers store an empty object after a cut connection."""
    checksum = b64encode(md5(request.body, usedforsecurity=False).digest()).decode()
    return replace(request, headers={**request.headers, "content-md5": checksum})


def _close_all(connections: list[tuple[str, http.client.HTTPConnection]]) -> None:
    while connections:
        connections.pop()[1].close()


def exists_error(key: str) -> ObjectExists:
    """Return the error for an object that exists already."""
    return ObjectExists(f"{key!r} already exists in the bucket. It was not overwritten.")


def raise_error_answer(key: str, answer: S3Response) -> NoReturn:
    """Raise the exception for an error answer."""
    what = repr(key) if key else "the request"
    if answer.code in _MISSING:
        raise NoSuchObject(f"No file {key!r} in the bucket.")
    if 300 <= answer.status < 400:
        raise StorageError(
            f"The bucket redirects {what} to another address (HTTP {answer.status}). Nothing was changed, "
            "because requests are only sent to the address in the credentials. Show this address: "
            "session.client.storage.credentials().endpoint"
        )
    reason = answer.message.rstrip(".")
    raise StorageError(f"The bucket refused {what}: {reason} ({answer.code}).")


def _open_connection(address: str) -> http.client.HTTPConnection:
    """Return a connection, through the proxy of the environment if the address has a proxy.

    Raises StorageError for an address without TLS, or a proxy that this connection can't use.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    if parts.scheme == "http":
        if host not in LOOPBACK:
            raise StorageError(f"The storage at {address} doesn't use TLS. Nothing was sent.")
        return http.client.HTTPConnection(host, parts.port, timeout=_TIMEOUT)
    proxy = find_proxy(address)
    if not proxy:
        return http.client.HTTPSConnection(host, parts.port, timeout=_TIMEOUT, context=_create_tls_context())
    way = proxy.address
    if not way.hostname or proxy.is_socks:
        raise StorageError(
            f"Requests to the bucket can't use the proxy '{proxy.url}' ({proxy.variable}): they need an HTTP proxy. "
            f"Nothing was sent. Set an HTTP proxy in HTTPS_PROXY, or connect directly: NO_PROXY={host}"
        )
    tunnel = http.client.HTTPSConnection(way.hostname or "", way.port, timeout=_TIMEOUT, context=_create_tls_context())
    login = f"{unquote(way.username or '')}:{unquote(way.password or '')}"
    badge = {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"} if way.username else {}
    tunnel.set_tunnel(host, parts.port or 443, badge)
    return tunnel


def _create_tls_context() -> ssl.SSLContext:
    """Return whom TLS trusts: the system, and the list that the client of the API brings."""
    context = ssl.create_default_context()
    if not os.environ.get("SSL_CERT_FILE"):
        import certifi  # noqa: PLC0415 (only where TLS is spoken)

        context.load_verify_locations(certifi.where())
    return context


def _format_error(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
