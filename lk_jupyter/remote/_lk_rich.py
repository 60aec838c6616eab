"""Lets the code show more than text: what a notebook would show is sent there in frames.

Nothing is imported for it until the code itself imports it: libraries are fitted with what they need
when they are loaded.
"""

from __future__ import annotations

import builtins
import sys
from _thread import RLock

import _lk_run

_inline_bytes = float("inf")
_last = None


def before(settings, namespace):
    """Give the code ``display``, and ``get_ipython`` where it has IPython's syntax."""
    global _inline_bytes  # noqa: PLW0603
    _inline_bytes = settings["inline_bytes"]
    builtins.display = display
    builtins.get_ipython = get_ipython
    builtins.__IPYTHON__ = True
    builtins._lk_show_last = show_last
    _lk_run.show_error = show_error
    sys.stderr = Errors(sys.stderr)
    for name in [name for name in FITTED if name in sys.modules]:
        FITTED[name](sys.modules[name])
    sys.meta_path.insert(0, Fitter)


def after(settings, namespace, error):
    """Show the figures that are still open, as the end of a cell does."""
    shell = _show()._shell
    if shell:
        shell.end()
    if isinstance(sys.stderr, Errors):
        sys.stderr.flush()
    if "matplotlib.pyplot" in sys.modules and "_lk_figures" in sys.modules:
        sys.modules["_lk_figures"].show()


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

    import _lk_magics

    return _show().shell() or _lk_magics.Shell(sys.modules["__main__"].__dict__)


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
                self._send(text)
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
                self._send(text)
        self.real.flush()

    def _send(self, text):
        out = _lk_run._out
        try:
            data = text.encode(out.encoding, "backslashreplace")
            _lk_run.send([_lk_run.aside("stderr", {"text": data.decode(out.encoding)}) + data])
        except Exception:  # the process ends, or nobody reads its stdout
            self.real.write(text)


class _Kernel:
    """Stands for a shell that is only asked whether it belongs to a kernel."""

    kernel = True


def _show():
    import _lk_show

    _lk_show.inline_bytes = _inline_bytes
    return _lk_show


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
    """Send the error as a notebook shows it, and print it as Python does for all who read only text.

    The notebook takes the text of the frame out of what is printed.
    """
    import traceback

    import _lk_traceback

    text = "".join(traceback.format_exception(type(error), error, shown))
    err = _lk_run.errors()
    text = text.encode(err.encoding, err.errors).decode(err.encoding)
    _lk_run.frame("error", {"text": text, "traceback": _lk_traceback.lines_of(error, shown)}, err)
    err.write(text)


def _fit_matplotlib(module):
    """Use our backend, unless the code's environment names another."""
    import os
    from importlib.util import find_spec

    if "MPLBACKEND" not in os.environ:
        inline = find_spec("matplotlib_inline") and _show().shell()
        module.use("module://matplotlib_inline.backend_inline" if inline else "module://_lk_figures")


def _fit_pyplot(module):
    """Let ``plt.show()`` show here, whatever backend the code has chosen."""
    by_backend = module.show

    def show(*arguments, **options):
        if "inline" in module.get_backend() or (module.get_backend() == "nbagg" and _show().shell()):
            return by_backend(*arguments, **options)
        import _lk_figures

        return _lk_figures.show(**options)

    module.show = show


def _fit_nbagg(module):
    """Let the place of a figure hold its picture: nobody can move it in a run."""
    begin = module.CommSocket.__init__

    def begun(socket, manager):
        import _lk_figures

        png, shown = _lk_figures.png_of(manager.canvas.figure), module.display

        def display_with_picture(place):
            if png is not None:
                place.data = place.data.replace("></div>", ">{}</div>".format(_show().still_image(png)))
            shown(place)

        module.display = display_with_picture
        try:
            begin(socket, manager)
        finally:
            module.display = shown

    module.CommSocket.__init__ = begun


def _fit_tqdm(module):
    import _lk_bars

    _lk_bars.fit(module)


def _fit_tqdm_notebook(module):
    """Replace bars that need widgets by plain bars, from which the notebook makes widgets."""
    std = sys.modules["tqdm.std"]
    module.tqdm = module.tqdm_notebook = std.tqdm
    module.trange = module.tnrange = std.trange


def _fit_ipython(module):
    """Make the shell through which IPython's own functions display; without one they would only print."""
    if "_lk_shell" not in sys.modules:
        _show().shell()


def _fit_plotly(module):
    """Let ``figure.show()`` show in the notebook and not in a browser on the remote machine."""
    if not _show().shell():
        module.BaseFigure.show = lambda figure, *_, **__: display(figure)


def _fit_output(module):
    """Let the notebook capture what the code shows inside an Output, where the widget comes back to it."""
    enter, leave, within = module.Output.__enter__, module.Output.__exit__, []

    def move():
        if getattr(sys.modules.get("_lk_variables"), "_carried", None):
            _lk_run.frame("within", {"model": within[-1] if within else ""})

    def entered(output):
        enter(output)
        within.append(output.model_id)
        move()

    def left(output, *error):
        done = leave(output, *error)
        within.pop()
        move()
        return done

    module.Output.__enter__, module.Output.__exit__ = entered, left


#: What is done to a module when it has been loaded.
FITTED = {
    "matplotlib": _fit_matplotlib,
    "matplotlib.pyplot": _fit_pyplot,
    "matplotlib.backends.backend_nbagg": _fit_nbagg,
    "tqdm.std": _fit_tqdm,
    "tqdm.notebook": _fit_tqdm_notebook,
    "IPython": _fit_ipython,
    "plotly.basedatatypes": _fit_plotly,
    "ipywidgets.widgets.widget_output": _fit_output,
}


class Fitter:
    """Finds the modules of FITTED as the others do, and fits them once they are loaded.

    Finds ours where they are, whatever the code has done to its folder and its path.
    """

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Return the spec that the other finders give, with a loader that fits the module too."""
        if name.startswith("_lk_"):
            from importlib.machinery import PathFinder

            return PathFinder.find_spec(name, [_lk_run.HERE])
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
        FITTED.get(module.__name__, lambda _: None)(module)
    except Exception as problem:
        sys.stderr.write("Output of {} may not show in the notebook: {!r}\n".format(module.__name__, problem))
