"""``%lk_bucket``: the bucket through the API, for networks that block storage."""

from __future__ import annotations

from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api._client import Client
from lk_jupyter.api._files import Upload
from lk_jupyter.api.storage import BulkUploadBody, UploadFileBody
from lk_jupyter.config.files import working_folder
from lk_jupyter.errors import StorageError, UsageError
from lk_jupyter.magics._engine.ask import is_sure
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.live import Note
from lk_jupyter.options.fields import limit, option, word, yes
from lk_jupyter.options.runs import Options
from lk_jupyter.session import current
from lk_jupyter.storage._plan import file_name
from lk_jupyter.storage.storage import SCHEME
from lk_jupyter.text.units import moment_label, size_label

lk_bucket = Subcommands(
    "lk_bucket",
    "Transfer files of the bucket through the API, if the network blocks storage.\n\nEach file is one request. "
    "If storage can be reached, %lk_ls, %lk_put, %lk_get and %lk_rm are faster and resume after a crash.",
)


class ListBucketOptions(Options):
    """Options of ``%lk_bucket list``."""

    prefix: str = word("First characters of the keys.", "")
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


@lk_bucket.verb("list", ListBucketOptions)
def _list(options: ListBucketOptions, _shell: InteractiveShell) -> None:
    """List files with their sizes and times.

    Example: ``%lk_bucket list data/``
    """
    files = list(current().client.storage.list_files(_key(options.prefix), max_files=options.limit))
    rows = [
        (each.key, "" if each.size is None else size_label(each.size), moment_label(each.last_modified))
        for each in files
    ]
    full = len(rows) == options.limit
    note = (
        f"There may be more than {options.limit}: use --limit."
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
    paths, key, client = [Path(name).expanduser() for name in options.files], _key(options.to), current().client
    for path in paths:
        if not path.is_file():
            raise UsageError(f"No file '{path}' in {working_folder()}. Nothing was sent.")
    if len(paths) > 1:
        _put_all(client, paths, key)
        return
    to = key + paths[0].name if key.endswith("/") else key or paths[0].name
    stored = client.storage.upload(UploadFileBody(file=Upload(paths[0])), key=to)
    display(Note(f"Uploaded {SCHEME}{stored.key or to}, {size_label(paths[0].stat().st_size)}."))


def _put_all(client: Client, paths: list[Path], key: str) -> None:
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
    key, target = _key(options.key), Path(options.target).expanduser()
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
    key, storage = _key(options.key), current().client.storage
    if not key.strip("/"):
        raise UsageError("%lk_bucket delete needs a key or a folder; it doesn't delete the entire bucket.")
    if not is_sure(options, f"Delete {SCHEME}{key} permanently?", "Nothing was deleted."):
        return
    if key.endswith("/"):
        storage.delete_folder(key)
    else:
        storage.delete(key)
    display(Note(f"Deleted {SCHEME}{key}."))


def _key(text: str) -> str:
    return text.removeprefix(SCHEME).lstrip("/")
