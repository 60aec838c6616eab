"""Upload large variables of a run to the bucket, and add links to the bucket to the request, just before the start.

The links are secrets, so the links are created last, and the request with links is sent and stored nowhere: the
journal and the plan have the request without links.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from lk_jupyter.api.execution import StartRequest
from lk_jupyter.config.assumptions import IGNORED
from lk_jupyter.config.consents import keep_upload_speed
from lk_jupyter.config.signing import signing_key
from lk_jupyter.errors import LkError, NoSuchObject, OperationNotAvailable, StorageError, UsageError
from lk_jupyter.protocol.bucket import (
    KEPT,
    MOMENT,
    RENEWED,
    VALUES,
    answer_key,
    call_key,
    checkpoint_key,
    returned_key,
    stop_key,
)
from lk_jupyter.protocol.notice import WARNING, Notice
from lk_jupyter.protocol.parts import read_part_settings
from lk_jupyter.protocol.relay import PART as RELAY_PART
from lk_jupyter.protocol.vm_run import LINK_HOST
from lk_jupyter.runs.package import checkpoint, kept_packages, stage
from lk_jupyter.runs.package.bundle import PACKAGES, Bundle
from lk_jupyter.runs.submit.stage import upload_stage_list
from lk_jupyter.runs.variables.chunks import iterate_pieces
from lk_jupyter.runs.variables.payload import Blob, VariablePayload, settings_in
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage.progress import Meter, Progress
from lk_jupyter.text.units import count_label

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.storage.objects import ObjectInfo
    from lk_jupyter.storage.storage import Storage

LINKS = "_lk_links.json"

#: The time that a run may wait for its machine until its links expire, if the server's credentials last that long.
QUEUE = timedelta(hours=12)

#: The maximum number of parallel lookups.
_PARALLEL = 8

#: The number of parallel uploads of objects.
_UPLOADS = 2


def upload_inputs(session: Connection, bundle: Bundle, report: Callable[[str], None]) -> StartRequest:
    """Upload the variables of a run to the bucket, and return the request with links.

    ``report`` is called with the progress; an error of ``report`` ends the upload. Raises StorageError, and
    UsageError if the bucket no longer contains the values of an earlier run.
    """
    settings = settings_in(bundle.request.import_files)
    if settings is None or not (settings["blobs"] or settings["slots"]) or omits_links(session, bundle):
        return bundle.request
    try:
        links = upload_variables(session, settings, bundle, report)
    except OperationNotAvailable:
        if _needs_bucket(settings, bundle):
            raise
        return bundle.request  # without a bucket, the run returns no variables
    files = json.loads(bundle.request.import_files or "{}")
    return bundle.request.model_copy(update={"import_files": json.dumps({**files, LINKS: json.dumps(links)})})


def upload_variables(
    session: Connection, settings: dict[str, Any], bundle: Bundle, report: Callable[[str], None]
) -> dict[str, Any]:
    """Upload the variables of a run to the bucket, and return the links for uploaded and returned variables."""
    storage = session.storage
    size, seconds = _upload_blobs(storage, settings["blobs"], bundle.payload, report)
    keep_upload_speed(session.base_url, session.target.org or "", size, seconds)
    links = upload_links(storage, settings, bundle)
    if (lease_end := session.client.lease_end) is not None:
        links["lease_end"] = lease_end
    clean_up_once(storage)
    return links


def _upload_blobs(
    storage: Storage, blobs: list[list[Any]], payload: VariablePayload, report: Callable[[str], None]
) -> tuple[int, float]:
    """Upload the blobs that the bucket lacks, and return their bytes and the seconds of the upload."""
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="lk-look") as pool:
        stored = list(pool.map(lambda blob: _is_stored(storage, *blob), blobs))
    local_blobs = {blob.key: blob for blob in payload.blobs}
    absent = [key for (key, _), is_stored in zip(blobs, stored, strict=True) if not is_stored]
    if lost := [key for key in absent if key not in local_blobs]:
        raise UsageError(
            f"The bucket no longer has all variables of the run ({len(lost)} of {count_label(len(blobs), 'file')}). "
            "Nothing was sent. Rerun its cell."
        )
    started, total = time.monotonic(), sum(local_blobs[key].size for key in absent)
    meter = Meter(1, total, lambda progress: report(f"uploading {progress}"))
    if absent:
        meter.tell()
        _upload_in_parallel(storage, [local_blobs[key] for key in absent], meter)
    return total, time.monotonic() - started


def _upload_in_parallel(storage: Storage, blobs: list[Blob], meter: Meter) -> None:
    """Upload blobs in pairs, as each waits for the bucket at its start and its end. An interrupt ends all uploads."""
    halt = CancelToken()

    def upload(blob: Blob) -> None:
        counted_bytes = 0

        def count(progress: Progress) -> None:
            nonlocal counted_bytes
            halt.check()
            meter.add(progress.bytes_done - counted_bytes)
            counted_bytes = progress.bytes_done

        try:
            storage.put(iterate_pieces(blob.write), VALUES + blob.key, progress=count)
        except StorageError as error:
            if type(error) is not StorageError:
                raise
            raise StorageError(f"{error} The variables weren't uploaded, so the code wasn't run.") from error

    call_for_each(blobs, upload, min(_UPLOADS, len(blobs)), halt=halt, tick=meter.tell)
    meter.tell()


def _is_stored(storage: Storage, key: str, size: int) -> bool:
    with suppress(NoSuchObject):
        info = storage.info(VALUES + key)
        return info.size == size and not is_older(storage, info, RENEWED)
    return False


def upload_links(storage: Storage, settings: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    """Return the links with which a run downloads its variables and uploads what it returns."""
    life = timedelta(seconds=bundle.timeout) + QUEUE
    slots = [returned_key(bundle.token, number) for number in range(len(settings["slots"]))]
    if bundle.vm_offer:
        return _sign_vm_links(storage, settings, bundle, slots)
    inputs = storage.presign_all([VALUES + key for key, _ in settings["blobs"]], "GET", life=life)
    outputs = storage.presign_all([*slots, returned_key(bundle.token, "values")] if slots else [], "PUT", life=life)
    _check_life(storage, bundle.timeout, [link.expires_at for link in (*inputs, *outputs)])
    moment = {}
    if settings["carry"] and not getattr(bundle.options, "session", None):
        moment["moment"] = storage.presign(returned_key(bundle.token, MOMENT), "PUT", life=life).url
    return {
        **moment,
        "inputs": [link.url for link in inputs],
        "outputs": [link.url for link in outputs[:-1]],
        "values": outputs[-1].url if outputs else None,
        "stop": storage.presign(stop_key(bundle.token), life=life).url,
        "limit": bundle.timeout,
    }


def _sign_vm_links(storage: Storage, settings: dict[str, Any], bundle: Bundle, slots: list[str]) -> dict[str, Any]:
    """Return the links of a run on a VM: links to the bucket for its start, and to the VM for all later transfers.

    Links to the bucket end before a long run does.
    """
    inputs = storage.presign_all([VALUES + key for key, _ in settings["blobs"]], "GET", life=timedelta(hours=1))
    return {
        "inputs": [link.url for link in inputs],
        "outputs": [LINK_HOST + slot for slot in slots],
        "values": LINK_HOST + returned_key(bundle.token, "values") if slots else None,
        "stop": LINK_HOST + stop_key(bundle.token),
        "limit": bundle.timeout,
    }


def _check_life(storage: Storage, timeout: int, ends: Iterable[datetime]) -> None:
    end = min(ends, default=None)
    seconds = int((end - storage.now()).total_seconds()) if end else timeout
    if seconds < timeout:
        raise UsageError(
            f"Links to the bucket expire after {seconds} s, but the run may take {timeout} s. It couldn't "
            f"return its variables. Nothing was sent. Lower the limit: --timeout {max(1, seconds)}"
        )


_cleaned: WeakSet[Storage] = WeakSet()


def clean_up_once(storage: Storage) -> None:
    """Clean up the bucket once for each session; failures are left to later sessions."""
    if storage not in _cleaned:
        _cleaned.add(storage)
        with suppress(LkError):
            clean_up(storage)


def clean_up(storage: Storage) -> None:
    """Delete objects of runs from the bucket that were unused for a long time."""
    for folder, age in KEPT.items():
        for info in list(storage.ls(folder)):
            if is_older(storage, info, age):
                storage.remove(info.key)


def is_older(storage: Storage, info: ObjectInfo, age: timedelta) -> bool:
    """Return whether the last change of an object is longer ago than ``age``."""
    return info.modified is not None and storage.now() - info.modified > age


#: The module that calls a function in a run, and the file with its links.
CALL, CALL_LINKS = "script.call", "_lk_call.json"

#: The time that a run may wait for its machine until its links expire: a checkpoint's, a call's.
_WAIT, _CALL_WAIT = timedelta(hours=6), timedelta(hours=12)

#: Sessions whose organization has no bucket.
_without_bucket: WeakSet[Connection] = WeakSet()


def add_links(session: Connection, bundle: Bundle) -> Bundle:
    """Return the bundle with the links that its modules need. Raises StorageError if the bucket can't be used."""
    text = bundle.request.import_files
    links: dict[str, str] = {}
    if settings := read_part_settings(text, RELAY_PART) or read_part_settings(text, checkpoint.PART):
        links[checkpoint.LINKS] = json.dumps(_sign_checkpoint_links(session, bundle, settings))
    if settings := read_part_settings(text, CALL):
        life = _CALL_WAIT + timedelta(seconds=bundle.timeout)
        links[CALL_LINKS] = json.dumps(call_links(session, settings, life))
    if settings := read_part_settings(text, stage.PART):
        life = _WAIT + timedelta(seconds=bundle.timeout)
        links[stage.LINKS] = json.dumps(upload_stage_list(session.storage, bundle.token, settings["stage"], life))
    packages = _plan_packages(session, bundle)
    if not links and not packages:
        return bundle
    files = json.dumps({**json.loads(text or "{}"), **links, **packages})
    changes = {"import_files": files, **({"requirements_content": None} if packages else {})}
    return replace(bundle, request=bundle.request.model_copy(update=changes))


def omits_links(session: Connection, bundle: Bundle) -> bool:
    """Return whether a run gets no links and no key, since its code, and so its record, would contain them."""
    is_ignored = session.client.assumptions["import_files"] == IGNORED
    return is_ignored and not (bundle.vm_offer or bundle.allows_secrets)


def require_link_consent(session: Connection, bundle: Bundle) -> None:
    """Refuse a run that needs links if it gets none. Raises UsageError."""
    if not omits_links(session, bundle):
        return
    text = bundle.request.import_files
    settings = settings_in(text)
    if (settings and _needs_bucket(settings, bundle)) or any(
        read_part_settings(text, part) is not None for part in (RELAY_PART, CALL, checkpoint.PART, stage.PART)
    ):
        raise UsageError(
            "This server ignores the files of a run (import_files). So the code must contain links to the bucket and "
            "the run's key, which your organization can read. Nothing was sent. Allow it: --allow-secrets. Or use a "
            "kept machine, which needs no files: --session NAME"
        )


def link_notices(session: Connection, bundle: Bundle) -> list[Notice]:
    """Return a notice for a run that returns no variables, since it gets no links."""
    settings = settings_in(bundle.request.import_files)
    if settings is None or not settings["slots"] or not omits_links(session, bundle):
        return []
    text = (
        "This server ignores the files of a run (import_files), so the code contains them. The run returns no "
        "variables: a link in the code is a secret. Return them: --allow-secrets"
    )
    return [Notice(text, WARNING, "--allow-secrets")]


def _needs_bucket(settings: Mapping[str, Any], bundle: Bundle) -> bool:
    """Return whether a run can't do what the user wants without the bucket."""
    return bool(settings["blobs"] or settings["outputs"] or getattr(bundle.options, "sync", False))


def _plan_packages(session: Connection, bundle: Bundle) -> dict[str, str]:
    """Return the file with which a run provides its packages; none if the cloud installs them."""
    requirements = getattr(bundle.request, "requirements_content", None)
    if read_part_settings(bundle.request.import_files, PACKAGES) is None or not requirements or bundle.vm_offer:
        return {}
    if session.client.assumptions["import_files"] == IGNORED:  # the plan contains links
        return {}
    plan = kept_packages.packages_plan(session, bundle, requirements)
    if plan:
        clean_up_once(session.storage)
    return plan


def _sign_checkpoint_links(session: Connection, bundle: Bundle, settings: dict[str, Any]) -> dict[str, str]:
    links: dict[str, str] = {}
    if "resume" in settings:
        links["get"] = session.storage.presign(settings["resume"], life=_WAIT).url
    if "after" in settings:
        key, life = checkpoint_key(bundle.token), _WAIT + timedelta(seconds=bundle.timeout)
        put = LINK_HOST + key if bundle.vm_offer else session.storage.presign(key, "PUT", life=life).url
        links |= {"put": put, "key": key}
    return links


def call_links(session: Connection, settings: dict[str, Any], life: timedelta) -> dict[str, str]:
    """Return the link of the call, if the bucket contains the call, and the link for a large answer.

    Without a link, the run writes the answer into the log. A stored answer is signed with ``key``.
    """
    links: dict[str, str] = {}
    if "data" not in settings:
        links["get"] = session.storage.presign(call_key(settings["token"]), life=life).url
    if settings.get("stored"):  # in no record, as the links
        links["key"] = signing_key(answer_key(settings["token"])).hex()
    if session not in _without_bucket:
        try:
            links["put"] = session.storage.presign(answer_key(settings["token"]), "PUT", life=life).url
        except LkError:
            _without_bucket.add(session)
    return links
