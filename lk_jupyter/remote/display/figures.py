"""A matplotlib backend that shows figures in the notebook: at ``plt.show()`` and at the end of the code."""

from __future__ import annotations

import io
from importlib import import_module

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from .show import display

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class FigureManager(FigureManagerBase):
    """The manager of one open figure."""

    def show(self) -> None:
        """Show the figure, and leave the figure open."""
        display(self.canvas.figure)

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        """Show all open figures."""
        show(block=block)


class FigureCanvas(FigureCanvasAgg):
    """The canvas of figures."""

    manager_class = FigureManager


def new_figure_manager(number: int, *arguments: Any, FigureClass: Any = None, **options: Any) -> FigureManager:  # noqa: N803
    """Make a figure and a manager."""
    from matplotlib.figure import Figure

    return new_figure_manager_given_figure(number, (FigureClass or Figure)(*arguments, **options))


def new_figure_manager_given_figure(number: int, figure: Any) -> FigureManager:
    """Make the manager of a figure."""
    return FigureManager(FigureCanvas(figure), number)


def show(*_: Any, block: bool | None = None, **__: Any) -> None:
    """Show all open figures, then close all, as a notebook does."""
    for manager in Gcf.get_all_fig_managers():
        display(manager.canvas.figure)
    import_module("matplotlib.pyplot").close("all")


def draw_if_interactive() -> None:
    """Do nothing: figures are shown later."""


def draw_png(figure: Any) -> bytes | None:
    """Return a figure as a PNG; None for an empty figure."""
    if not (figure.axes or figure.lines or figure.texts or figure.images or figure.patches):
        return None
    file = io.BytesIO()
    if figure.canvas is None:
        FigureCanvasAgg(figure)
    figure.savefig(file, format="png", bbox_inches="tight", dpi=figure.dpi, facecolor=figure.get_facecolor())
    return file.getvalue()
