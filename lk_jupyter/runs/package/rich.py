"""The parts that let a run show more than text and measure its imports, and what its code may hold besides Python."""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from dataclasses import replace
from html import escape

from lk_jupyter.code.source import Source
from lk_jupyter.config.settings import setting
from lk_jupyter.options.runs import RunOptions
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.parts import RemoteModule

NAME = "display.rich"

#: What runs nothing, whoever made it; SVG is one more picture when it is shown as an image.
_HARMLESS = frozenset({"text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
_SVG = "image/svg+xml"

_NEEDS = ("display", "script.offload", "script.traceback")


def rich_part() -> RemoteModule:
    """Return the part."""
    return RemoteModule(NAME, {"inline_bytes": setting("inline_output")}, _NEEDS)


def harmless(frame: Frame) -> Frame:
    """Return what a frame shows without what a notebook would trust: text and pictures; the same where that is all."""
    data = frame.payload.get("data")
    if not isinstance(data, dict) or data.keys() <= _HARMLESS:
        return frame
    kept = {kind: form for kind, form in data.items() if kind in _HARMLESS}
    if _SVG in data and not kept.keys() - {"text/plain"}:
        source = b64encode(str(data[_SVG]).encode(errors="replace")).decode()
        kept["text/html"] = f'<img alt="{escape(str(kept.get("text/plain", "")))}" src="data:{_SVG};base64,{source}">'
    return replace(frame, payload={**frame.payload, "data": kept, "metadata": {}})


#: The kind of the frames that tell how long imports took.
IMPORTS = "imports"

#: Imports that took this part of the run, and this many seconds, are told.
IMPORT_PART, IMPORT_SECONDS = 0.5, 10.0

_IMPORT = re.compile(r"^(?:import|from)\s+(\w+)", re.MULTILINE)


def imports_part(source: Source, options: RunOptions) -> list[RemoteModule]:
    """Return what measures the imports of a cell, where it has any that may take long."""
    rich = source.is_cell if options.rich is None else options.rich
    foreign = {match[1] for match in _IMPORT.finditer(source.code)} - set(sys.stdlib_module_names)
    if not (rich and foreign and setting("hints")) or options.no_hints:
        return []
    return [RemoteModule("script.imports", {"least": IMPORT_SECONDS})]
