"""``%lk_bucket``: the bucket through the API itself, where a network lets nothing else through."""

from __future__ import annotations

from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api._client import Client
from lk_jupyter.api._files import Upload
from lk_jupyter.api.storage import BulkUploadBody, UploadFileBody
from lk_jupyter.errors import StorageError, UsageError
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._fields import limit, option, word, yes
from lk_jupyter.magics._line import Note
from lk_jupyter.magics._parser import Verbs
from lk_jupyter.magics._views import Table, say
from lk_jupyter.options import Options
from lk_jupyter.runs.session import current
from lk_jupyter.storage.progress import size_label
from lk_jupyter.storage.storage import SCHEME

lk_bucket = Verbs(
    "lk_bucket",
    "Reach the bucket by the API alone, where a network lets no storage through.\n\nFiles go whole. Where the storage "
    "can be reached, %lk_ls, %lk_put, %lk_get and %lk_rm are faster, and go on after a crash.",
)


class ListOptions(Options):
    """Options of ``%lk_bucket list``."""

    prefix: str = word("How the keys begin.", "")
    limit: int = limit(100)


class PutOptions(Options):
    """Options of ``%lk_bucket put``."""

    files: list[str] = word("Files on this machine.", metavar="FILE", completer="paths")
    to: str = option("", "Folder in the bucket, or the key of a single file.", metavar="KEY")


class GetOptions(Options):
    """Options of ``%lk_bucket get``."""

    key: str = word("Key of the object.")
    target: str = word("File or folder on this machine.", ".", completer="paths")


class DeleteOptions(Options):
    """Options of ``%lk_bucket delete``."""

    key: str = word("Key of an object, or a folder with a slash at its end.")
    yes: bool = yes()


@lk_bucket.verb("list", ListOptions)
def _list(options: ListOptions, _shell: InteractiveShell) -> None:
    """List objects with their sizes and times.

    Example: ``%lk_bucket list data/``
    """
    found = list(current().client.storage.list_files(_key(options.prefix), max_files=options.limit))
    rows = [(each.key, size_label(each.size), f"{each.last_modified.astimezone():%d %b %Y %H:%M}") for each in found]
    full = len(rows) == options.limit
    note = f"There may be more than {options.limit}: --limit." if full else "" if rows else "Nothing there yet."
    display(Table(("Key", "Size", "Written"), rows, note=note, right=frozenset({"Size"})))


@lk_bucket.verb("put", PutOptions)
def _put(options: PutOptions, _shell: InteractiveShell) -> None:
    """Store files of this machine.

    Examples::

        %lk_bucket put train.csv --to data/train.csv
        %lk_bucket put a.csv b.csv --to data/
    """
    paths, key, client = [Path(name).expanduser() for name in options.files], _key(options.to), current().client
    for path in paths:
        if not path.is_file():
            raise UsageError(f"There is no file {path} here ({Path.cwd()}). Nothing was sent.")
    if len(paths) > 1:
        _put_all(client, paths, key)
        return
    to = key + paths[0].name if key.endswith("/") else key or paths[0].name
    stored = client.storage.upload(UploadFileBody(file=Upload(paths[0])), key=to)
    display(Note(f"Stored {SCHEME}{stored.key}, {size_label(stored.size)}."))


def _put_all(client: Client, paths: list[Path], key: str) -> None:
    folder = f"{key.rstrip('/')}/" if key else None
    told = client.storage.upload_bulk(BulkUploadBody(files=[Upload(path) for path in paths], folder_prefix=folder))
    failed = [f"{each.key}: {each.error_message or 'not stored'}" for each in told if each.status != "success"]
    display(Note(f"Stored {told.successful_uploads} of {told.total_files} files in {SCHEME}{folder or ''}."))
    if failed:
        raise StorageError(f"{len(failed)} files were not stored: {'; '.join(failed)}. Put those again.")


@lk_bucket.verb("get", GetOptions)
def _get(options: GetOptions, _shell: InteractiveShell) -> None:
    """Fetch one object.

    Example: ``%lk_bucket get results/model.pt``
    """
    key, target = _key(options.key), Path(options.target).expanduser()
    path = target / key.rpartition("/")[2] if target.is_dir() else target
    part = path.with_name(path.name + ".part")
    with current().client.storage.download(key) as download, part.open("wb") as file:
        for piece in download:
            file.write(piece)
    part.replace(path)
    display(Note(f"Fetched {path}, {size_label(path.stat().st_size)}."))


@lk_bucket.verb("delete", DeleteOptions)
def _delete(options: DeleteOptions, _shell: InteractiveShell) -> None:
    """Delete an object, or a folder with all that is in it. Asks first.

    Example: ``%lk_bucket delete data/old/ --yes``
    """
    key, storage = _key(options.key), current().client.storage
    if not key.strip("/"):
        raise UsageError("%lk_bucket delete: name what is to be deleted; the whole bucket is not deleted by it.")
    if not options.yes and not ask(f"Delete {SCHEME}{key} for good? [y/N] "):
        say("Nothing was deleted. --yes deletes without asking.")
        return
    if key.endswith("/"):
        storage.delete_folder(key)
    else:
        storage.delete(key)
    display(Note(f"Deleted {SCHEME}{key}."))


def _key(text: str) -> str:
    return text.removeprefix(SCHEME).lstrip("/")
