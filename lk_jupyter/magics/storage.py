"""``%lk_ls``, ``%lk_put``, ``%lk_get``, ``%lk_sync``, ``%lk_stage``, ``%lk_rm``: the bucket from a notebook."""

from __future__ import annotations

import glob
import shlex
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from types import TracebackType

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from lk_jupyter.config.files import working_folder
from lk_jupyter.errors import NoSuchObject, ObjectExists, UsageError
from lk_jupyter.magics._engine.ask import ask, is_sure
from lk_jupyter.magics._engine.parser import magic
from lk_jupyter.magics._engine.tables import Table, show_text
from lk_jupyter.magics._output.live import LiveOutput, Note, StatusLine, Text
from lk_jupyter.options.storage import GetOptions, LsOptions, PutOptions, RmOptions, StageOptions, SyncOptions
from lk_jupyter.runs.interrupts import is_interrupt
from lk_jupyter.session import current
from lk_jupyter.storage._plan import file_name
from lk_jupyter.storage.objects import ObjectInfo
from lk_jupyter.storage.progress import Progress
from lk_jupyter.storage.remote import remote_path
from lk_jupyter.storage.storage import SCHEME, Storage
from lk_jupyter.text.units import count_label, size_label
from lk_jupyter.views.bars import Bar, Rows

_PATTERN = set("*?[")

#: Skipped names that the output lists.
_NAMED = 5


class TransferView:
    """The view of a transfer: a bar while active, a line at the end.

    A context manager: an error or an interrupt inside replaces the bar by a message.
    """

    def __init__(
        self, shell: InteractiveShell, label: str, after_interrupt: str = "Incomplete files weren't kept."
    ) -> None:
        self._label = label
        self._after_interrupt = after_interrupt
        self._output = LiveOutput(shell)

    def __enter__(self) -> TransferView:  # noqa: PYI034 (typing has no Self in Python 3.10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if is_interrupt(error):
            self._output.show(StatusLine("cancelled", [self._label], self._after_interrupt), now=True)
        elif error is not None:
            self._output.settle(StatusLine("failed", [self._label]))

    def show(self, progress: Progress) -> None:
        """Show the progress."""
        self._output.show(Rows([Bar(self._label, progress.share, 1.0, f"{self._label} | {progress}")]))

    def end(self, state: str, facts: list[str], skipped: tuple[str, ...] = ()) -> None:
        """Replace the bar by the result, and list skipped files."""
        more = f"and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else ""
        lines = [f"Skipped: {line}" for line in skipped[:_NAMED]]
        line = StatusLine(state, facts, "\n".join(filter(None, [*lines, more])))
        line.mark = "✓"
        self._output.show(line, now=True)


@magic(LsOptions)
def lk_ls(options: LsOptions, shell: InteractiveShell) -> None:  # noqa: ARG001 (every magic takes both)
    """List a folder of the bucket: sizes, times, and the path under which a run finds each file.

    Examples::

        %lk_ls
        %lk_ls data/ -r
        %lk_ls "data/*.csv"
        %lk_ls --tree
    """
    storage, folder = current().storage, _parse_key(options.folder)
    if options.tree:
        display(Text(storage.tree(folder, most=options.limit).lines))
        return
    objects = list(islice(_list_objects(storage, folder, recursive=options.recursive), options.limit + 1))
    rows = [_build_object_row(info) for info in objects[: options.limit]]
    note = (
        f"{options.limit} entries are shown; there are more. To see more, set --limit, at most 100000."
        if len(objects) > options.limit
        else ""
    )
    if not rows:
        note = f"No files in {folder or 'the bucket'}. Upload one: %lk_put FILE {folder or 'data/'}"
    display(Table(("Name", "Size", "Written", "In a run"), rows, note=note, right=frozenset({"Size"})))


@magic(PutOptions)
def lk_put(options: PutOptions, shell: InteractiveShell) -> None:
    """Upload files of this machine to the bucket. Files that the bucket already has aren't sent again.

    An existing file with other content is replaced only with ``--overwrite``. If a large upload was cut off, run the
    line again: the upload resumes.

    Examples::

        %lk_put train.csv data/
        %lk_put images data/images
        %lk_put "*.parquet" data/
        %lk_put train.csv data/ --overwrite
    """
    storage, key = current().storage, _parse_key(options.key)
    paths, is_pattern = _list_sources(options.source)
    keys = [(path, _build_key(path, key, has_siblings=is_pattern)) for path in paths]
    if not options.overwrite:
        _require_no_replacement(storage, keys, options)
    for path, to in keys:
        with TransferView(shell, path.name or str(path)) as view:
            done = storage.put(path, to, overwrite=options.overwrite, progress=view.show)
            view.end("stored", [SCHEME + to, str(done), f"in a run: {remote_path(to)}"], done.left_out)


@magic(GetOptions)
def lk_get(options: GetOptions, shell: InteractiveShell) -> None:
    """Download a file or a folder of the bucket. Files of a folder that are already on this machine are skipped.

    Examples::

        %lk_get results/model.pt
        %lk_get results/ results
    """
    storage, key = current().storage, _parse_key(options.key)
    target = Path(options.target).expanduser()
    if key.endswith("/") and options.target == ".":
        target = Path(file_name(key))
    includes_hidden = key.endswith("/") and _confirm_hidden_files(storage, key, target, options)
    with TransferView(shell, key) as view:
        if key.endswith("/"):
            how = {"checksum": options.checksum, "include_hidden": includes_hidden}
            done = storage.sync(SCHEME + key, target, progress=view.show, **how)
            view.end("fetched", [f"{target}/", str(done)], done.left_out)
        else:
            slash = "/" if options.target.endswith("/") else ""  # the slash makes the target a folder
            path = storage.get(key, f"{target}{slash}", progress=view.show, checksum=options.checksum)
            view.end("fetched", [str(path), size_label(path.stat().st_size)])


@magic(SyncOptions)
def lk_sync(options: SyncOptions, shell: InteractiveShell) -> None:
    """Make a target folder equal to a source folder; lk:// marks the folder in the bucket.

    Only files that are newer or differ in size are sent. Nothing is removed without --delete.

    Examples::

        %lk_sync data lk://data
        %lk_sync lk://results results --delete
    """
    storage = current().storage
    source, target = _parse_location(options.source), _parse_location(options.target)
    includes_hidden = isinstance(source, str) and _confirm_hidden_files(storage, source, target, options)
    with TransferView(shell, f"{options.source} → {options.target}") as view:
        how = {"delete": options.delete, "checksum": options.checksum, "include_hidden": includes_hidden}
        done = storage.sync(source, target, progress=view.show, **how)
        run_path = [f"in a run: {remote_path(options.target)}"] if options.target.startswith(SCHEME) else []
        view.end("in sync", [options.target, str(done), *run_path], done.left_out)


@magic(StageOptions)
def lk_stage(options: StageOptions, shell: InteractiveShell) -> None:
    """Copy a folder or a file of the bucket to the disk of this machine, to read it many times.

    Parts are downloaded in parallel. After an interrupt, a crash or a full disk, run the line again: complete files
    and undamaged parts are kept. Small files are always compared with their checksums in the bucket.

    Examples::

        %lk_stage lk://data/imagenet /data/imagenet
        %lk_stage lk://data/train.tar /data --checksum
    """
    key, target = _parse_key(options.source), Path(options.target).expanduser()
    includes_hidden = _confirm_hidden_files(current().storage, key, target, options)
    with TransferView(
        shell, f"{SCHEME}{key} → {target}", "Complete files and parts are kept. To resume, run the line again."
    ) as view:
        done = current().storage.stage(
            key,
            target,
            overwrite=options.overwrite,
            checksum=options.checksum,
            include_hidden=includes_hidden,
            progress=view.show,
        )
        checked = f"{done.checked:,} of {done.files:,} checksums match" if options.checksum and done.files else ""
        view.end("staged", [str(target), str(done), checked], done.left_out)


@magic(RmOptions)
def lk_rm(options: RmOptions, shell: InteractiveShell) -> None:  # noqa: ARG001
    """Delete files of the bucket, or a folder with its contents, after your confirmation.

    Examples::

        %lk_rm data/old.csv
        %lk_rm data/old/ "tmp/*.csv" --yes
    """
    storage = current().storage
    objects = [info for key in options.keys for info in _list_objects_to_delete(storage, _parse_key(key))]
    size = size_label(sum(info.size for info in objects))
    what = objects[0].key if len(objects) == 1 else f"{len(objects):,} files, such as {objects[0].key}"
    if not is_sure(options, f"Delete {what} ({size}) permanently?", "Nothing was deleted."):
        return
    count = storage.remove_all(info.key for info in objects)
    display(Note(f"Deleted {count_label(count, 'file')} ({size})."))


def _confirm_hidden_files(
    storage: Storage, key: str, target: str | Path, options: GetOptions | SyncOptions | StageOptions
) -> bool:
    """Return whether to download files that programs may load automatically too: after a list of all and a yes."""
    names = storage.list_skipped_files(key, target) if options.include_hidden and isinstance(target, Path) else []
    if not names:
        return False
    show_text("\n".join(names))
    question = (
        f"Programs that start in {target} may execute {count_label(len(names), 'listed file')}. Download them too?"
    )
    if options.yes or ask(f"{question} [y/N] "):
        return True
    show_text("These files are skipped. To skip the question: --yes")
    return False


def _require_no_replacement(storage: Storage, keys: list[tuple[Path, str]], options: PutOptions) -> None:
    """Raise ObjectExists before the upload if the upload would replace objects by other content."""
    existing = [key for path, to in keys for key in storage.replaced(path, to)]
    if not existing:
        return
    line = " ".join(map(shlex.quote, filter(None, ["%lk_put", options.source, options.key, "--overwrite"])))
    more = f" So do {len(existing) - 1:,} others." if len(existing) > 1 else ""
    raise ObjectExists(
        f"{SCHEME + existing[0]!r} already exists with other content.{more} Nothing was sent. "
        f"To replace files: {line} To keep both files, give another key."
    )


def _parse_key(text: str) -> str:
    return text.removeprefix(SCHEME).lstrip("/")


def _parse_location(text: str) -> str | Path:
    return text if text.startswith(SCHEME) else Path(text).expanduser()


def _list_sources(text: str) -> tuple[list[Path], bool]:
    """Return the files of a path or a pattern, and whether the text is a pattern. Raises UsageError without a match."""
    path = Path(text).expanduser()
    if path.exists():
        return [path], False
    paths = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207 (of any folder)
    if not paths:
        raise UsageError(f"No file or folder '{text}' in {working_folder()}. Nothing was sent.")
    return paths, True


def _build_key(path: Path, key: str, *, has_siblings: bool) -> str:
    """Return the key of a file, or of the contents of a folder."""
    name = path.resolve().name
    if not key or has_siblings or (key.endswith("/") and not path.is_dir()):
        return f"{key.rstrip('/')}/{name}".lstrip("/")
    return key.rstrip("/")


def _list_objects(storage: Storage, folder: str, *, recursive: bool) -> Iterator[ObjectInfo]:
    """Iterate over the objects of a folder, a pattern or a key."""
    if not _PATTERN.isdisjoint(folder) and not storage.exists(folder):
        yield from _list_matching(storage, folder)
        return
    is_empty = True
    for info in storage.ls(folder, recursive=recursive):
        is_empty = False
        yield info
    if is_empty and folder and not folder.endswith("/") and storage.exists(folder):
        yield storage.info(folder)


def _list_matching(storage: Storage, pattern: str) -> Iterator[ObjectInfo]:
    steady = pattern[: min(pattern.index(sign) for sign in _PATTERN if sign in pattern)]
    below = storage.ls(steady.rpartition("/")[0])
    return (info for info in below if fnmatchcase(info.key, pattern))


def _list_objects_to_delete(storage: Storage, key: str) -> Iterable[ObjectInfo]:
    """Return the objects to delete. Raises UsageError for the entire bucket, NoSuchObject if no object matches."""
    if not key.strip("/"):
        raise UsageError("%lk_rm needs a key, a pattern or a folder; it doesn't delete the entire bucket.")
    if key.endswith("/"):
        objects = list(storage.ls(key))
    elif not _PATTERN.isdisjoint(key) and not storage.exists(key):
        objects = list(_list_matching(storage, key))
    else:
        objects = [storage._read_object_info(key, "deleted", "delete everything in it")]
    if not objects:
        raise NoSuchObject(f"No file of the bucket matches '{key}'.")
    return objects


def _build_object_row(info: ObjectInfo) -> tuple[str, ...]:
    written = f"{info.modified.astimezone():%d %b %Y %H:%M}" if info.modified else ""
    return (info.key, "" if info.is_folder else size_label(info.size), written, remote_path(info.key))
