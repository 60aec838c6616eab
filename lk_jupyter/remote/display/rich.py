"""Lets the code show more than text: what a notebook would show is sent there in frames.

Nothing is imported for it until the code itself imports it: libraries are fitted with what they need
when they are loaded.
"""

import builtins
import sys
from _thread import RLock

from ..script import run as driver

_inline_bytes = float("inf")
_last = None

#: What writes to stderr in the midst of stdout, whatever ``sys.stderr`` is now.
errors = None


def before(settings, namespace):
    """Give the code ``display``, and ``get_ipython`` where it has IPython's syntax."""
    global _inline_bytes, errors  # noqa: PLW0603
    _inline_bytes = settings["inline_bytes"]
    builtins.display = display
    builtins.get_ipython = get_ipython
    builtins.__IPYTHON__ = True
    builtins._lk_show_last = show_last
    driver.show_error = show_error
    sys.stderr = errors = driver.ordered_errors = Errors(sys.stderr)
    driver.record_last = shown_before
    for name in FITTED.intersection(sys.modules):
        _fit(sys.modules[name])
    sys.meta_path.insert(0, Fitter)


def after(settings, namespace, error):
    """Show the figures that are still open, as the end of a cell does."""
    if _loaded("show") and _show()._shell:
        _show()._shell.end()
    if isinstance(sys.stderr, Errors):
        sys.stderr.flush()
    figures = _loaded("figures")
    if "matplotlib.pyplot" in sys.modules and figures:
        figures.show()


def display(*objects, **options):
    """Show objects in the notebook, as IPython's display does."""
    if _show().shell():
        from IPython.display import display as shown

        return shown(*objects, **options)
    return _show().display(*objects, **options)


def get_ipython():
    """Return IPython's shell, or what stands for it where the run has no IPython."""
    if sys._getframe(1).f_globals.get("__name__") == "pandas.core.config_init":
        return _Kernel  # all that pandas asks when it is imported; IPython takes a third as long to import

    from . import magics

    return _show().shell() or magics.Shell(sys.modules["__main__"].__dict__)


class Errors:
    """Stderr in the midst of stdout: a frame says which text it is, so that the notebook has both in their order."""

    def __init__(self, real):
        self.real = real
        self._held = ""
        self._lock = RLock()

    def __getattr__(self, name):
        return getattr(self.real, name)

    def write(self, text):
        """Write text; an unfinished line waits for its rest."""
        if not isinstance(text, str):
            return self.real.write(text)
        with self._lock:
            self._held += text
            whole = self._held.rfind("\n") + 1
            if whole:
                text, self._held = self._held[:whole], self._held[whole:]
                self.send(text)
        return len(text)

    def writelines(self, lines):
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self):
        """Write what waits."""
        with self._lock:
            text, self._held = self._held, ""
            if text:
                self.send(text)
        self.real.flush()

    def send(self, text, error=None):
        """Send text; a notebook shows an error in its place where one is given."""
        out = driver._out
        try:
            data = text.encode(out.encoding, "backslashreplace")
            payload = {"text": data.decode(out.encoding), **({"error": error} if error else {})}
            driver.send([driver.aside("stderr", payload) + data])
        except Exception:  # the process ends, or nobody reads its stdout
            self.real.write(text)


class _Kernel:
    """Stands for a shell that is only asked whether it belongs to a kernel."""

    kernel = True


def _show():
    from . import show

    show.inline_bytes = _inline_bytes
    show.make_shell, show.png_of, show.show_survived = _make_shell, _png_of, _show_survived
    return show


def _loaded(name):
    """Return a module of this package, if it is imported already."""
    return sys.modules.get("{}.{}".format(__package__, name))


def _make_shell():
    from . import shell

    return shell.made()


def _png_of(figure):
    from . import figures

    return figures.png_of(figure)


def _show_survived(error):
    from ..script import traceback as tracebacks

    tracebacks.show_survived(error)


def show_last(value):
    """Show the value of the last expression, unless it is None."""
    global _last  # noqa: PLW0603
    if value is not None:
        _show().show_result(value)
        names = sys.modules["__main__"].__dict__
        before = names.get("_", _last)
        if before is _last or (isinstance(before, str) and not before):  # else the code has a variable of this name
            names["_"] = _last = value
    return value


def shown_before(value):
    """Take this for the last value that was shown: the next one takes its name."""
    global _last  # noqa: PLW0603
    _last = value


def show_error(error, shown):
    """Send the error as a notebook shows it, and print it as Python does for all who read only text."""
    from ..script import traceback as tracebacks

    tracebacks.show_error(error, shown)


#: What ``display.fit`` fits when it has been loaded.
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
    """Finds the modules of FITTED as the others do, and fits them once they are loaded."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Return the spec that the other finders give, with a loader that fits the module too."""
        if name not in FITTED:
            return None
        for finder in sys.meta_path:
            spec = None if finder is cls else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                load = spec.loader.exec_module
                spec.loader.exec_module = lambda module: _load(load, module)
                return spec
        return None


def _load(load, module):
    load(module)
    try:
        _fit(module)
    except Exception as problem:
        sys.stderr.write("Output of {} may not show in the notebook: {!r}\n".format(module.__name__, problem))


def _fit(module):
    from . import fit

    _show()
    fit.fit(module)
