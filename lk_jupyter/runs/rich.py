"""The part that lets a run show more than text, and what its code may hold besides Python."""

from __future__ import annotations

from lk_jupyter.config import setting
from lk_jupyter.runs.parts import Part

NAME = "_lk_rich"
_NEEDS = ("_lk_show", "_lk_large", "_lk_figures", "_lk_traceback", "_lk_bars", "_lk_magics")


def rich_part(code: str) -> Part:
    """Return the part for this code, which is Python already."""
    return Part(NAME, {"magics": "get_ipython" in code, "inline_bytes": setting("inline_output")}, _NEEDS)
