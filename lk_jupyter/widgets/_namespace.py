"""Variables of the notebook: find free names, and set variables."""

from __future__ import annotations

import builtins
import keyword
import re
from itertools import count
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize

from lk_jupyter.errors import UsageError
from lk_jupyter.widgets._publish import current_shell


def free_name(key: str) -> str:
    """Return a free variable name for the contents of a file."""
    stem = PurePosixPath(key).name.lstrip(".").partition(".")[0]
    name = re.sub(r"\W+", "_", normalize("NFKC", stem)).strip("_")
    name = name if _is_name(name) else f"data_{name}".rstrip("_")
    names = (name if n == 1 else f"{name}_{n}" for n in count(1))
    namespace = current_shell().user_ns
    return next(each for each in names if each not in namespace)


def check_name(name: str) -> str:
    """Return the name of a new variable. Raises UsageError for an invalid name, and for a name that is taken."""
    name = normalize("NFKC", name.strip())
    if not _is_name(name):
        raise UsageError(
            f"'{name}' isn't a variable name. Use letters, digits and _, with no digit first and no Python keyword."
        )
    if name in current_shell().user_ns:
        raise UsageError(f"The variable '{name}' already exists. Choose another name.")
    return name


def set_variable(name: str, value: Any) -> None:
    """Set a variable of the notebook."""
    current_shell().user_ns[name] = value


def _is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and not hasattr(builtins, name)
