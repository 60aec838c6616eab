"""Colors, lines and the page of every plot."""

from __future__ import annotations

from typing import Any

#: Colors that people of any color vision distinguish (Okabe and Ito, 2008), and line styles that need no color.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 3)))

_DARK, INK, _PALE = "#444444", "#222222", "#dddddd"

#: Inches.
_WIDTH = 7.0


def clear_figure(figure: Any, high: float, head: str) -> None:
    """Make a figure a white page of this height in inches, with lines of text at the top."""
    figure.set_size_inches(_WIDTH, high)
    figure.set_layout_engine("constrained")
    figure.set_facecolor("white")
    if head:
        words = {"family": "monospace", "fontsize": 8, "color": INK, "parse_math": False}
        figure.suptitle(head, x=0.01, ha="left", **words)


def style_axis(axis: Any) -> None:
    """Set colors and sizes of an axis; the global style, and the thread that sets it, belong to the user."""
    axis.set_facecolor("white")
    axis.set_axisbelow(True)
    axis.grid(visible=True, color=_PALE, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_DARK)
    axis.tick_params(colors=INK, labelsize=9)
