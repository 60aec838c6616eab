"""Register the magics in a shell, on demand.

``load`` registers a light object for each row of MAGICS; the module of a magic is imported when the magic is first
called, completed, or when its help is shown.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher

from lk_jupyter._encoding import accept_every_sign
from lk_jupyter.magics._engine.registry import MAGICS, ROWS, Row, magic_named
from lk_jupyter.magics._output import unfinished_runs
from lk_jupyter.views import formatters

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

    from lk_jupyter.magics._engine.parser import Magic, Subcommands


#: Modules of magics that start or stop runs. An interrupt without a message of its magic, such as an interrupt during
#: the import, shows this line.
_OF_RUNS = {
    "check",
    "containers",
    "history",
    "kernel",
    "notebook",
    "run",
    "run_notebook",
    "runs",
    "select",
    "sessions",
    "wait",
}
_LIST_RUNS = ": Interrupted. A run may be active. List runs: %lk_runs"


class LazyMagic:
    """The object that IPython calls for a magic."""

    def __init__(self, row: Row, shell: InteractiveShell) -> None:
        self.row = row
        self._shell = shell
        self._ipython_magic_no_var_expand = not row.fills

    def __repr__(self) -> str:
        return f"<magic {self.row.name}>"

    def __call__(self, line: str, cell: str | None = None) -> Any:  # noqa: D102 (IPython's help would show it)
        from lk_jupyter.runs.interrupts import (  # noqa: PLC0415 (loading the extension is light)
            ignore_late_interrupts,
            true_interrupts,
        )

        accept_every_sign()
        try:
            with true_interrupts():
                return self.magic(self._shell, line, cell)
        except Exception:
            ignore_late_interrupts()
            raise
        except KeyboardInterrupt as interrupt:
            ignore_late_interrupts()
            if not hasattr(interrupt, "_render_traceback_"):  # an interrupt without our message shows a single line too
                text = "KeyboardInterrupt" + _LIST_RUNS * (self.row.module in _OF_RUNS)
                interrupt._render_traceback_ = lambda: [text]  # type: ignore[attr-defined]
            raise

    @cached_property
    def magic(self) -> Magic | Subcommands:
        """The magic, imported on first use."""
        return magic_named(self.row.name)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """Usage, options and examples."""
        return self.magic.help()


def load(shell: InteractiveShell) -> None:
    """Add the magics, their completion and the display of our objects to a shell."""
    accept_every_sign()
    for row in MAGICS:
        shell.register_magic_function(LazyMagic(row, shell), row.kind, row.name)  # type: ignore[arg-type]
    if _complete_line not in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.append(_complete_line)
    if _rewrite_verb_help not in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.append(_rewrite_verb_help)
    formatters.register_formatters(shell)
    shell.events.register("pre_run_cell", _register_joblib)
    shell.events.register("post_run_cell", _leave_user_frames)
    unfinished_runs.list_unfinished_runs(shell)


def unload(shell: InteractiveShell) -> None:
    """Remove everything that ``load`` registered."""
    for row in MAGICS:
        shell.magics_manager.magics[row.kind].pop(row.name, None)
    if _complete_line in shell.Completer.custom_matchers:
        shell.Completer.custom_matchers.remove(_complete_line)
    if _rewrite_verb_help in shell.input_transformers_cleanup:
        shell.input_transformers_cleanup.remove(_rewrite_verb_help)
    formatters.unregister_formatters(shell)
    for event, callback in (("pre_run_cell", _register_joblib), ("post_run_cell", _leave_user_frames)):
        with suppress(ValueError):
            shell.events.unregister(event, callback)


#: Folders of code that isn't the user's: this package and IPython, which calls its magics.
_PACKAGE, _IPYTHON = f"{Path(__file__).parents[1]}{os.sep}", f"{os.sep}IPython{os.sep}core{os.sep}"


def _leave_user_frames(result: ExecutionResult) -> None:
    """End the traceback of an error of this package at the user's last frame, in which ``%debug`` then starts."""
    error = result.error_in_exec
    if error is None or not type(error).__module__.startswith("lk_jupyter"):
        return
    frame = error.__traceback__
    while frame is not None and _IPYTHON in frame.tb_frame.f_code.co_filename:  # which executes the cell
        frame = frame.tb_next
    while frame is not None and frame.tb_next is not None:
        if frame.tb_next.tb_frame.f_code.co_filename.startswith(_PACKAGE) or (
            _IPYTHON in frame.tb_next.tb_frame.f_code.co_filename
        ):
            frame.tb_next = None
        frame = frame.tb_next


#: Code that uses the backend of joblib, such as ``joblib.parallel_config(backend="lk")``.
_NAMES_BACKEND = re.compile(r"""backend\s{0,4}[=(]\s{0,4}["']lk["']""")


def _register_joblib(info: ExecutionInfo) -> None:
    """Register the backend of joblib before a cell that uses it; importing joblib takes long."""
    if _NAMES_BACKEND.search(str(info.raw_cell)):
        from lk_jupyter.errors import UsageError  # noqa: PLC0415 (few cells use the backend)

        with suppress(UsageError):  # the cell reports that joblib is missing
            import_module("lk_jupyter.joblib_backend").register_joblib()


_HELP_LINE = re.compile(r"\s*(?P<words>%(?P<name>lk_\w+) +[\w-]+) *\?{1,2}\s*")


def _rewrite_verb_help(lines: list[str]) -> list[str]:
    """Turn ``%lk_vm create?`` into the call that shows the verb's help; IPython would look up an object ``create``."""
    match = _HELP_LINE.fullmatch("".join(lines))
    if not match or match["name"] not in ROWS or not hasattr(magic_named(match["name"]), "verbs"):
        return lines
    return [f"{match['words']} --help\n"]


_LINE = re.compile(r"(?:^|=)\s*%{1,2}(?P<name>lk_\w+)[ \t](?P<rest>.*)$", re.DOTALL)


@context_matcher(identifier="lk_jupyter")  # type: ignore[untyped-decorator]
def _complete_line(context: CompletionContext) -> dict[str, Any]:
    """Complete the line of one of our magics; leave any other line, and file names, to IPython."""
    match = _LINE.search(context.text_until_cursor)
    if not match or match["name"] not in ROWS:
        return {"completions": []}
    from lk_jupyter.magics._engine.completion import complete  # noqa: PLC0415 (when a magic's line is completed)

    fragment, words = complete(match["name"], match["rest"])
    return {
        "completions": [SimpleCompletion(word, type="magic option") for word in words],
        "matched_fragment": fragment,
        "ordered": True,
        "suppress": True,
    }
