"""``%lk_files``: the files of batches in the cloud."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.api.files import BatchFile
from lk_jupyter.errors import UsageError
from lk_jupyter.magics._engine.ask import is_sure
from lk_jupyter.magics._engine.parser import Subcommands
from lk_jupyter.magics._engine.several import apply_to_each
from lk_jupyter.magics._engine.tables import Table
from lk_jupyter.magics._output.live import Note
from lk_jupyter.options.fields import limit, option, word, yes
from lk_jupyter.options.runs import Options
from lk_jupyter.session import current
from lk_jupyter.storage._plan import file_name
from lk_jupyter.text.units import moment_label, size_label

lk_files = Subcommands("lk_files", "List, show, download and delete the files of batches: requests and answers.")


class ListFilesOptions(Options):
    """Options of ``%lk_files list``."""

    purpose: str | None = option(None, "Only files of this purpose: batch, batch_output or batch_errors.")
    limit: int = limit(50)


class FileOptions(Options):
    """Options of ``%lk_files show``."""

    file: str = word("Id of the file.", completer="batch_files", metavar="ID")


class GetFileOptions(Options):
    """Options of ``%lk_files get``."""

    file: str = word("Id of the file.", completer="batch_files", metavar="ID")
    target: str | None = word("File on this machine. Default: the name of the file.", None, completer="paths")


class DeleteFileOptions(Options):
    """Options of ``%lk_files delete``."""

    files: list[str] = word("Ids of files.", completer="batch_files", metavar="ID")
    yes: bool = yes()


@lk_files.verb("list", ListFilesOptions)
def _list(options: ListFilesOptions, _shell: InteractiveShell) -> None:
    """List files, newest first.

    Example: ``%lk_files list --purpose batch_output``
    """
    page = current().client.files.list(options.purpose, limit=min(options.limit, 100))
    rows = [_build_file_row(each) for each in islice(page.all(), options.limit)]
    note = "" if rows else "No files. A batch creates files: %lk_batch"
    display(Table(("File", "Name", "Purpose", "Size", "Made"), rows, note=note, right=frozenset({"Size"})))


@lk_files.verb("show", FileOptions)
def _show(options: FileOptions, _shell: InteractiveShell) -> None:
    """Show the details of a file.

    Example: ``%lk_files show file-3f0c``
    """
    each = current().client.files.get(options.file)
    display(Table(("File", "Name", "Purpose", "Size", "Made"), [_build_file_row(each)], right=frozenset({"Size"})))


@lk_files.verb("get", GetFileOptions)
def _get(options: GetFileOptions, _shell: InteractiveShell) -> None:
    """Download a file that contains a JSON object on each line.

    Example: ``%lk_files get file-3f0c answers.jsonl``
    """
    files = current().client.files
    path = Path(options.target).expanduser() if options.target else Path(file_name(files.get(options.file).filename))
    if path.exists():
        raise UsageError(
            f"'{path}' already exists. Nothing was downloaded. Give another name, or delete the file first."
        )
    with files.content(options.file) as download:
        path.write_bytes(download.read())
    display(Note(f"Downloaded {path}, {size_label(path.stat().st_size)}."))


@lk_files.verb("delete", DeleteFileOptions)
def _delete(options: DeleteFileOptions, _shell: InteractiveShell) -> None:
    """Delete files permanently, after your confirmation.

    Example: ``%lk_files delete file-3f0c --yes``
    """
    names = ", ".join(options.files)
    if not is_sure(options, f"Delete {names} permanently?", "Nothing was deleted."):
        return
    files = current().client.files
    apply_to_each(
        options.files,
        files.delete,
        str,
        "Files that may still be stored: {0}. Check: %lk_files. Delete them: %lk_files delete {0}",
    )
    display(Note(f"Deleted {names}."))


def _build_file_row(each: BatchFile) -> tuple[str, ...]:
    size = "" if each.bytes is None else size_label(each.bytes)
    return (each.id, each.filename, each.purpose, size, moment_label(each.created_at, "%d %b %H:%M"))
