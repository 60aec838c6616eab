"""Locate the bucket inside a run: the only module with this knowledge."""

from __future__ import annotations

import os
from typing import Literal

from lk_jupyter.config import settings
from lk_jupyter.errors import UsageError

Kind = Literal["python", "image", "compose"]

#: Variable in a run with the path of the bucket's folder.
VARIABLE = "LK_STORAGE"

#: Kind of run → assumption about its folder.
_ASSUMED = {"python": "bucket_folder_python", "image": "bucket_folder_image", "compose": "bucket_folder_image"}


def remote_path(path: str, kind: Kind = "python") -> str:
    """Return the path by which the code of a run opens a file of the bucket.

    ``%lk_check`` finds the folder of a server; ``%lk_config guess.bucket_folder_python /job/work`` sets the folder. In
    a run, the variable ``LK_STORAGE`` decides.

    Args:
        path: Key of the file, with or without ``lk://``.
        kind: Kind of run: ``python``, ``image``, ``compose``; an error lists all. Default: ``python``.

    Returns:
        An absolute path.

    Raises:
        UsageError: The kind of run is unknown.

    Example:
        >>> lk_jupyter.remote_path("lk://data/x.parquet")
        '/.../data/x.parquet'
    """
    if kind not in _ASSUMED:
        raise UsageError(f"kind must be one of {', '.join(_ASSUMED)}, got {kind!r}.")
    folder = os.environ.get(VARIABLE) or settings.assumptions()[_ASSUMED[kind]]
    return f"{folder.rstrip('/')}/{path.removeprefix('lk://').lstrip('/')}"
