"""``%lk_files``: the files of batches, as the cloud keeps them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.files import BatchFile
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._ask import ask
from lk_jupyter.magics._fields import limit, option, word, yes
from lk_jupyter.magics._line import Note
from lk_jupyter.magics._parser import Verbs
from lk_jupyter.magics._views import Table, say
from lk_jupyter.options import Options
from lk_jupyter.runs.session import current
from lk_jupyter.storage.progress import size_label

lk_files = Verbs("lk_files", "Look at the files of requests and answers that batches leave, and delete them.")


class ListOptions(Options):
    """Options of ``%lk_files list``."""

    purpose: str | None = option(None, "Only files of this purpose: batch, batch_output or batch_errors.")
    limit: int = limit(50)


class FileOptions(Options):
    """Options of ``%lk_files show``."""

    file: str = word("Id of the file.", completer="batch_files", metavar="ID")


class GetOptions(Options):
    """Options of ``%lk_files get``."""

    file: str = word("Id of the file.", completer="batch_files", metavar="ID")
    target: str | None = word("File on this machine. Default: its own name.", None, completer="paths")


class DeleteOptions(Options):
    """Options of ``%lk_files delete``."""

    files: list[str] = word("Ids of files.", completer="batch_files", metavar="ID")
    yes: bool = yes()


@lk_files.verb("list", ListOptions)
def _list(options: ListOptions, _shell: InteractiveShell) -> None:
    """List files, newest first.

    Example: ``%lk_files list --purpose batch_output``
    """
    page = current().client.files.list(options.purpose, limit=min(options.limit, 100))
    rows = [_row(each) for each in islice(page.all(), options.limit)]
    note = "" if rows else "No files. %lk_batch makes some."
    display(Table(("File", "Name", "Purpose", "Size", "Made"), rows, note=note, right=frozenset({"Size"})))


@lk_files.verb("show", FileOptions)
def _show(options: FileOptions, _shell: InteractiveShell) -> None:
    """Tell what is known of a file.

    Example: ``%lk_files show file-3f0c``
    """
    each = current().client.files.get(options.file)
    display(Table(("File", "Name", "Purpose", "Size", "Made"), [_row(each)], right=frozenset({"Size"})))


@lk_files.verb("get", GetOptions)
def _get(options: GetOptions, _shell: InteractiveShell) -> None:
    """Fetch a file, one JSON object a line.

    Example: ``%lk_files get file-3f0c answers.jsonl``
    """
    files = current().client.files
    path = Path(options.target or Path(files.get(options.file).filename).name).expanduser()
    if path.exists():
        raise UsageError(f"{path} is there already. Give another name, or delete it first.")
    with files.content(options.file) as download:
        path.write_bytes(download.read())
    display(Note(f"Fetched {path}, {size_label(path.stat().st_size)}."))


@lk_files.verb("delete", DeleteOptions)
def _delete(options: DeleteOptions, _shell: InteractiveShell) -> None:
    """Delete files for good. Asks first.

    Example: ``%lk_files delete file-3f0c --yes``
    """
    names = ", ".join(options.files)
    if not options.yes and not ask(f"Delete {names} for good? [y/N] "):
        say("Nothing was deleted. --yes deletes without asking.")
        return
    files = current().client.files
    for each in options.files:
        files.delete(each)
    display(Note(f"Deleted {names}."))


def _row(each: BatchFile) -> tuple[str, ...]:
    made = f"{each.created_at.astimezone():%d %b %H:%M}"
    return (each.id, each.filename, each.purpose, size_label(each.bytes), made)
