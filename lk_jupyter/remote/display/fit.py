"""Adapts libraries that the code has imported, so that their outputs show in the notebook."""

from __future__ import annotations

import sys

from ..script import run as driver
from . import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def fit(module: Any) -> None:
    """Fit a module that ``rich.FITTED`` names."""
    _FITS.get(module.__name__, lambda _: None)(module)


def _fit_matplotlib(module: Any) -> None:
    """Use our backend, unless the code's environment names another."""
    import os
    from importlib.util import find_spec

    if "MPLBACKEND" not in os.environ:
        inline = find_spec("matplotlib_inline") and show.shell()
        module.use("module://matplotlib_inline.backend_inline" if inline else "module://{}.figures".format(__package__))


def _fit_pyplot(module: Any) -> None:
    """Let ``plt.show()`` show here, whatever backend the code has chosen."""
    by_backend = module.show

    def show_figures(*arguments: Any, **options: Any) -> Any:
        backend = module.get_backend().lower()  # nbAgg before matplotlib 3.9
        if "inline" in backend or (backend == "nbagg" and show.shell()):
            return by_backend(*arguments, **options)
        from . import figures

        return figures.show(**options)

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):  # with --sync the function is pickled by name
        setattr(show_figures, name, getattr(by_backend, name))
    module.show = show_figures


def _fit_nbagg(module: Any) -> None:
    """Show the picture of a figure in place of the interactive figure, which needs a kernel."""
    connect_plain = module.CommSocket.__init__

    def connect(socket: Any, manager: Any) -> None:
        from . import figures

        png, show_place = figures.draw_png(manager.canvas.figure), module.display

        def display_with_picture(place: Any) -> None:
            if png is not None:
                place.data = place.data.replace("></div>", ">{}</div>".format(show.still_image(png)))
            show_place(place)

        module.display = display_with_picture
        try:
            connect_plain(socket, manager)
        finally:
            module.display = show_place

    module.CommSocket.__init__ = connect


def _fit_tqdm(module: Any) -> None:
    from . import bars

    bars.fit(module)


def _fit_tqdm_notebook(module: Any) -> None:
    """Replace bars that need widgets by plain bars, from which the notebook makes widgets."""
    std = sys.modules["tqdm.std"]
    module.tqdm = module.tqdm_notebook = std.tqdm
    module.trange = module.tnrange = std.trange


def _fit_ipython(module: Any) -> None:
    """Make the shell through which IPython's functions display; without a shell they only print."""
    if "{}.shell".format(__package__) not in sys.modules:
        show.shell()


def _fit_plotly(module: Any) -> None:
    """Let ``figure.show()`` show in the notebook and not in a browser on the remote machine."""
    if not show.shell():
        module.BaseFigure.show = lambda figure, *_, **__: show.display(figure)


def _fit_output(module: Any) -> None:
    """Let the notebook capture outputs inside an Output, if the widget is sent back to the notebook."""
    enter, leave = module.Output.__enter__, module.Output.__exit__
    within: list[str] = []

    def move() -> None:
        if driver.carries:
            driver.frame("within", {"model": within[-1] if within else ""})

    def enter_output(output: Any) -> None:
        enter(output)
        within.append(output.model_id)
        move()

    def exit_output(output: Any, *error: BaseException) -> Any:
        result = leave(output, *error)
        within.pop()
        move()
        return result

    module.Output.__enter__, module.Output.__exit__ = enter_output, exit_output


#: Module → function that adapts the module.
_FITS = {
    "matplotlib": _fit_matplotlib,
    "matplotlib.pyplot": _fit_pyplot,
    "matplotlib.backends.backend_nbagg": _fit_nbagg,
    "tqdm.std": _fit_tqdm,
    "tqdm.notebook": _fit_tqdm_notebook,
    "IPython": _fit_ipython,
    "plotly.basedatatypes": _fit_plotly,
    "ipywidgets.widgets.widget_output": _fit_output,
}
