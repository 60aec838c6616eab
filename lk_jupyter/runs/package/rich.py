"""The part that lets a run show more than text, and what its code may hold besides Python."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from html import escape

from lk_jupyter.config.settings import setting
from lk_jupyter.protocol.frames import Frame
from lk_jupyter.protocol.parts import RemoteModule

NAME = "_lk_rich"

#: What runs nothing, whoever made it; SVG is one more picture when it is shown as an image.
_HARMLESS = frozenset({"text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
_SVG = "image/svg+xml"

_NEEDS = ("_lk_show", "_lk_shell", "_lk_offload", "_lk_figures", "_lk_traceback", "_lk_bars", "_lk_magics")


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
