"""An upload in parts: inspect, resume, complete or abort it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from lk_jupyter.errors import NoSuchObject, StorageError
from lk_jupyter.storage._s3_http import S3Response, Wire
from lk_jupyter.storage._sign import Request, quote_text
from lk_jupyter.storage._workers import CancelToken


@dataclass(frozen=True)
class UploadPart:
    """A part in the bucket: its number from 1, its size in bytes, and its ETag.

    ``is_md5`` is whether the ETag is the MD5 hash of the content. Storage that encrypts uses other ETags.
    """

    number: int
    size: int
    etag: str
    is_md5: bool = False


@dataclass(frozen=True)
class Multipart:
    """An open upload; the object appears when the upload is complete."""

    wire: Wire
    key: str
    upload_id: str

    @classmethod
    def begin(cls, wire: Wire, key: str, earlier: list[str]) -> Multipart:
        """Start an upload, and abort the duplicate of a lost answer; ``earlier`` are the ids of uploads to keep."""
        answer = wire.need(Request("POST", key, {"uploads": ""}))
        upload = cls(wire, key, answer.xml.findtext("UploadId", ""))
        if not upload.upload_id:
            raise StorageError(f"Upload of {key!r} didn't start; storage returned no reason. Nothing was stored.")
        if answer.tries > 1:
            for upload_id in {*unfinished_uploads(wire, key)} - {*earlier, upload.upload_id}:
                cls(wire, key, upload_id).abort()
        return upload

    def parts(self) -> Iterator[UploadPart]:
        """Iterate over the parts in the bucket. Raises NoSuchObject if the upload no longer exists."""
        query = {"uploadId": self.upload_id}
        while True:
            page = self.wire.need(Request("GET", self.key, query)).xml
            for part in page.iter("Part"):
                number, size = (int(part.findtext(name, "0")) for name in ("PartNumber", "Size"))
                yield UploadPart(number, size, part.findtext("ETag", "").strip('"'))
            if page.findtext("IsTruncated") != "true":
                return
            query["part-number-marker"] = page.findtext("NextPartNumberMarker", "")

    def send(self, number: int, body: bytes, halt: CancelToken) -> UploadPart:
        """Send a part; the server refuses a damaged part."""
        query = {"partNumber": str(number), "uploadId": self.upload_id}
        answer = self.wire.need(Request("PUT", self.key, query, body), halt)
        etag = answer.headers.get("etag", "").strip('"')
        is_md5 = number == 1 and hashlib.md5(body, usedforsecurity=False).hexdigest() == etag
        return UploadPart(number, len(body), etag, is_md5)

    def copy(self, number: int, source: str, start: int, end: int) -> UploadPart:
        """Copy a range of another object as a part, on the server."""
        headers = {
            "x-amz-copy-source": quote_text(f"/{self.wire.bucket_name}/{source}", "/"),
            "x-amz-copy-source-range": f"bytes={start}-{end - 1}",
        }
        query = {"partNumber": str(number), "uploadId": self.upload_id}
        answer = self.wire.need(Request("PUT", self.key, query, headers=headers))
        return UploadPart(number, end - start, answer.xml.findtext("ETag", "").strip('"'))

    def complete(self, parts: Mapping[int, UploadPart], *, overwrite: bool = True) -> None:
        """Create the object from its parts. Without ``overwrite``, raise ObjectExists if the object exists."""
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(parts[number].etag)}</ETag></Part>"
            for number in sorted(parts)
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        request = Request("POST", self.key, {"uploadId": self.upload_id}, body)
        etag = multipart_etag([parts[number].etag for number in sorted(parts)])
        try:
            answer = self.wire.need(request) if overwrite else self.wire.create(request, etag)
            self._check_object(answer, parts, etag)
        except NoSuchObject:
            if not self._is_complete(etag):
                raise StorageError(f"The bucket lost the upload of {self.key!r}. Upload it again.") from None

    def _is_complete(self, etag: str) -> bool:
        """Return whether an earlier try completed the upload and its answer was lost."""
        answer = self.wire.ask(Request("HEAD", self.key))
        return answer.status == 200 and answer.headers.get("etag", "").strip('"') == etag

    def _check_object(self, answer: S3Response, parts: Mapping[int, UploadPart], etag: str) -> None:
        """Check that the object has the size and the content of the parts. Raises StorageError, NoSuchObject."""
        if answer.status >= 300:  # an earlier try created the object, as its ETag showed
            return
        if b"CompleteMultipartUploadResult" in answer.body:
            stored = answer.xml.findtext("ETag", "").strip('"')
        else:
            info = self.wire.head(self.key)
            if info.size != sum(part.size for part in parts.values()):
                raise StorageError(f"The bucket didn't store the upload of {self.key!r}. Upload it again.")
            stored = info.etag
        if stored and stored != etag and any(part.is_md5 for part in parts.values()):
            raise StorageError(
                f"The bucket stored {self.key!r} with other content than was sent: its ETag is {stored!r}, not "
                f"{etag!r}. Don't use the object. Upload it again."
            )

    def abort(self) -> None:
        """Take the upload back, with the parts that the bucket has."""
        self.wire.ask(Request("DELETE", self.key, {"uploadId": self.upload_id}))


def unfinished_uploads(wire: Wire, key: str) -> list[str]:
    """Return the ids of all unfinished uploads of exactly this key, uploads of other programs included."""
    page = wire.need(Request("GET", "", {"uploads": "", "prefix": key})).xml
    return [row.findtext("UploadId", "") for row in page.iter("Upload") if row.findtext("Key") == key]


def multipart_etag(parts: list[str]) -> str:
    """Return the name that S3 gives to the content of an object in parts, from the names of the parts."""
    joined = b"".join(bytes.fromhex(part) for part in parts if len(part) == 32)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"
