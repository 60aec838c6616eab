r"""Copy folders of the bucket to the disk of a run before its code starts: check the option, and add the module.

The request contains keys and folders only. The links are added just before the start, see ``submit/stage.py``.

Example:
    >>> _ = session.storage.put(b"1,2\n", "data/staged/a.csv")
    >>> code = "print(open('/tmp/lk-staged/a.csv').read())"
    >>> run = session.run(code, stage=["lk://data/staged:/tmp/lk-staged"])
    >>> run.result().stdout.splitlines()[-2]
    '1,2'
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lk_jupyter.errors import UsageError
from lk_jupyter.protocol.parts import RemoteModule

if TYPE_CHECKING:
    from lk_jupyter.connection.connection import Connection
    from lk_jupyter.options.runs import RunOptions

PART, LINKS = "script.stage", "_lk_stage.json"

_SCHEME = "lk://"

#: The first part of a folder on the volume of ``--volume``.
VOLUME = "volume"


def stage_parts(session: Connection, options: RunOptions) -> list[RemoteModule]:
    """Return the module that copies the folders of ``--stage``; no module without the option.

    Raises UsageError for an invalid pair and for a key without files, StorageError if the bucket can't be used.
    """
    pairs = [_split_pair(text) for text in options.stage]
    if not pairs:
        return []
    mounts = session.assumptions.candidates("bucket_folder_python")
    for key, folder in pairs:
        path = PurePosixPath(folder)
        if not path.is_absolute() and not options.volume:
            raise UsageError(f"--stage: '{folder}' is on a volume. Nothing was sent. Add --volume ID, and --on vm.")
        if any(path.is_relative_to(mount) for mount in mounts):
            raise UsageError(
                f"--stage: '{folder}' may be the bucket. Nothing was sent. Choose another folder, such as /data."
            )
        if not session.storage.is_folder(key) and not session.storage.exists(key):
            raise UsageError(f"--stage: no files in '{_SCHEME}{key}'. Nothing was sent. List the bucket: %lk_ls")
    # without the first slash: the local cloud starts a store for a run whose text contains the folder of the bucket
    return [RemoteModule(PART, {"stage": pairs, "mounts": [folder.lstrip("/") for folder in mounts]})]


def _split_pair(text: str) -> tuple[str, str]:
    """Return key and folder of an option. Raises UsageError."""
    key, _, folder = text.removeprefix(_SCHEME).strip("/").rpartition(":")
    is_place = folder.startswith("/") or folder.split("/")[0] == VOLUME
    if not key.strip("/") or not is_place or ".." in folder.split("/"):
        raise UsageError(
            f"--stage takes KEY:FOLDER with an absolute folder, got '{text}'. Nothing was sent. Example: "
            "--stage lk://data/imagenet:/data. With --volume ID: lk://data/imagenet:volume/data"
        )
    return key.strip("/"), folder
