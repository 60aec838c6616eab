"""Where a run finds the bucket: the one place that says so."""

from __future__ import annotations

import os
from typing import Literal

from lk_jupyter.errors import UsageError

Kind = Literal["python", "image", "compose"]

#: Names the folder inside a run, where it is set.
VARIABLE = "LK_STORAGE"

#: The folder of each kind of run. That of image runs is documented; of the others it is our best guess, since
#: the API says nothing: the local cloud has it there, and accounts with another one can set the variable.
FOLDERS: dict[str, str] = {"python": "/mnt/s3", "image": "/mnt/s3", "compose": "/mnt/s3"}


def remote_path(path: str, kind: Kind = "python") -> str:
    """Return the path by which the code of a run opens an object, such as ``/mnt/s3/data/x.parquet``.

    ``path`` is its key, with or without ``lk://``. Inside a run the variable LK_STORAGE decides.
    Raises UsageError for a kind of run that there is not.
    """
    if kind not in FOLDERS:
        raise UsageError(f"kind: {kind!r} is none of {', '.join(FOLDERS)}.")
    folder = os.environ.get(VARIABLE) or FOLDERS[kind]
    return f"{folder.rstrip('/')}/{path.removeprefix('lk://').lstrip('/')}"
