"""Transfer folders in both directions: present files are skipped, and small files are sent in parallel."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Protocol

from lk_jupyter.errors import StorageError
from lk_jupyter.storage import _download
from lk_jupyter.storage._checksum import file_matches_etag
from lk_jupyter.storage._download import FetchedFile, FetchOptions
from lk_jupyter.storage._executed import explain_skip
from lk_jupyter.storage._parts import FILES_AT_ONCE, PART
from lk_jupyter.storage._plan import PlanEntry, SyncPlan, is_file_name, is_key, plan
from lk_jupyter.storage._s3_http import exists_error
from lk_jupyter.storage._workers import CancelToken, call_for_each
from lk_jupyter.storage._written import is_written_by_download
from lk_jupyter.storage.objects import ObjectInfo, TransferResult
from lk_jupyter.storage.progress import Meter, Watcher
from lk_jupyter.text.terminal import one_line
from lk_jupyter.text.units import count_label, size_label


class BucketFiles(Protocol):
    """The methods of a bucket that transfers of folders use."""

    def ls(self, folder: str = "") -> Iterable[ObjectInfo]:
        """Return the objects in a folder and in deeper folders."""

    def find(self, key: str) -> ObjectInfo | None:
        """Return the object of a key; None for a missing object."""

    def remove_all(self, keys: Iterable[str]) -> int:
        """Remove the objects of these keys; return how many."""

    def _put_file(self, path: Path, key: str, meter: Meter, *, overwrite: bool = True) -> None: ...

    def _read(self, info: ObjectInfo, start: int, end: int) -> memoryview: ...


@dataclass(frozen=True)
class TransferOptions:
    """Options of a transfer: a watcher, deletion of extra files, comparison by checksum, and replacement of files.

    ``is_staging`` keeps downloaded parts after an interrupt, and compares the content of each local file whose time
    differs from the time of the object. ``include_hidden`` downloads files that programs may load automatically too.
    """

    progress: Watcher | None = None
    delete: bool = False
    checksum: bool = False
    overwrite: bool = True
    is_staging: bool = False
    include_hidden: bool = False


def upload_folder(
    storage: BucketFiles,
    local: Path,
    folder: str,
    how: TransferOptions,
) -> TransferResult:
    """Make a folder of the bucket equal to a local folder."""
    if not local.is_dir():
        raise StorageError(f"No folder '{local}'. Nothing was uploaded.")
    prefix = f"{folder}/" if folder else ""
    sync_plan, remote = _plan_upload(storage, local, prefix, checksum=how.checksum)
    _refuse_deleting_all(how, sync_plan, source=str(local), is_empty=not (sync_plan.copy or sync_plan.same))
    if not how.overwrite and (existing := next((entry.name for entry in sync_plan.copy if entry.name in remote), "")):
        raise exists_error(prefix + existing)

    def send(entry: PlanEntry, meter: Meter) -> None:
        storage._put_file(local / entry.name, prefix + entry.name, meter, overwrite=how.overwrite)

    outcome = _run_transfers(sync_plan, send, how.progress)
    return outcome(storage.remove_all(prefix + entry.name for entry in sync_plan.extra) if how.delete else 0)


def list_replaced_keys(storage: BucketFiles, local: Path, folder: str) -> list[str]:
    """Return the keys whose objects ``upload_folder`` would replace."""
    prefix = f"{folder}/" if folder else ""
    sync_plan, remote = _plan_upload(storage, local, prefix)
    return [prefix + entry.name for entry in sync_plan.copy if entry.name in remote]


def _plan_upload(
    storage: BucketFiles, local: Path, prefix: str, *, checksum: bool = False
) -> tuple[SyncPlan, dict[str, PlanEntry]]:
    """Return the plan of an upload, and the objects in the bucket by name."""
    files, skipped = _list_local_files(local)
    remote = {name: _build_plan_entry(name, info) for name, info in _map_objects_by_name(storage, prefix).items()}

    def is_equal(entry: PlanEntry, other: PlanEntry) -> bool | None:
        return file_matches_etag(local / entry.name, other.etag)

    return plan(files, remote, is_equal=is_equal, checksum=checksum, skipped=skipped), remote


def download_folder(
    storage: BucketFiles,
    folder: str,
    local: Path,
    how: TransferOptions,
) -> TransferResult:
    """Make a local folder equal to a folder of the bucket."""
    prefix = f"{folder}/" if folder else ""
    objects = _map_objects_by_name(storage, prefix)
    if not objects and how.is_staging and folder and (info := storage.find(folder)):
        objects = {info.name: info}
    if not objects:
        raise StorageError(f"No files in '{prefix or 'the bucket'}'. Nothing was downloaded.")
    with _download.translate_disk_errors(local):
        local.mkdir(parents=True, exist_ok=True)
    files, _ = _list_local_files(local)
    obstacles = {name: words for name, info in objects.items() if (words := _explain_skip(local, name, info.key, how))}
    source = {name: _build_plan_entry(name, info) for name, info in objects.items() if name not in obstacles}
    sync_plan = plan(
        source,
        files,
        is_equal=lambda theirs, local_entry: file_matches_etag(local / local_entry.name, theirs.etag),
        checksum=how.checksum and not how.is_staging,
        is_exact=how.is_staging,
        skipped=obstacles.values(),
    )
    extra = [entry for entry in sync_plan.extra if entry.name not in objects and _may_delete(local / entry.name, local)]
    sync_plan = replace(sync_plan, extra=tuple(extra))
    _refuse_deleting_all(how, sync_plan, source=prefix, is_empty=not source)
    if not how.overwrite:
        _refuse_replacing(local, [entry.name for entry in sync_plan.copy if entry.name in files])
    elif not how.is_staging:
        sync_plan = _skip_user_files(sync_plan, local, prefix, files)
    fetched = [FetchedFile(objects[entry.name], local / entry.name, entry.name) for entry in sync_plan.copy]
    _download.check_room(local, f"The download from {prefix or 'the bucket'}", sync_plan.size, fetched)
    outcome = _fetch_all(storage, fetched, local, sync_plan, how)
    _download.remove_interrupted_downloads(local)
    return outcome(sum(_unlink_file(local / entry.name) for entry in sync_plan.extra) if how.delete else 0)


def _skip_user_files(sync_plan: SyncPlan, local: Path, prefix: str, files: Mapping[str, PlanEntry]) -> SyncPlan:
    """Return the plan without the local files that no download has written, or that have changed since."""
    user_files = {
        entry.name for entry in sync_plan.copy if entry.name in files and not is_written_by_download(local / entry.name)
    }
    lines = [
        f"{name!r} differs here, and its content here isn't from a download. To replace it: "
        f"%lk_get {quote(prefix + name)} {quote(str(local / name))}"
        for name in user_files
    ]
    return replace(
        sync_plan,
        copy=tuple(entry for entry in sync_plan.copy if entry.name not in user_files),
        left_out=(*sync_plan.left_out, *sorted(lines)),
    )


def _may_delete(path: Path, folder: Path) -> bool:
    """Return whether a download may delete a file: its own, and data. Others are never part of a folder download."""
    return not explain_skip(path, path.relative_to(folder).as_posix()) or is_written_by_download(path)


def list_skipped_files(storage: BucketFiles, folder: str, local: Path) -> list[str]:
    """Return the names of files below a folder of the bucket that only ``include_hidden`` downloads."""
    prefix = f"{folder}/" if folder else ""
    names = (name for name in _map_objects_by_name(storage, prefix) if is_file_name(name))
    return sorted(
        name
        for name in names
        if explain_skip(local / name, name) and not explain_skip(local / name, name, include_hidden=True)
    )


def _fetch_all(
    storage: BucketFiles, fetched: list[FetchedFile], local: Path, sync_plan: SyncPlan, how: TransferOptions
) -> Callable[[int], TransferResult]:
    """Download all files of a plan. Raises StorageError, also for a full disk."""
    meter, failed = Meter(len(fetched), sync_plan.size, how.progress), list[str]()

    def note_failure(name: str, error: OSError) -> None:
        failed.append(f"{name}: {error.strerror or error}")

    options = FetchOptions(checksum=how.checksum, keep=how.is_staging, on_failure=note_failure)
    try:
        _download.fetch_files(storage._read, fetched, meter, options)
    except OSError as error:
        state = meter.state()
        raise StorageError(
            f"Can't write to {local} ({error.strerror or error}) after {state.share:.0%}: "
            f"{size_label(state.bytes_done)} of {size_label(state.bytes)}. Complete files are kept. Free "
            f"{size_label(state.bytes - state.bytes_done)}, and run the line again."
        ) from None
    checked = sum(file.is_checked for file in fetched)
    return _create_result_builder(sync_plan, meter, failed, checked)


def _create_result_builder(
    sync_plan: SyncPlan, meter: Meter, failed: list[str], checked: int = 0
) -> Callable[[int], TransferResult]:
    """Return a function of the number of removed files that returns the result."""
    meter.tell()
    state = meter.state()
    skipped = (*sync_plan.left_out, *failed)
    return lambda removed: TransferResult(
        state.files_done, state.bytes_done, sync_plan.same, removed, state.seconds, skipped, checked
    )


def _refuse_replacing(local: Path, names: list[str]) -> None:
    if names:
        more = f", and {len(names) - 1:,} more" if len(names) > 1 else ""
        raise StorageError(
            f"'{local / names[0]}' already exists with other content{more}. Nothing was downloaded. To replace "
            "existing files, add --overwrite. To keep them, choose another folder."
        )


def fetch_folder(storage: BucketFiles, folder: str, local: Path, how: TransferOptions) -> Path:
    """Download a folder and return its local path; warn of skipped objects."""
    for line in download_folder(storage, folder, local, how).left_out:
        warnings.warn(one_line(f"Skipped: {line}"), UserWarning, stacklevel=3)
    return local


def _explain_skip(local: Path, name: str, key: str, how: TransferOptions) -> str:
    """Return why an object is skipped in the download of its folder, with the line that downloads it; empty if not."""
    if not is_file_name(name):
        return f"{key!r} can't be a file name here"
    path = local / name
    reason = explain_skip(path, name, include_hidden=how.include_hidden)
    return f"{key!r} {reason}. Check it, then: %lk_get {quote(key)} {quote(str(path))}" if reason else ""


def _run_transfers(
    sync_plan: SyncPlan, act: Callable[[PlanEntry, Meter], None], progress: Watcher | None
) -> Callable[[int], TransferResult]:
    """Transfer all files of a plan: small files in parallel, then each large file in parts."""
    meter, failed = Meter(len(sync_plan.copy), sync_plan.size, progress), list[str]()

    def move(entry: PlanEntry) -> None:
        try:
            act(entry, meter)
        except OSError as error:
            failed.append(f"{entry.name}: {error.strerror or error}")
        else:
            meter.end_file()

    small = (entry for entry in sync_plan.copy if entry.size <= PART)
    call_for_each(small, move, FILES_AT_ONCE, halt=CancelToken(), tick=meter.tell)
    for entry in sync_plan.copy:
        if entry.size > PART:
            move(entry)
    return _create_result_builder(sync_plan, meter, failed)


def _refuse_deleting_all(how: TransferOptions, sync_plan: SyncPlan, *, source: str, is_empty: bool) -> None:
    if how.delete and is_empty and sync_plan.extra:
        raise StorageError(
            f"{source} has no files, so {count_label(len(sync_plan.extra), 'file')} of the target would be deleted. "
            "Nothing was deleted."
        )


def _map_objects_by_name(storage: BucketFiles, prefix: str) -> dict[str, ObjectInfo]:
    return {info.key[len(prefix) :]: info for info in storage.ls(prefix)}


def _build_plan_entry(name: str, info: ObjectInfo) -> PlanEntry:
    return PlanEntry(name, info.size, info.modified.timestamp() if info.modified else 0.0, info.etag)


def _list_local_files(folder: Path) -> tuple[dict[str, PlanEntry], list[str]]:
    """Return the files below a folder by name, and a reason for each file that can't be an object."""
    entries, skipped = dict[str, PlanEntry](), list[str]()
    for path in _walk_files(folder, skipped):
        name = path.relative_to(folder).as_posix()
        try:
            facts = path.stat()
        except OSError as error:
            skipped.append(f"{name}: {error.strerror}")
            continue
        if not path.is_file() or not is_key(name):
            skipped.append(f"{name!r} can't be a key")
        elif not _download.is_unfinished(path.name):
            entries[name] = PlanEntry(name, facts.st_size, facts.st_mtime)
    return entries, skipped


def _walk_files(folder: Path, skipped: list[str]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        skipped.append(f"{error.filename}: {error.strerror}")

    for at, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        yield from (Path(at, name) for name in sorted(names))


def _unlink_file(path: Path) -> int:
    try:
        path.unlink()
    except OSError:
        return 0
    return 1
