"""The commands on the files of the bucket."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lk_jupyter.cli.output import DONE, CommandOutput
from lk_jupyter.errors import UsageError
from lk_jupyter.session import current
from lk_jupyter.storage.remote import remote_path
from lk_jupyter.storage.storage import SCHEME

if TYPE_CHECKING:
    from lk_jupyter.cli.parser import Arguments


def ls(arguments: Arguments, output: CommandOutput) -> int:
    """Print the objects of a folder of the bucket."""
    options = arguments.options
    folder = _parse_key(options.folder)
    for info in islice(current().storage.ls(folder, recursive=options.recursive), options.limit):
        moment = info.modified.isoformat() if info.modified else None
        text = f"{info.size:>12}  {moment or '':32}  {info.key}"
        output.emit("file", text, key=info.key, size=info.size, modified=moment, path=remote_path(info.key))
    return DONE


def put(arguments: Arguments, output: CommandOutput) -> int:
    """Upload a file or a folder; objects with other content are replaced only with ``--overwrite``."""
    options = arguments.options
    path = Path(options.source).expanduser()
    if not path.exists():
        raise UsageError(f"No file or folder '{options.source}'. Nothing was sent.")
    key = _parse_key(options.key) or path.resolve().name
    if key.endswith("/"):
        key = key.rstrip("/") if path.is_dir() else key + path.resolve().name
    done = current().storage.put(path, key, overwrite=options.overwrite)
    place = remote_path(key)
    output.emit("stored", f"{SCHEME}{key}: {done}. In a run: {place}", key=key, path=place, result=str(done))
    return DONE


def get(arguments: Arguments, output: CommandOutput) -> int:
    """Download a file or a folder."""
    options, storage = arguments.options, current().storage
    key, target = _parse_key(options.key), Path(options.target).expanduser()
    if options.include_hidden and not options.yes and (names := storage.list_skipped_files(key, target)):
        raise UsageError(
            f"Programs that start in {target} may execute {', '.join(names)}. Nothing was downloaded. To "
            "download these files too: --include-hidden --yes"
        )
    path = storage.get(key, options.target, checksum=options.checksum, include_hidden=options.include_hidden)
    output.emit("fetched", str(path), key=_parse_key(options.key), file=str(path))
    return DONE


def _parse_key(text: str) -> str:
    return text.removeprefix(SCHEME).lstrip("/")
