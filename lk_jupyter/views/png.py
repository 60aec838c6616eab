"""Widgets as PNG, plots and words, drawn with what matplotlib brings where it is installed, in any thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from lk_jupyter.runs.metrics.metrics import Metrics
from lk_jupyter.runs.metrics.plot import fill
from lk_jupyter.text.plotting import blank, dress

#: A notebook keeps it: with so few colours it is a quarter as large.
_DPI, _SHADES = 110, 64
_COLOUR = "#0072B2"
_HEAD, _BAR, _GAP = 0.15, 0.25, 0.45
_SIZE, _MARGIN, _SPACING, _MOST_LINES = 14, 12, 5, 200  # pixels, and lines of words
_INK, _PAPER = "#222222", "#ffffff"

#: A caption, and label, credits and share of the largest for each bar.
Part = tuple[str, Sequence[Sequence[Any]]]


def plots(runs: Sequence[Metrics], head: str) -> bytes:
    """Return the metrics of runs below some lines of text."""
    return _drawn(lambda figure: fill(figure, runs, head=_known(head)))


def bars(parts: Sequence[Part], head: str) -> bytes:
    """Return sums as bars below some lines of text."""
    return _drawn(lambda figure: _draw_bars(figure, parts, _known(head)))


def words(text: str) -> bytes:
    """Return lines of text as a picture of them; of very many, the first."""
    try:
        from matplotlib.font_manager import findfont  # noqa: PLC0415 (where something is to be drawn)
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 (as above)
    except ImportError:
        return b""
    font = ImageFont.truetype(findfont("monospace"), _SIZE)
    lines = "\n".join(_known(text).splitlines()[:_MOST_LINES])
    _, _, wide, high = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), lines, font, spacing=_SPACING)
    image = Image.new("RGB", (int(wide) + 2 * _MARGIN, int(high) + 2 * _MARGIN), _PAPER)
    ImageDraw.Draw(image).multiline_text((_MARGIN, _MARGIN), lines, _INK, font, spacing=_SPACING)
    return _stored(image)


def _drawn(draw: Callable[[Any], object]) -> bytes:
    """Return a separate figure, which pyplot and the user's style do not know of; empty without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 (where something is to be plotted)
        from matplotlib.figure import Figure  # noqa: PLC0415 (as above)
        from PIL import Image  # noqa: PLC0415 (it comes with matplotlib)
    except ImportError:
        return b""
    canvas: Any = FigureCanvasAgg(Figure(dpi=_DPI))
    draw(canvas.figure)
    canvas.draw()
    return _stored(Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB"))


def _stored(image: Any) -> bytes:
    file = BytesIO()
    image.quantize(_SHADES).save(file, "PNG", optimize=True)
    return file.getvalue()


def _known(text: str) -> str:
    """Return text with a question mark for each letter that matplotlib's font lacks, which warned in the notebook."""
    try:
        from matplotlib.font_manager import findfont, get_font  # noqa: PLC0415 (as above)
    except ImportError:
        return text
    letters = get_font(findfont("monospace")).get_charmap()
    return "".join(letter if ord(letter) in letters or letter == "\n" else "?" for letter in text)


def _draw_bars(figure: Any, parts: Sequence[Part], head: str) -> None:
    counts = [len(rows) for _, rows in parts]
    high = _HEAD * len(head.splitlines()) + sum(_BAR * count + _GAP for count in counts) + _GAP
    blank(figure, high, head)
    axes = figure.subplots(len(parts), squeeze=False, height_ratios=[count + 1 for count in counts])
    for (axis,), (caption, rows) in zip(axes, parts, strict=True):
        dress(axis)
        axis.grid(visible=False)
        axis.set_title(caption, loc="left", fontsize=9, parse_math=False)
        drawn = axis.barh(range(len(rows)), [share for _, _, share in rows], color=_COLOUR, height=0.6)
        axis.bar_label(drawn, [amount for _, amount, _ in rows], padding=3, fontsize=8)
        axis.set_yticks(range(len(rows)), [_known(label) for label, _, _ in rows], parse_math=False)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(0, 1.15)
        axis.set_xticks([])
