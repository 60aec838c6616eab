"""The last step before a run is started: large variables go to the bucket, and links to the bucket into the request.

The links are secrets, so they are made last, and the request that holds them is sent and kept nowhere: the journal
and the plan know the request without.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from lk_jupyter.api.execution import StartRequest
from lk_jupyter.errors import LkError, NoSuchObject, StorageError, UsageError
from lk_jupyter.protocol.bucket import KEPT, RENEWED, VALUES, answer_key, call_key, checkpoint_key, returned_key
from lk_jupyter.protocol.parts import part_settings
from lk_jupyter.runs.package import checkpoint
from lk_jupyter.runs.package.bundle import Bundle
from lk_jupyter.runs.variables.chunks import pieces
from lk_jupyter.runs.variables.payload import VariablePayload, settings_in
from lk_jupyter.text.units import size_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.storage.objects import ObjectInfo
    from lk_jupyter.storage.storage import Storage

LINKS = "_lk_links.json"

#: How long a run may wait for its machine before its links end, if the server's credentials last so long.
QUEUE = timedelta(hours=12)


#: Objects that are looked up or sent at once.
_AT_ONCE = 4


def upload_inputs(session: Connection, package: Bundle, tell: Callable[[str], None]) -> StartRequest:
    """Return the request as it is sent, after everything is in the bucket that it needs there.

    ``tell`` is called meanwhile with how far it is; what it raises ends it. Raises StorageError, and
    UsageError when the values of an older run are no longer there.
    """
    settings = settings_in(package.request.import_files)
    if settings is None or not (settings["blobs"] or settings["slots"]):
        return package.request
    links = uploaded(session, settings, package, tell)
    files = json.loads(package.request.import_files or "{}")
    return package.request.model_copy(update={"import_files": json.dumps({**files, LINKS: json.dumps(links)})})


def uploaded(
    session: Connection, settings: dict[str, Any], package: Bundle, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Put the variables of a run into the bucket, and return the links to them and to what it sends back."""
    storage = session.storage
    _put_all(storage, settings["blobs"], package.parcel, tell)
    links = upload_links(storage, settings, package)
    tidy_once(storage)
    return links


def _put_all(storage: Storage, wanted: list[list[Any]], parcel: VariablePayload, tell: Callable[[str], None]) -> None:
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="lk-look") as pool:
        there = list(pool.map(lambda blob: _is_there(storage, *blob), wanted))
    here = {blob.key: blob for blob in parcel.blobs}
    absent = [key for (key, _), is_there in zip(wanted, there, strict=True) if not is_there]
    if gone := [key for key in absent if key not in here]:
        raise UsageError(
            f"The bucket no longer has variables of that run ({len(gone)} of {len(wanted)} files). Nothing was "
            "sent. Run its cell again."
        )
    meter = _Meter(sum(here[key].size for key in absent), tell)
    for key in absent:
        try:
            storage.put(meter.watched(pieces(here[key].write)), VALUES + key)
        except StorageError as error:
            if type(error) is not StorageError:
                raise
            raise StorageError(f"{error} The variables weren't uploaded, so the code wasn't run.") from error


class _Meter:
    """Reports how much of the total has been read for the upload."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._total = size_label(total)
        self._done = 0
        self._tell = tell

    def watched(self, made: Iterator[Any]) -> Iterator[Any]:
        for piece in made:
            self._tell(f"sending {size_label(self._done)} of {self._total}")
            yield piece
            self._done += len(piece)


def _is_there(storage: Storage, key: str, size: int) -> bool:
    with suppress(NoSuchObject):
        info = storage.info(VALUES + key)
        return info.size == size and not is_older(storage, info, RENEWED)
    return False


def upload_links(storage: Storage, settings: dict[str, Any], package: Bundle) -> dict[str, Any]:
    """Return the links with which a run downloads its variables and uploads what it returns."""
    life = timedelta(seconds=package.timeout) + QUEUE
    slots = [returned_key(package.token, number) for number in range(len(settings["slots"]))]
    inputs = storage.presign_all([VALUES + key for key, _ in settings["blobs"]], "GET", life=life)
    outputs = storage.presign_all([*slots, returned_key(package.token, "values")] if slots else [], "PUT", life=life)
    _check_life(storage, package.timeout, [link.expires_at for link in (*inputs, *outputs)])
    return {
        "inputs": [link.url for link in inputs],
        "outputs": [link.url for link in outputs[:-1]],
        "values": outputs[-1].url if outputs else None,
    }


def _check_life(storage: Storage, timeout: int, ends: Iterable[datetime]) -> None:
    left = min(ends, default=None)
    seconds = int((left - storage.now()).total_seconds()) if left else timeout
    if seconds < timeout:
        raise UsageError(
            f"The bucket's links last {seconds} s here, and the run may take {timeout} s: its variables "
            f"couldn't be transferred any more. Nothing was sent. Lower the limit: --timeout {max(1, seconds)}"
        )


_tidied: WeakSet[Storage] = WeakSet()


def tidy_once(storage: Storage) -> None:
    """Tidy up once in the life of a session; what cannot be removed now is removed another time."""
    if storage not in _tidied:
        _tidied.add(storage)
        with suppress(LkError):
            tidy(storage)


def tidy(storage: Storage) -> None:
    """Remove from the bucket what runs have left there and nothing has used for long."""
    for folder, kept in KEPT.items():
        for found in list(storage.ls(folder)):
            if is_older(storage, found, kept):
                storage.remove(found.key)


def is_older(storage: Storage, found: ObjectInfo, age: timedelta) -> bool:
    """Whether an object was last written longer ago than ``age``."""
    return found.modified is not None and storage.now() - found.modified > age


#: The part that makes a call of a function, and the file that has its links.
CALL, CALL_LINKS = "script.call", "_lk_call.json"

#: How long a run may wait for its machine until its links end.
_WAIT, _WAIT_OF_CALL = timedelta(hours=6), timedelta(hours=12)

#: Sessions that have no bucket, as was found out once.
_without: WeakSet[Connection] = WeakSet()


def with_links(session: Connection, package: Bundle) -> Bundle:
    """Return the run with the links that its parts need. Raises StorageError when the bucket cannot be used."""
    text = package.request.import_files
    links: dict[str, str] = {}
    if settings := part_settings(text, checkpoint.PART):
        links[checkpoint.LINKS] = json.dumps(_of_checkpoint(session, package, settings))
    if settings := part_settings(text, CALL):
        life = _WAIT_OF_CALL + timedelta(seconds=package.timeout)
        links[CALL_LINKS] = json.dumps(_of_call(session, settings, life))
    if not links:
        return package
    request = package.request.model_copy(update={"import_files": json.dumps({**json.loads(text or "{}"), **links})})
    return replace(package, request=request)


def _of_checkpoint(session: Connection, package: Bundle, settings: dict[str, Any]) -> dict[str, str]:
    links: dict[str, str] = {}
    if "resume" in settings:
        links["get"] = session.storage.presign(settings["resume"], life=_WAIT).url
    if "after" in settings:
        key, life = checkpoint_key(package.token), _WAIT + timedelta(seconds=package.timeout)
        links |= {"put": session.storage.presign(key, "PUT", life=life).url, "key": key}
    return links


def _of_call(session: Connection, settings: dict[str, Any], life: timedelta) -> dict[str, str]:
    """Return where the call is, if it is in the bucket, and where a large answer may go; else it goes to the log."""
    links: dict[str, str] = {}
    if "data" not in settings:
        links["get"] = session.storage.presign(call_key(settings["token"]), life=life).url
    if session not in _without:
        try:
            links["put"] = session.storage.presign(answer_key(settings["token"]), "PUT", life=life).url
        except LkError:
            _without.add(session)
    return links
