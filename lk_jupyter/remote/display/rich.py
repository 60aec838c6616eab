"""Shows rich outputs of the code: frames send the outputs of a notebook to the notebook.

Importing this module imports no library: libraries are adapted when the code imports a library.
"""

from __future__ import annotations

import builtins
import sys
from _thread import RLock

from ..script import run as driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterable
    from typing import Any

_inline_bytes = float("inf")
_last = None

#: The stderr of the run in the order of stdout, even if ``sys.stderr`` is replaced.
errors: Errors | None = None


def before(settings: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Define ``display``, and ``get_ipython`` for code with IPython's syntax."""
    global _inline_bytes, errors  # noqa: PLW0603
    _inline_bytes = settings["inline_bytes"]
    vars(builtins).update(display=display, get_ipython=get_ipython, __IPYTHON__=True, _lk_show_last=show_last)
    driver.show_error = show_error
    sys.stderr = errors = driver.ordered_errors = Errors(sys.stderr)
    driver.record_last = record_last_value
    for name in FITTED.intersection(sys.modules):
        _fit_module(sys.modules[name])
    sys.meta_path.insert(0, Fitter)


def after(settings: dict[str, Any], namespace: dict[str, Any], error: BaseException) -> None:
    """Show the figures that are still open, as the end of a cell does."""
    if _find_imported_module("show") and _import_show()._shell:
        _import_show()._shell.end_cell()
    if isinstance(sys.stderr, Errors):
        sys.stderr.flush()
    figures = _find_imported_module("figures")
    if "matplotlib.pyplot" in sys.modules and figures:
        figures.show()


def display(*objects: Any, **options: Any) -> Any:
    """Show objects in the notebook, as IPython's display does."""
    if _import_show().shell():
        from IPython.display import display as ipython_display

        return ipython_display(*objects, **options)
    return _import_show().display(*objects, **options)


def get_ipython() -> Any:
    """Return IPython's shell, or a replacement if the run has no IPython."""
    if sys._getframe(1).f_globals.get("__name__") == "pandas.core.config_init":
        return _Kernel  # enough for the import of pandas; importing IPython would take a third of that time

    from . import magics

    return _import_show().shell() or magics.Shell(sys.modules["__main__"].__dict__)


class Errors:
    """Stderr in the order of stdout: a frame marks the text, so that the notebook shows both in order."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self._pending = ""
        self._lock = RLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def write(self, text: Any) -> Any:
        """Write text; an unfinished line waits for the rest."""
        if not isinstance(text, str):
            return self.real.write(text)
        with self._lock:
            self._pending += text
            length = self._pending.rfind("\n") + 1
            if length:
                text, self._pending = self._pending[:length], self._pending[length:]
                self.send(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write the unfinished line."""
        with self._lock:
            text, self._pending = self._pending, ""
            if text:
                self.send(text)
        self.real.flush()

    def send(self, text: str, error: dict[str, Any] | None = None) -> None:
        """Send text; a notebook shows the error, if given, in place of the text."""
        out = driver._out
        try:
            data = text.encode(out.encoding, "backslashreplace")
            payload = {"text": data.decode(out.encoding), **({"error": error} if error else {})}
            driver.send([driver.inline_frame("stderr", payload) + data])
        except Exception:  # the process ends, or stdout is closed
            self.real.write(text)


class _Kernel:
    """Replaces a shell of which only the kernel is checked."""

    kernel = True


def _import_show() -> Any:
    from . import show

    show.inline_bytes = _inline_bytes
    show.make_shell, show.draw_png, show.show_survived = _make_shell, _draw_png, _show_survived
    return show


def _find_imported_module(name: str) -> Any:
    """Return a module of this package; None if not imported."""
    return sys.modules.get("{}.{}".format(__package__, name))


def _make_shell() -> Any:
    from . import shell

    return shell.create_shell()


def _draw_png(figure: Any) -> bytes | None:
    from . import figures

    return figures.draw_png(figure)


def _show_survived(error: BaseException) -> None:
    from ..script import traceback as tracebacks

    tracebacks.show_survived(error)


def show_last(value: Any) -> Any:
    """Show the value of the last expression, except None."""
    global _last  # noqa: PLW0603
    if value is not None:
        _import_show().show_result(value)
        names = sys.modules["__main__"].__dict__
        before = names.get("_", _last)
        if before is _last or (isinstance(before, str) and not before):  # else the code has a variable of this name
            names["_"] = _last = value
    return value


def record_last_value(value: Any) -> None:
    """Record the last value that was shown: the next value replaces ``_``."""
    global _last  # noqa: PLW0603
    _last = value


def show_error(error: BaseException, trace: types.TracebackType | None) -> None:
    """Send the error as a notebook shows errors, and print the traceback for readers of plain text."""
    from ..script import traceback as tracebacks

    tracebacks.show_error(error, trace)


#: Modules that ``display.fit`` adapts after the import.
FITTED = {
    "matplotlib",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_nbagg",
    "tqdm.std",
    "tqdm.notebook",
    "IPython",
    "plotly.basedatatypes",
    "ipywidgets.widgets.widget_output",
}


class Fitter:
    """Finds the modules of FITTED with the next finders, and adapts the modules after loading."""

    @classmethod
    def find_spec(cls, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of the next finder, with a loader that also adapts the module."""
        if name not in FITTED:
            return None
        for finder in sys.meta_path:
            spec: Any = None if finder is cls else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                load = spec.loader.exec_module
                spec.loader.exec_module = lambda module: _load_and_fit(load, module)
                return spec
        return None


def _load_and_fit(load: Callable[[Any], None], module: Any) -> None:
    load(module)
    try:
        _fit_module(module)
    except Exception as problem:
        sys.stderr.write("Output of {} may be missing in the notebook: {!r}\n".format(module.__name__, problem))


def _fit_module(module: Any) -> None:
    from . import fit

    _import_show()
    fit.fit(module)
