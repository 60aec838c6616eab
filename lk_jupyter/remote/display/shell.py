"""IPython's shell in a run that has IPython: ``get_ipython()``, formatters, magics and figures as in a notebook.

The shell is made when the code first uses it, or shows more than a plain value.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import traitlets
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import UsageError
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ..script import run as driver
from ..script import traceback as tracebacks
from . import magics, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Magics of this package: tracebacks show the lines of the cell, or IPython's magic needs more than a run has.
_RUN_MAGICS = {"time", "capture", "matplotlib", "autoreload", "load_ext", "reload_ext"}


class Formatter(DisplayFormatter):
    """Formats figures even before the code enables matplotlib, as a kernel does."""

    def format(self, obj: Any, include: Any = None, exclude: Any = None) -> Any:
        """Return the forms of an object by MIME type, and their metadata."""
        figure = sys.modules.get("matplotlib.figure")
        is_figure = figure is not None and isinstance(obj, figure.Figure)
        if is_figure and "matplotlib_inline.backend_inline" not in sys.modules:
            create_shell().enable_matplotlib("inline")
        return super().format(obj, include, exclude)  # type: ignore[no-untyped-call]


class Publisher(DisplayPublisher):
    """Sends displayed outputs to the notebook."""

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        source: str | None = None,
        *,
        transient: dict[str, Any] | None = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        """Send a bundle."""
        show.publish_display_data(data, metadata, transient=transient, update=update)

    def clear_output(self, wait: bool = False) -> None:
        """Clear the outputs so far."""
        show.clear_output(wait)


class ZMQInteractiveShell(InteractiveShell):
    """The shell of a run. Libraries recognize a notebook by the name of this class and by ``kernel``."""

    display_pub_class = traitlets.Type(Publisher)
    kernel = traitlets.Any()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.kernel = SimpleNamespace(shell=self)
        self._run_shell = magics.Shell(self.user_ns)
        self.set_hook("show_in_pager", _show_page)

    def init_user_ns(self) -> None:
        """Set the names that every notebook has, but none that the code has set."""
        before = dict(self.user_ns)
        super().init_user_ns()  # type: ignore[no-untyped-call]
        driver.hidden.update({name: value for name, value in self.user_ns.items() if name not in before})
        self.user_ns.update(before)

    def init_display_formatter(self) -> None:
        """Make the formatters."""
        formatter: Any = Formatter(parent=self)
        self.display_formatter = formatter
        self.configurables.append(formatter)

    def init_sys_modules(self) -> None:
        """Leave ``__main__`` unchanged."""

    def run_line_magic(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        """Run a line magic."""
        if magic_name in _RUN_MAGICS:
            return self._run_shell.run_line_magic(magic_name, line)
        self._require_magic("%", magic_name, self.find_line_magic(magic_name))
        return super().run_line_magic(magic_name, line, _stack_depth + 1)

    def run_cell_magic(self, magic_name: str, line: str, cell: str) -> Any:
        """Run a cell magic."""
        if magic_name in _RUN_MAGICS:
            return self._run_shell.run_cell_magic(magic_name, line, cell)
        self._require_magic("%%", magic_name, self.find_cell_magic(magic_name))
        return super().run_cell_magic(magic_name, line, cell)  # type: ignore[no-untyped-call]

    @staticmethod
    def _require_magic(sign: str, name: str, magic: Any) -> None:
        if magic is None:
            text = "The run has no magic {}{}: define it, or load its extension, in the cell that uses it."
            raise UsageError(text.format(sign, name))

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        """Show an error that does not end the code, such as an error of a formatter, as a notebook does."""
        has_lines = hasattr(evalue, "_render_traceback_") or isinstance(evalue, (SyntaxError, SystemExit))
        tracebacks.show_survived(evalue, stb if has_lines else None)

    def ask_exit(self) -> None:
        """End the run."""
        raise SystemExit(0)

    def enable_gui(self, gui: Any = None) -> None:
        """Do nothing: a run has no windows."""

    def end_cell(self) -> None:
        """Call the functions that are registered for the end of a cell, such as showing figures."""
        self.events.trigger("post_execute")


# Libraries look at the module too.
ZMQInteractiveShell.__module__ = "ipykernel.zmqshell"


def _show_page(shell: Any, data: Any, start: int = 0, screen_lines: int = 0) -> None:
    """Show text in the pager of the notebook."""
    text = data if isinstance(data, str) else data.get("text/plain", "")
    driver.frame("page", {"text": text})


def create_shell() -> Any:
    """Return the shell, made now."""
    if not InteractiveShell.initialized() or not isinstance(InteractiveShell.instance(), ZMQInteractiveShell):
        main = sys.modules["__main__"]
        config = Config({"HistoryManager": {"enabled": False}, "IPKernelApp": {}})
        config.InteractiveShell.colors = "nocolor"
        excepthook, displayhook = sys.excepthook, sys.displayhook
        ZMQInteractiveShell.instance(user_module=main, user_ns=main.__dict__, config=config)
        sys.excepthook, sys.displayhook = excepthook, displayhook
        for hook in driver.shell_hooks:
            hook()
    return InteractiveShell.instance()
