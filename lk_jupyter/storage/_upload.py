"""Upload large objects: in parallel parts, resumed after a crash."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lk_jupyter.errors import LkError, NoSuchObject, StorageError
from lk_jupyter.storage import _upload_state
from lk_jupyter.storage._checksum import hash_content, read_range
from lk_jupyter.storage._multipart import Multipart, UploadPart, unfinished_uploads
from lk_jupyter.storage._parts import AT_ONCE, part_ranges, part_size
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._upload_state import Facts, Record
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage.progress import Meter

#: Seconds for which the parts of an unfinished upload stay in the bucket.
RETENTION_SECONDS = 7 * 24 * 3600


@dataclass
class _OpenUpload:
    upload: Multipart
    add_earlier: dict[int, UploadPart] = field(default_factory=dict)


def send_file(wire: Wire, path: Path, key: str, meter: Meter, *, overwrite: bool = True) -> None:
    """Send a file in parts; parts that an earlier try has sent are not sent again."""
    before = path.stat()
    part = part_size(before.st_size)
    source = str(path.resolve())
    facts = Facts(wire.bucket, key, source, before.st_size, before.st_mtime_ns, part)
    with _open_upload(wire, facts) as open_upload:
        halt, parts = CancelToken(), dict[int, UploadPart]()

        def send(numbered: tuple[int, tuple[int, int]]) -> None:
            number, (start, end) = numbered
            body = read_range(path, start, end)
            if len(body) != end - start:
                raise _build_changed_file_error(path)
            part = open_upload.add_earlier.get(number)
            if part is not None and part.size == len(body) and part.etag == hash_content(body):
                parts[number] = replace(part, is_md5=True)
                meter.add_earlier(len(body))
            else:
                parts[number] = open_upload.upload.send(number, body, halt)
                meter.add(len(body))

        call_for_each(enumerate(part_ranges(before.st_size, part), 1), send, wire.at_once, halt=halt, tick=meter.tell)
        after = path.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise _build_changed_file_error(path)
        open_upload.upload.complete(parts, overwrite=overwrite)


def send_pieces(wire: Wire, parts: Iterable[bytes], key: str, meter: Meter, *, overwrite: bool = True) -> None:
    """Send parts that are made meanwhile; nothing stays in the bucket when they cannot be made."""
    with _open_upload(wire, Facts(wire.bucket, key)) as open_upload:
        halt, uploaded = CancelToken(), dict[int, UploadPart]()

        def send(numbered: tuple[int, bytes]) -> None:
            number, body = numbered
            uploaded[number] = open_upload.upload.send(number, body, halt)
            meter.add(len(body))

        call_for_each(enumerate(parts, 1), send, wire.at_once, halt=halt, tick=meter.tell)
        open_upload.upload.complete(uploaded, overwrite=overwrite)


def copy_in_parts(wire: Wire, source: str, size: int, key: str) -> None:
    """Copy an object that is too large for a single copy request, part by part on the server."""
    with _open_upload(wire, Facts(wire.bucket, key)) as open_upload:
        parts: dict[int, UploadPart] = {}

        def copy(numbered: tuple[int, tuple[int, int]]) -> None:
            number, (start, end) = numbered
            parts[number] = open_upload.upload.copy(number, source, start, end)

        call_for_each(enumerate(part_ranges(size, max(part_size(size), 1 << 28)), 1), copy, AT_ONCE, halt=CancelToken())
        open_upload.upload.complete(parts)


def abort_abandoned_uploads(wire: Wire, *, keep: float = RETENTION_SECONDS) -> int:
    """Abort the uploads that no process can or should resume; return their number."""
    count = 0
    for record in _upload_state.abandoned_records(wire.bucket):
        assert record.facts  # noqa: S101 (else it is no record of this bucket)
        if _is_unchanged(record.facts) and time.time() - record.facts.began < keep:
            record.close()
        else:
            _abort_recorded(wire, record)
            count += 1
    return count


@contextmanager
def _open_upload(wire: Wire, facts: Facts) -> Iterator[_OpenUpload]:
    """Yield an open upload: an unfinished upload of the same file, or a new one.

    After an error, the upload stays if it can be resumed; an interrupt aborts the upload.
    """
    abort_abandoned_uploads(wire)
    record = _upload_state.record_for(wire.bucket, facts.key)
    try:
        open_upload = _resume_upload(wire, record, facts) or _begin_upload(wire, record, facts)
        yield open_upload
    except Exception as error:
        if facts.source and isinstance(error, LkError):
            record.close()
        else:
            _abort_recorded(wire, record)
        raise
    except BaseException:
        _abort_recorded(wire, record)
        raise
    record.close(forget=True)


def _resume_upload(wire: Wire, record: Record, current: Facts) -> _OpenUpload | None:
    """Return the upload of the record, if the file is unchanged and the bucket still has the upload."""
    facts = record.facts
    if facts is None:
        return None
    if facts.upload_id and facts.fits(current):
        upload = Multipart(wire, current.key, facts.upload_id)
        with suppress(NoSuchObject):
            return _OpenUpload(upload, {part.number: part for part in upload.parts()})
        return None
    _abort_uploads(wire, facts)
    return None


def _begin_upload(wire: Wire, record: Record, facts: Facts) -> _OpenUpload:
    record.write(facts)
    earlier = unfinished_uploads(wire, facts.key)
    record.note(others=earlier)
    upload = Multipart.begin(wire, facts.key, earlier)
    record.note(upload_id=upload.upload_id)
    return _OpenUpload(upload)


def _abort_recorded(wire: Wire, record: Record) -> None:
    """Abort the upload of a record; keep the record for a later try if the bucket can't be reached."""
    is_removed = False
    try:
        if record.facts:
            _abort_uploads(wire.copy_without_retries(), record.facts)
        is_removed = True
    except LkError:
        pass
    finally:
        record.close(forget=is_removed)


def _abort_uploads(wire: Wire, facts: Facts) -> None:
    ids = [facts.upload_id] if facts.upload_id else set(unfinished_uploads(wire, facts.key)) - set(facts.others)
    for upload_id in ids:
        Multipart(wire, facts.key, upload_id).abort()


def _is_unchanged(facts: Facts) -> bool:
    """Return whether the uploaded file is unchanged."""
    with suppress(OSError):
        stat = Path(facts.source).stat() if facts.source else None
        return stat is not None and (stat.st_size, stat.st_mtime_ns) == (facts.size, facts.changed)
    return False


def _build_changed_file_error(path: Path) -> StorageError:
    return StorageError(f"{path} changed during the upload. Nothing was stored. Upload it again.")
