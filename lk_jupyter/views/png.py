"""Draw widgets as PNG, plots and text, with matplotlib's fonts if installed, in any thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from lk_jupyter.runs.metrics.metrics import Metrics
from lk_jupyter.runs.metrics.plot import fill
from lk_jupyter.text.plotting import clear_figure, style_axis

#: Resolution and number of colors: with few colors, a picture in a notebook has a quarter of the size.
_DPI, _SHADES = 110, 64
_COLOUR = "#0072B2"
_HEAD, _BAR, _GAP = 0.15, 0.25, 0.45
_SIZE, _MARGIN, _SPACING, _MOST_LINES = 14, 12, 5, 200  # pixels, and lines of words
_INK, _PAPER = 2, 15  # of 16 greys
_GREYS = [level * 17 for level in range(16) for _ in "rgb"]
_FONT = "mpl-data/fonts/ttf/DejaVuSansMono.ttf"

#: A caption, and label, credits and share of the largest for each bar.
Part = tuple[str, Sequence[Sequence[Any]]]


def draw_plots(runs: Sequence[Metrics], head: str) -> bytes:
    """Return the metrics of runs below some lines of text."""
    return _draw_figure(lambda figure: fill(figure, runs, head=_replace_undrawable(head)))


def draw_bars(parts: Sequence[Part], head: str) -> bytes:
    """Return sums as bars below some lines of text."""
    return _draw_figure(lambda figure: _draw_bars(figure, parts, _replace_undrawable(head)))


def draw_words(text: str) -> bytes:
    """Return lines of text as a picture; of a long text, the first lines."""
    font = _find_font()
    if font is None:
        return b""
    from PIL import Image, ImageDraw  # noqa: PLC0415 (where something is to be drawn)

    lines = "\n".join(_replace_undrawable(text).splitlines()[:_MOST_LINES])
    _, _, wide, high = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), lines, font, spacing=_SPACING)
    image = Image.new("L", (int(wide) + 2 * _MARGIN, int(high) + 2 * _MARGIN), _PAPER)
    ImageDraw.Draw(image).multiline_text((_MARGIN, _MARGIN), lines, _INK, font, spacing=_SPACING)
    image.putpalette(_GREYS)
    return _encode_png(image)


def _find_font() -> Any:
    """Return the font, or None without matplotlib, whose own import would take half a second."""
    matplotlib = find_spec("matplotlib")
    places = (matplotlib.submodule_search_locations or ()) if matplotlib else ()
    files = [file for place in places if (file := Path(place, _FONT)).exists()]
    with suppress(ImportError):
        return _load_font(files[0]) if files else None
    return None


@cache
def _load_font(file: Path) -> Any:
    from PIL import ImageFont  # noqa: PLC0415 (it comes with matplotlib)

    return ImageFont.truetype(file, _SIZE, layout_engine=ImageFont.Layout.BASIC)


def _draw_figure(draw: Callable[[Any], object]) -> bytes:
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
    image = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    return _encode_png(image.quantize(_SHADES))


def _encode_png(image: Any) -> bytes:
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()


def _replace_undrawable(text: str) -> str:
    """Return text with a question mark for each letter that matplotlib's font lacks, which warned in the notebook."""
    return "".join(letter if letter == "\n" or _is_drawn(letter) else "?" for letter in text)


@cache
def _is_drawn(letter: str) -> bool:
    """Return whether the font has a letter; missing letters would be boxes."""
    font, is_control = _find_font(), letter < " " or "\x7f" <= letter < "\xa0"
    return font is None or not (is_control or bytes(font.getmask(letter)) == bytes(font.getmask("\uffff")))


def _draw_bars(figure: Any, parts: Sequence[Part], head: str) -> None:
    counts = [len(rows) for _, rows in parts]
    high = _HEAD * len(head.splitlines()) + sum(_BAR * count + _GAP for count in counts) + _GAP
    clear_figure(figure, high, head)
    axes = figure.subplots(len(parts), squeeze=False, height_ratios=[count + 1 for count in counts])
    for (axis,), (caption, rows) in zip(axes, parts, strict=True):
        style_axis(axis)
        axis.grid(visible=False)
        axis.set_title(caption, loc="left", fontsize=9, parse_math=False)
        drawn = axis.barh(range(len(rows)), [share for _, _, share in rows], color=_COLOUR, height=0.6)
        axis.bar_label(drawn, [amount for _, amount, _ in rows], padding=3, fontsize=8)
        axis.set_yticks(range(len(rows)), [_replace_undrawable(label) for label, _, _ in rows], parse_math=False)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlim(0, 1.15)
        axis.set_xticks([])
