"""IPython's shell in a run that has IPython: ``get_ipython()``, formatters, magics and figures work as in a notebook.

It is made when the code first asks for it, or shows more than a plain value.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import UsageError
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Any, Type
from traitlets.config import Config

from ..script import run as driver
from ..script import traceback as tracebacks
from . import magics, show

#: Magics that are ours: their tracebacks name the lines of the cell, or they need what a run lacks.
_OURS = {"time", "capture", "matplotlib", "autoreload", "load_ext", "reload_ext"}


class Formatter(DisplayFormatter):
    """Knows figures also where the code has not made them itself, as a kernel does."""

    def format(self, obj, include=None, exclude=None):
        """Return the forms of an object by MIME type, and their metadata."""
        figure = sys.modules.get("matplotlib.figure")
        is_figure = figure is not None and isinstance(obj, figure.Figure)
        if is_figure and "matplotlib_inline.backend_inline" not in sys.modules:
            made().enable_matplotlib("inline")
        return super().format(obj, include, exclude)


class Publisher(DisplayPublisher):
    """Sends what is displayed to the notebook."""

    def publish(self, data, metadata=None, source=None, *, transient=None, update=False, **_):
        """Send a bundle."""
        show.publish_display_data(data, metadata, transient=transient, update=update)

    def clear_output(self, wait=False):
        """Take away what the code has shown so far."""
        show.clear_output(wait)


class ZMQInteractiveShell(InteractiveShell):
    """The shell of a run. Libraries know a notebook by the name of this class and by its ``kernel``."""

    display_pub_class = Type(Publisher)
    kernel = Any()

    def __init__(self, **options):
        super().__init__(**options)
        self.kernel = SimpleNamespace(shell=self)
        self._ours = magics.Shell(self.user_ns)
        self.set_hook("show_in_pager", _page)

    def init_user_ns(self):
        """Set the names that every notebook has, but none that the code has set."""
        before = dict(self.user_ns)
        super().init_user_ns()
        driver.hidden.update({name: value for name, value in self.user_ns.items() if name not in before})
        self.user_ns.update(before)

    def init_display_formatter(self):
        """Make the formatters."""
        self.display_formatter = Formatter(parent=self)
        self.configurables.append(self.display_formatter)

    def init_sys_modules(self):
        """Leave ``__main__`` as it is."""

    def run_line_magic(self, magic_name, line, _stack_depth=1):
        """Run a magic with the rest of its line."""
        if magic_name in _OURS:
            return self._ours.run_line_magic(magic_name, line)
        self._check("%", magic_name, self.find_line_magic(magic_name))
        return super().run_line_magic(magic_name, line, _stack_depth + 1)

    def run_cell_magic(self, magic_name, line, cell):
        """Run a magic with the lines below it."""
        if magic_name in _OURS:
            return self._ours.run_cell_magic(magic_name, line, cell)
        self._check("%%", magic_name, self.find_cell_magic(magic_name))
        return super().run_cell_magic(magic_name, line, cell)

    @staticmethod
    def _check(sign, name, found):
        if found is None:
            text = "{}{} is not a magic that the run knows: define it, or load its extension, in the cell that uses it."
            raise UsageError(text.format(sign, name))

    def _showtraceback(self, etype, evalue, stb):
        """Show an error that does not end the code, such as one of a formatter: as a notebook does."""
        has_own_lines = hasattr(evalue, "_render_traceback_") or isinstance(evalue, (SyntaxError, SystemExit))
        tracebacks.show_survived(evalue, stb if has_own_lines else None)

    def ask_exit(self):
        """End the run."""
        raise SystemExit(0)

    def enable_gui(self, gui=None):
        """Do nothing: a run has no windows."""

    def end(self):
        """Call what is registered for the end of a cell, such as what shows figures."""
        self.events.trigger("post_execute")


# Libraries look at the module too.
ZMQInteractiveShell.__module__ = "ipykernel.zmqshell"


def _page(shell, data, start=0, screen_lines=0):
    """Show text in the pager of the notebook."""
    text = data if isinstance(data, str) else data.get("text/plain", "")
    driver.frame("page", {"text": text})


def made():
    """Return the shell, made now."""
    if not isinstance(getattr(InteractiveShell, "_instance", None), ZMQInteractiveShell):
        main = sys.modules["__main__"]
        config = Config({"HistoryManager": {"enabled": False}, "IPKernelApp": {}})
        config.InteractiveShell.colors = "nocolor"
        excepthook, displayhook = sys.excepthook, sys.displayhook
        ZMQInteractiveShell.instance(user_module=main, user_ns=main.__dict__, config=config)
        sys.excepthook, sys.displayhook = excepthook, displayhook
        for hook in driver.shell_hooks:
            hook()
    return InteractiveShell._instance
