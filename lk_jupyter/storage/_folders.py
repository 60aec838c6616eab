"""Whole folders, both ways: what is there already stays, small files travel many at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lk_jupyter.errors import StorageError
from lk_jupyter.storage import _down
from lk_jupyter.storage._checksum import matches
from lk_jupyter.storage._parts import FILES_AT_ONCE, PART
from lk_jupyter.storage._plan import Entry, Plan, is_file_name, is_key, plan
from lk_jupyter.storage._work import Halt, each
from lk_jupyter.storage.objects import ObjectInfo, Outcome
from lk_jupyter.storage.progress import Meter, Watcher

if TYPE_CHECKING:
    from lk_jupyter.storage.storage import Storage


@dataclass(frozen=True)
class How:
    """Who watches, whether what is only in the target goes, and whether all is compared by its content."""

    progress: Watcher | None = None
    delete: bool = False
    checksum: bool = False


def up(
    storage: Storage,
    here: Path,
    folder: str,
    how: How,
) -> Outcome:
    """Make a folder of the bucket like one here."""
    if not here.is_dir():
        raise StorageError(f"There is no folder {here}.")
    prefix = f"{folder}/" if folder else ""
    files, left_out = _files(here)
    there = {name: _entry(name, info) for name, info in _objects(storage, prefix).items()}
    todo = plan(
        files,
        there,
        is_equal=lambda mine, other: matches(here / mine.name, other.etag),
        checksum=how.checksum,
        left_out=left_out,
    )
    _guard(how, todo, source=str(here), is_empty=not files)

    def send(entry: Entry, meter: Meter) -> None:
        storage._put_file(here / entry.name, prefix + entry.name, meter)

    outcome = _move(todo, send, how.progress)
    return outcome(storage.remove_all(prefix + entry.name for entry in todo.extra) if how.delete else 0)


def down(
    storage: Storage,
    folder: str,
    here: Path,
    how: How,
) -> Outcome:
    """Make a folder here like one of the bucket."""
    prefix = f"{folder}/" if folder else ""
    objects = _objects(storage, prefix)
    if not objects:
        raise StorageError(f"There is nothing in {prefix or 'the bucket'}.")
    here.mkdir(parents=True, exist_ok=True)
    files, _ = _files(here)
    source = {name: _entry(name, info) for name, info in objects.items() if is_file_name(name)}
    todo = plan(
        source,
        files,
        is_equal=lambda theirs, mine: matches(here / mine.name, theirs.etag),
        checksum=how.checksum,
        left_out=(f"{info.key!r} can be no file here" for name, info in objects.items() if name not in source),
    )
    _guard(how, todo, source=prefix, is_empty=not source)
    _down.check_room(here, f"What is to come from {prefix or 'the bucket'}", todo.size)

    def fetch(entry: Entry, meter: Meter) -> None:
        target = here / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        info = objects[entry.name]
        _down.fetch_file(storage._read, info, target, meter, checksum=how.checksum)

    outcome = _move(todo, fetch, how.progress)
    _down.clear_up(here)
    return outcome(sum(_unlinked(here / entry.name) for entry in todo.extra) if how.delete else 0)


def _move(todo: Plan, act: Callable[[Entry, Meter], None], progress: Watcher | None) -> Callable[[int], Outcome]:
    """Move all files of a plan, small ones many at once and then each large one in parts."""
    meter, failed = Meter(len(todo.copy), todo.size, progress), list[str]()

    def move(entry: Entry) -> None:
        try:
            act(entry, meter)
        except OSError as error:
            failed.append(f"{entry.name}: {error.strerror or error}")
        else:
            meter.end_file()

    small = (entry for entry in todo.copy if entry.size <= PART)
    each(small, move, FILES_AT_ONCE, halt=Halt(), tick=meter.tell)
    for entry in todo.copy:
        if entry.size > PART:
            move(entry)
    meter.tell()
    state = meter.state()
    left_out = (*todo.left_out, *failed)
    return lambda removed: Outcome(state.files_done, state.bytes_done, todo.same, removed, state.seconds, left_out)


def _guard(how: How, todo: Plan, *, source: str, is_empty: bool) -> None:
    if how.delete and is_empty and todo.extra:
        raise StorageError(
            f"{source} has no files, so all {len(todo.extra):,} of the target would be removed. Nothing was."
        )


def _objects(storage: Storage, prefix: str) -> dict[str, ObjectInfo]:
    return {info.key[len(prefix) :]: info for info in storage.ls(prefix)}


def _entry(name: str, info: ObjectInfo) -> Entry:
    return Entry(name, info.size, info.modified.timestamp() if info.modified else 0.0, info.etag)


def _files(folder: Path) -> tuple[dict[str, Entry], list[str]]:
    """Return the files below a folder by their names, and what can be no object."""
    found, left_out = dict[str, Entry](), list[str]()
    for path in _walk(folder, left_out):
        name = path.relative_to(folder).as_posix()
        try:
            facts = path.stat()
        except OSError as error:
            left_out.append(f"{name}: {error.strerror}")
            continue
        if not path.is_file() or not is_key(name):
            left_out.append(f"{name!r} can be no object")
        elif not _down.is_unfinished(path.name):
            found[name] = Entry(name, facts.st_size, facts.st_mtime)
    return found, left_out


def _walk(folder: Path, left_out: list[str]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        left_out.append(f"{error.filename}: {error.strerror}")

    for at, folders, names in os.walk(folder, onerror=note):
        folders.sort()
        yield from (Path(at, name) for name in sorted(names))


def _unlinked(path: Path) -> int:
    try:
        path.unlink()
    except OSError:
        return 0
    return 1
