"""A matplotlib backend that shows figures in the notebook: at ``plt.show()`` and at the end of the code."""

from __future__ import annotations

import io

import matplotlib
from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from .show import display


class FigureManager(FigureManagerBase):
    """One open figure."""

    def show(self):
        """Show it, and leave it open."""
        display(self.canvas.figure)

    @classmethod
    def pyplot_show(cls, *, block=None):
        """Show all open figures."""
        show(block=block)


class FigureCanvas(FigureCanvasAgg):
    """What figures are drawn on."""

    manager_class = FigureManager


def new_figure_manager(number, *arguments, FigureClass=None, **options):  # noqa: N803
    """Make a figure with its manager."""
    from matplotlib.figure import Figure

    return new_figure_manager_given_figure(number, (FigureClass or Figure)(*arguments, **options))


def new_figure_manager_given_figure(number, figure):
    """Give a figure its manager."""
    return FigureManager(FigureCanvas(figure), number)


def show(*_, block=None, **__):
    """Show all open figures, then close them, as a notebook does."""
    for manager in Gcf.get_all_fig_managers():
        display(manager.canvas.figure)
    matplotlib.pyplot.close("all")


def draw_if_interactive():
    """Do nothing: what is drawn is shown later."""


def png_of(figure):
    """Return a figure as a PNG; None for one without anything on it."""
    if not (figure.axes or figure.lines or figure.texts or figure.images or figure.patches):
        return None
    file = io.BytesIO()
    if figure.canvas is None:
        FigureCanvasAgg(figure)
    figure.savefig(file, format="png", bbox_inches="tight", dpi=figure.dpi, facecolor=figure.get_facecolor())
    return file.getvalue()
