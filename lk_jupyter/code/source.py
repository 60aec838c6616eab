"""Code as the author sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lk_jupyter.config.files import working_folder

if TYPE_CHECKING:
    from lk_jupyter.code.script_block import ScriptBlock


@dataclass(frozen=True)
class Source:
    """Code as the author sees it.

    ``first_line`` is the number of the code's first line in the author's view: 2 under a cell magic. Local modules and
    files are searched in ``folder``. ``values`` are variables that are set before the code starts, ``namespace`` holds
    the variables that can be uploaded. ``block`` is the script block if the code doesn't contain it, as for a notebook.
    """

    code: str
    file_name: str = "script.py"
    first_line: int = 1
    folder: Path = field(default_factory=working_folder)
    is_cell: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    namespace: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    block: ScriptBlock | None = None


def code_hash(code: str) -> str:
    """Return the SHA-256 of code, without blank lines at the start and the end."""
    return sha256(code.strip().encode(errors="replace")).hexdigest()
