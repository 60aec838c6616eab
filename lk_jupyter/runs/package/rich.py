"""Select the modules that let a run show rich output and measure its imports."""

from __future__ import annotations

import re
import sys

from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import setting
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.parts import RemoteModule

NAME = "display.rich"

_NEEDS = ("display", "script.offload", "script.traceback")


def rich_part() -> RemoteModule:
    """Return the module for rich output."""
    return RemoteModule(NAME, {"inline_bytes": setting("inline_output")}, _NEEDS)


#: The kind of the frames with the duration of imports.
IMPORTS = "imports"

#: The share of the run, and the seconds, from which the duration of imports is reported.
IMPORT_PART, IMPORT_SECONDS = 0.5, 10.0

#: Names in code that log exact numbers, and words of code that may write event files of TensorBoard.
_LOGS = re.compile(r"\blk_log\b")
_WRITES_EVENTS = re.compile(r"SummaryWriter|TensorBoard|tensorboard|create_file_writer|\bTrainer\(")


def scalars_part(source: Source) -> list[RemoteModule]:
    """Return the module that sends exact numbers, if the code may log any."""
    writes_events = bool(_WRITES_EVENTS.search(source.code))
    if not (writes_events or _LOGS.search(source.code)):
        return []
    return [RemoteModule("script.scalars", {"events": writes_events})]


_IMPORT = re.compile(r"^(?:import|from)\s+(\w+)", re.MULTILINE)


def imports_part(source: Source, options: RunOptions) -> list[RemoteModule]:
    """Return the module that measures the imports of a cell, if any import may take long."""
    is_rich = source.is_cell if options.rich is None else options.rich
    modules = {match[1] for match in _IMPORT.finditer(source.code)} - set(sys.stdlib_module_names)
    if not (is_rich and modules and setting("hints")) or options.no_hints:
        return []
    return [RemoteModule("script.imports", {"least": IMPORT_SECONDS})]
