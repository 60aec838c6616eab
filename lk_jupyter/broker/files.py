"""Files of child keys: S3 requests, each limited to the folder of its key in the bucket.

A key gets credentials of the broker, never the credentials of the bucket. The broker checks the signature of a request,
puts the folder of the key before each name, and signs again. Only operations that are listed here pass.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from lk_jupyter.broker.grants import Grant, RefusedCall
from lk_jupyter.broker.ledger import GrantLedger
from lk_jupyter.broker.signature import UNSIGNED, BadSignature, SignedRequest, quote_strictly, verify
from lk_jupyter.broker.storage import BucketClient, OpenAnswer
from lk_jupyter.broker.upstream import read_limited
from lk_jupyter.protocol.offloaded import FOLDER

#: Path of the S3 server of the broker, and folder of the bucket with a folder for each key.
S3_PATH, KEYS_FOLDER = "/s3", "lk-keys/"

#: Name of the bucket that each key sees.
BUCKET = "files"

#: Life of the credentials of a key.
_LIFE = timedelta(hours=12)

#: Most bytes of a request or an answer that is rewritten.
_MAX_XML = 16 << 20

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

#: Method → parameters, without which an operation isn't meant → parameters that it may have besides. Other operations,
#: such as policies, ACLs and versions, are refused.
_OBJECT_OPERATIONS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    ("GET", frozenset({"uploadId"}), frozenset({"max-parts", "part-number-marker"})),
    ("PUT", frozenset({"uploadId", "partNumber"}), frozenset()),
    ("POST", frozenset({"uploads"}), frozenset()),
    ("POST", frozenset({"uploadId"}), frozenset()),
    ("DELETE", frozenset({"uploadId"}), frozenset()),
    ("GET", frozenset(), frozenset({"partNumber", "response-content-type", "response-content-disposition"})),
    ("HEAD", frozenset(), frozenset({"partNumber"})),
    ("PUT", frozenset(), frozenset()),
    ("DELETE", frozenset(), frozenset()),
)
_BUCKET_OPERATIONS: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
    (
        "GET",
        frozenset({"list-type"}),
        frozenset(
            {"prefix", "delimiter", "max-keys", "start-after", "continuation-token", "encoding-type", "fetch-owner"}
        ),
    ),
    ("GET", frozenset({"uploads"}), frozenset({"prefix", "delimiter", "max-uploads", "encoding-type"})),
    ("GET", frozenset(), frozenset({"prefix", "delimiter", "max-keys", "marker", "encoding-type"})),
    ("POST", frozenset({"delete"}), frozenset()),
    ("HEAD", frozenset(), frozenset()),
    ("PUT", frozenset(), frozenset()),
)

#: Parameters of a signed address and of clients, which aren't forwarded.
_SIGNING_PARAMETERS = re.compile(r"X-Amz-.*|x-id")

#: Parameters with a name, which gets the folder of the key.
_NAME_PARAMETERS = frozenset({"prefix", "start-after", "marker"})

#: Elements of an answer with a name, which loses the folder of the key, and elements about the bucket and its owner.
_NAME_TAGS = frozenset({"Key", "Prefix", "StartAfter", "Marker", "NextMarker", "KeyMarker", "NextKeyMarker"})
_OWNER_TAGS = frozenset({"Owner", "Initiator", "Location"})
_ENTRY_TAGS = frozenset({"Contents", "CommonPrefixes", "Upload", "Deleted", "Error"})

#: An output that a run stored in the mounted bucket. The 128 bits of its name are known to the run and its client only.
_RUN_OUTPUT = re.compile(rf"{re.escape(FOLDER)}/[0-9a-f]{{32}}/[\w-]{{1,40}}", re.ASCII)

#: Digests of a body that the cloud can check without the key of the child.
_DIGEST = re.compile(rf"[0-9a-f]{{64}}|{UNSIGNED}|STREAMING-UNSIGNED-PAYLOAD-TRAILER")

#: Headers of a request and of an answer that are forwarded; further x-amz- headers aren't.
_REQUEST_HEADERS = re.compile(
    r"content-(type|md5|disposition|encoding|language)|cache-control|expires|range|if-.*|"
    r"x-amz-(meta-.*|checksum-.*|sdk-checksum-algorithm|trailer|decoded-content-length|metadata-directive|"
    r"copy-source-(if-.*|range))"
)
_ANSWER_HEADERS = re.compile(
    r"content-(type|length|range|disposition|encoding|language)|cache-control|expires|accept-ranges|etag|last-modified|"
    r"x-amz-(meta-.*|checksum-.*|mp-parts-count)"
)


@dataclass(frozen=True)
class S3Answer:
    """An answer to an S3 request: a body, or the open answer of the cloud."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    source: OpenAnswer | None = None


class RefusedFile(Exception):
    """A refused S3 request: HTTP status, error code of S3, and reason."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = S3Answer(status, {"content-type": "application/xml"}, _build_error_body(code, message))


class FileProxy:
    """The files of child keys. ``secret`` derives the secrets of their credentials."""

    def __init__(self, ledger: GrantLedger, bucket: BucketClient, secret: bytes) -> None:
        self._ledger = ledger
        self._bucket = bucket
        self._secret = secret

    def credentials(self, grant: Grant, base_url: str) -> dict[str, Any]:
        """Issue credentials for the files of a key. After the end of a lease, they read the files of its runs."""
        ends_at = (datetime.now(timezone.utc) + _LIFE).replace(microsecond=0)
        access_key = f"lk{grant.id}{int(ends_at.timestamp()):010x}"
        return {
            "access_key": access_key,
            "secret_key": self._derive_secret(access_key),
            "session_token": None,
            "endpoint": base_url + S3_PATH,
            "bucket_name": BUCKET,
            "region": "us-east-1",
            "expires_at": ends_at.isoformat(),
        }

    async def answer(self, request: SignedRequest, content: AsyncIterator[bytes]) -> S3Answer:
        """Answer an S3 request. Raises RefusedFile, OddAnswer."""
        grant = self._authenticate(request)
        bucket, _, key = unquote(request.path.removeprefix(f"{S3_PATH}/"), errors="surrogateescape").partition("/")
        if bucket != BUCKET:
            raise RefusedFile(404, "NoSuchBucket", f"This key can use only the bucket '{BUCKET}'.")
        query = {name: value for name, value in request.parameters.items() if not _SIGNING_PARAMETERS.fullmatch(name)}
        _require_operation(request.method, query, _OBJECT_OPERATIONS if key else _BUCKET_OPERATIONS)
        if key:
            _require_name(key)
            return await self._call_on_object(grant, request, key, query, content)
        return await self._call_on_bucket(_build_key_folder(grant), request, query, content)

    def _authenticate(self, request: SignedRequest) -> Grant:
        try:
            access_key = verify(request, self._find_secret, datetime.now(timezone.utc))
        except BadSignature as problem:
            raise RefusedFile(403, "SignatureDoesNotMatch", f"{problem} Nothing was done.") from None
        grant = self._ledger.grant(access_key[2:18])
        if not grant.allows("files"):
            raise RefusedFile(403, "AccessDenied", "This key lacks the scope 'files'. Nothing was done.")
        if grant.is_revoked or (grant.end_reason and request.method not in {"GET", "HEAD"}):
            raise RefusedFile(403, "AccessDenied", f"This key can't be used: {grant.end_reason}. Nothing was done.")
        return grant

    def _find_secret(self, access_key: str) -> str | None:
        """Return the secret of credentials that this broker has issued and that haven't ended."""
        if not re.fullmatch(r"lk[0-9a-f]{26}", access_key) or not self._ledger.has_grant(access_key[2:18]):
            return None
        is_over = int(access_key[18:], 16) <= datetime.now(timezone.utc).timestamp()
        return None if is_over else self._derive_secret(access_key)

    def _derive_secret(self, access_key: str) -> str:
        return hmac.new(self._secret, access_key.encode(), hashlib.sha256).hexdigest()

    async def _call_on_object(
        self, grant: Grant, request: SignedRequest, key: str, query: dict[str, str], content: AsyncIterator[bytes]
    ) -> S3Answer:
        folder, headers, size = _build_key_folder(grant), _select_forwarded_headers(request), 0
        if request.method in {"GET", "HEAD"} and _RUN_OUTPUT.fullmatch(key):
            folder = ""
        digest = request.headers.get("x-amz-content-sha256", UNSIGNED)
        if not _DIGEST.fullmatch(digest):
            raise RefusedFile(
                501, "NotImplemented", "Signed chunks aren't supported. Sign the body, or leave it unsigned."
            )
        if request.method == "PUT":
            if source := request.headers.get("x-amz-copy-source"):
                source_key = _parse_copied_key(source)
                size = await self._read_size(folder + source_key)
                headers["x-amz-copy-source"] = quote_strictly(f"/{await self._bucket.name()}/{folder}{source_key}", "/")
            else:
                size = _read_content_length(request)
            self._reserve_upload(grant, size)
        elif request.method == "POST" and _read_content_length(request) > _MAX_XML:
            raise _build_too_large_error()
        has_body = request.method in {"PUT", "POST"} and "x-amz-copy-source" not in headers
        if has_body:
            headers["content-length"] = str(_read_content_length(request))
        answer = await self._bucket.send(
            request.method, folder + key, query, headers, digest=digest, content=content if has_body else None
        )
        if 400 <= answer.status < 500 and size:
            self._ledger.release_upload(grant, size)
        return await _forward_answer(answer, folder, is_document=_is_document(request.method, query, headers))

    async def _read_size(self, key: str) -> int:
        """Return the bytes of an object that is copied. Raises RefusedFile."""
        answer = await self._bucket.send("HEAD", key, {}, {})
        await answer.close()
        if answer.status != 200:
            raise RefusedFile(404, "NoSuchKey", "The object to copy doesn't exist. Nothing was copied.")
        return int(answer.headers.get("content-length", "0"))

    def _reserve_upload(self, grant: Grant, size: int) -> None:
        """Count the bytes of an upload before they are read. Raises RefusedFile."""
        try:
            self._ledger.reserve_upload(grant, size)
        except RefusedCall as refusal:
            raise RefusedFile(403, "QuotaExceeded", refusal.detail) from None

    async def _call_on_bucket(
        self, folder: str, request: SignedRequest, query: dict[str, str], content: AsyncIterator[bytes]
    ) -> S3Answer:
        if request.method in {"HEAD", "PUT"}:  # the folder of a key always exists
            return S3Answer(200, {})
        if request.method == "POST":
            listed = await read_limited(content, _MAX_XML)
            if listed is None:
                raise _build_too_large_error()
            body = _add_folder_to_deletion(listed, folder)
            checksum = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            headers = {"content-md5": checksum, "content-length": str(len(body)), "content-type": "application/xml"}
            digest = hashlib.sha256(body).hexdigest()
            answer = await self._bucket.send("POST", "", query, headers, digest=digest, content=body)
            return await _forward_answer(answer, folder, is_document=True)
        for name in query.keys() & _NAME_PARAMETERS:
            if query[name]:
                _require_name(query[name])
            query[name] = folder + query[name]
        query.setdefault("prefix", folder)
        if token := query.get("continuation-token"):
            query["continuation-token"] = self._open_token(folder, token)
        answer = await self._bucket.send("GET", "", query, {})
        return await _forward_answer(
            answer, folder, is_document=True, seal=lambda token: self._seal_token(folder, token)
        )

    def _seal_token(self, folder: str, token: str) -> str:
        """Return a token of the cloud as only this key can use it: some servers read names from tokens."""
        mac = hmac.new(self._secret, f"{folder} {token}".encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
        return base64.urlsafe_b64encode(f"{mac}{token}".encode(errors="surrogateescape")).decode()

    def _open_token(self, folder: str, sealed: str) -> str:
        try:
            token = base64.urlsafe_b64decode(sealed.encode()).decode(errors="surrogateescape")[64:]
        except ValueError:
            token = ""
        if not hmac.compare_digest(self._seal_token(folder, token).encode(), sealed.encode(errors="replace")):
            raise RefusedFile(400, "InvalidArgument", "The continuation token isn't valid.")
        return token


def _build_key_folder(grant: Grant) -> str:
    """Return the folder of the bucket with the files of a key."""
    return f"{KEYS_FOLDER}{grant.id}/"


def _build_too_large_error() -> RefusedFile:
    return RefusedFile(400, "EntityTooLarge", "The request is too large. Nothing was done.")


def _require_operation(
    method: str, query: Mapping[str, str], operations: tuple[tuple[str, frozenset[str], frozenset[str]], ...]
) -> None:
    """Raise RefusedFile for an operation that isn't listed."""
    for listed_method, needed, possible in operations:
        if method == listed_method and needed <= query.keys() and query.keys() <= needed | possible:
            return
    raise RefusedFile(501, "NotImplemented", "Child keys can't call this operation of S3. Nothing was done.")


def _require_name(name: str) -> None:
    """Raise RefusedFile for a name that a server could take as a path out of the folder of a key."""
    parts = name.replace("\\", "/").split("/")
    if {".", ".."} & set(parts) or "\\" in name or not name.isprintable() or name.startswith("/"):
        raise RefusedFile(
            400, "InvalidArgument", "The name isn't supported. Give a relative path such as data/train.csv."
        )


def _parse_copied_key(source: str) -> str:
    """Return the key of the object that is copied. Raises RefusedFile unless it belongs to the same key."""
    bucket, _, key = unquote(source, errors="surrogateescape").removeprefix("/").partition("/")
    if bucket != BUCKET or not key or "?" in key:
        raise RefusedFile(
            403, "AccessDenied", f"This key can copy from the bucket '{BUCKET}' only. Nothing was copied."
        )
    _require_name(key)
    return key


def _read_content_length(request: SignedRequest) -> int:
    text = request.headers.get("content-length", "0" if request.method == "POST" else "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RefusedFile(411, "MissingContentLength", "The size of the upload is missing. Nothing was stored.")
    return int(text)


def _select_forwarded_headers(request: SignedRequest) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if _REQUEST_HEADERS.fullmatch(name)}


def _is_document(method: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bool:
    """Return whether a successful answer is XML, which may show names, and not an object."""
    return method == "POST" or "x-amz-copy-source" in headers or (method == "GET" and "uploadId" in query)


def _add_folder_to_deletion(body: bytes, folder: str) -> bytes:
    """Return a request to delete objects with the folder before each key. Raises RefusedFile."""
    root, deletion = _parse_xml(body), ET.Element("Delete", xmlns=_NAMESPACE)
    if root is None:
        raise RefusedFile(400, "MalformedXML", "The list of objects can't be read. Nothing was deleted.")
    ET.SubElement(deletion, "Quiet").text = root.findtext("Quiet", "false")
    for element in root.iter("Object"):
        key = element.findtext("Key", "")
        if not key:
            raise RefusedFile(400, "MalformedXML", "An object has no key. Nothing was deleted.")
        _require_name(key)
        ET.SubElement(ET.SubElement(deletion, "Object"), "Key").text = folder + key
    return _write_xml(deletion)


async def _forward_answer(answer: OpenAnswer, folder: str, *, is_document: bool, seal: Any = None) -> S3Answer:
    """Return an answer of the cloud: an object as it arrives, a document and an error without the folder of the key."""
    headers = {name: value for name, value in answer.headers.items() if _ANSWER_HEADERS.fullmatch(name)}
    if answer.status < 300 and not is_document:
        return S3Answer(answer.status, headers, source=answer)
    body = await answer.read(_MAX_XML)
    if answer.status == 304:
        return S3Answer(304, headers)
    root = _parse_xml(body)
    headers = {"content-type": "application/xml"}
    if root is None:
        if answer.status < 300 and not body:
            return S3Answer(answer.status, {})
        status = answer.status if answer.status >= 400 else 502
        return S3Answer(
            status, headers, _build_error_body(_ERROR_CODES.get(status, "InternalError"), f"HTTP {answer.status}")
        )
    if root.tag == "Error":
        message = root.findtext("Message", "").replace(folder, "")
        return S3Answer(answer.status, headers, _build_error_body(root.findtext("Code", ""), message))
    _hide_folder(root, folder, seal)
    root.set("xmlns", _NAMESPACE)
    return S3Answer(answer.status, headers, _write_xml(root))


#: Error codes of answers without a body.
_ERROR_CODES = {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed"}


def _hide_folder(root: ET.Element, folder: str, seal: Any) -> None:
    """Remove the folder from the names of an answer, and each entry outside of the folder."""
    quoted_folder = quote_strictly(folder)
    for parent in list(root.iter()):
        for element in list(parent):
            text = element.text or ""
            if element.tag in _OWNER_TAGS or (element.tag in _ENTRY_TAGS and not _is_inside(element, folder)):
                parent.remove(element)
            elif element.tag in _NAME_TAGS and text:
                element.text = text.removeprefix(folder).removeprefix(quoted_folder)
            elif element.tag in {"ContinuationToken", "NextContinuationToken"} and text and seal:
                element.text = seal(text)
            elif (element.tag == "Name" and parent is root) or element.tag == "Bucket":
                element.text = BUCKET


def _is_inside(entry: ET.Element, folder: str) -> bool:
    name = entry.findtext("Key") or entry.findtext("Prefix") or ""
    return unquote(name).startswith(folder)


def _parse_xml(body: bytes) -> ET.Element | None:
    """Return XML without namespaces; None for other content, and for XML that declares entities."""
    if b"<!" in body:
        return None
    try:
        root = ET.fromstring(body)  # noqa: S314 (no entities)
    except ET.ParseError:
        return None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _write_xml(root: ET.Element) -> bytes:
    return bytes(ET.tostring(root, "utf-8", xml_declaration=True))


def _build_error_body(code: str, message: str) -> bytes:
    error = ET.Element("Error")
    ET.SubElement(error, "Code").text = code
    ET.SubElement(error, "Message").text = message
    return _write_xml(error)
