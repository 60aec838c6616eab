"""One upload in parts: it can be inspected, resumed, completed, or taken back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

from lk_jupyter.errors import NoSuchObject, StorageError
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._sign import Request, quoted
from lk_jupyter.storage._workers import CancelToken


@dataclass(frozen=True)
class UploadPart:
    """A part that the bucket has: its number from 1 on, its bytes, and the server's name for its content."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True)
class Multipart:
    """An upload that was begun; the object is there when it is complete, and not before."""

    wire: Wire
    key: str
    upload_id: str

    @classmethod
    def begin(cls, wire: Wire, key: str, others: list[str]) -> Multipart:
        """Begin an upload, one and not two where an answer was lost; ``others`` were there before."""
        answer = wire.need(Request("POST", key, {"uploads": ""}))
        begun = cls(wire, key, answer.xml.findtext("UploadId", ""))
        if not begun.upload_id:
            raise StorageError(f"The bucket began no upload of {key!r} and named no error. Nothing was stored.")
        if answer.tries > 1:
            for upload_id in {*uploads_of(wire, key)} - {*others, begun.upload_id}:
                cls(wire, key, upload_id).abort()
        return begun

    def parts(self) -> Iterator[UploadPart]:
        """Iterate over the parts that the bucket has. Raises NoSuchObject when it forgot the upload."""
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
        """Send one part; the server refuses it when it comes damaged."""
        query = {"partNumber": str(number), "uploadId": self.upload_id}
        answer = self.wire.need(Request("PUT", self.key, query, body), halt)
        return UploadPart(number, len(body), answer.headers.get("etag", "").strip('"'))

    def copy(self, number: int, source: str, start: int, end: int) -> UploadPart:
        """Take a range of another object as a part, without it travelling here."""
        headers = {
            "x-amz-copy-source": quoted(f"/{self.wire.bucket_name}/{source}", "/"),
            "x-amz-copy-source-range": f"bytes={start}-{end - 1}",
        }
        query = {"partNumber": str(number), "uploadId": self.upload_id}
        answer = self.wire.need(Request("PUT", self.key, query, headers=headers))
        return UploadPart(number, end - start, answer.xml.findtext("ETag", "").strip('"'))

    def complete(self, parts: Mapping[int, UploadPart], *, overwrite: bool = True) -> None:
        """Make the object of its parts. Raises ObjectExists where it must not ``overwrite`` one."""
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(parts[number].etag)}</ETag></Part>"
            for number in sorted(parts)
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        request = Request("POST", self.key, {"uploadId": self.upload_id}, body)
        try:
            if overwrite:
                answer = self.wire.need(request)
                if b"CompleteMultipartUploadResult" not in answer.body:
                    self._check_size(sum(part.size for part in parts.values()))
            else:
                self.wire.create(request, etag_of([parts[number].etag for number in sorted(parts)]))
        except NoSuchObject:
            if not self._is_there(parts):
                raise StorageError(f"The bucket lost the upload of {self.key!r}. Upload it again.") from None

    def _is_there(self, parts: Mapping[int, UploadPart]) -> bool:
        """Whether an earlier try has completed it, and its answer was lost."""
        found = self.wire.ask(Request("HEAD", self.key))
        etags = [parts[number].etag for number in sorted(parts)]
        return found.status == 200 and found.headers.get("etag", "").strip('"') == etag_of(etags)

    def _check_size(self, size: int) -> None:
        """Check an object whose server did not say that it made it. Raises StorageError, NoSuchObject."""
        if self.wire.head(self.key).size != size:
            raise StorageError(f"The bucket didn't store the upload of {self.key!r}. Upload it again.")

    def abort(self) -> None:
        """Take the upload back, with the parts that the bucket has."""
        self.wire.ask(Request("DELETE", self.key, {"uploadId": self.upload_id}))


def uploads_of(wire: Wire, key: str) -> list[str]:
    """Return the ids of the unfinished uploads of exactly this key, whoever began them."""
    page = wire.need(Request("GET", "", {"uploads": "", "prefix": key})).xml
    return [row.findtext("UploadId", "") for row in page.iter("Upload") if row.findtext("Key") == key]


def etag_of(parts: list[str]) -> str:
    """Return the name that S3 gives to the content of an object in parts, from the names of the parts."""
    joined = b"".join(bytes.fromhex(part) for part in parts if len(part) == 32)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"
