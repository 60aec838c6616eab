"""What measures how long the imports of a cell take."""

from __future__ import annotations

import re
import sys

from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import setting
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.parts import RemoteModule

#: The kind of the frames that tell how long imports took.
IMPORTS = "imports"

#: Imports that took this part of the run, and this many seconds, are told.
IMPORT_PART, IMPORT_SECONDS = 0.5, 10.0

_IMPORT = re.compile(r"^(?:import|from)\s+(\w+)", re.MULTILINE)


def imports_part(source: Source, options: RunOptions) -> list[RemoteModule]:
    """Return what measures the imports of a cell, where it has any that may take long."""
    rich = source.is_cell if options.rich is None else options.rich
    foreign = {match[1] for match in _IMPORT.finditer(source.code)} - set(sys.stdlib_module_names)
    if not (rich and foreign and setting("doctor")) or options.no_hints:
        return []
    return [RemoteModule("_lk_imports", {"least": IMPORT_SECONDS})]
