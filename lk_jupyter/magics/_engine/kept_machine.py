"""The machine that a notebook keeps between cells: its session, and the values that only the machine has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from lk_jupyter.code.variables import reads_all
from lk_jupyter.config.consents import keep_duration
from lk_jupyter.config.settings import is_fixed, resolve, setting
from lk_jupyter.errors import LkError, UsageError
from lk_jupyter.journal.entry import current_cell
from lk_jupyter.magics._engine.sync_question import current_place
from lk_jupyter.options.runs import RunOptions, fits_session, is_several, refuse_in_session
from lk_jupyter.runs.notebooks.handles import fetch_values
from lk_jupyter.runs.notebooks.saved_variables import OWNER
from lk_jupyter.runs.variables.remote_value import handle_names
from lk_jupyter.session import Session, current
from lk_jupyter.text.terminal import plain

_WORD = re.compile(r"[^\W\d]\w*")

#: Characters of a notebook's name in the name of its session.
_NAME_CHARACTERS = 24

#: Shells whose cells fetch the values that they read.
_watched: set[int] = set()


def machine_name() -> str:
    """Return the name of the session that this notebook, or this process, keeps."""
    notebook = current_cell().notebook
    if notebook is None:
        return f"kernel-{OWNER}"
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(notebook).stem).strip("-")[:_NAME_CHARACTERS] or "notebook"
    return f"{stem}-{sha256(os.path.abspath(notebook).encode()).hexdigest()[:6]}"  # noqa: PTH100 (no look at the disk)


def resolve_keep(session: Session, options: RunOptions) -> int:
    """Return the seconds for which the machine of this cell is kept; 0 for a separate run.

    Raises UsageError for options that a kept machine can't honor.
    """
    if options.keep:
        if options.session:
            raise UsageError(
                "Remove --keep, because --session already keeps its machine (see --idle). Nothing was sent."
            )
        if options.fresh:
            raise UsageError("--keep and --fresh can't be used together. Nothing was sent. Use only one of them.")
        refuse_in_session(options)
        if is_several(options):
            raise UsageError("--keep doesn't work with several runs. Nothing was sent. Remove --keep.")
        return options.keep
    if options.keep == 0 or options.session or options.fresh or options.image or not _can_keep(options):
        return 0  # without --keep, --image means a separate run
    answer = 0 if is_fixed("keep") else keep_duration(current_place(session))
    return answer or int(setting("keep"))


def can_offer_machine(options: RunOptions) -> bool:
    """Return whether the question before a cell may offer to keep the machine."""
    return options.keep is None and _can_keep(options) and not is_fixed("keep") and resolve("keep").is_default


def _can_keep(options: RunOptions) -> bool:
    """Return whether a kept machine can run a cell with these options."""
    return fits_session(options) and not is_several(options)


def watch_local_cells(shell: InteractiveShell) -> None:
    """Fetch the values that a local cell reads before the cell, if only a machine has them."""
    if id(shell) not in _watched:
        _watched.add(id(shell))
        shell.events.register("pre_run_cell", lambda info: _fetch_before_cell(info, shell))


def _fetch_before_cell(info: Any, shell: InteractiveShell) -> None:
    code = str(getattr(info, "raw_cell", ""))
    if not code.lstrip().startswith("%%lk_"):  # these cells fetch the values themselves, if they send them
        fetch_for(code, shell)


def fetch_for(code: str, shell: InteractiveShell) -> None:
    """Fetch the values that code reads, if only a machine has them; an error is shown, and the handles stay."""
    handles = handle_names(shell.user_ns)
    if not handles:
        return
    names = handles if reads_all(code) else handles & _list_reachable_names(code, shell.user_ns)
    if not names:
        return
    try:
        for notice in fetch_values(current(), sorted(names), shell.user_ns):
            if "Set here" not in str(notice):
                print(plain(str(notice)))  # noqa: T201 (text above the output of the cell)
    except LkError as error:
        print(plain(f"Can't download {', '.join(sorted(names))}: {error}"))  # noqa: T201


def _list_reachable_names(code: str, namespace: dict[str, Any]) -> set[str]:
    """Return the words of code, and the names that functions and classes of these names read."""
    reached: set[str] = set()
    waiting = set(_WORD.findall(code))
    while waiting:
        reached |= waiting
        read = {name for word in waiting if word in namespace for name in _yield_global_names(namespace[word])}
        waiting = read - reached
    return reached


def _yield_global_names(value: Any, depth: int = 3) -> Iterator[str]:
    """Yield the names that a function, or the methods of a class or of an object of the notebook, may read."""
    if isinstance(value, FunctionType):
        yield from _yield_code_names(value.__code__)
        for cell in value.__closure__ or ():
            if depth and cell.cell_contents is not value:
                yield from _yield_global_names(cell.cell_contents, depth - 1)
        return
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__ == "__main__":
        for base in kind.__mro__:
            for method in vars(base).values():
                function = getattr(method, "__func__", getattr(method, "fget", method))
                if isinstance(function, FunctionType):
                    yield from _yield_code_names(function.__code__)


def _yield_code_names(code: Any) -> Iterable[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from _yield_code_names(constant)
