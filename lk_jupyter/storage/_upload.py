"""Large objects on their way up: in parts, several at once, and resumed after a crash."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lk_jupyter.errors import LkError, NoSuchObject, StorageError
from lk_jupyter.storage import _upload_state
from lk_jupyter.storage._checksum import digest, read_range
from lk_jupyter.storage._multipart import Multipart, UploadPart, uploads_of
from lk_jupyter.storage._parts import AT_ONCE, part_size, ranges
from lk_jupyter.storage._s3_http import Wire
from lk_jupyter.storage._upload_state import Facts, Record
from lk_jupyter.storage._workers import CancelToken, each
from lk_jupyter.storage.progress import Meter

#: Seconds for which the parts of a file are kept in the bucket for going on with them.
KEPT = 7 * 24 * 3600


@dataclass
class _Begun:
    upload: Multipart
    found: dict[int, UploadPart] = field(default_factory=dict)


def send_file(wire: Wire, path: Path, key: str, meter: Meter, *, overwrite: bool = True) -> None:
    """Send a file in parts; parts that an earlier try has sent are not sent again."""
    before = path.stat()
    part = part_size(before.st_size)
    source = str(path.resolve())
    wanted = Facts(wire.bucket, key, source, before.st_size, before.st_mtime_ns, part)
    with _begun(wire, wanted) as begun:
        halt, sent = CancelToken(), dict[int, UploadPart]()

        def send(numbered: tuple[int, tuple[int, int]]) -> None:
            number, (start, end) = numbered
            body = read_range(path, start, end)
            if len(body) != end - start:
                raise _changed(path)
            part = begun.found.get(number)
            if part is not None and part.size == len(body) and part.etag == digest(body):
                sent[number] = replace(part, is_md5=True)
                meter.found(len(body))
            else:
                sent[number] = begun.upload.send(number, body, halt)
                meter.add(len(body))

        each(enumerate(ranges(before.st_size, part), 1), send, wire.at_once, halt=halt, tick=meter.tell)
        after = path.stat()
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise _changed(path)
        begun.upload.complete(sent, overwrite=overwrite)


def send_pieces(wire: Wire, parts: Iterable[bytes], key: str, meter: Meter, *, overwrite: bool = True) -> None:
    """Send parts that are made meanwhile; nothing stays in the bucket when they cannot be made."""
    with _begun(wire, Facts(wire.bucket, key)) as begun:
        halt, sent = CancelToken(), dict[int, UploadPart]()

        def send(numbered: tuple[int, bytes]) -> None:
            number, body = numbered
            sent[number] = begun.upload.send(number, body, halt)
            meter.add(len(body))

        each(enumerate(parts, 1), send, wire.at_once, halt=halt, tick=meter.tell)
        begun.upload.complete(sent, overwrite=overwrite)


def copy_in_parts(wire: Wire, source: str, size: int, key: str) -> None:
    """Make a copy of an object that is too large to be copied at once, without it travelling here."""
    with _begun(wire, Facts(wire.bucket, key)) as begun:
        sent: dict[int, UploadPart] = {}

        def copy(numbered: tuple[int, tuple[int, int]]) -> None:
            number, (start, end) = numbered
            sent[number] = begun.upload.copy(number, source, start, end)

        each(enumerate(ranges(size, max(part_size(size), 1 << 28)), 1), copy, AT_ONCE, halt=CancelToken())
        begun.upload.complete(sent)


def sweep(wire: Wire, *, keep: float = KEPT) -> int:
    """Take back the uploads that nobody can resume, or would; return how many there were."""
    count = 0
    for record in _upload_state.abandoned(wire.bucket):
        assert record.facts  # noqa: S101 (else it is no record of this bucket)
        if _can_go_on(record.facts) and time.time() - record.facts.began < keep:
            record.close()
        else:
            _take_back(wire, record)
            count += 1
    return count


@contextmanager
def _begun(wire: Wire, wanted: Facts) -> Iterator[_Begun]:
    """Yield an upload, an earlier one where it fits.

    An error leaves it to be resumed where that is possible; an interrupt takes it back.
    """
    sweep(wire)
    record = _upload_state.record_for(wire.bucket, wanted.key)
    try:
        begun = _gone_on_with(wire, record, wanted) or _begin(wire, record, wanted)
        yield begun
    except Exception as error:
        if wanted.source and isinstance(error, LkError):
            record.close()
        else:
            _take_back(wire, record)
        raise
    except BaseException:
        _take_back(wire, record)
        raise
    record.close(forget=True)


def _gone_on_with(wire: Wire, record: Record, wanted: Facts) -> _Begun | None:
    """Return the upload of the record, if it fits and the bucket still knows it."""
    facts = record.facts
    if facts is None:
        return None
    if facts.upload_id and facts.is_of(wanted):
        upload = Multipart(wire, wanted.key, facts.upload_id)
        with suppress(NoSuchObject):
            return _Begun(upload, {part.number: part for part in upload.parts()})
        return None
    _abort(wire, facts)
    return None


def _begin(wire: Wire, record: Record, wanted: Facts) -> _Begun:
    record.write(wanted)
    others = uploads_of(wire, wanted.key)
    record.note(others=others)
    upload = Multipart.begin(wire, wanted.key, others)
    record.note(upload_id=upload.upload_id)
    return _Begun(upload)


def _take_back(wire: Wire, record: Record) -> None:
    """Take back the upload of a record; it is kept for a later try when the bucket cannot be reached now."""
    gone = False
    try:
        if record.facts:
            _abort(wire.hasty(), record.facts)
        gone = True
    except LkError:
        pass
    finally:
        record.close(forget=gone)


def _abort(wire: Wire, facts: Facts) -> None:
    ids = [facts.upload_id] if facts.upload_id else set(uploads_of(wire, facts.key)) - set(facts.others)
    for upload_id in ids:
        Multipart(wire, facts.key, upload_id).abort()


def _can_go_on(facts: Facts) -> bool:
    """Whether the file that was sent is still what it was."""
    with suppress(OSError):
        found = Path(facts.source).stat() if facts.source else None
        return found is not None and (found.st_size, found.st_mtime_ns) == (facts.size, facts.changed)
    return False


def _changed(path: Path) -> StorageError:
    return StorageError(f"{path} changed during the upload. Nothing was stored. Upload it again.")
