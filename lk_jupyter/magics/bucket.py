"""``%lk_bucket``: size and cost of the bucket, and the bucket through the API, for networks that block storage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api._client import Client
from lk_jupyter.api._files import Upload
from lk_jupyter.api.storage import BulkUploadBody, UploadFileBody
from lk_jupyter.config.files import working_folder
from lk_jupyter.config.settings import setting
from lk_jupyter.errors import LkError, StorageError, UsageError
from lk_jupyter.journal.journal import journal
from lk_jupyter.magics._engine.ask import is_sure
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.live import Note
from lk_jupyter.options.fields import limit, option, word, yes
from lk_jupyter.options.runs import Options
from lk_jupyter.protocol.bucket import CALLS, CHECKPOINTS, PACKAGES, RETURNED, STAGES, VALUES
from lk_jupyter.runs.submit.upload import is_older
from lk_jupyter.session import Session, current
from lk_jupyter.storage._plan import file_name
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.storage import SCHEME
from lk_jupyter.storage.usage import FolderUsage
from lk_jupyter.text.units import count_label, moment_label, size_label

lk_bucket = Subcommands(
    "lk_bucket",
    "Show size and cost of the bucket, or transfer its files through the API if the network blocks storage.\n\n"
    "Through the API, each file is one request. If storage can be reached, %lk_ls, %lk_put, %lk_get and %lk_rm are "
    "faster and resume after a crash.",
)


class ListBucketOptions(Options):
    """Options of ``%lk_bucket list``."""

    prefix: str = word("List only keys that start with these characters.", "")
    limit: int = limit(100)


class PutBucketOptions(Options):
    """Options of ``%lk_bucket put``."""

    files: list[str] = word("Files on this machine.", metavar="FILE", completer="paths")
    to: str = option("", "Folder in the bucket, or the key of a single file.", metavar="KEY")


class GetBucketOptions(Options):
    """Options of ``%lk_bucket get``."""

    key: str = word("Key of the file.")
    target: str = word("File or folder on this machine.", ".", completer="paths")


class DeleteBucketOptions(Options):
    """Options of ``%lk_bucket delete``."""

    key: str = word("Key of a file, or a folder ending with a slash.")
    yes: bool = yes()


class UsageOptions(Options):
    """Options of ``%lk_bucket usage``."""

    folder: str = word("Folder whose subfolders are listed. Default: the entire bucket.", "", completer="keys")
    prune: int | None = option(
        None, "Delete run checkpoints that are older than this number of days.", metavar="DAYS", ge=1, le=3650
    )
    yes: bool = yes()


#: Folder that runs use → its content.
_CONTENTS = {
    CHECKPOINTS: "checkpoints of runs",
    VALUES: "variables for runs",
    RETURNED: "results of runs",
    CALLS: "calls of functions",
    STAGES: "lists of staged files",
    PACKAGES: "packages of runs",
}


@lk_bucket.verb("usage", UsageOptions)
def _usage(options: UsageOptions, _shell: InteractiveShell) -> None:
    """Show files, size and cost of each folder. --prune deletes old checkpoints after your confirmation.

    Stored files cost credits until you delete them, even while nothing runs.

    Examples::

        %lk_bucket usage
        %lk_bucket usage data/
        %lk_bucket usage --prune 7
    """
    session = current()
    if options.prune is not None:
        _prune_checkpoints(session, options)
        return
    usages = session.storage.usage(_parse_key(options.folder))
    price = setting("storage_price")
    total = FolderUsage("Total", sum(row.files for row in usages), sum(row.bytes for row in usages))
    rows = [_build_usage_row(row, price) for row in [*usages, *([total] if len(usages) > 1 else [])]]
    display(
        Table(
            _USAGE_COLUMNS[: 5 if price else 4],
            rows,
            note="\n".join(_yield_usage_notes(session, usages, price)),
            right=_NUMBERS,
        )
    )


_USAGE_COLUMNS = ("Folder", "Files", "Size", "Last change", "Credits per month")
_NUMBERS = frozenset({"Files", "Size", "Credits per month"})


def _build_usage_row(usage: FolderUsage, price: Decimal | None) -> tuple[str, ...]:
    content = _CONTENTS.get(usage.folder)
    name = f"{usage.folder} ({content})" if content else usage.folder or "(top)"
    row = (name, f"{usage.files:,}", size_label(usage.bytes), moment_label(usage.modified))
    return (*row, f"{price * usage.bytes / 10**9:.2f}") if price else row


def _yield_usage_notes(session: Session, usages: list[FolderUsage], price: Decimal | None) -> Iterator[str]:
    if not usages:
        yield "No files. Upload one: %lk_put FILE data/"
    if not price:
        yield "The API publishes no price for stored files. If you know the price: %lk_config storage_price CREDITS"
    if any(usage.folder == CHECKPOINTS for usage in usages):
        yield "Delete checkpoints that are older than 7 days: %lk_bucket usage --prune 7"
    with suppress(LkError):
        if volumes := list(session.client.block.list()):
            size = sum(each.size_gb or 0 for each in volumes)
            count = count_label(len(volumes), "volume")
            yield f"Also costs credits, even if no VM uses it: {count} with {size:,} GB. List: %lk_volumes"


def _prune_checkpoints(session: Session, options: UsageOptions) -> None:
    storage = session.storage
    age = timedelta(days=options.prune or 0)
    active = {entry.token for entry in journal().entries(going_on=True)}
    by_run: defaultdict[str, list[ObjectInfo]] = defaultdict(list)
    for info in storage.ls(CHECKPOINTS):  # TOKEN.tar, or the files in TOKEN/
        by_run[info.key.removeprefix(CHECKPOINTS).partition("/")[0].removesuffix(".tar")].append(info)
    old = [
        infos
        for token, infos in by_run.items()
        if token not in active and all(is_older(storage, info, age) for info in infos)
    ]
    if not old:
        display(Note(f"No checkpoints of ended runs are older than {options.prune} days. Nothing was deleted."))
        return
    size = size_label(sum(info.size for infos in old for info in infos))
    what = f"{len(old):,} checkpoint{'s' * (len(old) != 1)} ({size})"
    if is_sure(options, f"Delete {what} permanently? Their runs can't be resumed.", "Nothing was deleted."):
        storage.remove_all(info.key for infos in old for info in infos)
        display(Note(f"Deleted {what}."))


@lk_bucket.verb("list", ListBucketOptions)
def _list(options: ListBucketOptions, _shell: InteractiveShell) -> None:
    """List files with their sizes and times.

    Example: ``%lk_bucket list data/``
    """
    files = list(current().client.storage.list_files(_parse_key(options.prefix), max_files=options.limit))
    rows = [
        (each.key, "" if each.size is None else size_label(each.size), moment_label(each.last_modified))
        for each in files
    ]
    full = len(rows) == options.limit
    note = (
        f"There may be more than {count_label(options.limit, 'file')}. To list more, use --limit."
        if full
        else ""
        if rows
        else ("No files yet. Upload one: %lk_bucket put FILE")
    )
    display(Table(("Key", "Size", "Written"), rows, note=note, right=frozenset({"Size"})))


@lk_bucket.verb("put", PutBucketOptions)
def _put(options: PutBucketOptions, _shell: InteractiveShell) -> None:
    """Upload files of this machine.

    Examples::

        %lk_bucket put train.csv --to data/train.csv
        %lk_bucket put a.csv b.csv --to data/
    """
    paths, key, client = [Path(name).expanduser() for name in options.files], _parse_key(options.to), current().client
    for path in paths:
        if not path.is_file():
            raise UsageError(f"No file '{path}' in {working_folder()}. Nothing was sent.")
    if len(paths) > 1:
        _upload_files(client, paths, key)
        return
    to = key + paths[0].name if key.endswith("/") else key or paths[0].name
    stored = client.storage.upload(UploadFileBody(file=Upload(paths[0])), key=to)
    display(Note(f"Uploaded {SCHEME}{stored.key or to}, {size_label(paths[0].stat().st_size)}."))


def _upload_files(client: Client, paths: list[Path], key: str) -> None:
    folder = f"{key.rstrip('/')}/" if key else None
    upload = client.storage.upload_bulk(BulkUploadBody(files=[Upload(path) for path in paths], folder_prefix=folder))
    failed = [f"{each.key}: {each.error_message or 'not uploaded'}" for each in upload if each.status != "success"]
    display(Note(f"Uploaded {upload.successful_uploads} of {upload.total_files} files to {SCHEME}{folder or ''}."))
    if failed:
        raise StorageError(f"{len(failed)} files weren't uploaded: {'; '.join(failed)}. Upload them again.")


@lk_bucket.verb("get", GetBucketOptions)
def _get(options: GetBucketOptions, _shell: InteractiveShell) -> None:
    """Download a file.

    Example: ``%lk_bucket get results/model.pt``
    """
    key, target = _parse_key(options.key), Path(options.target).expanduser()
    path = target / file_name(key) if target.is_dir() else target
    part = path.with_name(path.name + ".part")
    with current().client.storage.download(key) as download, part.open("wb") as file:
        for piece in download:
            file.write(piece)
    part.replace(path)
    display(Note(f"Downloaded {path}, {size_label(path.stat().st_size)}."))


@lk_bucket.verb("delete", DeleteBucketOptions)
def _delete(options: DeleteBucketOptions, _shell: InteractiveShell) -> None:
    """Delete a file, or a folder with its contents, after your confirmation.

    Example: ``%lk_bucket delete data/old/ --yes``
    """
    key, storage = _parse_key(options.key), current().client.storage
    if not key.strip("/"):
        raise UsageError("%lk_bucket delete needs a key or a folder; it doesn't delete the entire bucket.")
    if not is_sure(options, f"Delete {SCHEME}{key} permanently?", "Nothing was deleted."):
        return
    if key.endswith("/"):
        storage.delete_folder(key)
    else:
        storage.delete(key)
    display(Note(f"Deleted {SCHEME}{key}."))


def _parse_key(text: str) -> str:
    return text.removeprefix(SCHEME).lstrip("/")
